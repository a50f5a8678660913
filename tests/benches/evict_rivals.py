"""Both sides of the eviction benchmark, each a process of its own: `python -m tests.benches.evict_rivals ours FOLDER`.

A folder holds the same rows as numpy columns, for us, and as Parquet, for DuckDB. Reading them is not measured.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from pipeline.evict.decide import decide
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import NEVER, Stored
from tests.pipeline.evict.sql_oracle import TABLES, run

DAY = 20_000
CATEGORIES = tuple(f"category-{number:02}" for number in range(20))
COLUMNS = ("last_seen", "gone_since", "marked_on", "taken_down", "pinned", "indexed", "value", "category")


def policy(rows: int) -> EvictPolicy:
    """Keep two of a product and up to three where there is room, which there is not in every other category."""
    tight = dict.fromkeys(CATEGORIES[::2], max(1, rows // 500))
    return EvictPolicy(max_per_group=3, tail_budget={**tight, "*": None})


def draw(rows: int, groups: int) -> dict[str, Any]:
    """Draw a catalogue: a third older than the window and a quarter of the groups wholly so, 1.05 groups a picture."""
    random = np.random.default_rng(9)
    rare = random.random((5, rows), np.float32)
    group = (groups * random.random(rows) ** 2).astype(np.int64)
    dead = random.random(groups) < 0.25  # seen no more for two months
    age = np.where(dead[group] | (rare[0] < 0.1), random.integers(60, 1500, rows), random.integers(0, 60, rows))
    several = np.flatnonzero(random.random(rows) < 0.05)
    members = np.concatenate([np.arange(rows), several]) * groups
    members += np.concatenate([group, random.integers(0, groups, len(several))])
    member_rows, member_groups = np.divmod(np.unique(members), groups)
    return {
        "ids": 3 * random.permutation(rows),
        "last_seen": (DAY - age).astype(np.int32),
        "gone_since": np.where(rare[1] < 0.03, DAY - random.integers(0, 30, rows), NEVER).astype(np.int32),
        "marked_on": np.where(rare[2] < 0.02, DAY - random.integers(0, 3, rows), NEVER).astype(np.int32),
        "taken_down": rare[3] < 0.001,
        "pinned": rare[4] < 0.001,
        "indexed": random.random(rows, np.float32) < 0.98,
        "value": (random.integers(0, 1 << 16, rows) / (1 << 16)).astype(np.float32),
        "category": (group % len(CATEGORIES)).astype(np.int32),
        "member_rows": member_rows,
        "member_groups": member_groups,
    }


def write(folder: Path, rows: int, groups: int) -> int:
    """Write the catalogue of so many rows; return its memberships."""
    drawn = draw(rows, groups)
    for name, column in drawn.items():
        np.save(folder / f"{name}.npy", column)
    pictures = {"id": drawn["ids"], **{name: drawn[name] for name in COLUMNS}}
    members = {"id": drawn["ids"][drawn["member_rows"]], "grp": drawn["member_groups"]}
    with duckdb.connect() as connection:
        for name, table in (("picture", pictures), ("member", members)):
            connection.register("drawn", table)
            connection.execute(f"COPY (SELECT * FROM drawn) TO '{folder / name}.parquet'")
            connection.unregister("drawn")
    return len(drawn["member_rows"])


def ours(folder: Path) -> dict[str, Any]:
    """Decide with the engine."""
    columns = {path.stem: np.load(path) for path in folder.glob("*.npy")}
    stored = Stored(**columns, categories=CATEGORIES)
    del columns
    before = peak()
    with_policy = policy(len(stored))
    started = time.process_time()
    decided = decide(stored, with_policy, DAY)
    spent = time.process_time() - started
    most = peak()
    sums = [int((stored.ids * (reason + 1)).sum()) for reason in (decided.reason, decided.why)]
    sums += [int(column.sum(dtype=np.int64)) for column in (decided.rank, decided.group, decided.better)]
    sums.append(int(decided.marked_on.sum(dtype=np.int64)))
    kinds, counts = np.unique(decided.reason, return_counts=True)
    reasons = {str(kind): count for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True)}
    return {"cpu": spent, "peak": most, "loaded": before, "sums": sums, "reasons": reasons, "less": decided.degraded}


def rival(folder: Path) -> dict[str, Any]:
    """Decide with SQL, from and into DuckDB's tables in memory."""
    with duckdb.connect(config={"preserve_insertion_order": False}) as connection:
        connection.execute(TABLES)
        for name in ("picture", "member"):
            connection.execute(f"INSERT INTO {name} SELECT * FROM '{folder / name}.parquet'")
        rows = connection.execute("SELECT count(*) FROM picture").fetchall()[0][0]
        limits = [(number, name, policy(rows).budget_of(name)) for number, name in enumerate(CATEGORIES)]
        connection.executemany("INSERT INTO budget VALUES (?, ?, ?)", limits)
        before = peak()
        started = time.process_time()
        degraded = run(connection, policy(rows), DAY)
        spent = time.process_time() - started
        most = peak()
        sums = connection.execute(
            "SELECT sum(id * (reason + 1)), sum(id * (why + 1)), sum(rank), sum(grp), sum(better),"
            " sum(marked_on::BIGINT) FROM decided"
        ).fetchall()[0]
        counted = connection.execute("SELECT reason::VARCHAR, count(*) FROM decided GROUP BY ALL").fetchall()
    reasons = dict(sorted(counted, key=lambda pair: int(pair[0])))
    return {"cpu": spent, "peak": most, "loaded": before, "sums": list(sums), "reasons": reasons, "less": degraded}


def peak() -> int:
    """Return the most bytes that this process has had resident; unlike ru_maxrss it does not count its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    side, folder = sys.argv[1:]
    print(json.dumps({"ours": ours, "rival": rival}[side](Path(folder))))

"""From a library's files to an audit's file, ours and in DuckDB: `python -m tests.benches.evict_path ours FOLDER`.

A folder is a small lake: the library as dedup leaves it, the indexes of 64 days, the day's checks and the marks of the
day before. Each side reads it, groups, ranks, decides and writes the audit; `task` is the whole of `decide_day`, looks
and all, and also writes the library that is left.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from pathlib import Path
from typing import Any, cast

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.evict.audit import audit_blocks, audit_schema
from pipeline.evict.days import day_number
from pipeline.evict.decide import decide
from pipeline.evict.decisions import Decisions, Reason
from pipeline.evict.stored import NEVER
from pipeline.evict.stored_of import stored_of
from pipeline.evict.summary import plan_summary
from pipeline.evict_day import decide_day
from pipeline.item_hashes import digest_of, item_hashes
from pipeline.lake import Lake
from pipeline.library_facts import facts_of
from pipeline.library_rows import LibraryRows
from pipeline.partitions import Partition, Partitions
from pipeline.release.withheld import Withheld, WithheldList, counted
from pipeline.window.live import LIVE_SCHEMA, OFFER
from pipeline.window.table_batches import write_batches
from reporting.plans import Leaf
from tests.benches.evict_rivals import CATEGORIES, peak, policy
from tests.pipeline.evict.sql_oracle import TABLES, run

DAY = Date(2026, 11, 23)
TODAY = day_number(DAY)
FIRST_DAYS = tuple(DAY - timedelta(days=age) for age in range(1, 65))
BLOCK = 1 << 20
TAKEN_DOWN = 1000
HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


def text(codes: NDArray[Any], width: int, prefix: bytes) -> Any:
    """Return numbers as Arrow text: a prefix and so many decimal digits."""
    digits = (codes[:, None] // 10 ** np.arange(width - 1, -1, -1)) % 10 + ord("0")
    start = np.broadcast_to(np.frombuffer(prefix, np.uint8), (len(codes), len(prefix)))
    return strings(np.concatenate([start, digits.astype(np.uint8)], axis=1))


def strings(letters: NDArray[np.uint8]) -> Any:
    """Return rows of letters, (n, w), as Arrow strings."""
    offsets = np.arange(len(letters) + 1, dtype=np.int32) * np.int32(letters.shape[1])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(letters))]
    return pa.StringArray.from_buffers(len(letters), buffers[1], buffers[2])


class Files:
    """Writers of a lake's files, block by block."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.writers: dict[str, pq.ParquetWriter] = {}

    def add(self, name: str, columns: dict[str, Any] | pa.Table) -> None:
        """Append rows to a file."""
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        if name not in self.writers:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            self.writers[name] = pq.ParquetWriter(self.folder / name, table.schema, compression="zstd")
        self.writers[name].write_table(table, row_group_size=1 << 16)

    def close(self) -> None:
        """End all files."""
        for writer in self.writers.values():
            writer.close()


def write(folder: Path, rows: int, groups: int, *, with_thumbs: bool = False) -> None:
    """Write a lake: a third older than the window, a quarter of the products wholly so, 1.05 products a picture."""
    random = np.random.default_rng(9)
    beginnings = np.sort(random.integers(0, 1 << 63, rows, np.int64))
    dead = random.random(groups) < 0.25
    files = Files(folder)
    for start in range(0, rows, BLOCK):
        some = beginnings[start : start + BLOCK]
        letters = np.concatenate([some[:, None].byteswap().view(np.uint8), noise(random, len(some))], 1)
        pictures = strings(HEX[np.stack([letters >> 4, letters & 15], axis=2).reshape(len(some), 64)])
        group = (groups * random.random(len(some)) ** 2).astype(np.int64)
        old = dead[group] | (random.random(len(some)) < 0.1)
        age = np.where(old, random.integers(60, 1500, len(some)), random.integers(0, 60, len(some)))
        block = {"pictures": pictures, "group": group, "seen": (TODAY - age).astype(np.int32), "place": start}
        _add_block(files, random, block, groups, with_thumbs)
    files.close()


def noise(random: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """Return what follows the first eight bytes of a hash."""
    return random.integers(0, 256, (count, 24), np.uint8)


def _add_block(
    files: Files, random: np.random.Generator, block: dict[str, Any], groups: int, with_thumbs: bool
) -> None:
    pictures, group, seen = block["pictures"], block["group"], block["seen"]
    count = len(pictures)
    days = pa.array(seen).cast(pa.date32())
    counts = 1 + (random.random(count) < 0.05)
    edges = np.concatenate([[0], np.cumsum(counts)])
    rows = np.repeat(np.arange(count), counts)
    offered = group[rows]
    second = np.flatnonzero(np.diff(rows, prepend=-1) == 0)
    offered[second] = random.integers(0, groups, len(second))
    number = block["place"] + rows
    offers = {
        "sku": text(number, 8, b"sku-"),
        "merchant": text(number % 500, 3, b"merchant-"),
        "title": text(number % 997, 3, b"A thing that is sold, number "),
        "group": text(offered, 7, b"product-"),
        "item": text(number, 8, b"item-"),
        "category": pa.array(CATEGORIES).take(pa.array(offered % len(CATEGORIES))),
        "seen": days.take(pa.array(rows)),
    }
    struct = pa.StructArray.from_arrays([offers[field.name] for field in OFFER], fields=list(OFFER))
    first = (block["place"] + np.arange(count)) % len(FIRST_DAYS)
    firsts = pa.array(FIRST_DAYS, pa.date32()).take(pa.array(first))
    thumbs = random.integers(0, 256, (count, 192), np.uint8) if with_thumbs else None
    columns = {
        "picture": pictures,
        "item": offers["item"].take(pa.array(edges[:-1])),
        "group": text(group, 7, b"product-"),
        "title": offers["title"].take(pa.array(edges[:-1])),
        "first_day": firsts,
        "last_seen": days,
        "offers": pa.ListArray.from_arrays(pa.array(edges, pa.int32()), struct),
        "dhash": pa.array(random.integers(0, 1 << 63, count, np.int64).astype(np.uint64)),
        "thumb": pa.nulls(count, pa.binary(192))
        if thumbs is None
        else pa.FixedSizeBinaryArray.from_buffers(pa.binary(192), count, [None, pa.py_buffer(thumbs)]),
        "pack": text(first, 3, b"download/2026-01-01/all/package-"),
        "offset": pa.array(block["place"] * 50_000 + 50_000 * np.arange(count)),
        "bytes": pa.array(random.integers(20_000, 80_000, count)),
    }
    files.add("dedup/live.parquet", pa.table(columns, schema=LIVE_SCHEMA))
    mixed = random.permutation(count)
    mixed = mixed[random.random(count)[mixed] < 0.98]
    for day in range(len(FIRST_DAYS)):
        mine = pictures.take(pa.array(mixed[first[mixed] == day]))
        files.add(f"index/{day}/items.parquet", {"picture": mine})
    gone = random.random(count)[rows] < 0.03
    since = pa.array(TODAY - random.integers(0, 30, len(rows)).astype(np.int32), mask=~gone).cast(pa.date32())
    files.add("recheck/checks.parquet", {"picture": pictures.take(pa.array(rows)), "gone_since": since})
    marked = random.random(count) < 0.02
    before = pa.array(TODAY - random.integers(1, 3, count).astype(np.int32), mask=~marked).cast(pa.date32())
    files.add("evict/eviction.parquet", {"picture": pictures, "marked_on": before})


class Layout:
    """The lake's partitions, as a plan would see them."""

    def of_task(self, task: str, day: Date) -> list[Partition]:
        """Return one partition of index and embed for each day."""
        return [part(task, f"{task}/{FIRST_DAYS.index(day)}")] if task in ("index", "embed") else []


def part(task: str, folder: str) -> Partition:
    """Return a partition of a folder."""
    return Partition(Leaf(task, DAY, "all", ""), "plan", 1, folder)


def hidden(library: LibraryRows) -> WithheldList:
    """Take some pictures down."""
    chosen = library.pictures.take(pa.array(np.linspace(0, len(library.pictures) - 1, TAKEN_DOWN).astype(np.int64)))
    at = datetime(2026, 11, 1, tzinfo=UTC)
    names = chosen.unique().to_pylist()
    return counted(Withheld(kind="picture", value=name, by="a", why="b", at=at) for name in names)


def ours(folder: Path) -> dict[str, Any]:
    """Decide and write the audit; sum up."""
    lake = Lake(str(folder))
    library = LibraryRows(lake, [part("dedup", "dedup")])
    rules = policy(len(library.pictures))
    live = library.deciding()
    loaded, size = peak(), live.nbytes
    layout = cast("Partitions", Layout())
    marked, checked = [part("evict", "evict")], [part("recheck", "recheck")]
    facts = facts_of(lake, layout, live, DAY, marked=marked, checked=checked, withheld=hidden(library))
    known = peak()
    stored, names = stored_of(live, rules, DAY, facts)
    del live, facts
    put = peak()
    decided = decide(stored, rules, TODAY)
    done = peak()
    write_batches(lake, "ours.parquet", audit_schema(), audit_blocks(stored, decided, names))
    summary = plan_summary(stored, decided, names, rules, DAY, days=0)
    steps = {"read": loaded, "facts": known, "stored": put, "decided": done}
    return {"groups": summary.groups, "live": size, "steps": steps, **_said(decided)}


def task(folder: Path) -> dict[str, Any]:
    """Do what the task does, from its input to its two outputs and the digests of its books."""
    lake = Lake(str(folder))
    library = LibraryRows(lake, [part("dedup", "dedup")])
    hashes = item_hashes(library.pictures)
    layout = cast("Partitions", Layout())
    found = decide_day(
        lake,
        layout,
        library,
        DAY,
        policy(len(library.pictures)),
        marked=[part("evict", "evict")],
        checked=[part("recheck", "recheck")],
        hidden=hidden(library),
    )
    decided_peak, spent = peak(), time.process_time()
    blocks = audit_blocks(found.stored, found.decisions, found.names)
    write_batches(lake, "task.parquet", audit_schema(), blocks)
    keep = found.names.by_live_row(found.decisions.keep)
    left = (table.filter(pa.array(keep[at : at + table.num_rows])) for at, table in library.batches())
    write_batches(lake, "library.parquet", library.schema, left)
    kept = digest_of(hashes[keep])
    return {"kept": kept.count, "decided_peak": decided_peak, "decided_cpu": spent, **_said(found.decisions)}


def _said(decided: Decisions) -> dict[str, Any]:
    kinds, counts = np.unique(decided.reason, return_counts=True)
    sums = [
        int(decided.rank.sum(dtype=np.int64)),
        int(decided.better.sum()),
        int(decided.marked_on.sum(dtype=np.int64)),
    ]
    return {"reasons": dict(zip(map(str, kinds.tolist()), counts.tolist(), strict=True)), "sums": sums}


READ = """
CREATE TABLE named AS SELECT row_number() OVER (ORDER BY picture) - 1 AS id, picture, last_seen, offers
FROM 'dedup/live.parquet';
CREATE TABLE shown AS SELECT DISTINCT id, unnest(offers).group AS name FROM named;
CREATE TABLE grouped AS SELECT name, row_number() OVER (ORDER BY name) - 1 AS grp
FROM (SELECT DISTINCT name FROM shown);
INSERT INTO member SELECT id, grp FROM shown JOIN grouped USING (name);
INSERT INTO picture
WITH gone AS (SELECT picture, max(gone_since) AS gone_since FROM 'recheck/checks.parquet'
  GROUP BY picture HAVING count(*) = count(gone_since)),
marks AS (SELECT picture, marked_on FROM 'evict/eviction.parquet' WHERE marked_on IS NOT NULL),
held AS (SELECT DISTINCT picture FROM 'index/*/items.parquet'),
shares AS (SELECT id, 1 / count(*) AS share FROM shown GROUP BY id)
SELECT n.id, n.last_seen - DATE '1970-01-01', coalesce(g.gone_since - DATE '1970-01-01', $never),
  coalesce(m.marked_on - DATE '1970-01-01', $never), d.picture IS NOT NULL, false, h.picture IS NOT NULL,
  ((pow(0.5::DOUBLE, greatest($day - (n.last_seen - DATE '1970-01-01'), 0) / 90) + 0.5 * s.share) / 1.5)::FLOAT,
  b.category
FROM named n LEFT JOIN gone g USING (picture) LEFT JOIN marks m USING (picture) LEFT JOIN held h USING (picture)
LEFT JOIN down d USING (picture) JOIN shares s ON s.id = n.id JOIN budget b ON b.name = n.offers[1].category;
"""
WRITE = """
COPY (
  WITH kept AS (SELECT m.grp, count(*) AS group_kept FROM member m JOIN decided d USING (id)
    WHERE d.rank > 0 AND d.reason < 10 GROUP BY m.grp)
  SELECT n.picture, b.name AS category, r.label AS reason, w.label AS why, d.reason < 10 AS keep, d.rank,
    g.name AS "group", coalesce(k.group_kept, 0)::INTEGER AS group_kept, o.picture AS better, n.last_seen, p.value,
    CASE WHEN d.marked_on <> $never THEN DATE '1970-01-01' + d.marked_on END AS marked_on
  FROM decided d JOIN named n USING (id) JOIN picture p USING (id) JOIN budget b ON b.category = d.category
  JOIN labels r ON r.number = d.reason JOIN labels w ON w.number = d.why LEFT JOIN grouped g ON g.grp = d.grp
  LEFT JOIN kept k ON k.grp = d.grp LEFT JOIN named o ON o.id = d.better ORDER BY d.id
) TO 'rival.parquet' (COMPRESSION zstd)
"""


def rival(folder: Path) -> dict[str, Any]:
    """Do the same in SQL."""
    rows = pq.ParquetFile(folder / "dedup/live.parquet").metadata.num_rows
    rules = policy(rows)
    names = hidden(LibraryRows(Lake(str(folder)), [part("dedup", "dedup")])).pictures
    with duckdb.connect() as connection:
        connection.execute(f"SET file_search_path = '{folder}'")
        connection.execute(TABLES)
        connection.execute("CREATE TABLE down (picture VARCHAR); CREATE TABLE labels (number INTEGER, label VARCHAR)")
        connection.executemany("INSERT INTO down VALUES (?)", [(name,) for name in sorted(names)])
        connection.executemany("INSERT INTO labels VALUES (?, ?)", [(int(one), one.label) for one in Reason])
        limits = [(number, name, rules.budget_of(name)) for number, name in enumerate(CATEGORIES)]
        connection.executemany("INSERT INTO budget VALUES (?, ?, ?)", limits)
        for statement in READ.strip().split(";\n"):
            known = {"never": int(NEVER), "day": TODAY}
            connection.execute(statement, {key: one for key, one in known.items() if f"${key}" in statement})
        run(connection, rules, TODAY)
        connection.execute(WRITE.replace("'rival.parquet'", f"'{folder / 'rival.parquet'}'"), {"never": int(NEVER)})
        counts = connection.execute("SELECT reason::VARCHAR, count(*) FROM decided GROUP BY ALL").fetchall()
        sums = connection.execute("SELECT sum(rank), sum(better), sum(marked_on::BIGINT) FROM decided").fetchall()[0]
        query = "SELECT count(DISTINCT grp) FROM ranked"
        groups = connection.execute(query).fetchall()[0][0]
    reasons = dict(sorted(counts, key=lambda pair: int(pair[0])))
    return {"groups": groups, "reasons": reasons, "sums": list(sums)}


def measured(side: Callable[[Path], dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Run one side; CPU seconds of all threads, wall seconds, the most memory resident."""
    wall, cpu = time.monotonic(), time.process_time()
    found = side(folder)
    spent = {"cpu": time.process_time() - cpu, "wall": time.monotonic() - wall, "peak": peak()}
    return {**spent, **found}


if __name__ == "__main__":
    name, where = sys.argv[1:]
    print(json.dumps(measured({"ours": ours, "rival": rival, "task": task}[name], Path(where))))

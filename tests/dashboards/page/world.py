"""Five weeks of a small pipeline in SQLite.

A repair of one package is promoted on the newest day, a break and a shadow plan are on the day before, and two of the
older days were done again as a whole, one of them twice.
"""

from __future__ import annotations

import random
import sqlite3
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from pathlib import Path
from typing import Any

from reporting.effective import leaf_of
from reporting.plans import Cover, Plan, PlanKind
from reporting.record import Consumed, TaskRecord
from reporting.stores.sql import SqlStore
from reporting.testing import make_plan, make_record
from reporting.topology import Topology

NEWEST = Date(2026, 10, 26)
BEFORE = NEWEST - timedelta(days=1)
DAYS = (*(NEWEST - timedelta(weeks=back) for back in (4, 3, 2, 1)), BEFORE, NEWEST)
NOW = datetime(2026, 10, 28, 12, tzinfo=UTC)
REPAIR = "repair of 0002"
CATEGORIES, PACKAGES = ("bags & shoes", "hats"), ("0001", "0002")
COLUMNS = ("input", "output", "produced", "dropped_total", "failed_total")

TOPOLOGY = Topology.model_validate(
    {
        "tasks": {
            "collect": {"unit_in": "row", "unit_out": "row", "deadline": "02:00", "drop_reasons": ["twice"]},
            "download": {
                "unit_in": "row",
                "unit_out": "picture",
                "grain": ["subinstance"],
                "drop_reasons": ["dead_link", "too_large"],
            },
            "split": {"unit_in": "picture", "unit_out": "object", "grain": ["category", "subinstance"],
                      "drop_reasons": ["blurred"]},
            "index": {"unit_in": "object", "unit_out": "vector", "grain": ["category"]},
            "merge": {"unit_in": "vector", "unit_out": "vector", "grain": ["category"]},
            "release": {"unit_in": "index", "unit_out": "index"},
        },
        "edges": [
            {"from": "collect", "to": "download"},
            {"from": "download", "to": "split", "ratio": [0, 3]},
            {"from": "split", "to": "index"},
            {"from": "index", "to": "merge", "law": "window"},
            {"from": "merge", "to": "release", "law": "after"},
        ],
    }
)  # fmt: skip


def fill(path: Path) -> SqlStore:
    """Return a store with the world; `path` is its file."""
    store = SqlStore.open(f"sqlite:///{path}", ships=False)
    for day in DAYS:
        put(store, daily(day), records(day, f"daily {day}", seed=day.toordinal()))
    for again, days, at in (("redo", DAYS[2:4], 1), ("redo 2", DAYS[3:4], 2)):
        made = datetime(2026, 10, 20, at, tzinfo=UTC)
        times = {"created_at": made, "completed_at": made, "promoted_at": made}
        plan = make_plan(again, PlanKind.BACKFILL, dates=days, **times)
        put(store, plan, [one for day in days for one in records(day, again, seed=at + day.toordinal())])
    shadow = make_plan("shadow", PlanKind.SHADOW, dates=(BEFORE,), completed_at=NOW)
    put(store, shadow, records(BEFORE, "shadow", seed=7))
    redone = records(NEWEST, REPAIR, seed=NEWEST.toordinal())
    put(store, repair(), [one for one in redone if covers_repair(one.key.task, one.key.subinstance)])
    return store


def daily(day: Date, **changes: Any) -> Plan:
    """Return the complete daily plan of a day, done in the night after it."""
    made = datetime(day.year, day.month, day.day, 23, tzinfo=UTC)
    times = {"created_at": made, "completed_at": made + timedelta(hours=2)}
    return make_plan(f"daily {day}", dates=(day,), **{**times, **changes})


def repair() -> Plan:
    """Return the promoted repair of one package, with what is downstream of it."""
    made = datetime(2026, 10, 27, 8, tzinfo=UTC)
    return make_plan(
        REPAIR,
        PlanKind.RERUN,
        dates=(NEWEST,),
        created_at=made,
        completed_at=made,
        promoted_at=made,
        supersedes=f"daily {NEWEST}",
        cover=(
            Cover(task="download", subinstances=("0002",)),
            Cover(task="split", subinstances=("0002",)),
            Cover(task="index"),
            Cover(task="merge"),
            Cover(task="release"),
        ),
    )


def covers_repair(task: str, subinstance: str) -> bool:
    """Tell whether the repair redoes a leaf, in the words of the test."""
    return task in ("index", "merge", "release") or (task in ("download", "split") and subinstance == "0002")


def put(store: SqlStore, plan: Plan, found: list[TaskRecord], *, missing: int = 0) -> None:
    """Store a plan with its manifest and all but the last few of its records."""
    with store.begin() as work:
        work.put_plan(plan)
        work.expect(plan.planid, [leaf_of(one.key) for one in found])
        for one in found[: len(found) - missing]:
            work.put_record(one)


def records(day: Date, planid: str, *, seed: int) -> list[TaskRecord]:
    """Return the books of a day, closed, but for two objects that `index` does not take in on the day before."""
    chance = random.Random(seed)
    at = datetime(day.year, day.month, day.day, 23, 30, tzinfo=UTC)

    def make(task: str, taken: int, **fields: Any) -> TaskRecord:
        return make_record(task, date=day, planid=planid, input=taken, reported_at=at, **fields)

    rows = 1500 + chance.randrange(800)
    found = [make("collect", rows, dropped={"twice": chance.randrange(9)})]
    left = found[0].produced
    split: dict[str, int] = dict.fromkeys(CATEGORIES, 0)
    for package in PACKAGES:
        taken = left // 2 if package == PACKAGES[0] else left - left // 2
        dropped = {"dead_link": chance.randrange(40), "too_large": chance.randrange(4)}
        failed = {"Timeout": 3} if package == "0002" and planid.startswith("daily") and day == NEWEST else {}
        load = make("download", taken, subinstance=package, dropped=dropped, failed=failed)
        found.append(load)
        rest = load.produced
        for category in CATEGORIES:
            mine = rest // 2 if category == CATEGORIES[0] else load.produced - load.produced // 2
            objects = mine + chance.randrange(20)
            one = make("split", mine, subinstance=package, category=category, dropped={"blurred": 1}, produced=objects)
            found.append(one)
            split[category] += objects
    for category in CATEGORIES:
        lost = 2 if day == BEFORE and category == "hats" else 0
        taken = split[category] - lost
        found.append(make("index", taken, category=category))
        read = Consumed(task="index", date=day, planid=planid, count=taken)
        found.append(make("merge", taken, category=category, consumed=(read,), metrics={"bytes": 1.5}))
    found.append(make("release", 2))
    return found


class Oracle:
    """Sums by SQL of its own, over the file."""

    COUNTS = (
        "r.planid = CASE WHEN r.date = '2026-10-12' THEN 'redo' WHEN r.date = '2026-10-19' THEN 'redo 2' "
        "WHEN r.date = '2026-10-26' AND (r.task IN ('index', 'merge', 'release') OR "
        "(r.task IN ('download', 'split') AND r.subinstance = '0002')) "
        "THEN 'repair of 0002' ELSE 'daily ' || r.date END"
    )
    """Which plan counts for a leaf, as the world was made: not as any code of ours decides it."""

    def __init__(self, path: Path):
        self.connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)

    def rows(self, what: str, rest: str = "", where: str | None = None) -> list[Any]:
        """Return the rows of a statement over the records `r` that count."""
        return self.connection.execute(f"SELECT {what} FROM record r{rest} WHERE {where or self.COUNTS}").fetchall()

    def funnel(self, where: str, prefix: str = "funnel") -> dict[str, float | None]:
        """Return every figure of a funnel."""
        found: dict[str, float | None] = {}
        sums = ", ".join(f"SUM({name})" for name in COLUMNS)
        for task, taken, output, produced, dropped, _ in self.rows(f"task, {sums}", "", f"{where} GROUP BY task"):
            found |= {
                f"{prefix}.{task}.{name}": value
                for name, value in {
                    "input": taken,
                    "output": output,
                    "produced": produced,
                    "dropped": dropped,
                    "kept": output / taken if taken else None,
                }.items()
            }
        for field in ("dropped", "failed"):
            each = f", json_each(r.body, '$.{field}') e"
            for task, name, count in self.rows("task, e.key, SUM(e.value)", each, f"{where} GROUP BY task, e.key"):
                if count:
                    found[f"{prefix}.{task}.{field}.{name}"] = count
        return found

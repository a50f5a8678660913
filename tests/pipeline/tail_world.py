"""A category's days without a pipeline around them: what index and evict leave is made up, tail and merge are run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import yaml
from sqlalchemy import insert

from pipeline.index.quantizer import fingerprint, from_bytes
from pipeline.index.shard import build_shard, describe_shard
from pipeline.index.shard_folder import write_shard
from pipeline.lake import Lake
from pipeline.partitions import Partition
from pipeline.project import default_topology
from pipeline.shards import shards_root
from pipeline.tasks import merge, tail
from pipeline.window.live import LIVE_SCHEMA
from reporting import tables as t
from reporting.balance import Books, balance
from reporting.booking import Booking
from reporting.key import RunKey
from reporting.plans import Leaf, PlanKind
from reporting.record import Consumed, TaskRecord
from reporting.stores.sql import SqlStore
from reporting.testing import make_plan, make_record
from reporting.topology import Topology
from tests.pipeline.shard_parts import CATEGORY, SPACE, quantizer, unit

FIRST = Date(2026, 1, 1)
_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
_VECTORS = unit(4096, seed=7)
_OFFER = {"sku": "s", "merchant": "m", "title": "", "group": "g", "item": "", "category": "", "seen": FIRST}
_OF_ALL: dict[str, Any] = {"group": "g", "title": "", "offers": [_OFFER], "dhash": 0, "thumb": bytes(192), "pack": ""}
_OF_ALL |= {"offset": 0, "bytes": 0}
_QUANTIZERS = {1: quantizer(), 2: quantizer(seed=5)}
_TASKS = ("index", "evict", "tail", "merge")


def day_at(number: int) -> Date:
    """Return day 0, 1, 2, ..."""
    return FIRST + timedelta(days=number)


def graph(*, with_tail: bool = True) -> Topology:
    """Return the part of the shipped graph that the tail is about."""
    whole = Topology.model_validate(yaml.safe_load(default_topology()))
    names = [name for name in _TASKS if with_tail or name != "tail"]
    edges = [edge for edge in whole.edges if edge.source in names and edge.target in names]
    return Topology(tasks={name: whole.tasks[name] for name in names}, edges=tuple(edges))


def note_quantizers(store: SqlStore) -> None:
    """Let a store know the quantizers that days here are built on: that of every day, and another training."""
    rows = [
        {
            "category": CATEGORY,
            "space_id": SPACE,
            "codec": "flat",
            "revision": revision,
            "fingerprint": fingerprint(from_bytes(trained, where="test")),
            "path": f"quantizer-{revision}.faiss",
            "trained_on": "test",
            "created_at": "2026-01-01",
        }
        for revision, trained in _QUANTIZERS.items()
    ]
    with store.begin() as work:
        work.connection.execute(insert(t.quantizer), rows)


@dataclass
class TailWorld:
    """Partitions and records of one category, as far as they have come."""

    folder: Path
    store: SqlStore
    topology: Topology = field(default_factory=graph)
    parts: dict[tuple[str, Date], Partition] = field(default_factory=dict)
    records: dict[RunKey, TaskRecord] = field(default_factory=dict)
    reruns: dict[str, Date] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for revision, trained in _QUANTIZERS.items():
            (self.folder / f"quantizer-{revision}.faiss").write_bytes(trained)
        self.lake = Lake(str(self.folder))

    def of_task(self, task: str, day: Date) -> list[Partition]:
        """As `pipeline.partitions.Partitions.of_task`."""
        return [self.parts[task, day]] if (task, day) in self.parts else []

    def days_before(self, task: str, day: Date, count: int, category: str) -> list[Date]:
        """As `pipeline.partitions.Partitions.days_before`."""
        return sorted((one for name, one in self.parts if name == task and one < day), reverse=True)[:count]

    def index(self, day: Date, pictures: Sequence[int], *, turn: int = 0, trained: bytes | None = None) -> None:
        """Build a day's shard; picture n shows object n. With another turn its vectors are others, as a re-run's."""
        part = self._part("index", day, f"daily-{day}" if not turn else f"rerun-{day}-{turn}")
        names = [str(n) for n in pictures]
        columns = {"id": pa.array(pictures, pa.int64()), "item": names, "picture": names, "object": names}
        self.lake.write_table(
            f"{part.folder}/items.parquet", pa.table({name: pa.array(values) for name, values in columns.items()})
        )
        ids = np.array(sorted(pictures), np.int64)
        vectors = _VECTORS[(ids * 31 + turn * 17 + day.toordinal()) % len(_VECTORS)]
        data = build_shard(trained or quantizer(), ids, vectors)
        manifest = describe_shard(data, category=CATEGORY, date=day, space_id=SPACE)
        write_shard(shards_root(self.lake), data, manifest)
        with self.lake.create(f"{part.folder}/shard.json") as file:
            file.write(manifest.model_dump_json().encode())
        self.parts["index", day] = part
        self._note(make_record("index", date=day, category=CATEGORY, planid=part.planid, input=len(pictures)))

    def library(self, day: Date, stored: Mapping[int, Date]) -> None:
        """Write what is stored after a day: pictures with the day each is stored as of."""
        names, days = [str(n) for n in stored], list(stored.values())
        known: dict[str, list[Any]] = {"picture": names, "item": names, "first_day": days, "last_seen": days}
        known |= {name: [value] * len(names) for name, value in _OF_ALL.items()}
        columns = [pa.array(known[column.name], column.type) for column in LIVE_SCHEMA]
        part = self._part("evict", day, f"daily-{day}")
        self.lake.write_table(f"{part.folder}/library.parquet", pa.table(columns, schema=LIVE_SCHEMA))
        self.parts["evict", day] = part

    def tail(self, day: Date, window_days: int, compact_days: int) -> TaskRecord:
        """Run the task tail of a day."""
        return self._run("tail", day, tail.Settings(window_days=window_days, compact_days=compact_days))

    def merge(self, day: Date, window_days: int) -> TaskRecord:
        """Run the task merge of a day."""
        return self._run("merge", day, merge.Settings(window_days=window_days))

    def merged(self, day: Date) -> dict[str, Any]:
        """Return what the merge of a day says of its index."""
        found: dict[str, Any] = json.loads(self.lake.read_bytes(f"{self.parts['merge', day].folder}/merge.json"))
        return found

    def unexplained(self) -> list[str]:
        """Return where the books do not close."""
        days = sorted({key.date for key in self.records})
        plans = [
            make_plan(f"daily-{day}", dates=(day,), created_at=_MOMENT, completed_at=_MOMENT + timedelta(hours=1))
            for day in days
        ]
        plans += [
            make_plan(name, PlanKind.RERUN, dates=(day,), created_at=_MOMENT, promoted_at=_MOMENT + timedelta(hours=2))
            for name, day in self.reruns.items()
        ]
        books = Books(records=list(self.records.values()), plans=plans, expected={})
        return [f"{one.date} {one.where}" for one in balance(self.topology, books, all_plans=True).residuals]

    def _part(self, task: str, day: Date, planid: str) -> Partition:
        if planid.startswith("rerun"):
            self.reruns[planid] = day
        return Partition(Leaf(task, day, CATEGORY), planid, 1, f"{task}/{day}/{planid}")

    def _run(self, task: str, day: Date, settings: Any) -> TaskRecord:
        part = self._part(task, day, f"daily-{day}")
        leaf = _Leaf(self, part)
        {"tail": tail, "merge": merge}[task].run(leaf, settings)
        self.parts[task, day] = part
        record = leaf.books.close(finished_at=_MOMENT)
        self._note(record)
        return record

    def _note(self, record: TaskRecord) -> None:
        self.records[record.key] = record


class _Leaf:
    """What tail and merge use of `pipeline.tasks.context.LeafContext`."""

    def __init__(self, world: TailWorld, part: Partition) -> None:
        self.key = RunKey(task=part.leaf.task, date=part.leaf.date, category=CATEGORY, planid=part.planid)
        self.world, self.store, self.topology, self.lake = world, world.store, world.topology, world.lake
        self.partitions, self.folder = world, part.folder
        self.claim = SimpleNamespace(attempt=1)
        self.books = Booking(self.key, started_at=_MOMENT, rules=world.topology.task(part.leaf.task))

    def day_split(self) -> Any:
        return SimpleNamespace(categories=(CATEGORY,))

    def remember(self, parts: Sequence[Partition]) -> None:
        self.reads = [*getattr(self, "reads", []), *parts]

    def consume(self, task: str, parts: Sequence[Partition]) -> None:
        for part in parts:
            key = RunKey(task=task, date=part.leaf.date, category=CATEGORY, planid=part.planid)
            count = self.world.records[key].produced
            self.books.consume(Consumed(task=task, date=part.leaf.date, planid=part.planid, count=count))

    def write(self, name: str, table: pa.Table) -> None:
        self.lake.write_table(f"{self.folder}/{name}.parquet", table)

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        with self.lake.create(f"{self.folder}/{name}") as file:
            yield file

"""What a task sees of the world: its leaf, its inputs, its books and a place for its output."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date as Date
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from pipeline.instances import Claim
from pipeline.lake import Lake
from pipeline.partitions import Partition, Partitions
from pipeline.planner import Split, booked_leaves, read_split
from reporting.booking import Booking
from reporting.key import ALL, RunKey
from reporting.plans import Leaf, Plan
from reporting.record import Consumed, TaskRecord
from reporting.stores.base import RecordQuery
from reporting.stores.sql import SqlStore
from reporting.topology import Topology
from reporting.verdict import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from sqlalchemy import Connection


class Judgement(Protocol):
    """What a judge answers."""

    @property
    def verdict(self) -> Verdict:
        """The decision with its evidence."""

    @property
    def queries(self) -> list[str]:
        """Ids of the queries asked."""

    @property
    def unanswered(self) -> list[str]:
        """Those that got no answer."""

    @property
    def files(self) -> Mapping[str, bytes]:
        """The gate's outputs by name: verdict.json, report.html, ..."""


class Services(Protocol):
    """What tasks and workers need of the other folders; handed in by the composition root."""

    def held(self, connection: Connection, key: RunKey, redone: Callable[[], Collection[Date]]) -> str | None:
        """Return which incident a unit of work has to wait for, and what lets it go on; None: it may run.

        Args:
            connection: In whose transaction to ask.
            key: The unit of work.
            redone: Answers the days of its plan; only asked where there is something to wait for.
        """

    def judge(self, candidate: Any, settings: Any, folder: Path | None = None) -> Judgement:
        """Decide whether a candidate's indexes may be released; the files are to lie in `folder`, where it is local."""


class LeafContext:
    """One attempt of one leaf. A task reads through it, books in it and writes under it."""

    def __init__(
        self,
        claimed: Claim,
        plan: Plan,
        *,
        store: SqlStore,
        lake: Lake,
        topology: Topology,
        services: Services,
        clock: Callable[[], datetime],
    ):
        self.claim = claimed
        self.key = claimed.key
        self.plan = plan
        self.store = store
        self.lake = lake
        self.topology = topology
        self.services = services
        self.folder = lake.attempt_folder(claimed.key, claimed.attempt, claimed.token)
        self.partitions = Partitions(store, topology, plan)
        self.split: Split | None = None
        self.built_with: dict[str, str] = {}
        self.reads: list[list[str | int]] = []
        self.verdict: Verdict | None = None
        self._clock = clock
        self._started_at = clock()
        self._books: dict[str, Booking] = {}
        self._consumed: list[Consumed] = []

    @property
    def books(self) -> Booking:
        """The books of the leaf itself."""
        return self.books_of(self.key.category)

    def books_of(self, category: str) -> Booking:
        """Return the books of one category, for a task that fans out into several."""
        if category not in self._books:
            key = self.key.model_copy(update={"category": category})
            rules = self.topology.task(key.task)
            self._books[category] = Booking(key, started_at=self._started_at, rules=rules, attempt=self.claim.attempt)
        return self._books[category]

    def day_split(self, day: Date | None = None) -> Split:
        """Return the sealed split of the plan's day (the effective plan's, for a scoped repair)."""
        split = read_split(self.store.split_text(self.plan.planid, day or self.key.date))
        assert split is not None, f"{self.key}: the day is not sealed"
        return split

    def inputs(self, task: str) -> list[Partition]:
        """Return the upstream partitions of this leaf, remembered as read and booked as consumed."""
        found = self.partitions.upstream(task, self.key)
        self.remember(found)
        self.consume(task, found)
        return found

    def remember(self, partitions: Sequence[Partition]) -> None:
        """Note that partitions were read, so that a newer one makes this output stale."""
        self.reads += [partition.read_as() for partition in partitions]

    def consume(self, task: str, partitions: Sequence[Partition]) -> None:
        """Book which plans' partitions were read, with the number of items they handed on."""
        fan_out = "category" in self.topology.task(task).grain and "category" in self.topology.task(self.key.task).grain
        categories = (self.key.category,) if fan_out and self.key.category != ALL else None
        for (day, planid), members in _by_day_and_plan(partitions).items():
            records = self.store.records(
                RecordQuery(tasks=(task,), date_from=day, date_to=day, planids=(planid,), categories=categories)
            )
            subs = {partition.leaf.subinstance for partition in members}
            count = sum(r.produced for r in records if r.key.subinstance in subs)
            self._consumed.append(Consumed(task=task, date=day, planid=planid, count=count))

    def read(self, task: str, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return one file of every upstream partition of a task, concatenated in leaf order."""
        import pyarrow as pa

        return pa.concat_tables(
            [self.lake.read_table(f"{part.folder}/{name}.parquet", columns) for part in self.inputs(task)]
        )

    def packages_of(self, task: str) -> dict[str, pa.Array]:
        """Return the items of every upstream package, by package: where a joined day is divided again."""
        return {
            part.leaf.subinstance: self.lake.read_table(f"{part.folder}/items.parquet", ["item"])[
                "item"
            ].combine_chunks()
            for part in self.partitions.upstream(task, self.key)
        }

    def write(self, name: str, table: pa.Table) -> None:
        """Write one Parquet file of this attempt's output."""
        self.lake.write_table(f"{self.folder}/{name}.parquet", table)

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """Open one raw file of this attempt's output for writing."""
        with self.lake.create(f"{self.folder}/{name}") as file:
            yield file

    def close_books(self, error: BaseException | None = None) -> list[TaskRecord]:
        """Return the records of this attempt; a failed fan-out books a failure for every leaf it owed."""
        if error is not None and not self._books:
            for leaf in self._owed():
                self.books_of(leaf.category)
        # Taken out, because an attempt whose commit fails closes its books a second time, as failed.
        read, self._consumed = self._consumed, []
        for category, books in self._books.items():
            for consumed in read:
                # One leaf of a fan-out took only its own share of what was read.
                share = consumed if category == self.key.category else _share(consumed, books.input_count)
                books.consume(share)
        finished = self._clock()
        return [books.close(finished_at=finished, error=error) for _, books in sorted(self._books.items())]

    def _owed(self) -> list[Leaf]:
        split = read_split(self.store.split_text(self.plan.planid, self.key.date))
        leaves = booked_leaves(self.topology, self.key.task, self.key.date, split)
        mine = [
            leaf
            for leaf in leaves
            if leaf.subinstance == self.key.subinstance and self.key.category in (leaf.category, ALL)
        ]
        return mine or [Leaf(self.key.task, self.key.date, self.key.category, self.key.subinstance)]


def _share(consumed: Consumed, count: int) -> Consumed:
    return consumed.model_copy(update={"count": count})


def _by_day_and_plan(partitions: Sequence[Partition]) -> dict[tuple[Date, str], list[Partition]]:
    groups: dict[tuple[Date, str], list[Partition]] = {}
    for partition in partitions:
        groups.setdefault((partition.leaf.date, partition.planid), []).append(partition)
    return groups

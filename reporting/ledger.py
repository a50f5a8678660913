"""Gather the books for the balance from a store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date as Date
from typing import Protocol

from reporting.balance import Books
from reporting.plans import Leaf, Plan
from reporting.record import TaskRecord
from reporting.stores.base import RecordQuery
from reporting.topology import Law, Topology


class BookReader(Protocol):
    """What the books are read from: any store is one."""

    def plans(self, date_from: Date | None = None, date_to: Date | None = None) -> Sequence[Plan]:
        """See `RecordStore.plans`."""

    def records(self, query: RecordQuery) -> Sequence[TaskRecord]:
        """See `RecordStore.records`."""

    def expected(self, planid: str) -> set[Leaf]:
        """See `RecordStore.expected`."""


def gather_books(store: BookReader, topology: Topology, date_from: Date, date_to: Date) -> Books:
    """Read the records, plans and manifests of some days, and the records of other days that they consumed."""
    plans = store.plans(date_from, date_to)
    records = store.records(RecordQuery(date_from=date_from, date_to=date_to))
    window = {edge.target for edge in topology.edges if edge.law is Law.WINDOW}
    wanted = {
        (consumed.task, consumed.date, consumed.planid)
        for record in records
        if record.key.task in window
        for consumed in record.consumed
        if not date_from <= consumed.date <= date_to
    }
    consumed = [
        record
        for task, day, planid in sorted(wanted)
        for record in store.records(RecordQuery(tasks=(task,), date_from=day, date_to=day, planids=(planid,)))
    ]
    # Leaves of days that were not asked for would seem to be owed: their records are not among those read.
    expected = {
        plan.planid: {leaf for leaf in store.expected(plan.planid) if date_from <= leaf.date <= date_to}
        for plan in plans
    }
    return Books(records=records, plans=plans, expected=expected, consumed=consumed)

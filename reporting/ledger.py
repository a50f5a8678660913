"""Gather the books for the balance from a store."""

from __future__ import annotations

from datetime import date as Date

from reporting.balance import Books
from reporting.stores.base import RecordQuery, RecordStore
from reporting.topology import Law, Topology


def gather_books(store: RecordStore, topology: Topology, date_from: Date, date_to: Date) -> Books:
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

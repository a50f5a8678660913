"""Which records count: those of each leaf's effective plan."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date as Date
from datetime import datetime

from reporting.key import RunKey
from reporting.plans import Effective, Leaf, Plan, by_precedence, first_covering
from reporting.record import TaskRecord
from reporting.stores.base import RecordQuery, RecordStore


def leaf_of(key: RunKey) -> Leaf:
    """Return a key without its plan."""
    return Leaf(key.task, key.date, key.category, key.subinstance)


class EffectivePlans:
    """Answers which plan counts for a leaf, at a moment; remembers its answers."""

    def __init__(self, plans: Iterable[Plan], as_of: datetime | None = None):
        self._ranked = by_precedence(plans, as_of)
        self._known: dict[Leaf, Effective | None] = {}

    def of(self, leaf: Leaf) -> Effective | None:
        """Return the effective plan of a leaf, or None."""
        if leaf not in self._known:
            self._known[leaf] = first_covering(self._ranked, leaf)
        return self._known[leaf]

    def counts(self, key: RunKey) -> bool:
        """Tell whether a record under this key counts."""
        found = self.of(leaf_of(key))
        return found is not None and found.planid == key.planid


def effective_records(
    store: RecordStore, date_from: Date, date_to: Date, as_of: datetime | None = None
) -> list[TaskRecord]:
    """Return the records that count on some days, sorted by key."""
    effective = EffectivePlans(store.plans(date_from, date_to), as_of)
    query = RecordQuery(date_from=date_from, date_to=date_to, as_of=as_of)
    return [record for record in store.records(query) if effective.counts(record.key)]

"""What a server keeps from one request to the next: sums of days, and the days that were looked at last.

Nothing stale is shown: each time the store is asked first which days have changed, which costs a few milliseconds,
and what is kept of these is forgotten. What depends on the hour is worked out anew from what is kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import date as Date
from datetime import datetime
from typing import NamedTuple

from dashboards.page.facts import DayFacts
from dashboards.page.gather import at, read_day
from dashboards.page.rereading import Rereader
from dashboards.page.sums import Reasons, TaskSum, add_reasons, day_sums, reason_sums
from reporting.plans import Plan
from reporting.stores.sql import SqlStore
from reporting.stores.sql_changes import Mark
from reporting.topology import Topology

MOST_DAYS = 4
"""Days of which every record is kept: one of 9,000 leaves takes 60 MB."""


class _Day(NamedTuple):
    facts: DayFacts
    """With every leaf that the day owes, due or not."""
    read: frozenset[Date]
    """The days that were read for it: a window reads the records of others."""
    reader: Rereader
    has_changed: bool = False
    has_other_plans: bool = False
    """Or other manifests."""


class Kept:
    """Of one store and one task graph. Thread-safe: what one request reads, another waits for."""

    def __init__(self, store: SqlStore, topology: Topology):
        self._store, self._topology = store, topology
        self._lock = threading.Lock()
        self._mark: Mark | None = None
        self._plans: Sequence[Plan] | None = None
        self._sums: dict[Date, dict[str, TaskSum]] = {}
        self._days: OrderedDict[Date, _Day] = OrderedDict()
        self._reasons: dict[Date, Reasons] = {}

    def plans(self) -> Sequence[Plan]:
        """Return every plan, in order of creation."""
        with self._lock:
            self._forget_changed()
            return self._known_plans()

    def sums(self, first: Date, last: Date) -> dict[tuple[Date, str], TaskSum]:
        """Return what `day_sums` returns."""
        with self._lock:
            self._forget_changed()
            planned = self._planned(first, last)
            for begin, end in _runs(planned, self._sums.__contains__):
                read: dict[Date, dict[str, TaskSum]] = {day: {} for day in planned if begin <= day <= end}
                for (day, task), one in day_sums(self._store, self._known_plans(), begin, end).items():
                    read[day][task] = one
                self._sums |= read
            return {(day, task): one for day in planned for task, one in self._sums[day].items()}

    def day(self, day: Date, now: datetime) -> DayFacts:
        """Return what `gather_day` returns."""
        with self._lock:
            self._forget_changed()
            found = self._days.get(day)
            if found is None or found.has_changed:
                reader = Rereader(self._store) if found is None else found.reader
                reader.turn(manifests=found is None or found.has_other_plans)
                facts = read_day(reader, self._topology, day)
                found = _Day(facts, _read_for(facts), reader)
            self._days[day] = found
            self._days.move_to_end(day)
            while len(self._days) > MOST_DAYS:
                self._days.popitem(last=False)
            return at(found.facts, now)

    def reasons(self, first: Date, last: Date) -> Reasons:
        """Return what each task dropped for which reason, over some days."""
        with self._lock:
            self._forget_changed()
            planned = self._planned(first, last)
            for begin, end in _runs(planned, self._reasons.__contains__):
                read = reason_sums(self._store, self._known_plans(), begin, end, self._topology)
                self._reasons |= {day: read.get(day, {}) for day in planned if begin <= day <= end}
            return add_reasons(self._topology, [self._reasons[day] for day in planned])

    def _planned(self, first: Date, last: Date) -> list[Date]:
        return sorted({day for plan in self._known_plans() for day in plan.dates if first <= day <= last})

    def _known_plans(self) -> Sequence[Plan]:
        if self._plans is None:
            self._plans = self._store.plans()
        return self._plans

    def _forget_changed(self) -> None:
        """Ask before anything is read: what is written after the answer is told by the next one."""
        before = self._mark
        changed = self._store.changed_days(before)
        self._mark = changed.mark
        if before is None or before.revisions != self._mark.revisions:
            self._plans = None
        if changed.days is None:
            self._sums.clear()
            self._reasons.clear()
        for day in changed.days or ():
            self._sums.pop(day, None)
            self._reasons.pop(day, None)
        for day, found in self._days.items():
            if changed.days is None or changed.days & found.read:
                other = changed.days is None or not changed.planned.isdisjoint(found.read)
                self._days[day] = found._replace(has_changed=True, has_other_plans=found.has_other_plans or other)


def _read_for(facts: DayFacts) -> frozenset[Date]:
    return frozenset({facts.date} | {consumed.date for record in facts.records for consumed in record.consumed})


def _runs(days: Sequence[Date], is_known: Callable[[Date], bool]) -> list[tuple[Date, Date]]:
    """Return (first, last) of each row of days that are not known, so that each is one question to the database."""
    found: list[tuple[Date, Date]] = []
    before: Date | None = None
    for day in days:
        if is_known(day):
            before = None
        elif before is None:
            found.append((day, day))
            before = day
        else:
            found[-1] = (found[-1][0], day)
            before = day
    return found

"""The desk at which pages are made: it reads the store and the sources, each thing once.

A static folder has one desk; the live server takes a fresh one for each request, so that nothing it shows is stale.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import date as Date
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from dashboards.page.cards import CheckDay, Gallery, IncidentCard, LogCard, UnitCard, VerdictCard
from dashboards.page.facts import DayFacts
from dashboards.page.gather import gather_day
from dashboards.page.render import Site
from dashboards.page.sources import Sources
from dashboards.page.sums import DaySums, Reasons, add_reasons, day_sums, reason_sums
from reporting.plans import Plan
from reporting.record import TaskRecord
from reporting.stores.base import RecordQuery, RecordStore
from reporting.topology import Topology

if TYPE_CHECKING:
    from dashboards.page.kept import Kept

SHOWN_DAYS = 7
"""Days of which a static folder has pages, unless told otherwise: the newest that have a plan."""
READ_DAYS = 3
"""Days of which every record is held at a time: one of 9,000 leaves takes 60 MB."""
HEAT_DAYS = 60
"""Days back to which the overview's table goes."""


class Span(NamedTuple):
    """Some days, both included."""

    first: Date
    last: Date

    def __contains__(self, day: object) -> bool:
        return isinstance(day, Date) and self.first <= day <= self.last


class Desk:
    """Everything the pages are made from."""

    def __init__(
        self,
        store: RecordStore,
        topology: Topology,
        sources: Sources,
        now: datetime,
        first: Date | None = None,
        last: Date | None = None,
        kept: Kept | None = None,
    ):
        """Take what to read.

        Args:
            store: Records and plans.
            topology: The task graph.
            sources: What the other folders tell.
            now: When the pages are made; what is missing is late only after its deadline.
            first: First day of which a static folder has pages; None: a week of planned days.
            last: Last of them; None: the newest that has a plan.
            kept: What a server has read before, of the same store and graph; None: everything is read here.
        """
        self.store, self.topology, self.sources, self.now = store, topology, sources, now
        self._first, self._last = first, last
        self._kept = kept
        self._days: OrderedDict[Date, DayFacts] = OrderedDict()
        self.pictured: dict[Date, frozenset[tuple[str, str]]] = {}
        """(task, reason) of the galleries of the days that were asked for: other pages lead to these."""
        self._sums: dict[Span, DaySums] = {}

    @cached_property
    def plans(self) -> Sequence[Plan]:
        """Every plan, in order of creation."""
        return self.store.plans() if self._kept is None else self._kept.plans()

    @cached_property
    def days(self) -> Sequence[Date]:
        """Every day that has a plan, sorted."""
        return sorted({day for plan in self.plans for day in plan.dates})

    @cached_property
    def span(self) -> Span | None:
        """Days of which a static folder has pages; None where nothing was ever planned."""
        if not self.days:
            return None
        last = self._last or self.days[-1]
        known = [day for day in self.days if day <= last]
        first = self._first or (known[-SHOWN_DAYS:] or [last])[0]
        return Span(min(first, last), last)

    @property
    def shown_days(self) -> Sequence[Date]:
        """The planned days of the span, sorted."""
        return [] if self.span is None else [day for day in self.days if day in self.span]

    @property
    def newest(self) -> Date | None:
        """The day that the overview is about; None where there is none."""
        return self.shown_days[-1] if self.shown_days else None

    @property
    def heat_span(self) -> Span | None:
        """Days of the overview's table."""
        if self.span is None:
            return None
        return Span(min(self.span.first, self.span.last - timedelta(days=HEAT_DAYS - 1)), self.span.last)

    def day(self, day: Date) -> DayFacts:
        """Return what is known of a day."""
        found = self._days.pop(day, None)
        if found is None and self._kept is not None:
            found = self._kept.day(day, self.now)
        self._days[day] = found or gather_day(self.store, self.topology, day, self.now)
        while len(self._days) > READ_DAYS:
            self._days.popitem(last=False)
        return self._days[day]

    def records(self, plan: Plan) -> list[TaskRecord]:
        """Return the records of a plan whose tasks the graph knows, sorted by key."""
        # A server that keeps days is asked again for the same pair of plans; one of many days it would not keep.
        if all(day in self._days for day in plan.dates) or (self._kept is not None and len(plan.dates) == 1):
            read = [one for day in plan.dates for one in self.day(day).records if one.key.planid == plan.planid]
            return sorted(read, key=lambda one: one.key.parts())
        found = self.store.records(RecordQuery(planids=(plan.planid,)))
        return [one for one in found if one.key.task in self.topology.tasks]

    def sums(self, first: Date, last: Date) -> DaySums:
        """Return each task's sums of some days; what a wider span has read is not read again."""
        span = Span(first, last)
        if self._kept is not None and span not in self._sums:
            self._sums[span] = self._kept.sums(first, last)
        wider = next((known for known in self._sums if known.first <= first and last <= known.last), None)
        if wider is None:
            wide = self.heat_span
            wider = wide if wide is not None and wide.first <= first and last <= wide.last else span
            self._sums[wider] = day_sums(self.store, self.plans, *wider)
        return {key: value for key, value in self._sums[wider].items() if key[0] in span}

    def reasons(self, first: Date, last: Date) -> Reasons:
        """Return what each task dropped for which reason, over some days."""
        if self._kept is not None:
            return self._kept.reasons(first, last)
        by_day = reason_sums(self.store, self.plans, first, last, self.topology)
        return add_reasons(self.topology, by_day.values())

    def site(self, *, live: bool = False) -> Site:
        """Return what every page knows of the others."""
        paths = frozenset() if live else self.paths
        return Site(self.now, lambda path: live or path in paths, self.sources.kibana, self.newest)

    @cached_property
    def paths(self) -> frozenset[str]:
        """The pages of a static folder."""
        from dashboards.page.routes import static_paths

        return frozenset(static_paths(self))

    @cached_property
    def open_incidents(self) -> Sequence[IncidentCard]:
        """See `Sources.open_incidents`."""
        return self.sources.open_incidents()

    def incidents(self, day: Date) -> Sequence[IncidentCard]:
        """Return the incidents of a day."""
        return self.sources.incidents(day, day)

    def checks(self, day: Date) -> CheckDay | None:
        """See `Sources.checks`."""
        return self.sources.checks(day)

    def verdicts(self, day: Date) -> Sequence[VerdictCard]:
        """Return the verdicts of a day."""
        return self.sources.verdicts(day, day)

    def galleries(self, day: Date) -> Sequence[Gallery]:
        """See `Sources.galleries`."""
        found = self.sources.galleries(day)
        self.pictured[day] = frozenset((one.task, one.reason) for one in found)
        return found

    def units(self, day: Date) -> Sequence[UnitCard]:
        """See `Sources.units`."""
        return self.sources.units(day)

    def log_lines(self, day: Date) -> Sequence[LogCard]:
        """See `Sources.log_lines`."""
        return self.sources.log_lines(day)

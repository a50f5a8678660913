"""Judging again as of a moment of the past, with incidents that are kept in memory: nothing is written anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date as Date
from datetime import datetime
from typing import NamedTuple

from checks.engine import judge
from checks.history import Need
from checks.incidents import Event, Incident
from checks.kinds.base import Check
from checks.lifecycle import Step, step
from checks.marks import unmended_days
from checks.result import Result
from checks.run import localise_drifts
from checks.scan import scan
from checks.spec import LoadedChecks
from checks.view import View
from reporting.stores.base import RecordStore
from reporting.topology import Topology


class Looked(NamedTuple):
    """A business day as it stood at a moment, and what the checks say of it."""

    view: View
    results: list[Result]


def look(
    store: RecordStore,
    topology: Topology,
    loaded: LoadedChecks,
    date: Date,
    moment: datetime,
    left_out: frozenset[tuple[str, Date]],
) -> Looked:
    """Judge a business day as of a moment, from the events: what a run of the checks would have said then.

    Args:
        store: Where records, plans and manifests are read.
        topology: The task graph.
        loaded: The checks.
        date: The business day.
        moment: Aware; nothing that was reported later is known.
        left_out: (task, day) that no baseline holds.

    Raises:
        StoreError: the store failed.
    """
    needs: list[Need] = [need for check in loaded.file.checks for need in check.needs(topology)]
    view = scan(store, topology, date, as_of=moment, needs=needs, excluded_days=left_out, holidays=loaded.file.holidays)
    results = judge(loaded.file, view, loaded.config_hash)
    past = {"with_as_of": True, "excluded_days": left_out, "holidays": loaded.file.holidays}
    return Looked(view, localise_drifts(store, view, loaded, results, past))


class Memory:
    """Incidents as they come and go while days are judged one after another.

    Args:
        topology: The task graph.
        rules: The checks by id.
        benign: Fingerprint to the moment at which a person said that it is as it should be.
    """

    def __init__(self, topology: Topology, rules: Mapping[str, Check], benign: Mapping[str, datetime] | None = None):
        self._topology = topology
        self._rules = rules
        self._benign = benign or {}
        self._incidents: dict[str, Incident] = {}

    @property
    def incidents(self) -> Sequence[Incident]:
        """All so far, as they are now, sorted by episode."""
        return [incident for _, incident in sorted(self._incidents.items())]

    def advance(self, results: Sequence[Result], now: datetime) -> Step:
        """Take in what a run has found at a moment; return what that has changed."""
        dates = {result.key.date for result in results}
        known = [one for one in self._incidents.values() if one.is_open or one.date in dates]
        done = step(known, results, self._topology, now, self._rules)
        for incident in done.incidents:
            self._incidents[incident.episode] = incident
        return done

    def alerts(self, done: Step) -> list[Incident]:
        """Return the incidents that a step tells somebody of for the first time; of a storm, its members."""
        first = [notice.incident for notice in done.notices if notice.event in (Event.TRIGGER, Event.SUMMARY)]
        return [one for told in first for one in ([self._incidents[name] for name in told.members] or [told])]

    def left_out(self, now: datetime) -> frozenset[tuple[str, Date]]:
        """Return (task, day) that no baseline should hold, see `checks.marks.unmended_days`."""
        benign = {print_ for print_, said_at in self._benign.items() if said_at <= now}
        return unmended_days(one for one in self._incidents.values() if one.fingerprint not in benign)

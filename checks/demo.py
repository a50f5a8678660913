"""What the demo's second act needs of the checks; the composition root hands it in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from datetime import date as Date

from checks.incident_store import list_incidents
from checks.incidents import Incident
from checks.losing import Where, lose
from checks.run import run_checks
from checks.sinks.settings import SinkSettings
from checks.spec import LoadedChecks
from reporting.record import TaskRecord
from reporting.stores.sql import SqlStore
from reporting.topology import Topology


class StoryChecks:
    """The checks of one project.

    Args:
        store: Of the project.
        topology: Its task graph.
        loaded: Its file of checks.
        sinks: Who hears of incidents.
    """

    def __init__(self, store: SqlStore, topology: Topology, loaded: LoadedChecks, sinks: Sequence[SinkSettings] = ()):
        self._store = store
        self._topology = topology
        self._loaded = loaded
        self._sinks = sinks

    def lose(self, records: Iterable[TaskRecord], task: str, where: Where, share: float) -> list[TaskRecord]:
        """Return the records that would be otherwise if a task had silently lost items: `checks.losing.lose`."""
        return lose(records, self._topology, task, where, share)

    def check_day(self, day: Date) -> list[Incident]:
        """Judge a day, open, change and end incidents, and return all of the day, the first opened first."""
        run_checks(self._store, self._topology, self._loaded, day, None, datetime.now(UTC), act=True, sinks=self._sinks)
        with self._store.read() as connection:
            found = list_incidents(connection, states=None, first=day, last=day)
        return sorted(found, key=lambda one: (one.opened_at, one.episode))

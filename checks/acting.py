"""What follows from judging: incidents, their history and the notices of them, in the transaction of the caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from checks.incident_store import find_incident, known_incidents, members_of, write_step
from checks.incidents import Incident
from checks.kinds.base import Check
from checks.lifecycle import Step, step
from checks.notices import queue_notices
from checks.result import Result
from checks.sinks.settings import SinkSettings
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import SqlUnitOfWork
from reporting.topology import Topology

Handling = Callable[[Incident, Sequence[Incident]], Step]
"""What a person does: `checks.handling` with everything but the incident and its members filled in."""


def act(
    work: SqlUnitOfWork,
    results: Sequence[Result],
    *,
    topology: Topology,
    now: datetime,
    rules: Mapping[str, Check],
    sinks: Sequence[SinkSettings],
) -> Step:
    """Take in a run's results: write what they change, and queue what is to be told.

    Args:
        work: The transaction that the evaluations are written in too.
        results: Of one run.
        topology: The task graph.
        now: Aware.
        rules: The checks of the file, by id.
        sinks: Who may hear of it.
    """
    known = known_incidents(work, {result.key.date for result in results})
    done = step(known, results, topology, now, rules)
    write_step(work, done)
    queue_notices(work.connection, done.notices, sinks, now)
    return done


def handle(store: SqlStore, name: str, handling: Handling, *, now: datetime, sinks: Sequence[SinkSettings]) -> Incident:
    """Do with an incident what a person wants, tell who was told of it, and return it as it is then.

    Raises:
        UsageError: there is no such incident, or that makes no sense now.
    """
    with store.begin() as work:
        known_incidents(work, ())  # keeps others out
        incident = find_incident(work.connection, name)
        done = handling(incident, members_of(work.connection, incident))
        write_step(work, done)
        queue_notices(work.connection, done.notices, sinks, now)
    return next((one for one in done.incidents if one.episode == incident.episode), incident)

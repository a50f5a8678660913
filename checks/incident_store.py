"""Incidents in the SQL store: what is open, what became of it, and its history, which only ever grows.

Whoever changes incidents reads them first by `known_incidents`, which keeps every other writer out until the
transaction ends: two runs at once never open the same incident twice.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection
from datetime import date as Date
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Dialect, bindparam, func, or_, select, text, update

from checks.blocking import Held, holding
from checks.incidents import OPEN_STATES, Action, ActionKind, Incident, IncidentState
from checks.lifecycle import Step
from checks.marks import unmended_days
from reporting.errors import StoreError, UsageError, nearest
from reporting.plans import Leaf
from reporting.stores.sql_hot import HotStatement
from reporting.stores.sql_work import SqlUnitOfWork, iso
from reporting.tables import incident, incident_action

_LOCK = 0x1C1DE27
"""Of PostgreSQL's advisory locks; SQLite has one writer at a time anyhow."""

_OPEN = incident.c.state.in_([state.value for state in OPEN_STATES])
_HAS_HOLDS = '"holds":[{'
"""In the body of what holds anything, and hardly in another: the rest need not be parsed."""


def known_incidents(work: SqlUnitOfWork, dates: Collection[Date]) -> list[Incident]:
    """Return what `lifecycle.step` wants to know, and keep other writers out until the transaction ends.

    Args:
        work: The transaction in which the step is written too.
        dates: Days of the results. Of these the latest episode that has ended is returned too, for each fingerprint.
    """
    if work.connection.dialect.name == "postgresql":
        work.connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    c = incident.c
    last = (
        select(func.max(c.episode))  # an episode begins with its fingerprint and goes on with its time
        .where(c.date.in_(sorted(dates)), ~_OPEN)
        .group_by(c.fingerprint)
    )
    statement = select(c.body).where(or_(_OPEN, c.episode.in_(last))).order_by(c.episode)
    return _incidents(work.connection, statement)


def write_step(work: SqlUnitOfWork, step: Step) -> None:
    """Write the incidents and actions of a step, and queue the incidents for the shipper.

    Its notices are `checks.notices.queue_notices`'.

    Raises:
        StoreError: an incident has been changed since it was read; nothing of the transaction may stay.
    """
    for one in step.incidents:
        body = one.model_dump_json()
        _write(work.connection, one, body)
        work.ship_incident(one.episode, one.revision, body, iso(one.updated_at))
    rows = [
        {
            "episode": action.episode,
            "at": iso(action.at),
            "kind": action.kind.value,
            "who": action.who,
            "why": action.why,
            "body": json.dumps(action.body, ensure_ascii=False, sort_keys=True),
        }
        for action in step.actions
    ]
    if rows:
        work.connection.execute(incident_action.insert(), rows)


def _write(connection: Connection, one: Incident, body: str) -> None:
    values: dict[str, Any] = {
        "state": one.state.value,
        "updated_at": iso(one.updated_at),
        "revision": one.revision,
        "body": body,
    }
    if one.revision == 1:
        first = {"episode": one.episode, "fingerprint": one.fingerprint, "date": one.date}
        connection.execute(incident.insert().values(**first, opened_at=iso(one.opened_at), **values))
        return
    mine = (incident.c.episode == one.episode, incident.c.revision == one.revision - 1)
    if connection.execute(update(incident).where(*mine).values(values)).rowcount != 1:
        raise StoreError(f"incident {one.episode} was changed by somebody else meanwhile; do it again")


def find_incident(connection: Connection, name: str) -> Incident:
    """Return an incident by its episode, or by a beginning of it that no other has.

    Raises:
        UsageError: there is none, or there are several; the nearest are named.
    """
    c = incident.c
    statement = select(c.episode, c.body).where(c.episode.startswith(name, autoescape=True)).order_by(c.episode)
    rows = connection.execute(statement.limit(11)).all()
    exact = [row for row in rows if row.episode == name]
    if len(exact or rows) == 1:
        return Incident.model_validate_json((exact or rows)[0].body)
    if not name or rows:
        named = ", ".join(row.episode for row in rows[:10])
        raise UsageError(f"{name!r} begins several incidents: {named}{', ...' if len(rows) > 10 else ''}; write more")
    known = connection.execute(select(c.episode).order_by(_OPEN.desc(), c.updated_at.desc()).limit(100)).scalars()
    raise UsageError(f"there is no incident {name!r}; {_nearest(name, list(known))}")


def _nearest(name: str, known: list[str]) -> str:
    return nearest(name, known[:10]) if known else "none has been opened here"


def members_of(connection: Connection, one: Incident) -> list[Incident]:
    """Return the incidents under a summary, sorted; [] for any other."""
    if not one.members:
        return []
    c = incident.c
    return _incidents(connection, select(c.body).where(c.episode.in_(one.members)).order_by(c.episode))


def list_incidents(
    connection: Connection,
    *,
    states: Collection[IncidentState] | None = OPEN_STATES,
    first: Date | None = None,
    last: Date | None = None,
    limit: int | None = None,
) -> list[Incident]:
    """Return incidents, those that changed last first.

    Args:
        connection: To read by.
        states: Only in these; None: in any.
        first: Only of this business day and later ones.
        last: Only of this business day and earlier ones.
        limit: At most so many.
    """
    c = incident.c
    statement = select(c.body).order_by(c.updated_at.desc(), c.episode).limit(limit)
    if states is not None:
        statement = statement.where(c.state.in_([state.value for state in states]))
    if first is not None:
        statement = statement.where(c.date >= first)
    if last is not None:
        statement = statement.where(c.date <= last)
    return _incidents(connection, statement)


def history_of(connection: Connection, episode: str) -> list[Action]:
    """Return all that has happened to an incident, the oldest first."""
    c = incident_action.c
    rows = connection.execute(select(incident_action).where(c.episode == episode).order_by(c.seq))
    return [
        Action(
            episode=row.episode,
            at=datetime.fromisoformat(row.at),
            kind=ActionKind(row.kind),
            who=row.who,
            why=row.why,
            body=json.loads(row.body),
        )
        for row in rows
    ]


def holds(
    connection: Connection,
    task: str,
    date: Date,
    category: str,
    subinstance: str,
    *,
    planid: str | None = None,
    redone: Collection[Date] = (),
) -> list[Held]:
    """Return what holds a leaf, or a unit of work (`all` where the task does not split); [] where nothing does.

    A failing check with `block: true` holds the tasks downstream of its leaves until it is resolved or waived. Where
    the plan is given, what repairs the fault is not held by it; see `blocking.Held.stops`.

    Args:
        connection: To read by.
        task: Of the leaf; date, category and subinstance are its other parts.
        date: Its business day.
        category: Its category.
        subinstance: Its subinstance.
        planid: Its plan; None: of whichever plan.
        redone: The days of that plan.
    """
    rows = _that_hold(connection.dialect).run(connection, {"date": date}).fetchall()
    found = [_parsed(row[0]) for row in rows]
    return holding(found, Leaf(task, date, category, subinstance), planid, redone)


@functools.cache
def _that_hold(dialect: Dialect) -> HotStatement:
    """Return the question for the open incidents up to a day that hold anything: every claim of a worker asks it."""
    c = incident.c
    is_open = or_(*(c.state == state.value for state in OPEN_STATES))
    statement = select(c.body).where(
        is_open, c.date <= bindparam("date", type_=c.date.type), c.body.contains(_HAS_HOLDS, autoescape=True)
    )
    return HotStatement(statement.order_by(c.episode), dialect)


@functools.lru_cache(maxsize=64)
def _parsed(body: str) -> Incident:
    """Return an incident that nobody changes: the same few hold work, claim after claim."""
    return Incident.model_validate_json(body)


def incident_days(connection: Connection, first: Date, last: Date) -> frozenset[tuple[str, Date]]:
    """Return (task, day) that no baseline should hold, of a range of days; see `checks.marks.unmended_days`."""
    return unmended_days(list_incidents(connection, states=None, first=first, last=last))


def _incidents(connection: Connection, statement: Any) -> list[Incident]:
    return [Incident.model_validate_json(body) for body in connection.execute(statement).scalars()]

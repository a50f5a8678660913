"""Incidents and runs of the checks as plain mappings, for pages; `dashboards/page/cards.py` has their fields.

Nothing is judged here: a card says what the store holds, in the words of `funnelgate incidents show`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date as Date
from datetime import datetime
from typing import TYPE_CHECKING, Any

from checks.formats import worst_first
from checks.incident_render import hold_in_words
from checks.incident_store import history_of, list_incidents
from checks.incidents import Action, Incident, Said
from checks.result import Result, Status
from checks.sentence import place
from checks.sinks.message import addresses
from reporting import tables as t

if TYPE_CHECKING:
    from reporting.stores.sql import SqlStore

MOST_INCIDENTS = 500
"""In a list; one that is longer helps nobody."""


def incident_cards(store: SqlStore, first: Date, last: Date) -> list[dict[str, Any]]:
    """Return the incidents of some days, bounds included: open ones first, then those that changed last.

    At most `MOST_INCIDENTS`, those that changed last; without their history.
    """
    with store.read() as connection:
        found = list_incidents(connection, states=None, first=first, last=last, limit=MOST_INCIDENTS)
    return [_card(one) for one in sorted(found, key=lambda one: not one.is_open)]


def open_cards(store: SqlStore) -> list[dict[str, Any]]:
    """Return every open incident of any day: what pages first, causes before what they explain, then the newest day."""
    with store.read() as connection:
        found = list_incidents(connection, limit=MOST_INCIDENTS)
    return [
        _card(one)
        for one in sorted(found, key=lambda one: (-one.severity.rank, one.cause is not None, -one.date.toordinal()))
    ]


def incident_card(store: SqlStore, episode: str, links: Mapping[str, str]) -> dict[str, Any] | None:
    """Return all of an incident; None where there is none of exactly this name.

    Args:
        store: Holds it.
        episode: Its whole name.
        links: Of the settings `checks.links`: name to address with places in braces.
    """
    from sqlalchemy import select

    with store.read() as connection:
        body = connection.execute(select(t.incident.c.body).where(t.incident.c.episode == episode)).scalar()
        if body is None:
            return None
        history = history_of(connection, episode)
    incident = Incident.model_validate_json(body)
    told = [_step(one) for one in history]
    return {**_card(incident), "history": told, "links": tuple(addresses(incident, links).items())}


def check_day(store: SqlStore, day: Date) -> dict[str, Any] | None:
    """Return the latest run over a day; None where none was run.

    A look that found nothing changed stands for the run whose verdict it has kept.
    """
    from sqlalchemy import select

    run, row = t.check_run.c, t.evaluation.c
    with store.read() as connection:
        latest = connection.execute(
            select(t.check_run).where(run.date == day).order_by(run.started_at.desc(), run.run_id.desc()).limit(1)
        ).first()
        if latest is None:
            return None
        judged = json.loads(latest.body).get("unchanged_since", latest.run_id)
        bodies = connection.execute(select(row.body).where(row.run_id == judged).order_by(row.seq)).scalars()
        found = [Result.model_validate_json(body) for body in bodies]
    return {
        "run_id": judged,
        "as_of": datetime.fromisoformat(latest.as_of),
        "status": latest.status,
        "counts": dict(Counter(one.status.value for one in worst_first(found))),
        "lines": _not_passed(found),
    }


def _not_passed(found: Iterable[Result]) -> list[dict[str, Any]]:
    return [
        {
            "check": one.id,
            "kind": one.kind,
            "instance": one.instance,
            "task": one.key.task,
            "status": one.status.value,
            "reason": one.reason,
        }
        for one in worst_first(found)
        if one.status is not Status.PASS
    ]


def _card(incident: Incident) -> dict[str, Any]:
    result, key = incident.result, incident.key
    shared = ("episode", "is_open", "check", "planids", "more_impact", "cause", "storm", "members", "opened_at")
    said = ("updated_at", "closed_at", "closed_by", "note", "owner", "runbook")
    judged = ("kind", "instance", "value", "expected", "tolerance", "reason", "sentence", "repair")
    return {
        **{name: getattr(incident, name) for name in (*shared, *said)},
        **{name: getattr(result, name) for name in judged},
        "state": incident.state.value,
        "severity": incident.severity.value,
        "task": key.task,
        "source": key.source,
        "date": key.date,
        "group": key.group,
        "unit": str(result.details.get("unit", "")),
        "causes": [
            {"where": place(one.where), "values": one.where, "missing": one.missing, "share": one.share}
            for one in result.explain
        ],
        "impact": [
            {
                **{name: getattr(one, name) for name in ("check", "instance", "task", "episode")},
                "severity": one.severity.value,
                "sentence": one.sentence or one.reason,
            }
            for one in incident.impact
        ],
        "acknowledged": _said(incident.acknowledged),
        "holds": _held(incident),
    }


def _step(action: Action) -> dict[str, Any]:
    return {"at": action.at, "kind": action.kind.value, "who": action.who, "why": action.why}


def _held(incident: Incident) -> list[str]:
    """Return what waits now: nothing waits for what has ended or was waived."""
    if not incident.is_open or incident.waiver is not None:
        return []
    return [hold_in_words(one) for one in (*incident.holds, *(hold for part in incident.impact for hold in part.holds))]


def _said(said: Said | None) -> str:
    if said is None:
        return ""
    return f"by {said.by} at {said.at:%Y-%m-%d %H:%M:%S}{f': {said.why}' if said.why else ''}"

"""Incidents, drafts and notices as the lifecycle makes them, without the lifecycle."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from checks.incidents import (
    Event,
    Incident,
    IncidentState,
    NoticeDraft,
    Notified,
    Severity,
    episode_of,
    fingerprint_of,
)
from checks.result import Cause, Place, Result, Status
from checks.sinks.base import Notice
from reporting.testing import DAY, MOMENT

CLOSED = (IncidentState.RESOLVED, IncidentState.SUPERSEDED, IncidentState.EXPIRED)


def make_result(instance: str = "quality->detect", **changes: Any) -> Result:
    fields: dict[str, Any] = {
        "id": "funnel-edges",
        "kind": "reconcile",
        "instance": instance,
        "key": Place(task="detect", source="quality", date=DAY, planid="daily"),
        "status": Status.FAIL,
        "value": 958_793,
        "expected": 1_000_000,
        "tolerance": 0,
        "numerator": 958_793,
        "denominator": 1_000_000,
        "reason": "detect took in 958,793 of 1,000,000 images",
        "explain": (Cause(where={"subinstance": ("0017",)}, missing=38_322, share=0.93),),
        "sentence": "93 % of 41,207 missing images: subinstance=0017",
        "repair": "funnelgate run --kind rerun --date 2026-11-01 --tasks detect",
        "details": {"unit": "images"},
        "as_of": MOMENT,
        "config_hash": "0123456789abcdef",
    }
    return Result(**{**fields, **changes})


def make_incident(instance: str = "quality->detect", *, opened_at: datetime = MOMENT, **changes: Any) -> Incident:
    result = changes.pop("result", None) or make_result(instance)
    fingerprint = fingerprint_of(result)
    fields: dict[str, Any] = {
        "episode": episode_of(fingerprint, opened_at),
        "fingerprint": fingerprint,
        "state": IncidentState.FIRING,
        "severity": Severity.PAGE,
        "result": result,
        "opened_at": opened_at,
        "updated_at": opened_at,
        "fired_at": opened_at,
        "seen": "data",
        "as_of": opened_at,
        "planids": ("daily",),
    }
    if changes.get("state") in CLOSED:
        fields["closed_at"] = changes.get("updated_at", opened_at + timedelta(hours=2))
    return Incident(**{**fields, **changes})


def make_draft(event: Event = Event.TRIGGER, number: int = 1, *, incident: Incident | None = None) -> NoticeDraft:
    if incident is None:
        state = IncidentState.RESOLVED if event is Event.RESOLVE else IncidentState.FIRING
        incident = make_incident(state=state, notified=Notified(severity=Severity.PAGE, size=None))
    return NoticeDraft(episode=incident.episode, event=event, number=number, incident=incident)


def make_notice(
    event: Event = Event.TRIGGER, number: int = 1, *, sink: str = "pager", incident: Incident | None = None
) -> Notice:
    draft = make_draft(event, number, incident=incident)
    return Notice(
        notice_id=f"{draft.name}|{sink}",
        sink=sink,
        event=draft.event,
        number=draft.number,
        incident=draft.incident,
        created_at=MOMENT,
    )

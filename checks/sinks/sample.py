"""An incident that never was: what templates are tried on before a real one needs them."""

from __future__ import annotations

from datetime import UTC, datetime
from datetime import date as Date

from checks.incidents import Event, Incident, IncidentState, Severity, episode_of, fingerprint_of
from checks.result import Cause, Place, Result, Status
from checks.sinks.base import Notice

_MOMENT = datetime(2026, 1, 2, 4, 30, tzinfo=UTC)


def sample_notice(sink: str) -> Notice:
    """Return the trigger of an incident with every part that most incidents have."""
    result = _result()
    fingerprint = fingerprint_of(result)
    episode = episode_of(fingerprint, _MOMENT)
    incident = Incident(
        episode=episode,
        fingerprint=fingerprint,
        state=IncidentState.FIRING,
        severity=Severity.PAGE,
        result=result,
        opened_at=_MOMENT,
        updated_at=_MOMENT,
        fired_at=_MOMENT,
        seen="sample",
        as_of=_MOMENT,
        planids=("daily-20260101",),
        owner="oncall",
    )
    return Notice(
        notice_id=f"{episode}|trigger|1|{sink}",
        sink=sink,
        event=Event.TRIGGER,
        number=1,
        incident=incident,
        created_at=_MOMENT,
    )


def _result() -> Result:
    return Result(
        id="sample",
        kind="reconcile",
        instance="quality->detect",
        key=Place(task="detect", source="quality", date=Date(2026, 1, 1), planid="daily-20260101"),
        status=Status.FAIL,
        value=958_793,
        expected=1_000_000,
        tolerance=0,
        numerator=958_793,
        denominator=1_000_000,
        reason="detect took in 958,793 of the 1,000,000 images that quality handed on",
        explain=(Cause(where={"subinstance": ("0017",)}, missing=38_322, share=0.93),),
        sentence="93 % of 41,207 missing images: subinstance=0017",
        repair="funnelgate run --kind rerun --date 2026-01-01 --tasks detect --subinstances 0017",
        details={"unit": "images"},
        as_of=_MOMENT,
        config_hash="0" * 16,
    )

"""What is told of an incident, and when: that it fires, each time it worsens, that nobody has it, its end. Pure."""

from __future__ import annotations

from datetime import datetime

from checks.episodes import Turn
from checks.incidents import ActionKind, Event, Incident, IncidentState, NoticeDraft, Notified, Severity


def wants_trigger(incident: Incident, turn: Turn) -> bool:
    """Tell whether an incident is to be told for the first time."""
    return (
        incident.state is IncidentState.FIRING
        and incident.cause is None
        and not incident.is_snoozed(turn.now)
        and (incident.notified is None or (incident.storm is not None and _is_worse(incident)))
    )


def trigger(turn: Turn) -> None:
    """Note that it is told now, on its own."""
    turn.set(notified=Notified(severity=turn.incident.severity, size=turn.incident.size), storm=None)


def update(turn: Turn) -> bool:
    """Note that a worsening is told now, where there is one or a snooze has ended; return whether."""
    incident = turn.incident
    active = incident.state in (IncidentState.FIRING, IncidentState.ACKNOWLEDGED)
    if not (active and told_alone(incident) and incident.cause is None) or incident.is_snoozed(turn.now):
        return False
    worse = _is_worse(incident)
    if not (worse or turn.woken):
        return False
    turn.set(
        notified=Notified(severity=incident.severity, size=incident.size),
        updates=incident.updates + 1,
    )
    if worse:
        turn.note(ActionKind.WORSEN, incident.result.reason, severity=incident.severity.value, size=incident.size)
    return True


def wants_reminder(incident: Incident, now: datetime) -> bool:
    """Tell whether an incident that was told is to be told again should nobody take it.

    It pages, it fires, and nobody has acknowledged it, silenced it or found its cause upstream. What only warns is not
    repeated.
    """
    return (
        incident.severity is Severity.PAGE
        and incident.state is IncidentState.FIRING
        and incident.acknowledged is None
        and incident.cause is None
        and told_alone(incident)
        and not incident.is_snoozed(now)
    )


def told_alone(incident: Incident) -> bool:
    """Tell whether somebody was told of it by a notice of its own, and so has to be told of its end."""
    return incident.notified is not None and incident.storm is None


def draft(incident: Incident, event: Event) -> NoticeDraft:
    """Return the notice of an incident as it is stored; its number follows from the incident's counters."""
    numbers = {Event.UPDATE: incident.updates, Event.ACKNOWLEDGE: incident.acknowledgements}
    return NoticeDraft(episode=incident.episode, event=event, number=max(1, numbers.get(event, 1)), incident=incident)


def _is_worse(incident: Incident) -> bool:
    """Tell whether it is worse than what was last told."""
    return incident.notified is not None and incident.worsened_since(incident.notified.severity, incident.notified.size)

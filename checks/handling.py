"""What people do with incidents: take one, silence it for a while, end it, let the tasks behind it go on. Pure.

A summary of many is handled together with its members, which the caller hands over with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date as Date
from datetime import datetime, timedelta

from checks.episodes import Turn, end
from checks.incidents import ActionKind, Event, Incident, IncidentState, Said, Snooze, Waiver
from checks.lifecycle import Step
from checks.telling import draft, told_alone
from reporting.errors import UsageError

LONGEST_SNOOZE = timedelta(days=30)


def acknowledge(incident: Incident, members: Sequence[Incident], *, by: str, why: str, now: datetime) -> Step:
    """Note that somebody has it; nothing where that person has it already.

    Raises:
        UsageError: it has ended, or nobody has been told of it yet.
    """
    _refuse_ended(incident, "acknowledged")
    if incident.state is IncidentState.PENDING:
        raise UsageError(f"{incident.episode} is pending: it may pass by itself; snooze it to hear nothing of it")
    turns = _open_turns(incident, members, now)
    for turn in turns:
        mine = turn.incident
        if mine.state is IncidentState.PENDING or (mine.acknowledged is not None and mine.acknowledged.by == by):
            continue
        told = told_alone(mine)
        turn.set(acknowledged=Said(by=by, at=now, why=why), acknowledgements=mine.acknowledgements + told)
        if mine.state is IncidentState.FIRING:  # one that recovers is acknowledged should it break again
            turn.set(state=IncidentState.ACKNOWLEDGED)
        turn.note(ActionKind.ACKNOWLEDGE, why, by)
    return _step(turns, Event.ACKNOWLEDGE)


def snooze(
    incident: Incident, members: Sequence[Incident], *, until: datetime, by: str, why: str, now: datetime
) -> Step:
    """Let nothing be told of it until a moment, unless it worsens or ends.

    Raises:
        UsageError: it has ended; the moment is not after now, or more than 30 days after.
    """
    _refuse_ended(incident, "snoozed")
    if until <= now:
        raise UsageError(f"a snooze until {until:%Y-%m-%d %H:%M} is over already (it is {now:%Y-%m-%d %H:%M} UTC)")
    if until - now > LONGEST_SNOOZE:
        raise UsageError(
            f"a snooze until {until:%Y-%m-%d %H:%M} is longer than {LONGEST_SNOOZE.days} days; "
            "resolve the incident if it is to stay as it is"
        )
    turns = _open_turns(incident, members, now)
    for turn in turns:
        mine = turn.incident
        asleep = Snooze(until=until, by=by, at=now, why=why, severity=mine.severity, size=mine.size)
        turn.set(snooze=asleep)
        turn.note(ActionKind.SNOOZE, why, by, until=until.isoformat())
    return _step(turns, None)


def resolve(
    incident: Incident, members: Sequence[Incident], *, by: str, why: str, now: datetime, benign: bool = False
) -> Step:
    """End it by a person's word, which holds until there are other data.

    Args:
        incident: What is ended.
        members: Of a summary.
        by: Who says so.
        why: The reason; not empty.
        now: When.
        benign: Whether what was found is as it should be, so that baselines may hold the day.

    Raises:
        UsageError: it has ended already, or there is no reason.
    """
    _refuse_ended(incident, "resolved")
    _refuse_silence(why, "resolve")
    turns = _open_turns(incident, members, now)
    for turn in turns:
        turn.set(benign=benign)
        end(turn, IncidentState.RESOLVED, ActionKind.RESOLVE, why, by)
    return _step(turns, Event.RESOLVE)


def waive(incident: Incident, members: Sequence[Incident], *, by: str, why: str, now: datetime) -> Step:
    """Let the tasks go on that it holds, though it is not mended; it stays open, and a worsening holds them again.

    Raises:
        UsageError: it has ended, holds nothing, or there is no reason.
    """
    _refuse_ended(incident, "waived")
    _refuse_silence(why, "waive")
    turns = [turn for turn in _open_turns(incident, members, now) if _holds(turn.incident)]
    if not turns:
        raise UsageError(
            f"{incident.episode} holds nothing; only a failing check with `block: true` does, as {incident.check} "
            "would have to be"
        )
    for turn in turns:
        mine = turn.incident
        turn.set(waiver=Waiver(by=by, at=now, why=why, severity=mine.severity, size=mine.size))
        turn.note(ActionKind.WAIVE, why, by)
    return _step(turns, None)


def expire(incidents: Sequence[Incident], before: Date, now: datetime) -> Step:
    """End what is open of days before one: they are not judged any more, so nothing would ever end it."""
    turns = [Turn.at(one, now) for one in incidents if one.is_open and one.date < before]
    for turn in turns:
        end(turn, IncidentState.EXPIRED, ActionKind.EXPIRE, f"days before {before} are not judged any more")
    return _step(turns, Event.RESOLVE)


def _holds(incident: Incident) -> bool:
    return bool(incident.holds) or any(part.holds for part in incident.impact)


def _refuse_ended(incident: Incident, done: str) -> None:
    if not incident.is_open:
        by = f" by {incident.closed_by}" if incident.closed_by else ""
        raise UsageError(
            f"{incident.episode} is {incident.state.value}{by} and cannot be {done}; "
            "`funnelgate incidents list` shows what is open"
        )


def _refuse_silence(why: str, verb: str) -> None:
    if not why.strip():
        raise UsageError(f"to {verb} an incident needs a reason: --why TEXT")


def _open_turns(incident: Incident, members: Sequence[Incident], now: datetime) -> list[Turn]:
    mine = [one for one in members if one.is_open and one.episode in incident.members]
    return [Turn.at(one, now) for one in (incident, *mine)]


def _step(turns: Sequence[Turn], event: Event | None) -> Step:
    """Return what has changed, with a notice of each that somebody was told of by a notice of its own."""
    changed = [(turn, incident) for turn in turns if (incident := turn.result()) is not None]
    told = [incident for turn, incident in changed if event is not None and told_alone(turn.incident)]
    return Step(
        incidents=sorted((incident for _, incident in changed), key=lambda one: one.episode),
        actions=[action for turn in turns for action in turn.actions],
        notices=[draft(incident, event) for incident in told if event is not None],
    )

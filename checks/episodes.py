"""One incident's way from one evaluation to the next: seen, fired, worsened, passed, ended. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from checks.breaks import is_broken, is_provisional, planids_of, seen_of
from checks.incidents import (
    Action,
    ActionKind,
    Impact,
    Incident,
    IncidentState,
    severity_of,
)
from checks.kinds.base import Check
from checks.result import Result, Status

AUTOMATON = "funnelgate"
"""Who did it, where no person did."""

_PENDING = {"drift": 1}
"""Evaluations with new data that a break must outlast, where the data may still change. The books are exact: none."""
_RECOVER = 1
MOST_IMPACT = 100
"""Parts that an incident lists: every notice of it carries them."""


class Policy(NamedTuple):
    """How often a check must break before it fires, and pass before it is over; both in evaluations with new data."""

    pending: int
    recover: int

    @classmethod
    def of(cls, kind: str, rule: Check | None) -> Policy:
        """Return what the check says (`pending`, `recover`), or the default of its kind."""
        pending, recover = getattr(rule, "pending", None), getattr(rule, "recover", None)
        return cls(_PENDING.get(kind, 0) if pending is None else pending, _RECOVER if recover is None else recover)


@dataclass
class Turn:
    """One incident during one step: what it was, what it is becoming, and what is to be remembered of it."""

    now: datetime
    before: Incident | None
    incident: Incident
    actions: list[Action] = field(default_factory=list)
    woken: bool = False
    """A snooze has ended in this turn."""

    @classmethod
    def at(cls, incident: Incident, now: datetime) -> Turn:
        """Take up an incident where it stands."""
        return cls(now, incident, incident)

    def set(self, **changes: Any) -> None:
        """Change fields of the incident."""
        self.incident = self.incident.model_copy(update=changes)

    def note(self, kind: ActionKind, why: str = "", who: str = AUTOMATON, **body: Any) -> None:
        """Add a line to its history."""
        self.actions.append(Action(episode=self.incident.episode, at=self.now, kind=kind, who=who, why=why, body=body))

    def result(self) -> Incident | None:
        """Return the incident as it is to be stored; None where nothing has changed."""
        if self.before is None:
            return self.incident
        if self.incident == self.before:
            return None
        return self.incident.model_copy(update={"revision": self.before.revision + 1, "updated_at": self.now})


def wake(turn: Turn) -> None:
    """End a snooze whose time is over, or over which the incident has worsened; while it recovers that can wait."""
    incident, snooze = turn.incident, turn.incident.snooze
    if snooze is None or incident.state is IncidentState.RECOVERING:
        return
    worse = incident.worsened_since(snooze.severity, snooze.size)
    if worse or not incident.is_snoozed(turn.now):
        turn.set(snooze=None)
        turn.note(ActionKind.WAKE, "it has worsened" if worse else "the snooze is over")
        turn.woken = True


def unwaive(turn: Turn) -> None:
    """End a waiver that was given for less than there is now."""
    waiver = turn.incident.waiver
    if waiver is not None and turn.incident.worsened_since(waiver.severity, waiver.size):
        turn.set(waiver=None)
        turn.note(ActionKind.UNWAIVE, "it has worsened over what was waived")


def judge(turn: Turn, result: Result, policy: Policy) -> None:
    """Take in what an evaluation says: nothing where its data were judged before, or it could not be evaluated."""
    if seen_of(result) == turn.incident.seen or not (is_broken(result) or result.status is Status.PASS):
        return
    turn.set(seen=seen_of(result), as_of=result.as_of)
    if is_broken(result):
        _break_again(turn, result)
    else:
        _pass(turn, result, policy)


def _break_again(turn: Turn, result: Result) -> None:
    incident = turn.incident
    turn.set(result=result, planids=planids_of(result), failing=incident.failing + 1, passing=0)
    if incident.state is IncidentState.RECOVERING:
        told = IncidentState.FIRING if incident.fired_at is not None else IncidentState.PENDING
        turn.set(state=told if incident.acknowledged is None else IncidentState.ACKNOWLEDGED)
        turn.note(ActionKind.RELAPSE, result.reason)


def _pass(turn: Turn, result: Result, policy: Policy) -> None:
    """Count a pass. It is the end if there were enough; on data that may still change one more is wanted."""
    incident = turn.incident
    passing = incident.passing + 1
    turn.set(passing=passing, failing=0)
    enough = passing >= policy.recover + is_provisional(result)
    if enough or incident.fired_at is None:
        others = [planid for planid in planids_of(result) if planid not in incident.planids]
        if others and incident.planids:
            end(turn, IncidentState.SUPERSEDED, ActionKind.SUPERSEDE, f"superseded by {', '.join(others)}")
        else:
            end(turn, IncidentState.RESOLVED, ActionKind.RESOLVE, result.reason)
    elif incident.state is not IncidentState.RECOVERING:
        turn.set(state=IncidentState.RECOVERING)
        turn.note(ActionKind.RECOVER, result.reason)


def end(turn: Turn, state: IncidentState, kind: ActionKind, why: str, who: str = "") -> None:
    """End an incident; who holds nothing more, and nothing more is told of it but that."""
    turn.set(state=state, closed_at=turn.now, closed_by=who, note=why, snooze=None, cause=None)
    turn.note(kind, why, who or AUTOMATON)


def touch(turn: Turn, kept: Iterable[Impact], found: Iterable[Impact]) -> None:
    """Note what else is broken for the incident; its severity is that of the worst.

    Args:
        turn: The incident.
        kept: Parts that nothing was said of in this step.
        found: Parts that broke in this step.
    """
    found = list(found)
    new = {part.fingerprint for part in found}
    most = sorted([*(part for part in kept if part.fingerprint not in new), *found], key=_first_named)[:MOST_IMPACT]
    parts = tuple(sorted(most, key=lambda part: (part.task, part.check, part.instance)))
    if parts != turn.incident.impact:
        came = sorted({part.task for part in parts} - {part.task for part in turn.incident.impact})
        turn.set(impact=parts)
        if turn.before is not None:
            turn.note(ActionKind.IMPACT, f"also broken now: {', '.join(came)}" if came else "", checks=len(parts))
    severities = [severity_of(turn.incident.result), *(part.severity for part in parts)]
    turn.set(
        severity=max(severities, key=lambda one: one.rank),
        more_impact=len(new - {part.fingerprint for part in parts}),
    )


def _first_named(part: Impact) -> tuple[bool, int, str, str, str]:
    return not part.holds, -part.severity.rank, part.task, part.check, part.instance


def attach(turn: Turn, cause: str | None) -> None:
    """Note which incident upstream explains this one, or that none does any more."""
    if cause != turn.incident.cause:
        turn.set(cause=cause)
        turn.note(ActionKind.ATTACH, f"explained by {cause}" if cause else "nothing upstream explains it any more")


def fire(turn: Turn, *, waits: bool) -> None:
    """Fire a pending incident, unless it is explained by another one or has to wait for more data."""
    incident = turn.incident
    if incident.state is IncidentState.PENDING and incident.cause is None and not waits:
        turn.set(state=IncidentState.FIRING, fired_at=turn.now)
        turn.note(ActionKind.FIRE, incident.result.reason, severity=incident.severity.value, size=incident.size)

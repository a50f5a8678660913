"""Too many incidents at once are told as one: a summary incident stands for them until the last has ended. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import date as Date
from datetime import datetime

from checks.episodes import Turn, end
from checks.incidents import (
    ActionKind,
    Incident,
    IncidentState,
    Notified,
    Severity,
    fingerprint_of,
    new_episode,
)
from checks.result import Place, Result, Status
from reporting.topology import Topology

KIND = "storm"
"""Kind and check id of a summary."""

CAP = 20
"""More new episodes than this in one step are told as one (reference 6.4)."""

_NAMED_TASKS = 5


def is_storm(incident: Incident) -> bool:
    """Tell whether an incident is the summary of others."""
    return incident.result.kind == KIND


def gather(
    wanting: Sequence[Turn], storms: Iterable[Turn], topology: Topology, now: datetime, taken: Collection[str]
) -> list[Turn]:
    """Put those that want to be told under a summary where there are too many of one day; return the new summaries.

    A day's open summary takes them up; it is told again once it has grown by half.

    Args:
        wanting: Incidents that want to be told; they are changed where they go under a summary.
        storms: The open summaries; they are changed where they take up more.
        topology: The task graph.
        now: The moment of the step.
        taken: Episodes that are there already.
    """
    by_day: dict[Date, list[Turn]] = {}
    for turn in wanting:
        by_day.setdefault(turn.incident.date, []).append(turn)
    standing = {turn.incident.date: turn for turn in storms if turn.incident.is_open}
    made = []
    for day, turns in sorted(by_day.items()):
        if len(turns) <= CAP:
            continue
        found = standing.get(day)
        if found is None:
            found = _opened(turns, topology, now, taken)
            made.append(found)
        else:
            _take_up(found, turns, topology)
        for turn in turns:
            incident = turn.incident
            turn.set(storm=found.incident.episode, notified=Notified(severity=incident.severity, size=incident.size))
    return made


def settle(storms: Iterable[Turn], others: Collection[Incident]) -> None:
    """End each summary of which no member is open any more, or all are told on their own by now.

    Args:
        storms: The open summaries; they are changed where they end.
        others: All other incidents that are open.
    """
    under = Counter(incident.storm for incident in others if incident.is_open and incident.storm is not None)
    for turn in storms:
        if turn.incident.is_open and not under[turn.incident.episode]:
            why = f"all {len(turn.incident.members)} have ended"
            end(turn, IncidentState.RESOLVED, ActionKind.RESOLVE, why)


def _opened(turns: Sequence[Turn], topology: Topology, now: datetime, taken: Collection[str]) -> Turn:
    result = _result(turns, [turn.incident.episode for turn in turns], topology)
    fingerprint = fingerprint_of(result)
    severity = _severity(turns)
    incident = Incident(
        episode=new_episode(fingerprint, now, taken),
        fingerprint=fingerprint,
        state=IncidentState.FIRING,
        severity=severity,
        result=result,
        opened_at=now,
        updated_at=now,
        fired_at=now,
        seen="",
        as_of=result.as_of,
        members=tuple(sorted(turn.incident.episode for turn in turns)),
        notified=Notified(severity=severity, size=float(len(turns))),
    )
    opened = Turn(now, None, incident)
    opened.note(ActionKind.OPEN, result.reason)
    return opened


def _take_up(storm: Turn, turns: Sequence[Turn], topology: Topology) -> None:
    members = sorted({*storm.incident.members, *(turn.incident.episode for turn in turns)})
    severity = max(storm.incident.severity, _severity(turns), key=lambda one: one.rank)
    storm.set(members=tuple(members), severity=severity, result=_result(turns, members, topology))
    storm.note(ActionKind.IMPACT, f"{len(turns)} more, {len(members)} in all")


def _severity(turns: Iterable[Turn]) -> Severity:
    return max((turn.incident.severity for turn in turns), key=lambda one: one.rank)


def _result(turns: Sequence[Turn], members: Sequence[str], topology: Topology) -> Result:
    """Return what stands in a result's place: the most upstream task, how many, and where most of them are."""
    first = turns[0].incident.result
    tasks = Counter(turn.incident.key.task for turn in turns)
    upstream = min(tasks, key=lambda task: (topology.order.index(task) if task in topology.order else len(tasks), task))
    most = sorted(tasks, key=lambda task: (-tasks[task], task))[:_NAMED_TASKS]
    more = ", ..." if len(tasks) > len(most) else ""
    named = ", ".join(f"{task} {tasks[task]}" for task in most)
    return Result(
        id=KIND,
        kind=KIND,
        instance=f"{KIND} {first.key.date}",
        key=Place(task=upstream, date=first.key.date),
        status=Status.FAIL if _severity(turns) is Severity.PAGE else Status.WARN,
        reason=f"{len(members)} incidents at once; the latest {len(turns)} by task: {named}{more}",
        as_of=max(turn.incident.as_of for turn in turns),
        config_hash=first.config_hash,
    )

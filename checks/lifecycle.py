"""One step of all incidents: what a run's results make of those that are open. Pure.

Equal results a second time change nothing, their order does not matter, and every break ends up in exactly one place:
an incident of its own, the impact of another one, or one that a person has closed over the same data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from checks import storms
from checks.blocking import holds_of
from checks.breaks import data_of, is_broken, is_provisional, planids_of, seen_of
from checks.causes import CauseGroup, group
from checks.episodes import Policy, Turn, attach, fire, judge, touch, unwaive, wake
from checks.incidents import (
    Action,
    ActionKind,
    Event,
    Hold,
    Impact,
    Incident,
    IncidentState,
    NoticeDraft,
    fingerprint_of,
    new_episode,
    severity_of,
    size_of,
)
from checks.kinds.base import Check
from checks.result import Result, Status
from checks.telling import draft, told_alone, trigger, update, wants_trigger
from reporting.topology import Topology


class Step(NamedTuple):
    """What a step has changed; empty lists where nothing."""

    incidents: list[Incident]
    """Each at its new revision, sorted by episode; revision 1 is a new one."""
    actions: list[Action]
    """In the order they happened, by episode."""
    notices: list[NoticeDraft]
    """The most severe first."""


@dataclass(frozen=True)
class _Scene:
    """What every part of a step looks at."""

    topology: Topology
    now: datetime
    rules: Mapping[str, Check]
    known: Mapping[str, Incident]
    """By fingerprint: the open episode, else the latest."""
    judged: Mapping[str, Result]
    """By fingerprint; results older than what their incident has seen are left out."""
    groups: Sequence[CauseGroup]

    def policy(self, result: Result) -> Policy:
        return Policy.of(result.kind, self.rules.get(result.id))

    def holds(self, result: Result) -> tuple[Hold, ...]:
        rule = self.rules.get(result.id)
        return holds_of(result, self.topology) if _blocks(result, rule) else ()


def step(
    open_: Sequence[Incident],
    results: Sequence[Result],
    topology: Topology,
    now: datetime,
    rules: Mapping[str, Check],
) -> Step:
    """Take in a run's results.

    Args:
        open_: All open incidents, of any day and check; and of the results' days the latest episode of each
            fingerprint that has ended: without these, what a person closed would open again over the same data.
        results: Of one run; passes and `not_evaluated` too. What is open and has no result here stays as it is.
        topology: The task graph.
        now: The moment, aware.
        rules: The checks of the file by id: their block, owner, runbook, and `pending` and `recover` if they have it.
    """
    scene = _look(open_, results, topology, now, rules)
    standing = {print_: Turn.at(one, now) for print_, one in scene.known.items() if one.is_open}
    summaries = [turn for turn in standing.values() if storms.is_storm(turn.incident)]
    turns = {print_: turn for print_, turn in standing.items() if not storms.is_storm(turn.incident)}
    taken = {incident.episode for incident in open_}
    for print_, turn in turns.items():
        _evaluate(turn, scene.judged.get(print_) or _implied(turn.incident, scene.judged.values()), scene)
    _open_new(turns, scene, taken)
    _relate(turns, scene)
    told = _tell([*turns.values()], summaries, scene, taken)
    return _gathered([*turns.values(), *summaries], told)


def _look(
    open_: Sequence[Incident],
    results: Sequence[Result],
    topology: Topology,
    now: datetime,
    rules: Mapping[str, Check],
) -> _Scene:
    known: dict[str, Incident] = {}
    for incident in sorted(open_, key=lambda one: (one.is_open, one.opened_at, one.episode)):
        known[incident.fingerprint] = incident
    judged = {
        print_: result
        for print_, result in ((fingerprint_of(result), result) for result in results)
        if print_ not in known or result.as_of >= known[print_].as_of
    }
    days = {result.key.date for result in judged.values()}
    standing = [
        incident.result
        for print_, incident in known.items()
        if incident.date in days
        and incident.state in (IncidentState.PENDING, IncidentState.FIRING, IncidentState.ACKNOWLEDGED)
        and not storms.is_storm(incident)
        and not _is_evaluable(judged.get(print_) or _implied(incident, judged.values()))
    ]
    groups = group([*filter(is_broken, judged.values()), *standing], topology)
    return _Scene(topology, now, rules, known, judged, groups)


def _is_evaluable(result: Result | None) -> bool:
    return result is not None and (is_broken(result) or result.status is Status.PASS)


def _implied(incident: Incident, judged: Iterable[Result]) -> Result | None:
    """Return the pass of the whole that a part belongs to, where the check says nothing of the part any more.

    Drift names a group only while it stands out. Other silence is no pass: the incident stays.
    """
    mine = incident.result
    whole = [
        result
        for result in judged
        if result.id == mine.id
        and result.status is Status.PASS
        and (result.key.task, result.key.source, result.key.date) == (mine.key.task, mine.key.source, mine.key.date)
        and result.key.group.items() < mine.key.group.items()
        and result.as_of >= incident.as_of
    ]
    return min(whole, key=lambda result: (-len(result.key.group), result.instance), default=None)


def _evaluate(turn: Turn, result: Result | None, scene: _Scene) -> None:
    if result is None:
        return
    judge(turn, result, scene.policy(turn.incident.result))
    if turn.incident.result is result:
        turn.set(holds=scene.holds(result), block=_blocks(result, scene.rules.get(result.id)))


def _blocks(result: Result, rule: Check | None) -> bool:
    return result.status is Status.FAIL and rule is not None and rule.block


def _open_new(turns: dict[str, Turn], scene: _Scene, taken: set[str]) -> None:
    """Open an incident for each root that has none, unless a person has closed one over the same data."""
    for one in scene.groups:
        print_ = fingerprint_of(one.root)
        if print_ in turns:
            continue
        before = scene.known.get(print_)
        if before is not None and _is_settled(before, one.root):
            continue
        turns[print_] = _opened(one.root, scene, taken)


def _is_settled(before: Incident, result: Result) -> bool:
    """Tell whether a person has closed an incident over these data: their word holds until there are others.

    What has become more severe by the clock alone is open again.
    """
    same = data_of(before.seen) == data_of(seen_of(result))
    return bool(before.closed_by) and same and severity_of(result).rank <= before.severity.rank


def _opened(result: Result, scene: _Scene, taken: set[str]) -> Turn:
    print_ = fingerprint_of(result)
    rule, spec = scene.rules.get(result.id), scene.topology.tasks.get(result.key.task)
    incident = Incident(
        episode=new_episode(print_, scene.now, taken),
        fingerprint=print_,
        state=IncidentState.PENDING,
        severity=severity_of(result),
        result=result,
        opened_at=scene.now,
        updated_at=scene.now,
        seen=seen_of(result),
        as_of=result.as_of,
        planids=planids_of(result),
        block=_blocks(result, rule),
        holds=scene.holds(result),
        owner=(rule and rule.owner) or (spec and spec.owner) or None,
        runbook=rule.runbook if rule else None,
    )
    turn = Turn(scene.now, None, incident)
    turn.note(ActionKind.OPEN, result.reason, severity=incident.severity.value, size=incident.size)
    return turn


def _relate(turns: Mapping[str, Turn], scene: _Scene) -> None:
    """Set impact and cause of every open incident, then fire what is to fire and end what is over of silence."""
    root_of = {fingerprint_of(part): fingerprint_of(one.root) for one in scene.groups for part in one.impact}
    impact = {fingerprint_of(one.root): one.impact for one in scene.groups}
    checks = {(result.id, result.key.date) for result in scene.judged.values()}
    days = {day for _, day in checks}
    # Roots first: what they explain is attached to them only once they have fired.
    for print_, turn in sorted(turns.items(), key=lambda item: item[0] in root_of):
        incident = turn.incident
        if incident.is_open and incident.date in days:
            parts = impact.get(print_, ())
            kept = [part for part in incident.impact if (part.check, incident.date) not in checks]
            touch(turn, kept, _impacts(parts, turns, scene))
            root = turns.get(root_of.get(print_, ""))
            attach(turn, root.incident.episode if root is not None and _explains(root.incident) else None)
            broken = [incident.result, *parts]
            waits = all(is_provisional(one) and incident.failing <= scene.policy(one).pending for one in broken)
            fire(turn, waits=waits)
            unwaive(turn)
        if incident.is_open:
            wake(turn)


def _explains(root: Incident) -> bool:
    """Tell whether an incident speaks for its impact: one that nobody was to be told of does not."""
    return root.is_open and root.state is not IncidentState.PENDING


def _impacts(results: Iterable[Result], turns: Mapping[str, Turn], scene: _Scene) -> list[Impact]:
    found = []
    for result in results:
        own = turns.get(fingerprint_of(result))
        is_open = own is not None and own.incident.is_open
        found.append(
            Impact(
                fingerprint=fingerprint_of(result),
                check=result.id,
                kind=result.kind,
                instance=result.instance,
                task=result.key.task,
                severity=severity_of(result),
                size=size_of(result),
                reason=result.reason,
                sentence=result.sentence,
                planids=planids_of(result),
                holds=() if is_open else scene.holds(result),
                episode=own.incident.episode if own is not None and is_open else None,
            )
        )
    return found


def _tell(turns: Sequence[Turn], summaries: list[Turn], scene: _Scene, taken: set[str]) -> list[tuple[Turn, Event]]:
    """Decide what is told; new summaries are added to `summaries`."""
    wanting = [turn for turn in turns if wants_trigger(turn.incident, turn)]
    made = storms.gather(wanting, summaries, scene.topology, scene.now, taken)
    told = [(turn, Event.SUMMARY) for turn in made]
    for turn in wanting:
        if wants_trigger(turn.incident, turn):
            trigger(turn)
            told.append((turn, Event.TRIGGER))
    storms.settle(summaries, [turn.incident for turn in turns])
    for turn in summaries:
        wake(turn)
    begun = {id(turn) for turn, _ in told}
    for turn in (*turns, *summaries):
        if not turn.incident.is_open:
            told += [(turn, Event.RESOLVE)] if told_alone(turn.incident) else []
        elif id(turn) not in begun and update(turn):
            told.append((turn, Event.UPDATE))
    summaries += made
    return told


def _gathered(turns: Iterable[Turn], told: Iterable[tuple[Turn, Event]]) -> Step:
    ended = {id(turn): turn.result() for turn in turns}
    in_order = sorted(turns, key=lambda turn: turn.incident.episode)
    incidents = [incident for turn in in_order if (incident := ended[id(turn)]) is not None]
    actions = [action for turn in in_order for action in turn.actions]
    drafts = [draft(incident, event) for turn, event in told if (incident := ended[id(turn)]) is not None]
    drafts.sort(key=lambda one: (-one.incident.severity.rank, one.episode))
    return Step(incidents, actions, drafts)

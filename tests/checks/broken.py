"""Results to make incidents of: breaks, passes and what is neither, on a small task graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from datetime import date as Date
from typing import Any

from checks.incidents import Incident, IncidentState, fingerprint_of
from checks.kinds.base import Check
from checks.lifecycle import Step, step
from checks.result import Cause, Place, Result, Status
from reporting.topology import Topology

DAY = Date(2026, 11, 5)
NOW = datetime(2026, 11, 6, 7, 0, tzinfo=UTC)

_UNITS = {"unit_in": "picture", "unit_out": "picture"}
_SPLIT = {**_UNITS, "grain": ["subinstance"]}
GRAPH = Topology.model_validate(
    {
        "tasks": {
            "collect": _UNITS,
            "download": {**_SPLIT, "owner": "fetchers"},
            "dedup": _UNITS,
            "detect": _SPLIT,
            "crop": _SPLIT,
            "categorise": {**_UNITS, "grain": ["category", "subinstance"], "runs_per": ["subinstance"]},
            "embed": {**_UNITS, "grain": ["category", "subinstance"]},
            "index": {**_UNITS, "grain": ["category"]},
            "merge": {**_UNITS, "grain": ["category"]},
            "release": _UNITS,
        },
        "edges": [
            {"from": "collect", "to": "download"},
            {"from": "download", "to": "dedup"},
            {"from": "dedup", "to": "detect"},
            {"from": "detect", "to": "crop", "ratio": [0, 50]},
            {"from": "crop", "to": "categorise"},
            {"from": "categorise", "to": "embed"},
            {"from": "embed", "to": "index"},
            {"from": "index", "to": "merge", "law": "window"},
            {"from": "merge", "to": "release", "law": "after"},
        ],
    }
)


class Rule(Check):
    """A check that says nothing but what incidents ask of it."""

    pending: int | None = None
    recover: int | None = None

    def expand(self, topology: Topology) -> Any:
        return []

    def judge(self, view: Any) -> Any:
        return iter(())


def result(
    task: str = "detect",
    status: Status = Status.FAIL,
    *,
    kind: str = "conservation",
    check: str | None = None,
    source: str | None = None,
    group: Mapping[str, str] | None = None,
    causes: Sequence[Mapping[str, Sequence[str]]] = (),
    value: float | None = 90,
    expected: float | None = 100,
    data: str = "data-1",
    provisional: bool = False,
    planids: Sequence[str] = ("daily",),
    date: Date = DAY,
    as_of: datetime = NOW,
    config_hash: str = "rules-1",
) -> Result:
    """Return a result; its causes share the break evenly."""
    group = dict(group or {})
    where = " ".join(f"{name}={one}" for name, one in group.items())
    named = tuple(
        Cause(
            where={name: tuple(values) for name, values in cause.items()},
            missing=abs((expected or 0) - (value or 0)) / len(causes),
            share=1 / len(causes),
        )
        for cause in causes
    )
    return Result(
        id=check or kind,
        kind=kind,
        instance=" ".join(filter(None, [f"{source}->{task}" if source else task, where])),
        key=Place(task=task, source=source, date=date, group=group),
        status=status,
        value=value,
        expected=expected,
        reason=f"{task} {status.value}",
        explain=named,
        details={"data": data, "planids": list(planids), "provisional": provisional},
        as_of=as_of,
        config_hash=config_hash,
    )


class Board:
    """All incidents as a store keeps them, changed by one step after the other."""

    def __init__(self, rules: Mapping[str, Check] | None = None):
        self.incidents: dict[str, Incident] = {}
        self.told: list[tuple[str, str, int]] = []
        self.rules = dict(rules or {})
        self.last = Step([], [], [])

    def known(self) -> list[Incident]:
        """Return what a store hands to a step: all that is open, and the latest of what has ended."""
        ended = {one.fingerprint: one for one in sorted(self.incidents.values(), key=_begun) if not one.is_open}
        return [*(one for one in self.incidents.values() if one.is_open), *ended.values()]

    def run(self, *results: Result, now: datetime = NOW) -> Step:
        """Take in a run's results."""
        return self.keep(step(self.known(), results, GRAPH, now, self.rules))

    def keep(self, done: Step) -> Step:
        """Store what a step has changed."""
        for one in done.incidents:
            before = self.incidents.get(one.episode)
            assert one.revision == (1 if before is None else before.revision + 1)
            self.incidents[one.episode] = one
        self.told += [(draft.episode, draft.event.value, draft.number) for draft in done.notices]
        self.last = done
        return done

    def open(self) -> list[Incident]:
        """Return what is open, the first opened first."""
        return sorted((one for one in self.incidents.values() if one.is_open), key=_begun)

    def only(self) -> Incident:
        """Return the one incident there is."""
        (found,) = self.incidents.values()
        return found

    def of(self, broken: Result) -> Incident:
        """Return the latest incident of a break."""
        mine = [one for one in self.incidents.values() if one.fingerprint == fingerprint_of(broken)]
        return max(mine, key=_begun)

    def events(self) -> list[str]:
        """Return what the latest step has told."""
        return [draft.event.value for draft in self.last.notices]

    def states(self) -> list[IncidentState]:
        """Return the states of all, the first opened first."""
        return [one.state for one in sorted(self.incidents.values(), key=_begun)]


def _begun(incident: Incident) -> tuple[datetime, str]:
    return incident.opened_at, incident.episode

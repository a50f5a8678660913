"""How much the checks notice: faults are put into a day's records, one at a time, and the day is judged again.

Pure. A fault is noticed where a check that is about its place says worse than before: warns or fails, or cannot be
evaluated where that counts. What is only left out of judgement in silence is not noticed. Of a fault that is harmless
(a repair made twice) nothing may be said otherwise than before, not a status, not a number; a pass may be new.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date as Date
from datetime import datetime
from itertools import zip_longest
from statistics import fmean
from typing import Any

from checks.causes import group, meet, regions_of
from checks.engine import judge
from checks.faults import FAULTS, NO_PLAN, Fault, Spot
from checks.incidents import Event, Incident
from checks.kinds.base import Check
from checks.lifecycle import step
from checks.losing import matches
from checks.result import Result, Status
from checks.spec import LoadedChecks
from checks.view import View
from reporting.errors import EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_OK
from reporting.key import RunKey
from reporting.plans import Leaf
from reporting.topology import Topology

PLACES = 5
"""Spots of each class, drawn at random from all that there are."""
MOST_EVALUATIONS = 10
"""After so many evaluations without a notice there is none."""

_HIDING_NOTHING = frozenset({"drift", "ratio", "expr", "plan_diff"})

Progress = Callable[[str, int, int], None]
"""Told the class at work, how many injections are done, and how many there will be."""


@dataclass(frozen=True)
class Injection:
    """One fault at one spot.

    Attributes:
        spot: Where.
        noticed_by: Ids of the checks that noticed, in the file's order; of a harmless fault those that looked.
        noticed: Whether any did; of a harmless fault whether all said the same as before.
        localised: F1 of the leaves that the most upstream break names, against those of the spot; None where nothing
            broke or the spot has no leaves.
        evaluations: With new data, until somebody is told; None where nobody is.
    """

    spot: Spot
    noticed_by: tuple[str, ...]
    noticed: bool
    localised: float | None
    evaluations: int | None


@dataclass(frozen=True)
class FaultReport:
    """What became of one class of faults."""

    fault: Fault
    injections: tuple[Injection, ...]

    @property
    def noticed_by(self) -> Counter[str]:
        """At how many spots each check has noticed."""
        return Counter(check for one in self.injections for check in one.noticed_by)

    @property
    def noticed(self) -> int:
        """At how many spots any check has."""
        return sum(one.noticed for one in self.injections)

    @property
    def missed(self) -> list[Spot]:
        """Where none has."""
        return [one.spot for one in self.injections if not one.noticed]

    @property
    def localised(self) -> float | None:
        """Mean over the spots; None where no break named any place."""
        return _mean(one.localised for one in self.injections)

    @property
    def evaluations(self) -> float | None:
        """Mean until somebody is told, over the spots where somebody is."""
        return _mean(one.evaluations for one in self.injections)


def _mean(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return fmean(known) if known else None


@dataclass(frozen=True)
class Mutation:
    """What the checks of a file notice on one day."""

    date: Date
    as_of: datetime
    config_hash: str
    seed: int
    checks: tuple[str, ...]
    """Ids of the file's checks, in its order."""
    faults: tuple[FaultReport, ...]

    @property
    def recall(self) -> float | None:
        """Share of all injections that were noticed; None where nothing could be injected."""
        return _mean(float(one.noticed) for report in self.faults for one in report.injections)

    @property
    def exit_code(self) -> int:
        """1 when a fault went unnoticed anywhere; else 3 when a class could not be put in at all; else 0."""
        if any(report.missed for report in self.faults):
            return EXIT_FAILED
        return EXIT_OK if all(report.injections for report in self.faults) else EXIT_INCONCLUSIVE

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "date": self.date.isoformat(),
            "as_of": self.as_of.isoformat(),
            "config_hash": self.config_hash,
            "seed": self.seed,
            "faults": [
                {
                    "fault": report.fault.name,
                    "places": len(report.injections),
                    "detected": report.noticed,
                    "detected_by": [check for check in self.checks if check in report.noticed_by],
                    "localised": report.localised,
                    "evaluations_to_detect": report.evaluations,
                    "missed": [str(spot) for spot in report.missed],
                }
                for report in self.faults
            ],
            "recall": self.recall,
        }


def mutate(
    loaded: LoadedChecks,
    view: View,
    *,
    faults: Sequence[Fault] = FAULTS,
    places: int = PLACES,
    seed: int = 0,
    progress: Progress = lambda _fault, _done, _total: None,
) -> Mutation:
    """Put faults into a day, judge it before and after each, and return what was noticed.

    Where a check of the books already fails about the task or group of a spot nothing could get worse: no fault is put
    in there. A drift or ratio out of its bounds hides no fault from the others.

    Args:
        loaded: The checks.
        view: The day, with the history that the checks need.
        faults: Classes.
        places: Spots of each, drawn at random; >= 1.
        seed: Equal seeds draw equal spots.
        progress: Called before each injection.
    """
    trial = _Trial(loaded, view.topology)
    drawn = []
    for fault in faults:
        base = fault.base(view)
        before = trial.before(base)
        spots = [spot for spot in fault.spots(base) if not trial.is_broken(before, spot)]
        drawn.append((fault, base, before, _draw(spots, places, random.Random(f"{seed} {fault.name}"))))  # noqa: S311
    total = sum(len(spots) for *_, spots in drawn)
    reports, done = [], 0
    for fault, base, before, spots in drawn:
        injections = []
        for spot in spots:
            progress(fault.name, done, total)
            injections.append(trial.inject(fault, base, before, spot))
            done += 1
        reports.append(FaultReport(fault, tuple(injections)))
    checks = tuple(check.id for check in loaded.file.checks)
    return Mutation(view.date, view.as_of, loaded.config_hash, seed, checks, tuple(reports))


def _draw(spots: Sequence[Spot], places: int, chance: random.Random) -> list[Spot]:
    """Draw spots, sorted by name: of as many tasks as there are before a second one of any."""
    by_task: dict[str, list[Spot]] = {}
    for spot in chance.sample(spots, len(spots)):
        by_task.setdefault(spot.task, []).append(spot)
    rounds = zip_longest(*chance.sample(sorted(by_task.values()), len(by_task)))
    in_turn = [spot for one in rounds for spot in one if spot is not None]
    return sorted(in_turn[:places], key=str)


class _Trial:
    """Judges a day before and after, and compares."""

    def __init__(self, loaded: LoadedChecks, topology: Topology):
        self.loaded = loaded
        self.topology = topology
        self.rules: Mapping[str, Check] = {check.id: check for check in loaded.file.checks}
        self._known: dict[int, tuple[View, list[Result]]] = {}

    def judge(self, view: View) -> list[Result]:
        return judge(self.loaded.file, view, self.loaded.config_hash)

    def before(self, view: View) -> list[Result]:
        """Return the results of a view without a fault; each view is judged once."""
        if id(view) not in self._known:
            self._known[id(view)] = view, self.judge(view)
        return self._known[id(view)][1]

    def is_broken(self, results: Iterable[Result], spot: Spot) -> bool:
        return any(
            result.status in (Status.FAIL, Status.ERROR)
            and result.kind not in _HIDING_NOTHING
            and spot.task in (result.key.task, result.key.source)
            and meet([_group(result)], [_region(spot)])
            for result in results
        )

    def inject(self, fault: Fault, base: View, before: Sequence[Result], spot: Spot) -> Injection:
        after = self.judge(fault.inject(base, spot))
        if fault.harmless:
            return _of_harmless(before, after, spot, self._is_about)
        known = {(result.id, result.instance): result for result in before}
        worse = [
            result
            for result in after
            if _rank(result) > _rank(known.get((result.id, result.instance))) and self._is_about(result, spot)
        ]
        noticed_by = tuple(dict.fromkeys(result.id for result in worse))
        return Injection(
            spot, noticed_by, bool(worse), self._localised(worse, base, spot), self._evaluations(worse, base)
        )

    def _is_about(self, result: Result, spot: Spot) -> bool:
        """Tell whether a result is about the leaves of a spot, or what comes after them."""
        after = self.topology.closure((spot.task,))
        mine = result.key.task in after or spot.source in (result.key.task, result.key.source)
        return mine and meet([_group(result)], [_region(spot)])

    def _localised(self, worse: Iterable[Result], base: View, spot: Spot) -> float | None:
        causes = group(worse, self.topology)
        if not causes or spot.detail == NO_PLAN:
            return None
        root = causes[0].root
        if spot.source is not None:  # of an edge: any break that names one of its ends
            return float(bool({spot.task, spot.source} & {root.key.task, root.key.source}))
        truth = {leaf for leaf in base.leaves.get(spot.task, ()) if matches(_key(leaf), spot.place)}
        mine, regions = base.leaves.get(root.key.task, ()), regions_of(root)
        named = {leaf for leaf in mine if any(_within(leaf, region) for region in regions)}
        return 2 * len(truth & named) / (len(truth) + len(named)) if truth else None

    def _evaluations(self, worse: Sequence[Result], view: View) -> int | None:
        """Return after how many evaluations, each with new data, somebody is told of what got worse."""
        open_: dict[str, Incident] = {}
        for number in range(1, MOST_EVALUATIONS + 1):
            fresh = [one.model_copy(update={"details": {**one.details, "data": str(number)}}) for one in worse]
            done = step([*open_.values()], fresh, self.topology, view.as_of, self.rules)
            if any(notice.event in (Event.TRIGGER, Event.SUMMARY) for notice in done.notices):
                return number
            open_.update((incident.episode, incident) for incident in done.incidents)
        return None


def _key(leaf: Leaf) -> RunKey:
    return RunKey.model_construct(**leaf._asdict(), planid="")


def _within(leaf: Leaf, region: Mapping[str, frozenset[str]]) -> bool:
    return all(getattr(leaf, dimension) in values for dimension, values in region.items())


def _group(result: Result) -> dict[str, frozenset[str]]:
    return {name: frozenset({value}) for name, value in result.key.group.items()}


def _region(spot: Spot) -> dict[str, frozenset[str]]:
    return {dimension: frozenset({value}) for dimension, value in spot.where}


def _rank(result: Result | None) -> int:
    """Return how bad a result is; what was not evaluated and does not count says as little as none."""
    if result is None or (result.status is Status.NOT_EVALUATED and not result.counts):
        return 0
    order = (Status.PASS, Status.WARN, Status.NOT_EVALUATED, Status.ERROR, Status.FAIL)
    return order.index(result.status)


def _of_harmless(
    before: Sequence[Result], after: Sequence[Result], spot: Spot, is_about: Callable[[Result, Spot], bool]
) -> Injection:
    """Return whether all was said as before, and which checks have looked at the place to say so."""
    known, said = _said(before), _said(after)
    # A new pass is no harm: a promoted repair is compared with what it replaced, where there was nothing to compare.
    same = known == {name: what for name, what in said.items() if name in known or what[0] is not Status.PASS}
    judged = (Status.PASS, Status.WARN, Status.FAIL)
    looked = [result.id for result in after if result.status in judged and is_about(result, spot)]
    return Injection(spot, tuple(dict.fromkeys(looked)) if same else (), same and bool(looked), None, None)


def _said(results: Iterable[Result]) -> dict[tuple[str, str], tuple[object, ...]]:
    """Return what is said, without what is left out of judgement in silence."""
    return {
        (one.id, one.instance): (one.status, one.value, one.expected, one.numerator, one.denominator)
        for one in results
        if one.status is not Status.NOT_EVALUATED or one.counts
    }

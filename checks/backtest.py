"""What the checks would have said of past days, at the moments when somebody would have listened.

Every business day of a range is judged as of each of its moments, in the order of time, with incidents that open,
fire and end as they would have (reference 5.7 and 5.8). Nothing is written. `false` is an alert on a day without a
marked incident; what a check may have of these in a week is its noise budget.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date as Date
from datetime import datetime
from typing import Any

from checks.breaks import is_broken
from checks.engine import judge
from checks.incidents import Incident
from checks.kinds.base import Check
from checks.kinds.drift import Drift
from checks.marks import Mark, is_of
from checks.replay import Looked, Memory, look
from checks.result import Result, Status
from checks.spec import ChecksFile, LoadedChecks
from reporting.errors import EXIT_FAILED, EXIT_OK
from reporting.stores.base import RecordStore
from reporting.topology import Topology

THRESHOLDS = (2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 15.0, 20.0)
"""Scores that are tried for a drift check with a noise budget."""

_SHOWN = (
    *("id", "kind", "evaluations", "failed", "warned", "not_evaluated", "alerts", "alerts_per_week", "false_per_week"),
    *("precision", "recall", "budget", "within_budget", "threshold"),
)

Progress = Callable[[Date, int, int], None]
"""Told the day at work, how many looks are done, and how many there will be."""


@dataclass(frozen=True)
class CheckReport:
    """How one check did.

    Attributes:
        id: The check's.
        kind: The check's.
        evaluations: Results, over all moments.
        failed: Of these, failures.
        warned: Warnings.
        not_evaluated: Without a verdict, errors included.
        alerts: Incidents that somebody was told of, each once.
        false_alerts: Of these, on days without a marked incident.
        weeks: In the range.
        precision: Share of the alerts that are of a marked incident; None without alerts or marks.
        recall: Share of the marked incidents where the check failed or warned; None without marks.
        budget: False alerts a week that it may have; None where it names none.
        threshold: Of a drift check with a budget: the smallest score tried that keeps it; None where none does.
    """

    id: str
    kind: str
    evaluations: int
    failed: int
    warned: int
    not_evaluated: int
    alerts: int
    false_alerts: int
    weeks: float
    precision: float | None
    recall: float | None
    budget: float | None
    threshold: float | None

    @property
    def alerts_per_week(self) -> float:
        """Alerts over the weeks of the range."""
        return self.alerts / self.weeks

    @property
    def false_per_week(self) -> float:
        """False alerts over the weeks of the range."""
        return self.false_alerts / self.weeks

    @property
    def within_budget(self) -> bool:
        """Whether its noise is no more than it may be."""
        return self.budget is None or self.false_per_week <= self.budget


@dataclass(frozen=True)
class Backtest:
    """A range of days, judged again."""

    first: Date
    last: Date
    config_hash: str
    looks: int
    """Days times moments that were judged."""
    marks: int
    checks: tuple[CheckReport, ...]

    @property
    def weeks(self) -> float:
        """Length of the range."""
        return weeks_between(self.first, self.last)

    @property
    def exit_code(self) -> int:
        """1 when a check breaks its noise budget."""
        return EXIT_OK if all(check.within_budget for check in self.checks) else EXIT_FAILED

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "from": self.first.isoformat(),
            "to": self.last.isoformat(),
            "weeks": self.weeks,
            "config_hash": self.config_hash,
            "looks": self.looks,
            "marked_incidents": self.marks,
            "checks": [{name: getattr(check, name) for name in _SHOWN} for check in self.checks],
        }


def weeks_between(first: Date, last: Date) -> float:
    """Return the length of a range of days, both included, in weeks."""
    return ((last - first).days + 1) / 7


def backtest(
    store: RecordStore,
    topology: Topology,
    loaded: LoadedChecks,
    days: Sequence[Date],
    moments: Callable[[Date], Iterable[datetime]],
    *,
    marks: Sequence[Mark] = (),
    benign: Mapping[str, datetime] | None = None,
    progress: Progress = lambda _day, _done, _total: None,
) -> Backtest:
    """Judge past days again.

    Args:
        store: Where records, plans and manifests are read.
        topology: The task graph.
        loaded: The checks.
        days: Business days, ascending, not empty.
        moments: When a day is looked at.
        marks: What really was wrong.
        benign: See `Memory`.
        progress: Called before each look.

    Raises:
        StoreError: the store failed.
    """
    looks = sorted((moment, day) for day in days for moment in moments(day))
    memory = Memory(topology, {check.id: check for check in loaded.file.checks}, benign)
    tallies = {check.id: _Tally(check) for check in loaded.file.checks}
    sweeps = [_Sweep(check, loaded, topology) for check in loaded.file.checks if _has_budget(check)]
    relevant = _Marks([mark for mark in marks if days[0] <= mark.date <= days[-1]], topology)
    for done, (moment, day) in enumerate(looks):
        progress(day, done, len(looks))
        looked = look(store, topology, loaded, day, moment, memory.left_out(moment))
        for incident in memory.alerts(memory.advance(looked.results, moment)):
            tallies[incident.check].alerts.append(incident)
        for result in looked.results:
            tallies[result.id].add(result, relevant)
        for sweep in sweeps:
            sweep.take(looked, moment)
    weeks = weeks_between(days[0], days[-1])
    thresholds = {sweep.check.id: sweep.threshold(relevant, weeks) for sweep in sweeps}
    reports = tuple(tally.report(relevant, weeks, thresholds.get(name)) for name, tally in tallies.items())
    return Backtest(days[0], days[-1], loaded.config_hash, len(looks), len(relevant.marks), reports)


def _has_budget(check: Check) -> bool:
    return isinstance(check, Drift) and check.max_false_per_week is not None


@dataclass(frozen=True)
class _Marks:
    marks: Sequence[Mark]
    topology: Topology

    def of(self, result: Result) -> list[int]:
        """Return the numbers of the marks that a break can be."""
        return [number for number, mark in enumerate(self.marks) if is_of(result, mark, self.topology)]

    def false_among(self, alerts: Iterable[Incident]) -> int:
        """Count the alerts on days without a mark."""
        marked = {mark.date for mark in self.marks}
        return sum(alert.date not in marked for alert in alerts)


@dataclass
class _Tally:
    check: Check
    counts: Counter[Status] = field(default_factory=Counter)
    alerts: list[Incident] = field(default_factory=list)
    caught: set[int] = field(default_factory=set)

    def add(self, result: Result, marks: _Marks) -> None:
        self.counts[result.status] += 1
        if is_broken(result):
            self.caught.update(marks.of(result))

    def report(self, marks: _Marks, weeks: float, threshold: float | None) -> CheckReport:
        right = sum(bool(marks.of(alert.result)) for alert in self.alerts)
        return CheckReport(
            id=self.check.id,
            kind=getattr(self.check, "kind", ""),
            evaluations=self.counts.total(),
            failed=self.counts[Status.FAIL],
            warned=self.counts[Status.WARN],
            not_evaluated=self.counts[Status.NOT_EVALUATED] + self.counts[Status.ERROR],
            alerts=len(self.alerts),
            false_alerts=marks.false_among(self.alerts),
            weeks=weeks,
            precision=right / len(self.alerts) if self.alerts and marks.marks else None,
            recall=len(self.caught) / len(marks.marks) if marks.marks else None,
            budget=self.check.max_false_per_week,
            threshold=threshold,
        )


class _Sweep:
    """One drift check at every score that is tried, each with incidents of its own; other checks stay as they are."""

    def __init__(self, check: Check, loaded: LoadedChecks, topology: Topology):
        self.check = check
        self._loaded = loaded
        rules = {one.id: one for one in loaded.file.checks}
        self._variants = []
        for score in THRESHOLDS:
            variant = check.model_copy(update={"score": score})
            file = ChecksFile.model_construct(version=1, holidays=loaded.file.holidays, checks=(variant,))
            self._variants.append((score, file, Memory(topology, {**rules, check.id: variant})))
        self._alerts: dict[float, list[Incident]] = {score: [] for score in THRESHOLDS}

    def take(self, looked: Looked, moment: datetime) -> None:
        """Judge what was looked at with every score; the baseline is that of the file's own score."""
        others = [result for result in looked.results if result.id != self.check.id]
        for score, file, memory in self._variants:
            mine = judge(file, looked.view, self._loaded.config_hash)
            told = memory.alerts(memory.advance([*others, *mine], moment))
            self._alerts[score] += [incident for incident in told if incident.check == self.check.id]

    def threshold(self, marks: _Marks, weeks: float) -> float | None:
        """Return the smallest score with no more false alerts a week than the budget."""
        budget = self.check.max_false_per_week
        kept = (score for score in THRESHOLDS if marks.false_among(self._alerts[score]) / weeks <= (budget or 0))
        return next(kept, None)

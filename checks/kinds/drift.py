"""Drift: a measure is not what its own past lets one expect. Totals first; groups only as far as rarity allows."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator

from checks.drift_score import Floats, Scores, discoveries, middle, rarity, score
from checks.history import Baseline, Group, Need
from checks.kinds.base import Check, Finding, Instance, Levels, Table, Tolerance
from checks.reported import Reported, reported, unit_of
from checks.result import Status
from checks.selection import Except, GroupBy, Tasks, grain_within, require_grain, tasks_of
from checks.view import View
from reporting.measures import parse_measure, read_measure
from reporting.topology import Dimension, Topology

Exclusion = Literal["incidents", "holidays", "non_daily_plans"]
_EXCLUSIONS: tuple[Exclusion, ...] = ("incidents", "holidays", "non_daily_plans")
_SIGNS = {"both": 0, "up": 1, "down": -1}


def _days(value: Any) -> Any:
    """Read `56d` as 56."""
    found = re.fullmatch(r"\s*(\d{1,4})\s*d(?:ays?)?\s*", value) if isinstance(value, str) else None
    return int(found[1]) if found else value


Days = Annotated[
    int,
    BeforeValidator(_days),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": r"^\s*\d{1,4}\s*d(ays?)?\s*$"}]}),
]
"""A number of days: 56 or 56d."""


class Drift(Check):
    """`{kind: drift, measure: output, tasks: "*", group_by: [subinstance], ignore_small: {rel: 0.03, abs: 500}}`.

    A task's total is judged by its score (`checks.drift_score`) alone. Where the total is as expected, its groups are
    judged too, as one family over all tasks of the check: those whose score is so rare among the past scores of the
    task's groups that at most a share `q` of them is a false alarm. They warn. Where the total breaks, its groups are
    no findings but the table that tells where.

    A total with less than `min_history` days is `not_evaluated` and does not count. The baseline ends the day before.
    """

    kind: Literal["drift"]
    tasks: Tasks = "*"
    """Which tasks; each must know the measure. `"*"` leaves out those that continue themselves: each of their days
    holds the one before, and such a task grows by leaps, when it takes in more. Name one, and it is judged."""
    except_: Except = ()
    """Tasks to leave out."""
    measure: str = "output"
    """What is looked at; see `reporting.measures`."""
    aggregate: Literal["sum", "mean"] = "sum"
    """Over the records: their sum, or their mean, as for the seconds of a package."""
    group_by: GroupBy = ()
    """Dimensions to judge within where the total is as expected; of each task those that it splits by."""
    history: Annotated[Days, Field(ge=14, le=112)] = 56
    """Days in the baseline, `56` or `56d`. From 28 on with a value the weekdays count."""
    min_history: Annotated[Days, Field(ge=14, le=112)] = 14
    """Declared warm-up: days with a value below which nothing is judged, `14` or `14d`."""
    exclude: tuple[Exclusion, ...] = _EXCLUSIONS
    """Days that no baseline holds. The scan leaves out all three, for every check."""
    score: float = Field(default=4, gt=0)
    """Of a total, from which on it breaks: robust standard deviations from the forecast."""
    direction: Literal["both", "up", "down"] = "both"
    """Which side is a break: too much, too little, or both."""
    ignore_small: Tolerance = Tolerance()
    """A difference within it is none, whatever its score."""
    levels: Levels = Levels()
    """By the share of the forecast that a break is off."""
    q: float = Field(default=0.01, gt=0, le=0.5)
    """Share of false alarms among the groups that are found, over all groups of the check and day."""
    groups_page: bool = False
    """Groups fail by `levels`; else they only warn."""

    @field_validator("exclude")
    @classmethod
    def _all_are_left_out(cls, value: tuple[Exclusion, ...]) -> tuple[Exclusion, ...]:
        kept = sorted(set(_EXCLUSIONS) - set(value))
        if kept:
            raise ValueError(f"one scan serves all checks and leaves out all of {list(_EXCLUSIONS)}; add {kept}")
        return _EXCLUSIONS

    @field_validator("min_history")
    @classmethod
    def _history_suffices(cls, value: int, info: Any) -> int:
        if value > info.data.get("history", value):
            raise ValueError(f"min_history {value} is more than the history of {info.data['history']} days")
        return value

    def expand(self, topology: Topology) -> list[Instance]:
        """See `Check.expand`: an instance for each task, and one for its groups where it splits by any of them."""
        where = f"check {self.id}"
        tasks = self._chosen(topology)
        require_grain(topology, tasks, self.group_by, where)
        for task in tasks:
            parse_measure(self.measure, topology.task(task), f"{where}: measure, of task {task}")
        return [
            Instance(self.id, self.kind, f"{task} by {', '.join(by)}" if by else task, task, None, by)
            for task in tasks
            for by in self._groupings(topology, task)
        ]

    def needs(self, topology: Topology) -> Sequence[Need]:
        """See `Check.needs`."""
        tasks = self._chosen(topology)
        return [Need(task, self.measure, by, self.history) for task in tasks for by in self._groupings(topology, task)]

    def _chosen(self, topology: Topology) -> tuple[str, ...]:
        """Return the tasks to judge, in topological order."""
        out = set(self.except_)
        if self.tasks == "*":
            out |= {task for task in topology.tasks if topology.continues_itself(task)}
        return tasks_of(topology, self.tasks, out, f"check {self.id}: tasks")

    def _groupings(self, topology: Topology, task: str) -> list[tuple[Dimension, ...]]:
        """Return (), and the dimensions to judge groups by where the task splits by any."""
        by = grain_within(topology, (task,), self.group_by)
        return [(), by] if by else [()]

    def judge(self, view: View) -> Iterator[Finding]:
        """See `Check.judge`: a finding for each task, and one for each group that is found where its total is not."""
        families = []
        for task in self._chosen(view.topology):
            (total,) = reported(view, task, ())
            by = self._groupings(view.topology, task)[-1]
            early = total.too_early(view) or self._lacking(view, total)
            if early is not None:
                yield early
                continue
            found = self.series(view, task, ())
            finding = self._of_total(view, total, found)
            if by and finding.status is Status.PASS:
                families.append(self.series(view, task, by))
            elif by and finding.status is not Status.NOT_EVALUATED:
                finding = replace(finding, table=self.series(view, task, by).table())
            yield total.unless_missing(view, finding)
        yield from self._of_groups(view, families)

    def series(self, view: View, task: str, by: Sequence[Dimension], baseline: Baseline | None = None) -> Series:
        """Score today's value of each group of a task.

        Args:
            view: The judged day.
            task: The task.
            by: Dimensions to group by; () for the total.
            baseline: Their past; None: what the view holds of it (the check's `needs`).
        """
        past = view.history.of(task, self.measure, by, self.history) if baseline is None else baseline
        counts = read_measure(self.measure).is_count and self.aggregate == "sum"
        groups = {group.group: group for group in reported(view, task, by) if group.by == tuple(by)}
        for name in past.groups:
            groups.setdefault(name, Reported(task, tuple(by), name, (), (), waiting=False))
        names = tuple(sorted(groups))
        place = {name: row for row, name in enumerate(names)}
        before = np.full((len(names), len(past.days)), np.nan)
        before[[place[name] for name in past.groups]] = past.values if self.aggregate == "sum" else past.means
        if counts and by:
            before = _zero_where_others_reported(before)
        told = [self._today(groups[name], 0.0 if counts else np.nan) for name in names]
        now, booked = np.array(told, float).reshape(-1, 2).T
        scores = score(before, now, counts=counts, min_days=self.min_history)
        usual = np.where(np.isfinite(scores.expected), scores.expected, np.nan_to_num(middle(before)))
        return Series(task, tuple(by), groups, names, now, booked, usual, scores)

    def _today(self, group: Reported, absent: float) -> tuple[float, float]:
        """Return a group's value to judge, and what it has booked.

        The first is NaN where a leaf or the measure is missing, and `absent` where there is no leaf.
        """
        if not group.leaves:
            return absent, 0.0
        values = group.values(self.measure)
        if not values:
            return np.nan, 0.0
        booked = math.fsum(values) / (1 if self.aggregate == "sum" else len(values))
        missing = (group.missing and group.by) or (len(values) < len(group.records) and group.without(self.measure))
        return np.nan if missing else booked, booked

    def _lacking(self, view: View, total: Reported) -> Finding | None:
        if lacking := total.without(self.measure):
            return total.unjudged(view, f"{lacking} of {len(total.records)} records do not hold {self.measure}")
        return None if total.values(self.measure) else total.unjudged(view, f"no record holds {self.measure}")

    def _of_total(self, view: View, total: Reported, found: Series) -> Finding:
        days = int(found.scores.days[0]) if len(found.groups) else 0
        if not np.isfinite(found.scores.score[0]):
            finding = total.unjudged(
                view,
                f"warming up: {days} of {self.min_history} days with a value",
                counts=False,
                unit=unit_of(view.topology.task(total.task), self.measure),
            )
            return replace(finding, value=float(found.today[0]), history=days)
        breaks = bool(self._oriented(found.scores.score)[0] > self.score)
        return self._finding(view, found, 0, breaks=breaks)

    def _of_groups(self, view: View, families: Sequence[Series]) -> Iterator[Finding]:
        """Yield the groups of all tasks that are rarer than chance explains."""
        p = [rarity(self._oriented(one.scores.score), self._oriented(one.scores.residuals).ravel()) for one in families]
        chosen = discoveries(np.concatenate([*p, np.empty(0)]), self.q)
        ends = np.cumsum([len(part) for part in p])
        for one, rare, found in zip(families, p, np.split(chosen, ends[:-1]) if families else [], strict=True):
            for row in np.flatnonzero(found):
                finding = self._finding(view, one, int(row), breaks=True, p=float(rare[row]))
                if finding.status is not Status.PASS:
                    yield finding

    def _finding(self, view: View, found: Series, row: int, *, breaks: bool, p: float | None = None) -> Finding:
        group, scores, value = found.reported[found.groups[row]], found.scores, float(found.today[row])
        expected, distance = float(scores.expected[row]), float(scores.score[row])
        low, high = (float(end[row]) for end in scores.band(self.score))
        small = self.ignore_small.around(expected)
        tolerance = max(high - expected if value > expected else expected - low, small)
        difference = value - expected
        status = self.levels.of(difference, expected, small) if breaks else Status.PASS
        if p is not None and status is Status.FAIL and not self.groups_page:
            status = Status.WARN
        details: dict[str, Any] = {"score": round(distance, 2), "measure": self.measure, "aggregate": self.aggregate}
        details |= {"planids": group.planids(view)} | ({} if p is None else {"p": p, "q": self.q})
        return Finding(
            group.instance,
            group.place(view),
            status,
            f"{self.measure} is {value:,.6g}, {_told(difference, expected)} the forecast {expected:,.6g}"
            f" of {scores.days[row]} days (score {distance:+.1f})",
            value=value,
            expected=expected,
            tolerance=tolerance,
            history=int(scores.days[row]),
            unit=unit_of(view.topology.task(found.task), self.measure),
            details=details,
        )

    def _oriented(self, scores: Floats) -> Floats:
        sign = _SIGNS[self.direction]
        return np.abs(scores) if sign == 0 else sign * scores


class Series(NamedTuple):
    """Groups of one task with their value of today and its score."""

    task: str
    by: tuple[Dimension, ...]
    reported: Mapping[Group, Reported]
    groups: tuple[Group, ...]
    """Sorted: those of today and of the baseline."""
    today: Floats
    """(groups,) NaN where there is no value: leaves are missing, or the measure is."""
    booked: Floats
    """(groups,) the same of the leaves that have reported; 0 where none has."""
    usual: Floats
    """(groups,) the forecast; where the past is too short for one its median, and 0 of what was never seen."""
    scores: Scores

    def table(self) -> Table:
        """Return what there is and what there should be, for the localisation."""
        actual, expected = np.maximum(self.booked, 0), np.maximum(self.usual, 0)
        return Table(self.by, self.groups, actual, expected, exact=False)


def _zero_where_others_reported(values: Floats) -> Floats:
    """Return the past of groups with 0 on days on which only others of the task reported.

    A group without a leaf has booked nothing. Before its first day it was not there, which is another fact.
    """
    seen = np.isfinite(values)
    absent = ~seen & seen.any(axis=0) & np.logical_or.accumulate(seen, axis=1)
    return np.where(absent, 0.0, values)


def _told(difference: float, expected: float) -> str:
    side = "above" if difference > 0 else "below"
    if difference == 0:
        return "exactly"
    return f"{abs(difference) / expected:.1%} {side}" if expected else f"{abs(difference):,.6g} {side}"

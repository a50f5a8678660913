"""Fresh: a task's leaves have reported by its deadline, in the business day's time zone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from datetime import date as Date
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from checks.kinds.base import Check, Finding, Instance, Table
from checks.leaves import MOST, names_of
from checks.reported import Reported, reported
from checks.result import Status
from checks.selection import Except, Tasks, tasks_of
from checks.view import View, group_of
from reporting.effective import leaf_of
from reporting.errors import ConfigError
from reporting.plans import Leaf, PlanKind, by_precedence
from reporting.record import State
from reporting.topology import DIMENSIONS, Topology

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _minutes(value: Any) -> Any:
    """Read `1h30m` as 90 minutes; a bare number is minutes already."""
    if not isinstance(value, str):
        return value
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhd])", value)
    if not parts or re.sub(r"\s", "", value) != "".join(number + unit for number, unit in parts):
        raise ValueError(f"expected a time as in 30m, 1h30m or 90s, got {value!r}")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts) / 60


Minutes = Annotated[
    float,
    BeforeValidator(_minutes),
    Field(ge=0, le=366 * 24 * 60),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^(\s*\d+(\.\d+)?\s*[smhd])+\s*$"}]}
    ),
]
"""A length of time in minutes; in a file a number of minutes or text as in 30m, 1h30m, 90s, 2d."""


class Lateness(BaseModel):
    """How late a leaf may come before it warns, and before it fails (and pages)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    warn: Minutes = 0
    page: Minutes = 30

    @model_validator(mode="after")
    def _warns_first(self) -> Lateness:
        if self.warn > self.page:
            raise ValueError(f"warn ({self.warn:g} minutes) must not be later than page ({self.page:g} minutes)")
        return self


def _week(value: Any) -> Any:
    """Spell out `mon..fri`, which may wrap around: `sat..mon`."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"expected days as in [mon..fri] or [sat, sun], got {value!r}")  # noqa: TRY004 - for pydantic
    found: set[str] = set()
    for part in value:
        ends = str(part).split("..")
        if len(ends) > 2 or any(end not in DAYS for end in ends):
            raise ValueError(f"unknown day {part!r}; expected {', '.join(DAYS)} or a range as in mon..fri")
        first, last = DAYS.index(ends[0]), DAYS.index(ends[-1])
        found.update(DAYS[(first + n) % 7] for n in range((last - first) % 7 + 1))
    if not found:
        raise ValueError("no day is left; name one, or leave `days` out for all")
    return tuple(day for day in DAYS if day in found)


Weekdays = Annotated[
    tuple[str, ...],
    BeforeValidator(_week),
    WithJsonSchema(
        {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": r"^[a-z]{3}(\.\.[a-z]{3})?$"}}
    ),
]
"""Days of the week, as `[mon..fri]` or `[sat, sun]`."""


class Fresh(Check):
    """`{kind: fresh, tasks: [index, release], days: [mon..sun], levels: {warn: 0m, page: 30m}}`.

    A leaf is there when a record of it has finished that counts, or counted before a repair took its place; a failed
    record is not there. What is asked at a moment `as_of` is answered so:

    | moment                | all leaves are there | some are late                  | some are missing                |
    |-----------------------|----------------------|--------------------------------|---------------------------------|
    | before deadline-grace | pass                 | -                              | not_evaluated, does not count   |
    | before the deadline   | pass                 | -                              | not_evaluated: waiting          |
    | from the deadline on  | pass                 | warn or fail, by the latest    | fail, with the lateness so far  |

    Where a plan is still open and has not said which leaves there will be, "all" is not known: `not_evaluated`. On a
    day that only a backfill has done no deadline holds, and that does not count.
    """

    kind: Literal["fresh"]
    tasks: Tasks = "*"
    """Which tasks; `"*"` means those that have a deadline, and one that is named must have one."""
    except_: Except = ()
    """Tasks to leave out."""
    days: Weekdays = DAYS
    """Weekdays of the business day on which the deadline holds; on others it is `not_evaluated` and does not count."""
    deadline_days: int = Field(default=1, ge=0, le=31)
    """Days from the business day to its deadline: a day's work is due the next morning."""
    grace: Minutes = 20
    """How long before the deadline what is missing begins to count as not evaluated."""
    levels: Lateness = Lateness()

    def expand(self, topology: Topology) -> list[Instance]:
        """See `Check.expand`: an instance for each task with a deadline."""
        where = f"check {self.id}"
        tasks = tasks_of(topology, self.tasks, self.except_, f"{where}: tasks")
        without = [task for task in tasks if topology.task(task).deadline is None]
        if self.tasks != "*" and without:
            raise ConfigError(f"{where}: task {without[0]!r} has no `deadline` in pipeline.yaml; give it one")
        due = [task for task in tasks if task not in without]
        if not due:
            raise ConfigError(f"{where}: no task has a `deadline` in pipeline.yaml; give one to those that matter")
        zone(topology.timezone)
        return [Instance(self.id, self.kind, task, task, None, ()) for task in due]

    def judge(self, view: View) -> Iterator[Finding]:
        """See `Check.judge`: one finding for each task."""
        there = delivered(view)
        for instance in self.expand(view.topology):
            (found,) = reported(view, instance.task, ())
            yield self._without_deadline(view, found) or self._of_task(view, found, there)

    def _without_deadline(self, view: View, found: Reported) -> Finding | None:
        day, backfill = DAYS[view.date.weekday()], _backfill(view, found)
        if day in self.days and backfill is None:
            return None
        why = f"on a {day}" if day not in self.days else f"on a day that only {backfill} has filled in"
        return found.unjudged(view, f"no deadline holds {why}", counts=False, unit="leaves")

    def _of_task(self, view: View, found: Reported, there: dict[Leaf, datetime]) -> Finding:
        clock = view.topology.task(found.task).deadline or ""
        due = due_at(view.date, clock, view.topology.timezone, self.deadline_days)
        times = _Times(due, {leaf: there[leaf] for leaf in found.leaves if leaf in there}, found.leaves)
        if not times.missing and found.leaves and not found.waiting:
            return self._finding(view, found, times, self._level(times.minutes_late), _told_arrived(times))
        if view.as_of < due:
            early = view.as_of < due - timedelta(minutes=self.grace)
            told = f"due at {_clock(due)}: {len(times.there)} of {len(times.leaves)} leaves are there"
            return found.unjudged(view, told, counts=not early, unit="leaves")
        if not times.missing and found.leaves:
            told = f"{len(times.there)} leaves are there, but the open plan has not said whether there will be more"
            return found.unjudged(view, told, unit="leaves")
        if not found.leaves and not found.waiting and view.planid(Leaf(found.task, view.date)) is not None:
            return found.unjudged(view, "its plan has ended and had no leaf of it: nothing was due", unit="leaves")
        so_far = (view.as_of - due).total_seconds() / 60
        many = f"{len(times.missing)} of {len(times.leaves)} leaves are not" if times.leaves else "no record is"
        told = f"{many} there at {_clock(view.as_of)}, {_told_minutes(so_far)} after the deadline {_clock(due)}"
        return self._finding(view, found, times, Status.FAIL, told, so_far)

    def _level(self, minutes: float) -> Status:
        if minutes > self.levels.page:
            return Status.FAIL
        return Status.WARN if minutes > self.levels.warn else Status.PASS

    def _finding(
        self, view: View, found: Reported, times: _Times, status: Status, reason: str, so_far: float = 0
    ) -> Finding:
        due_count = max(len(times.leaves), 1)  # a task without a plan owes one leaf at least
        grain = view.topology.task(found.task).grain
        return Finding(
            found.instance,
            found.place(view),
            status,
            reason,
            value=len(times.on_time),
            expected=due_count,
            tolerance=0,
            numerator=len(times.on_time),
            denominator=due_count,
            unit="leaves",
            table=times.table(grain) if status in (Status.WARN, Status.FAIL) else None,
            details={
                "deadline": times.due.isoformat(),
                "minutes_late": round(max(times.minutes_late, so_far), 2),
                "late": names_of(times.late),
                "missing": names_of(times.missing),
                "missing_in": times.missing_in(grain),
                "planids": found.planids(view),
            },
        )


class _Times(NamedTuple):
    due: datetime
    there: dict[Leaf, datetime]
    leaves: tuple[Leaf, ...]

    @property
    def missing(self) -> list[Leaf]:
        return [leaf for leaf in self.leaves if leaf not in self.there]

    @property
    def late(self) -> list[Leaf]:
        return [leaf for leaf, moment in self.there.items() if moment > self.due]

    @property
    def on_time(self) -> list[Leaf]:
        return [leaf for leaf, moment in self.there.items() if moment <= self.due]

    @property
    def minutes_late(self) -> float:
        """Of the latest leaf that is there; 0 where none is late."""
        latest = max(self.there.values(), default=self.due)
        return max(0.0, (latest - self.due).total_seconds() / 60)

    def missing_in(self, grain: Sequence[str]) -> dict[str, list[str]]:
        """Return, by dimension, the values of the missing leaves; not of one that they have all the values of."""
        found: dict[str, list[str]] = {}
        for dimension in (dimension for dimension in DIMENSIONS if dimension in grain):
            values, every = ({getattr(leaf, dimension) for leaf in leaves} for leaves in (self.missing, self.leaves))
            if values and values != every and len(values) <= MOST:
                found[dimension] = sorted(values)
        return found

    def table(self, grain: Sequence[str]) -> Table | None:
        """Return one expected delivery a leaf, and whether it came in time; None where there is no place to name."""
        dimensions = tuple(dimension for dimension in DIMENSIONS if dimension in grain)
        if not dimensions or not self.leaves:
            return None
        on_time = {*self.on_time}
        actual = np.array([leaf in on_time for leaf in self.leaves], float)
        values = tuple(group_of(leaf, dimensions) for leaf in self.leaves)
        return Table(dimensions, values, actual, np.ones(len(actual)), exact=True)


def delivered(view: View) -> dict[Leaf, datetime]:
    """Return when each leaf of the day was first there: the earliest end of a record that counts, or did.

    A repair that is promoted later replaces a leaf's record, but does not make late what had come in time. Records of
    shadow, test and abandoned plans, of repairs not promoted yet, and failed ones deliver nothing.
    """
    counted = {effective.planid: plan for plan, effective in by_precedence(view.plans, view.as_of)}
    found: dict[Leaf, datetime] = {}
    for record in view.records:
        leaf, plan = leaf_of(record.key), counted.get(record.key.planid)
        if plan is None or not plan.covers(leaf) or record.state is State.FAILED:
            continue
        found[leaf] = min(found.get(leaf, record.finished_at), record.finished_at)
    return found


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """Return a time zone.

    Raises:
        ConfigError: there is none of that name, or no database of time zones.
    """
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ConfigError(
            f"pipeline.yaml: timezone {name!r} is unknown; give an IANA name as Asia/Shanghai"
            " (if all are unknown, install the package tzdata)"
        ) from None


def due_at(date: Date, clock: str, timezone: str, days: int = 1) -> datetime:
    """Return the moment, in UTC, at which a clock in a time zone shows HH:MM some days after a date.

    A time that the clock shows twice (the end of summer time) means the first; one that it skips (its beginning) means
    the first moment after the gap.

    Raises:
        ConfigError: the zone is unknown.

    Example:
        >>> due_at(Date(2026, 11, 1), "04:30", "Asia/Shanghai").isoformat()
        '2026-11-01T20:30:00+00:00'
    """
    shown = datetime.combine(date + timedelta(days=days), time.fromisoformat(clock), zone(timezone))
    first, second = shown.astimezone(UTC), shown.replace(fold=1).astimezone(UTC)
    if first <= second:
        return first
    # Skipped: `second` is before the jump and `first` after it. Halve down to the second of the jump.
    before = second.astimezone(zone(timezone)).utcoffset()
    early, late = 0, int((first - second).total_seconds())
    while late - early > 1:
        middle = (early + late) // 2
        moment = second + timedelta(seconds=middle)
        early, late = (middle, late) if moment.astimezone(zone(timezone)).utcoffset() == before else (early, middle)
    return second + timedelta(seconds=late)


def _backfill(view: View, found: Reported) -> str | None:
    """Return the plan that filled in the task's day after the fact, where nobody had planned to do it in time."""
    leaves = found.leaves or (Leaf(found.task, view.date),)
    plans = [plan for plan, _ in by_precedence(view.plans, view.as_of) if any(plan.covers(leaf) for leaf in leaves)]
    return plans[0].planid if plans and all(plan.kind is PlanKind.BACKFILL for plan in plans) else None


def _told_arrived(times: _Times) -> str:
    if not times.late:
        return f"all {len(times.leaves)} leaves were there by {_clock(times.due)}"
    return (
        f"{len(times.late)} of {len(times.leaves)} leaves came after the deadline {_clock(times.due)},"
        f" the last {_told_minutes(times.minutes_late)} late"
    )


def _told_minutes(minutes: float) -> str:
    hours, rest = divmod(round(minutes), 60)
    return f"{hours} h {rest} min" if hours else f"{rest} min"


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"

"""When a business day is judged: from the morning after on, at the deadlines of its tasks and later. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date as Date
from datetime import datetime, timedelta

from pydantic import TypeAdapter, ValidationError

from checks.kinds.fresh import Minutes, due_at, zone
from reporting.errors import UsageError
from reporting.topology import Topology

GRACE = timedelta(minutes=20)
"""After the last deadline: what comes a few minutes late is there by then."""
NO_DEADLINE = "12:00"
"""Stands for the deadlines of a graph that names none."""

_MINUTES = TypeAdapter(Minutes)


def settled_at(topology: Topology, date: Date, clock: str | None = None, days: int = 1) -> datetime:
    """Return the moment, in UTC, from which on a business day should be all there.

    Args:
        topology: Its deadlines and its time zone.
        date: The business day.
        clock: HH:MM in that zone; None: the last deadline of any task and 20 minutes.
        days: From the business day to that morning.
    """
    if clock is not None:
        return due_at(date, clock, topology.timezone, days)
    return due_at(date, max(_deadlines(topology), default=NO_DEADLINE), topology.timezone, days) + GRACE


def overdue_at(topology: Topology, date: Date) -> datetime:
    """Return the moment, in UTC, from which on a business day that nobody has planned is one that never ran.

    The first deadline of any task and 20 minutes: before that the plan may still be made.
    """
    return due_at(date, min(_deadlines(topology), default=NO_DEADLINE), topology.timezone) + GRACE


def _deadlines(topology: Topology) -> list[str]:
    return [spec.deadline for spec in topology.tasks.values() if spec.deadline is not None]


def replay_moments(topology: Topology, date: Date, *, every: timedelta, clock: str | None = None) -> Iterator[datetime]:
    """Yield the moments at which a business day is looked at again: the morning after, and until the next one.

    Args:
        topology: See `settled_at`.
        date: The business day.
        every: Between two looks, > 0; the last one is on the next morning or before it.
        clock: See `settled_at`.
    """
    first, last = settled_at(topology, date, clock), settled_at(topology, date, clock, days=2)
    if every == timedelta(days=1):  # a day of the clock on the wall: 23 or 25 hours when summer time begins or ends
        yield from (first, last)
        return
    moment = first
    while moment <= last:
        yield moment
        moment += every


def business_days(topology: Topology, now: datetime, days: int) -> list[Date]:
    """Return the business days to be watched at a moment, the oldest first: the day itself, and `days` before it.

    Example:
        With days=2, on a Wednesday: Monday, Tuesday and Wednesday, whose work is due on Thursday.
    """
    today = now.astimezone(zone(topology.timezone)).date()
    return [today - timedelta(days=back) for back in range(days, -1, -1)]


def parse_span(text: str, option: str) -> timedelta:
    """Return a length of time written as 30m, 1h30m, 90s or 2d.

    Raises:
        UsageError: it is written otherwise, or is not longer than nothing.
    """
    try:
        minutes = _MINUTES.validate_python(text.strip())
    except ValidationError:
        minutes = 0.0
    if not minutes > 0 or text.strip().replace(".", "").isdigit():
        raise UsageError(f"{option} {text!r} is no length of time; write it as in 30m, 1h30m, 90s or 2d")
    return timedelta(minutes=minutes)


def parse_clock(text: str | None, option: str) -> str | None:
    """Return a time of day written HH:MM.

    Raises:
        UsageError: it is written otherwise.
    """
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%H:%M").strftime("%H:%M")  # noqa: DTZ007 - a clock on a wall, in no zone yet
    except ValueError:
        raise UsageError(f"{option} {text!r} is no time of day; write it as in 07:30") from None

"""Measures: what can be read off a record as one number, under the names that checks and sums use.

`input`, `output`, `produced`, `dropped`, `failed`   counts of the record (the last two are its totals)
`records`                                            1 for each record
`seconds`                                            wall time of the attempt: finished - started
`dropped.REASON`, `failed.CLASS`                     one entry of a map; one that is not there is 0: all is booked
`metrics.NAME`                                       one entry of a map; one that is not there is unknown, not 0
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import NamedTuple

from reporting.booking import is_declared
from reporting.errors import ConfigError
from reporting.record import TaskRecord
from reporting.topology import TaskSpec

PLAIN = ("input", "output", "produced", "dropped", "failed", "records", "seconds")
"""Measures that need no name behind a dot."""

MAPS = ("dropped", "failed", "metrics")
"""Fields of a record of which one entry is a measure."""

_MICROSECOND = timedelta(microseconds=1)


class Measure(NamedTuple):
    """A measure, taken apart.

    Example:
        >>> Measure("dropped", "near_duplicate").text, Measure("seconds").text
        ('dropped.near_duplicate', 'seconds')
    """

    field: str
    """One of `PLAIN` or `MAPS`."""
    name: str | None = None
    """The entry of a map; None where the field itself is the measure."""

    @property
    def text(self) -> str:
        """The name by which it is asked for."""
        return self.field if self.name is None else f"{self.field}.{self.name}"

    @property
    def is_count(self) -> bool:
        """Whether its values are whole numbers of items or records."""
        return self.field not in ("seconds", "metrics")

    @property
    def has_column(self) -> bool:
        """Whether stores keep it apart from the record's body, so that they add it up themselves."""
        return self.name is None


@lru_cache(maxsize=4096)
def read_measure(text: str) -> Measure:
    """Take a measure's name apart. What follows the first dot is one name, which may hold further dots.

    Raises:
        ConfigError: it is none, with the nearest; whether a task declares the reason or metric is not looked at.

    Example:
        >>> read_measure("failed.http.Timeout")
        Measure(field='failed', name='http.Timeout')
    """
    field, dot, name = text.partition(".")
    if not dot and field in PLAIN:
        return Measure(field)
    if name and field in MAPS:
        return Measure(field, name)
    raise ConfigError.unknown_name("measure", text, (*PLAIN, "dropped.REASON", "failed.CLASS", "metrics.NAME"), text)


def parse_measure(text: str, task: TaskSpec, where: str) -> str:
    """Return a measure's name, checked against what a task may book.

    Args:
        text: what somebody wrote.
        task: the declaration of the task it is about; error classes are not declared, so any is allowed.
        where: it was written; the message begins with it.

    Raises:
        ConfigError: it is no measure, or the task declares no such reason or metric; with the nearest valid names.
    """
    field, _, name = text.partition(".")
    allowed = [
        *PLAIN,
        *(f"dropped.{reason}" for reason in task.drop_reasons),
        *(f"metrics.{metric}" for metric in task.metrics),
    ]
    known = text in PLAIN
    if name and field == "dropped":
        known = name in task.drop_reasons
    elif name and field == "metrics":
        known = "*" not in name and is_declared(name, task.metrics)  # `*` declares many metrics and is none itself
    elif name and field == "failed":
        known = True
    if not known:
        raise ConfigError.unknown_name("measure", text, [*allowed, "failed.CLASS"], where)
    return text


def value_of(record: TaskRecord, measure: str | Measure) -> float | None:
    """Return a record's value of a measure; None where the record does not hold it, as a metric nobody booked.

    Counts are in items (`produced` in the task's output unit, the others in its input unit), `seconds` in seconds.

    Raises:
        ConfigError: the text names no measure.
    """
    wanted = measure if isinstance(measure, Measure) else read_measure(measure)
    amount = amount_of(record, wanted)
    if amount is None:
        return None
    return amount / 1_000_000 if wanted.field == "seconds" else float(amount)


def amount_of(record: TaskRecord, measure: Measure) -> int | float | None:
    """Return the value as it can be added up exactly: counts and microseconds as whole numbers, metrics as they are."""
    field, name = measure
    if field == "seconds":
        return (record.finished_at - record.started_at) // _MICROSECOND
    if field == "records":
        return 1
    if name is None:
        return int(getattr(record, f"{field}_total" if field in MAPS else field))
    if field == "metrics":
        return record.metrics.get(name)
    return int(getattr(record, field).get(name, 0))

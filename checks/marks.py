"""What really went wrong, as incidents tell it: marked ones to measure alerts against, unmended ones for baselines."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import date as Date
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from checks.causes import Region, meet, regions_of
from checks.incidents import Incident, IncidentState, Severity
from checks.result import Result
from checks.selection import task_after
from reporting.days import parse_day
from reporting.errors import ConfigError, DataError, UsageError, nearest
from reporting.topology import DIMENSIONS, Topology

_COLUMNS = ("date", "task", *DIMENSIONS)


class Mark(NamedTuple):
    """Something that really was wrong.

    Attributes:
        date: The business day.
        task: Where it began, or where it was seen.
        regions: Its leaves; an empty region is all of them.
    """

    date: Date
    task: str
    regions: tuple[Region, ...]


def marks_of(incidents: Iterable[Incident]) -> list[Mark]:
    """Return what was real among stored incidents: what a person has ended and not called benign, or a re-run mended.

    What passed by itself says nothing, and what explains nothing on its own (the impact of another one) is left out.
    """
    return [
        Mark(one.date, one.key.task, regions_of(one.result))
        for one in incidents
        if (one.closed_by and not one.benign and one.state is IncidentState.RESOLVED)
        or one.state is IncidentState.SUPERSEDED
    ]


def benign_of(incidents: Iterable[Incident]) -> dict[str, datetime]:
    """Return the fingerprints that a person has called benign, with the moment."""
    return {one.fingerprint: one.closed_at for one in incidents if one.benign and one.closed_at is not None}


def unmended_days(incidents: Iterable[Incident]) -> frozenset[tuple[str, Date]]:
    """Return (task, day) that no baseline should hold: a break that pages was found there and was never mended.

    With the tasks of the impact. What has passed since, or was called benign, is left out, and so is what only warns:
    a lasting small shift nobody looks at would else use up the baseline.

    Args:
        incidents: Open ones and those that have ended, in any order.
    """
    found = set()
    for one in incidents:
        mended = not one.is_open and not one.closed_by and one.state is not IncidentState.EXPIRED
        if one.severity is Severity.PAGE and one.fired_at is not None and not mended and not one.benign:
            found |= {(task, one.date) for task in (one.key.task, *(part.task for part in one.impact))}
    return frozenset(found)


def read_marks(path: Path, topology: Topology) -> list[Mark]:
    """Read a CSV with the columns date, task and, where it is known, category and subinstance.

    Raises:
        DataError: the file cannot be read, lacks a column, or a line names a day or task that is none.
    """
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            rows = csv.DictReader(lines, strict=True)
            _check_header(path, rows.fieldnames or [])
            return [_mark(row, f"{path}:{rows.line_num}", topology) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: cannot be read as CSV: {why}; expected the columns {', '.join(_COLUMNS)}") from None


def _check_header(path: Path, names: Iterable[str]) -> None:
    names = list(names)
    missing = [name for name in _COLUMNS[:2] if name not in names]
    if missing:
        raise DataError(f"{path}:1: there is no column {missing[0]!r}; expected {', '.join(_COLUMNS)}")
    for name in names:
        if name not in _COLUMNS:
            raise DataError(f"{path}:1: unknown column {name!r}; {nearest(name, _COLUMNS)}")


def _mark(row: dict[str, str | None], where: str, topology: Topology) -> Mark:
    try:
        date, task = parse_day(row["date"] or ""), row["task"] or ""
        topology.task(task)
    except (UsageError, ConfigError) as error:
        raise DataError(f"{where}: {error}") from None
    region: Region = {name: frozenset({value}) for name in DIMENSIONS if (value := row.get(name))}
    return Mark(date, task, (region,))


def is_of(result: Result, mark: Mark, topology: Topology) -> bool:
    """Tell whether a break can be what was marked: that day, at, before or after that task, and with leaves of it."""
    task = result.key.task
    near = task == mark.task or task_after(topology, mark.task, task) or task_after(topology, task, mark.task)
    return result.key.date == mark.date and near and meet(regions_of(result), mark.regions)

"""The command that mends a break: the re-run of the leaves that explain it, and of nothing beside them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from checks.breaks import planids_of
from checks.result import Cause, Result, Status
from reporting.key import ALL
from reporting.topology import DIMENSIONS, Dimension, Topology

_EXPLAINED = 0.5
"""Causes that are less than this share of a break leave too much of it: the whole task is done again."""

_OF_PLANS = frozenset({"complete", "fresh"})
"""Kinds that fail where no plan counts at all."""

_OPTIONS: dict[Dimension, str] = {"category": "--categories", "subinstance": "--subinstances"}


def repair_command(result: Result, topology: Topology) -> str:
    """Return the `funnelgate run` that does the broken leaves again, counts once it is complete, or "".

    The task is the one at fault. Only dimensions that its work splits by are restricted (a fan-out runs for all its
    categories at once), and only to what the result's group or all of its causes name; of what is late, to what has
    not come at all. What stands downstream is part of every re-run. What differs in a plan that waits to be promoted
    is done again as another one that waits, and no more of it than was compared. Where no plan of the day counts, it
    is the day's run itself.

    Args:
        result: A check's, its causes already found.
        topology: Of the pipeline.

    Returns:
        "" where there is nothing to do again: the task is not one of the topology's, all that is late has come since,
        or leaves were booked that no manifest expects.

    Example:
        `funnelgate run --kind rerun --date 2026-11-05 --tasks crop --subinstances 0017 --promote`
    """
    task = result.key.task
    if task not in topology.tasks or _is_there(result):
        return ""
    date = result.key.date.isoformat()
    if result.kind in _OF_PLANS and not planids_of(result):
        return shlex.join(["funnelgate", "run", "--date", date])
    words = ["funnelgate", "run", "--kind", "rerun", "--date", date, "--tasks", task]
    for dimension in DIMENSIONS:
        values = _values(result, dimension) if dimension in topology.task(task).work_grain else None
        if values:
            words += [_OPTIONS[dimension], ",".join(values)]
    return shlex.join(words if result.kind == "plan_diff" else [*words, "--promote"])


def _is_there(result: Result) -> bool:
    """Tell whether a record of each leaf has come: too late, or although nobody expected it."""
    if result.kind == "fresh":
        return not result.details.get("missing") and bool(planids_of(result))
    return result.kind == "complete" and result.status is Status.WARN


def _values(result: Result, dimension: Dimension) -> tuple[str, ...] | None:
    """Return the only values of a dimension that are broken; None where any may be, or an option cannot say them."""
    if dimension in result.key.group:
        values: tuple[str, ...] | None = (result.key.group[dimension],)
    elif result.kind == "fresh":  # its causes are late leaves too
        values = _told(result, "missing_in", dimension)
    else:
        values = _named(result.explain, dimension) or _told(result, "within", dimension)
    if values is None or any(not _can_be_given(value) for value in values):
        return None
    return values


def _told(result: Result, name: str, dimension: Dimension) -> tuple[str, ...] | None:
    """Return what a kind says itself of where leaves are, in its details."""
    return tuple(result.details.get(name, {}).get(dimension, ())) or None


def _named(causes: Iterable[Cause], dimension: Dimension) -> tuple[str, ...] | None:
    causes = list(causes)
    if sum(cause.share for cause in causes) < _EXPLAINED or any(dimension not in cause.where for cause in causes):
        return None
    return tuple(sorted({value for cause in causes for value in cause.where[dimension]}))


def _can_be_given(value: str) -> bool:
    """Tell whether a comma-separated option can name a value; `all` is no value of a dimension that work splits by."""
    return value != ALL and "," not in value and value == value.strip() and not value.startswith("-")

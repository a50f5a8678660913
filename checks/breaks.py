"""What a result says of a break: whether it is one, which, how large, over which data. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from checks.incidents import PROVISIONAL, size_of
from checks.result import Result, Status

_OWN_DETAILS = frozenset({"data", "unit", PROVISIONAL})


def seen_of(result: Result) -> str:
    """Return what an evaluation is told from the next one by: data, rules and verdict.

    The engine names the data by a hash in `details["data"]`. Where a result names none, its own answer stands for it.
    The verdict is part of it, because what is late gets worse by the clock alone.
    """
    data = result.details.get("data")
    if data is None:
        facts = result.model_dump(mode="json", include={"status", "value", "expected", "numerator", "denominator"})
        data = _sha256([facts, planids_of(result)])[:16]
    return f"{data}/{result.config_hash}/{result.status.value}"


def data_of(seen: str) -> str:
    """Return the data part of what `seen_of` made."""
    return seen.partition("/")[0]


def planids_of(result: Result) -> tuple[str, ...]:
    """Return whose records a result judged, sorted: `details["planids"]`, else the plan of its place."""
    named = result.details.get("planids")
    if isinstance(named, list | tuple) and named:
        return tuple(sorted({str(planid) for planid in named}))
    return () if result.key.planid is None else (result.key.planid,)


def is_provisional(result: Result) -> bool:
    """Tell whether what a result judged may still change: it says so; one that does not say is final."""
    return bool(result.details.get(PROVISIONAL))


def is_broken(result: Result) -> bool:
    """Tell whether a result is a break: it fails or warns. An error or `not_evaluated` is neither that nor a pass."""
    return result.status in (Status.FAIL, Status.WARN)


def share_of(result: Result) -> float | None:
    """Return the size of a break against what was expected, >= 0; None where nothing was, or either is not known."""
    size = size_of(result)
    return None if size is None or not result.expected else size / abs(result.expected)


def facts_of(result: Result) -> Mapping[str, Any]:
    """Return a result's details for people, without those that only the machinery reads."""
    return {name: value for name, value in result.details.items() if name not in _OWN_DETAILS}


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

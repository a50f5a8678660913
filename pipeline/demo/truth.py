"""What every task must book for the demo's arrivals, counted from the injected faults alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from pipeline.demo.rows import Row

TASKS: Final = ("collect", "download", "quality", "hash", "dedup", "listing")
"""The tasks whose counts follow from the faults alone, in topology order. From detect on it is objects that are
booked, and how many a detector finds is measured, not known: of detect the truth says what must reach it."""


def day_truth(rows: Sequence[Row]) -> dict[str, Any]:
    """Return what one day's manifest must come to.

    Returns:
        ``rows``: rows of the manifest. ``tasks``: by task ``input``, ``output`` (the next task's input) and
        ``dropped`` by reason; of detect ``input`` alone. ``objects``: items to be seen in the pictures that reach
        detect, and ``by_category`` of the catalogue. ``sets``: those of the pictures that show several.
        ``faults`` and ``strategies``: rows by fault (``none`` for sound first arrivals) and by crawl strategy,
        duplicate rows included.
    """
    dropped: dict[str, Counter[str]] = {task: Counter() for task in TASKS}
    for row in rows:
        if row.dropped_by is not None:
            task, reason = row.dropped_by
            dropped[task][reason] += 1
    tasks: dict[str, dict[str, Any]] = {}
    left = len(rows)
    for task in TASKS:
        output = left - dropped[task].total()
        tasks[task] = {"input": left, "output": output, "dropped": dict(sorted(dropped[task].items()))}
        left = output
    tasks["detect"] = {"input": left}
    kept = [row for row in rows if row.dropped_by is None]
    shown = Counter(item.category for row in kept for item in row.shown)
    return {
        "rows": len(rows),
        "tasks": tasks,
        "objects": shown.total(),
        "by_category": dict(sorted(shown.items())),
        "sets": sum(len(row.shown) > 1 for row in kept),
        "faults": dict(sorted(Counter(row.fault.value for row in rows).items())),
        "strategies": dict(sorted(Counter(row.strategy for row in rows).items())),
    }


def truth(days: Mapping[date, Sequence[Row]], *, seed: int, queries: int) -> dict[str, Any]:
    """Return the content of ``truth.json``: ``seed``, ``queries``, ``tasks`` (names) and ``days`` by ISO date."""
    return {
        "seed": seed,
        "queries": queries,
        "tasks": [*TASKS, "detect"],
        "days": {day.isoformat(): day_truth(rows) for day, rows in days.items()},
    }

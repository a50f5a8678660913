"""Views as values that can be compared, and what tests of the scan ask of the past."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from checks.history import Baseline, Need
from checks.view import View
from reporting.record import TaskRecord
from reporting.testing import DAY
from tests.checks.world import TOPOLOGY

WEEK = tuple(DAY - timedelta(days=back) for back in range(7, -1, -1))
NEEDS = [
    *(Need(task, "input", (), 7) for task in TOPOLOGY.tasks),
    *(Need(task, "output", ("subinstance",), 7) for task in ("download", "crop", "embed")),
    Need("embed", "seconds", ("category", "subinstance"), 5),
    Need("merge", "produced", ("category",), 7),
    Need("download", "metrics.bytes", ("subinstance",), 7),
    Need("quality", "dropped.blurred", (), 7),
]


def facts(view: View) -> tuple[Any, ...]:
    """Return all of a view as values that can be compared."""
    past = {key: of_baseline(found) for key, found in view.history.baselines.items()}
    return (view.date, view.as_of, view.records, view.other_days, view.plans, view.expected, past)


def of_baseline(found: Baseline) -> tuple[Any, ...]:
    numbers = [np.where(np.isnan(part), -1.0, part).tolist() for part in (found.values, found.means)]
    return (found.groups, found.days, *numbers)


def by_key(records: Sequence[TaskRecord]) -> list[TaskRecord]:
    return sorted(records, key=lambda record: record.key.parts())

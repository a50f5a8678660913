"""The days before: one value a business date, of the plan that counted, never of the day that is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date as Date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reporting.topology import Dimension

Group = tuple[str, ...]


class Need(NamedTuple):
    """What a check wants to know of the days before; the scan asks for all needs of a run at once."""

    task: str
    measure: str
    """See `reporting.measures.Measure`: input, output, produced, dropped, failed, records, seconds, dropped.REASON,
    failed.CLASS, metrics.NAME."""
    by: tuple[Dimension, ...]
    """Dimensions to sum within; () for the task as a whole."""
    days: int
    """Business days back from the judged one, >= 1."""


class Baseline(NamedTuple):
    """Past values of several groups on the same days."""

    groups: tuple[Group, ...]
    """Sorted."""
    days: tuple[Date, ...]
    """Consecutive, ascending, the last one the day before the judged one."""
    values: NDArray[np.float64]
    """(groups, days) sums; NaN where nothing was reported, or the day is left out."""
    means: NDArray[np.float64]
    """(groups, days) the same divided by the number of records that hold the measure; NaN as above."""


@dataclass(frozen=True)
class History:
    """Baselines by (task, measure, by); made by `checks.scan`."""

    baselines: Mapping[tuple[str, str, tuple[Dimension, ...]], Baseline] = field(default_factory=dict)

    def of(self, task: str, measure: str, by: Sequence[Dimension], days: int) -> Baseline:
        """Return the last `days` days; of what nobody asked for or nobody booked: no groups.

        Args:
            task: The task.
            measure: As in `Need`.
            by: As in `Need`.
            days: At most what the need named.
        """
        found = self.baselines.get((task, measure, tuple(by)))
        if found is None:
            return Baseline((), (), np.empty((0, 0)), np.empty((0, 0)))
        keep = slice(max(0, len(found.days) - days), None)
        return Baseline(found.groups, found.days[keep], found.values[:, keep], found.means[:, keep])

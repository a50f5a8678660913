"""What is known of one day: frozen values, gathered once and shown by several pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date as Date
from datetime import datetime
from typing import NamedTuple

from reporting.balance import Balance
from reporting.funnel import FunnelRow
from reporting.plans import Leaf, Plan
from reporting.record import TaskRecord
from reporting.topology import Edge


class Relation(NamedTuple):
    """One edge of the task graph on one day."""

    edge: Edge
    handed: int
    """Items the source handed on; of a window, what the target says it read of it."""
    taken: int
    """Items the target took in; of a window, of this source alone."""
    unexplained: int
    """Sum of the absolute residuals."""
    state: str
    """balanced, broken, waiting (one side has not reported), order (nothing is counted) or absent."""


class Lateness(NamedTuple):
    """A leaf that is missing, or came after its task's deadline."""

    leaf: Leaf
    planid: str
    due: datetime | None
    """None: the task has no deadline."""
    reported_at: datetime | None
    """None: there is no record."""

    @property
    def state(self) -> str:
        """Late or missing."""
        return "missing" if self.reported_at is None else "late"


class DayFacts(NamedTuple):
    """One day, over effective plans unless said otherwise."""

    date: Date
    plans: tuple[Plan, ...]
    """Every plan that touches the day, in order of creation."""
    records: tuple[TaskRecord, ...]
    """Of every plan, sorted by key."""
    counting: tuple[TaskRecord, ...]
    """Those that count."""
    planid: Mapping[Leaf, str]
    """The effective plan of every leaf that is expected or has a record."""
    expected: frozenset[Leaf]
    """Those that the manifest of their effective plan names."""
    funnel: tuple[FunnelRow, ...]
    balance: Balance
    relations: tuple[Relation, ...]
    late: tuple[Lateness, ...]
    """Missing leaves first."""

    @property
    def unexplained(self) -> int:
        """Items that no book explains, over all plans that count."""
        return sum(row.unexplained for row in self.balance.rows)

    @property
    def missing(self) -> int:
        """Expected leaves without a record."""
        return sum(row.missing_leaves for row in self.balance.rows)

    @property
    def is_open(self) -> bool:
        """Whether a plan that counts is still at work."""
        return any(row.provisional for row in self.balance.rows)

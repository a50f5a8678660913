"""Plans are first-class: what was to be done, with which frozen configuration, and which plan counts.

The effective plan of a leaf is a pure function over the registry. It never depends on the greatest
planid nor on which leaves happen to have reported: a half-done re-run flips nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date as Date
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from reporting.key import ALL, Name
from reporting.record import UtcTime
from reporting.topology import Edge, Topology


class PlanKind(StrEnum):
    """Why a plan exists. Shadow and test plans are never effective."""

    DAILY = "daily"
    RERUN = "rerun"
    BACKFILL = "backfill"
    SHADOW = "shadow"
    TEST = "test"


class PlanState(StrEnum):
    """Where a plan stands."""

    OPEN = "open"
    COMPLETE = "complete"
    PROMOTED = "promoted"
    ABANDONED = "abandoned"


class Leaf(NamedTuple):
    """A key without its plan: what an effective plan is looked up for."""

    task: str
    date: Date
    category: str = ALL
    subinstance: str = ALL


class Cover(BaseModel):
    """Which leaves of one task a plan covers; None means every value of the dimension."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Name
    categories: tuple[Name, ...] | None = None
    subinstances: tuple[Name, ...] | None = None

    def covers(self, leaf: Leaf) -> bool:
        """Tell whether the leaf is one of them."""
        return (
            leaf.task == self.task
            and (self.categories is None or leaf.category in self.categories)
            and (self.subinstances is None or leaf.subinstance in self.subinstances)
        )


class Source(BaseModel):
    """The source manifest of one day, as it was when the plan was made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str


class Plan(BaseModel):
    """One plan over one or several days, with its frozen configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    planid: Name
    kind: PlanKind
    state: PlanState = PlanState.OPEN
    dates: tuple[Date, ...]
    cover: tuple[Cover, ...] | None = None
    """None covers everything; a repair covers its leaves and their downstream."""
    sources: dict[Date, Source] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)
    config_hash: str = ""
    code_version: str = ""
    supersedes: str | None = None
    promote_when_complete: bool = False
    reason: str = ""
    created_at: UtcTime
    completed_at: UtcTime | None = None
    promoted_at: UtcTime | None = None

    @model_validator(mode="after")
    def _has_days(self) -> Self:
        if not self.dates or list(self.dates) != sorted(set(self.dates)):
            raise ValueError(f"plan {self.planid}: dates must be one or more different days in order, got {self.dates}")
        return self

    def covers(self, leaf: Leaf) -> bool:
        """Tell whether a leaf is within the plan's days and scope."""
        return leaf.date in self.dates and (self.cover is None or any(part.covers(leaf) for part in self.cover))

    def was_complete(self, as_of: datetime | None) -> bool:
        """Tell whether the plan had completed at a moment (None: now)."""
        return self.completed_at is not None and (as_of is None or self.completed_at <= as_of)

    def was_promoted(self, as_of: datetime | None) -> bool:
        """Tell whether the plan had been promoted at a moment (None: now)."""
        return self.promoted_at is not None and (as_of is None or self.promoted_at <= as_of)


class Effective(NamedTuple):
    """The plan that counts for a leaf; provisional until that plan completes."""

    planid: str
    provisional: bool


def effective_plan(plans: Iterable[Plan], leaf: Leaf, as_of: datetime | None = None) -> Effective | None:
    """Return the plan whose record of a leaf counts, or None when no plan covers it.

    A promoted plan goes before the daily one, the latest `promoted_at` first; else the daily plan,
    provisional while it is open. Ties in time (two promotions in one microsecond) go to the greater planid.
    Shadow, test and abandoned plans never count.
    """
    return first_covering(by_precedence(plans, as_of), leaf)


def by_precedence(plans: Iterable[Plan], as_of: datetime | None = None) -> list[tuple[Plan, Effective]]:
    """Return the plans that may count, each before those that it goes before: the same for every leaf."""
    known = [
        plan
        for plan in plans
        if plan.kind not in (PlanKind.SHADOW, PlanKind.TEST)
        and plan.state is not PlanState.ABANDONED
        and (as_of is None or plan.created_at <= as_of)
    ]
    promoted = [plan for plan in known if plan.was_promoted(as_of)]
    daily = [plan for plan in known if plan.kind is PlanKind.DAILY and not plan.was_promoted(as_of)]
    complete = [plan for plan in daily if plan.was_complete(as_of)]
    open_ = [plan for plan in daily if not plan.was_complete(as_of)]
    ranked = [
        *sorted(promoted, key=lambda plan: (plan.promoted_at, plan.planid), reverse=True),
        *sorted(complete, key=lambda plan: (plan.completed_at, plan.planid), reverse=True),
    ]
    provisional = sorted(open_, key=lambda plan: (plan.created_at, plan.planid), reverse=True)
    return [(plan, Effective(plan.planid, provisional=False)) for plan in ranked] + [
        (plan, Effective(plan.planid, provisional=True)) for plan in provisional
    ]


def first_covering(ranked: Iterable[tuple[Plan, Effective]], leaf: Leaf) -> Effective | None:
    """Return the first of `by_precedence` whose scope covers the leaf."""
    return next((effective for plan, effective in ranked if plan.covers(leaf)), None)


def cover_of(
    topology: Topology,
    tasks: tuple[str, ...],
    categories: tuple[str, ...] | None = None,
    subinstances: tuple[str, ...] | None = None,
) -> tuple[Cover, ...]:
    """Return what a repair covers: the chosen leaves and everything downstream of them.

    A restriction survives an edge only in the dimensions both ends split by: one repaired package
    touches one leaf of `hash`, but the whole day of a task that joins all packages. Where a task is reached on
    several ways, it covers all categories and all packages of any of them (their bounding box).

    Raises:
        ConfigError: a task is unknown, with the nearest name.
    """
    covers: dict[str, Cover] = {}
    for name in tasks:
        grain = topology.task(name).work_grain  # a fan-out runs for all its categories at once
        covers[name] = Cover(
            task=name,
            categories=categories if "category" in grain else None,
            subinstances=subinstances if "subinstance" in grain else None,
        )
    for name in topology.order:
        parts = [
            _through(covers[edge.source], _kept(topology, edge), name)
            for edge in topology.upstream(name)
            if edge.source in covers
        ]
        if name in covers:
            parts.append(covers[name])
        if parts:
            covers[name] = Cover(
                task=name,
                categories=_union(part.categories for part in parts),
                subinstances=_union(part.subinstances for part in parts),
            )
    return tuple(covers[name] for name in topology.order if name in covers)


def _kept(topology: Topology, edge: Edge) -> tuple[str, ...]:
    """Return the dimensions in which a restriction survives an edge.

    A fan-out runs once for all values of a dimension that only its records split by: it cannot redo one of them.
    """
    return tuple(dim for dim in topology.common_grain(edge) if dim in topology.task(edge.target).work_grain)


def _through(cover: Cover, grain: tuple[str, ...], task: str) -> Cover:
    return Cover(
        task=task,
        categories=cover.categories if "category" in grain else None,
        subinstances=cover.subinstances if "subinstance" in grain else None,
    )


def _union(choices: Iterable[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    values: set[str] = set()
    for choice in choices:
        if choice is None:
            return None
        values.update(choice)
    return tuple(sorted(values))

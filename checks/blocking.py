"""What a failing check with `block: true` holds: the tasks downstream of the leaves concerned.

Pure. A restriction to some leaves goes along an edge only in the dimensions both ends split by: one broken package
holds one leaf of the next task, and all of a task that joins the packages. Behind a window later days are held too,
because they would read the broken day.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date as Date
from typing import NamedTuple

from checks.causes import Region, regions_of
from checks.incidents import Hold, Incident
from checks.result import Result
from reporting.plans import Leaf
from reporting.topology import Law, Topology


class Held(NamedTuple):
    """A hold, and whose it is."""

    hold: Hold
    planids: tuple[str, ...]
    """Whose records are broken; () where that is not known."""
    episode: str
    check: str
    reason: str

    def stops(self, leaf: Leaf, planid: str | None, redone: Collection[Date]) -> bool:
        """Tell whether a leaf of a plan has to wait.

        A repair does not: it brings records of its own. Only a plan whose records are broken is held on the day of
        the fault, and on a later day any that does not do the day of the fault again.

        Args:
            leaf: A leaf, or a unit of work with `all` where it does not split.
            planid: Its plan; None: of whichever plan.
            redone: The days of that plan.
        """
        if not self.hold.holds(leaf):
            return False
        if leaf.date == self.hold.date:
            return planid is None or not self.planids or planid in self.planids
        return self.hold.date not in redone


class _Reach(NamedTuple):
    """Which part of a task is downstream of the fault; None restricts nothing."""

    categories: frozenset[str] | None
    subinstances: frozenset[str] | None
    later_days: bool


def holds_of(result: Result, topology: Topology) -> tuple[Hold, ...]:
    """Return what waits while a result is broken, in topological order; () for a task the topology does not have."""
    if result.key.task not in topology.tasks:
        return ()
    found: list[Hold] = []
    for region in regions_of(result):
        for task, reach in _reached(result.key.task, region, topology).items():
            hold = Hold(
                task=task,
                date=result.key.date,
                later_days=reach.later_days,
                categories=None if reach.categories is None else tuple(sorted(reach.categories)),
                subinstances=None if reach.subinstances is None else tuple(sorted(reach.subinstances)),
            )
            if hold not in found:
                found.append(hold)
    return tuple(found)


def _reached(start: str, region: Region, topology: Topology) -> dict[str, _Reach]:
    """Return the tasks after one, each with the part of it that the leaves of a region go into."""
    grain = topology.task(start).grain
    first = _Reach(
        region.get("category") if "category" in grain else None,
        region.get("subinstance") if "subinstance" in grain else None,
        later_days=False,
    )
    reached = {start: first}
    for task in topology.order:
        ways = [edge for edge in topology.upstream(task) if edge.source in reached]
        if task == start or not ways:
            continue
        parts = []
        for edge in ways:
            common, before = topology.common_grain(edge), reached[edge.source]
            parts.append(
                _Reach(
                    before.categories if "category" in common else None,
                    before.subinstances if "subinstance" in common else None,
                    before.later_days or edge.law is Law.WINDOW,
                )
            )
        reached[task] = _Reach(
            _union([part.categories for part in parts]),
            _union([part.subinstances for part in parts]),
            any(part.later_days for part in parts),
        )
    del reached[start]
    return reached


def _union(choices: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    values: set[str] = set()
    for choice in choices:
        if choice is None:
            return None
        values |= choice
    return frozenset(values)


def blocked_leaves(incidents: Iterable[Incident]) -> list[Held]:
    """Return everything that open incidents hold, in their order; an incident that was waived holds nothing."""
    found = []
    for one in incidents:
        if one.is_open and one.waiver is None:
            found += [Held(hold, one.planids, one.episode, one.check, one.result.reason) for hold in one.holds]
            for part in one.impact:
                found += [Held(hold, part.planids, one.episode, part.check, part.reason) for hold in part.holds]
    return found


def holding(
    incidents: Iterable[Incident], leaf: Leaf, planid: str | None = None, redone: Collection[Date] = ()
) -> list[Held]:
    """Return what holds a leaf; for the arguments see `Held.stops`."""
    return [held for held in blocked_leaves(incidents) if held.stops(leaf, planid, redone)]

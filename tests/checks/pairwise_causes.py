"""The grouping of `checks.causes` as it was first written: every break against every one before it. An oracle."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from checks.breaks import is_broken, share_of
from checks.causes import CauseGroup, regions_of
from checks.incidents import severity_of, size_of
from checks.result import Result
from reporting.topology import Law, Topology

RANKS = {"complete": 0, "reconcile": 1, "digest": 2, "conservation": 3, "version": 4}
UNLIKELY = {"drift", "ratio", "expr", "plan_diff"}
UNSIZED = {"complete", "fresh", "version", "digest"}


def group_pairwise(results: Iterable[Result], topology: Topology) -> list[CauseGroup]:
    """Return what `checks.causes.group` should."""
    breaks = sorted((one for one in results if is_broken(one)), key=lambda one: order(one, topology))
    exact: list[Result] = []
    loose: list[Result] = []
    attached: list[tuple[Result, Result]] = []
    members: dict[Any, list[Result]] = {}
    for one in breaks:
        root = next((root for root in (*exact, *loose) if explains(root, one, topology)), None)
        root = root or next((its for part, its in attached if explains(part, one, topology)), None)
        if root is None:
            (loose if is_loose(one, topology) else exact).append(one)
            members[one.fingerprint()] = []
        else:
            attached.append((one, root))
            members[root.fingerprint()].append(one)
    roots = sorted((*exact, *loose), key=lambda one: order(one, topology))
    return [CauseGroup(root, tuple(members[root.fingerprint()])) for root in roots]


def order(one: Result, topology: Topology) -> tuple[Any, ...]:
    place = {task: number for number, task in enumerate(topology.order)}
    return (
        one.key.date.isoformat(),
        place.get(one.key.task, len(place)),
        5 if is_loose(one, topology) else RANKS.get(one.kind, 5),
        -severity_of(one).rank,
        place.get(one.key.source or "", len(place)),
        len(one.key.group),
        one.id,
        one.instance,
    )


def is_loose(one: Result, topology: Topology) -> bool:
    if one.kind != "reconcile":
        return one.kind in UNLIKELY
    laws = {(edge.source, edge.target): edge.law for edge in topology.edges}
    return laws.get((one.key.source or "", one.key.task), Law.RATIO) is Law.RATIO


def is_before(topology: Topology, task: str, later: str) -> bool:
    sources = {edge.source for edge in topology.edges if edge.target == later}
    return task in sources or any(is_before(topology, task, source) for source in sources)


def explains(one: Result, other: Result, topology: Topology) -> bool:
    if one.key.date != other.key.date or order(one, topology) >= order(other, topology):
        return False
    if one.key.task != other.key.task and not is_before(topology, one.key.task, other.key.task):
        return False
    if is_loose(one, topology) and not is_loose(other, topology) and other.kind != "fresh":
        return False
    return share_leaves(one, other) and is_large_enough(one, other)


def share_leaves(one: Result, other: Result) -> bool:
    return any(
        all(mine[name] & theirs[name] for name in mine.keys() & theirs.keys())
        for mine in regions_of(one)
        for theirs in regions_of(other)
    )


def is_large_enough(one: Result, other: Result) -> bool:
    if one.kind in UNSIZED or other.kind in UNSIZED:
        return True
    pairs = ((size_of(one), size_of(other)), (share_of(one), share_of(other)))
    known = [(mine, theirs) for mine, theirs in pairs if mine is not None and theirs is not None]
    return not known or any(mine >= 0.2 * theirs for mine, theirs in known)

"""Which breaks of a day have one cause: the most upstream is the root, the rest is its impact.

Pure. A break explains another where its task comes before (or its kind is nearer to the fault at the same task), both
can be about the same leaves, and it is of the sort and the size to have done it (reference 6.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from checks.breaks import is_broken, share_of
from checks.incidents import severity_of, size_of
from checks.result import Result
from reporting.key import ALL
from reporting.topology import DIMENSIONS, Law, Topology

Region = Mapping[str, frozenset[str]]
"""Leaves: dimension to the values it is restricted to; a dimension that is not named is not restricted."""

_RANKS = {"complete": 0, "reconcile": 1, "digest": 2, "conservation": 3, "version": 4}
_LOOSE_RANK = 5
_LOOSE_KINDS = frozenset({"drift", "ratio", "expr", "plan_diff"})
"""Only unlikely: can follow from a break of the books, never be the cause of one, as those must close anyhow."""
_UNSIZED = frozenset({"complete", "fresh", "version", "digest"})
"""Kinds whose size says nothing against a count of items: leaves, minutes, or all ids of a leaf where one differs."""
_FAIR_PART = 0.2
"""A cause is at least a fifth of what it explains, in number or in share; fan-outs change a unit by less than that."""
_EXPLAINED = 0.5
"""Causes that explain at least half of a break stand for its place; else the whole group does."""


class CauseGroup(NamedTuple):
    """Breaks with one cause."""

    root: Result
    impact: tuple[Result, ...]
    """Most upstream first."""


def group(results: Iterable[Result], topology: Topology) -> list[CauseGroup]:
    """Return the breaks among the results by cause, the most upstream first.

    Results that neither fail nor warn are left out. A break with several causes goes to the most upstream one that
    breaks the books, else to the most upstream. The order of the results does not matter.

    Args:
        results: Of any number of days: breaks of different days never share a cause.
        topology: The task graph; a task that it does not have stands at the end, unconnected.
    """
    graph = _Graph(topology)
    breaks = sorted((graph.broken(result) for result in results if is_broken(result)), key=lambda one: one.order)
    exact, loose, attached = _ByLeaves(graph), _ByLeaves(graph), _ByLeaves(graph)
    root_of: list[_Break] = []
    members: dict[tuple[str, str, str], list[Result]] = {}
    for one in breaks:
        root = exact.first(one) or loose.first(one)
        if root is None:
            part = attached.first(one)
            root = None if part is None else _Found(part.number, root_of[part.number])
        if root is None:
            (loose if one.loose else exact).add(one)
            members[one.result.fingerprint()] = []
        else:
            attached.add(one)
            root_of.append(root.one)
            members[root.one.result.fingerprint()].append(one.result)
    roots = sorted((*exact.breaks, *loose.breaks), key=lambda one: one.order)
    return [CauseGroup(root.result, tuple(members[root.result.fingerprint()])) for root in roots]


def regions_of(result: Result) -> tuple[Region, ...]:
    """Return the leaves that a break is about: any of these regions.

    Where its causes explain at least half of it they name the place, else its group does. `all` restricts nothing.
    """
    whole = {name: frozenset({value}) for name, value in result.key.group.items() if _restricts(name, value)}
    if sum(abs(cause.share) for cause in result.explain) < _EXPLAINED:
        return (whole,)
    found: list[Region] = []
    for cause in result.explain:
        named = {name: frozenset(values) for name, values in cause.where.items() if _restricts(name, *values)}
        region = {**whole, **named}
        if region not in found:
            found.append(region)
    return tuple(found)


def _restricts(name: str, *values: str) -> bool:
    return name in DIMENSIONS and ALL not in values


def meet(some: Iterable[Region], others: Iterable[Region]) -> bool:
    """Tell whether two sets of leaves can have one in common: on every dimension that both restrict.

    Example:
        >>> shoes, bags = {"category": frozenset({"shoes"})}, {"category": frozenset({"bags"})}
        >>> meet([shoes], [bags]), meet([shoes], [{"subinstance": frozenset({"0001"})}])
        (False, True)
    """
    others = tuple(others)
    return any(_overlap(one, other) for one in some for other in others)


def _overlap(one: Region, other: Region) -> bool:
    return all(not values.isdisjoint(other[name]) for name, values in one.items() if name in other)


@dataclass(frozen=True)
class _Break:
    result: Result
    regions: tuple[Region, ...]
    order: tuple[str, int, int, int, int, int, str, str]
    """Day, task from the source on, kind from the fault on, severity, the edge's source, breadth, names."""
    loose: bool
    size: float | None
    share: float | None


class _Graph:
    """The order of tasks and what comes before each."""

    def __init__(self, topology: Topology):
        self._place = {task: number for number, task in enumerate(topology.order)}
        self._laws = {(edge.source, edge.target): edge.law for edge in topology.edges}
        self._before: dict[str, frozenset[str]] = {}
        for task in topology.order:
            sources = {edge.source for edge in topology.upstream(task)}
            self._before[task] = frozenset(sources.union(*(self._before[source] for source in sources)))

    def broken(self, result: Result) -> _Break:
        place, loose = result.key, self._is_loose(result)
        order = (
            place.date.isoformat(),
            self._place.get(place.task, len(self._place)),
            _LOOSE_RANK if loose else _RANKS.get(result.kind, _LOOSE_RANK),
            -severity_of(result).rank,
            self._place.get(place.source or "", len(self._place)),
            len(place.group),
            result.id,
            result.instance,
        )
        return _Break(result, regions_of(result), order, loose, size_of(result), share_of(result))

    def _is_loose(self, result: Result) -> bool:
        """Tell whether a break is only unlikely; so is that of a band around a ratio, or of a whole path's yield."""
        if result.kind != "reconcile":
            return result.kind in _LOOSE_KINDS
        return self._laws.get((result.key.source or "", result.key.task), Law.RATIO) is Law.RATIO

    def explains(self, one: _Break, other: _Break) -> bool:
        """Tell whether a break can be the cause of another one that it has leaves in common with."""
        if one.order[0] != other.order[0] or one.order >= other.order:
            return False
        task, later = one.result.key.task, other.result.key.task
        if task != later and task not in self._before.get(later, ()):
            return False
        if one.loose and not other.loose and other.result.kind != "fresh":
            return False
        return _is_of_size(one, other)


def _is_of_size(one: _Break, other: _Break) -> bool:
    """Tell whether a break is large enough to have caused another; what cannot be compared is."""
    if one.result.kind in _UNSIZED or other.result.kind in _UNSIZED:
        return True
    pairs = ((one.size, other.size), (one.share, other.share))
    known = [(mine, theirs) for mine, theirs in pairs if mine is not None and theirs is not None]
    return not known or any(mine >= _FAIR_PART * theirs for mine, theirs in known)


_Key = tuple[str | None, ...]
"""A day and a value of each dimension: of leaves; `ALL`: of what is not restricted there; None: of anything."""


class _Found(NamedTuple):
    number: int
    one: _Break


class _ByLeaves:
    """Breaks in the order they are added, found by the leaves they may be about.

    Each is kept under every key that somebody it has leaves in common with may ask by. So thousands of breaks of
    different leaves cost each other nothing.
    """

    def __init__(self, graph: _Graph):
        self.breaks: list[_Break] = []
        self._graph = graph
        self._kept: dict[_Key, list[int]] = {}

    def add(self, one: _Break) -> None:
        """Add a break."""
        number = len(self.breaks)
        self.breaks.append(one)
        for key in _keys(one, restricted=(None,), free=(ALL, None)):
            self._kept.setdefault(key, []).append(number)

    def first(self, other: _Break) -> _Found | None:
        """Return the break that was added first of those that can be the cause of another one."""
        best = len(self.breaks)
        refused: set[int] = set()
        for key in _keys(other, restricted=(ALL,), free=(None,)):
            for number in self._kept.get(key, ()):
                if number >= best:
                    break
                if number not in refused and self._graph.explains(self.breaks[number], other):
                    best = number
                    break
                refused.add(number)
        return _Found(best, self.breaks[best]) if best < len(self.breaks) else None


def _keys(one: _Break, *, restricted: _Key, free: _Key) -> set[_Key]:
    """Return the keys of a break's regions.

    Args:
        one: The break.
        restricted: What stands for a dimension that a region restricts, beside its values.
        free: What stands for one that it does not.
    """
    day = one.order[0]
    choices = [
        [(*region[name], *restricted) if name in region else free for name in DIMENSIONS] for region in one.regions
    ]
    return {(day, *values) for each in choices for values in product(*each)}

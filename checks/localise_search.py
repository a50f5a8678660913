"""The search for the places that explain a break: the most evidence first, its leaves taken out, and again.

A cuboid is a set of dimensions, a cell of it one value of each. Every cell of every cuboid is summed at once
(`bincount`); the best cells are then looked at leaf by leaf: a place must be hit as a whole, or it is a part of it, or
several parts, that the break sits in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from checks.localise_models import EXTRA, MISSING, Floats, Model, Rows

LEFT = -1
"""Of a leaf that no place has taken."""

MAX_PLACES = 500
"""Places that are looked for; more are no explanation."""

_TRIES = 300
"""Cells that are looked at for one place."""
_BEST = 50
"""Of them, at most so many of one cuboid."""
TIMES = 4.0
"""A child that is hit so many times as much as its siblings is a place of its own."""
_SURE = 5.0
"""Nats, and the logarithm of the number of children: what chance does not bring about."""
_BARE = 0.05
"""Share of a place's exposure that children which are not hit may have."""
_MOST = 0.5
"""Share of the leaves that makes a break that is hit alike one that sits everywhere."""
_DENSE = 4
"""Cells are numbered anew where there could be more than so many times as many as there are leaves."""


class Place(NamedTuple):
    """All leaves with one value in each of some dimensions."""

    dimensions: tuple[int, ...]
    """Ascending; () is the whole table."""
    codes: tuple[int, ...]
    """The value of each, as its code."""
    direction: int
    rows: Rows
    """The leaves that no earlier place has taken, ascending."""


class _Cuboid(NamedTuple):
    dimensions: tuple[int, ...]
    cells: NDArray[np.int64]
    """(leaves,) the cell of each."""
    size: int
    """Cells are numbered from 0 to one less."""


@dataclass
class _Sums:
    """Of one cuboid over the leaves that are left: (cells,)."""

    leaves: Floats
    exposure: Floats
    amounts: tuple[Floats, Floats]


class _Candidate(NamedTuple):
    order: float
    """Minus the logarithm of the evidence, rounded: what is equal but for the rounding of sums is equal."""
    layer: int
    cuboid: int
    direction: int
    cell: int


@dataclass
class Search:
    """One table and a model of it; `places` may be called once."""

    codes: NDArray[np.int64]
    """(leaves, dimensions), leaves sorted and different, each code below its dimension's size."""
    sizes: Sequence[int]
    model: Model
    taken: NDArray[np.int8]
    """(leaves,) the direction of the place that has taken each, or LEFT; is changed."""
    _cuboids: list[_Cuboid] = field(init=False)
    _sums: list[_Sums] = field(init=False)
    _rejected: dict[tuple[int, int, int], float] = field(init=False, default_factory=dict)
    """How many leaves a cell had when it was found not to be a place."""
    _spread: list[float] = field(init=False, default_factory=lambda: [0.0, 0.0])
    """By direction: the share that everything is hit by, once that is found; what stands out of it is looked for."""

    def __post_init__(self) -> None:
        """Sum every cell."""
        self._cuboids = cuboids_of(self.codes, self.sizes)
        rows = np.flatnonzero(self.taken == LEFT)
        self._sums = [self._summed(cuboid, rows) for cuboid in self._cuboids]

    def places(self) -> list[Place]:
        """Return the places in the order they were found; [] where the break sits nowhere or everywhere."""
        found: list[Place] = []
        while len(found) < MAX_PLACES:
            batch = self._next()
            if not batch:
                break
            found += batch
            self._take(np.concatenate([place.rows for place in batch]))
        return found

    def _summed(self, cuboid: _Cuboid, rows: Rows) -> _Sums:
        cells, size, model = cuboid.cells[rows], cuboid.size, self.model
        missing = summed(model.amounts[MISSING][rows], cells, size)
        extra = -missing if model.signed else summed(model.amounts[EXTRA][rows], cells, size)
        leaves = np.bincount(cells, minlength=size).astype(np.float64)
        return _Sums(leaves, summed(model.exposure[rows], cells, size), (missing, extra))

    def _take(self, rows: Rows) -> None:
        for cuboid, sums in zip(self._cuboids, self._sums, strict=True):
            taken = self._summed(cuboid, rows)
            sums.leaves -= taken.leaves
            empty = sums.leaves == 0
            for kept, less in zip((sums.exposure, *sums.amounts), (taken.exposure, *taken.amounts), strict=True):
                np.subtract(kept, less, out=kept)
                kept[empty] = 0.0

    def _next(self) -> list[Place]:
        """Return the best place, and those next to it in evidence as long as they are cells of the same cuboid.

        Taking them out one after another would find the same: cells of one cuboid share no leaf.
        """
        found: list[Place] = []
        for candidate in self._candidates():
            place = self._place(candidate)
            key = candidate.cuboid, candidate.direction, candidate.cell
            leaves = self._sums[candidate.cuboid].leaves[candidate.cell]
            if not len(place.rows) or self._rejected.get(key) == leaves:
                continue
            if len(place.rows) < leaves:  # part of it has just been taken: its sums must be made anew
                break
            if not self._is_place(place):
                self._rejected[key] = leaves
                continue
            place = self._largest(place) if self.model.climbs else place
            if found and place.dimensions != found[0].dimensions:
                break
            if not place.dimensions:
                self._spread[place.direction] = self._share(place)
                return self._next()
            self.taken[place.rows] = place.direction
            found.append(place)
        return found

    def _place(self, candidate: _Candidate) -> Place:
        cuboid = self._cuboids[candidate.cuboid]
        inside = np.flatnonzero(cuboid.cells == candidate.cell)
        codes = tuple(self.codes[inside[0], cuboid.dimensions].tolist())
        return Place(cuboid.dimensions, codes, candidate.direction, inside[self.taken[inside] == LEFT])

    def _candidates(self) -> list[_Candidate]:
        """Return the best cells, the most evidence first; of equal evidence those of the fewest dimensions."""
        found: list[_Candidate] = []
        whole, left, exposure = self._sums[0], self.taken == LEFT, float(self.model.exposure.sum())
        for direction in (MISSING, EXTRA):
            if not (self.model.amounts[direction][left] > 0).any():
                continue
            spread = self._spread[direction]
            background = spread if self.model.signed else float(whole.amounts[direction][0] / exposure)
            for number, (cuboid, sums) in enumerate(zip(self._cuboids, self._sums, strict=True)):
                evidence = self.model.evidence(sums.amounts[direction], sums.exposure, background)
                enough = evidence > self.model.floor(cuboid.size, len(self._cuboids))
                best = np.flatnonzero(enough & (sums.amounts[direction] > TIMES * spread * sums.exposure))
                if len(best) > _BEST:
                    best = best[np.argsort(-evidence[best], kind="stable")[:_BEST]]
                order = np.round(-np.log(evidence[best]), 9).tolist()
                layer = len(cuboid.dimensions)
                found += [
                    _Candidate(one, layer, number, direction, cell)
                    for one, cell in zip(order, best.tolist(), strict=True)
                ]
        return sorted(found)[:_TRIES]

    def _is_place(self, place: Place) -> bool:
        """Tell whether a place is hit as a whole: nearly every leaf, and along every other dimension every child."""
        rows, share = place.rows, self._share(place)
        if share <= TIMES * self._spread[place.direction] or self._is_rest(place) or self._is_contested(place):
            return False
        if len(rows) == 1:
            return True
        others = [dimension for dimension in range(len(self.sizes)) if dimension not in place.dimensions]
        return all(self._is_even(place, dimension) for dimension in others) and self.model.is_pure(
            rows, place.direction, share
        )

    def _share(self, place: Place) -> float:
        """Return how much of a place is missing or too much, 0..1 where its direction is right."""
        amount = self.model.amounts[place.direction][place.rows].sum()
        return float(amount / self.model.exposure[place.rows].sum())

    def _is_even(self, place: Place, dimension: int) -> bool:
        """Tell whether no child along a dimension is hit far more than its siblings, and hardly any is not hit."""
        rows, size = place.rows, self.sizes[dimension]
        codes = self.codes[rows, dimension]
        exposure = summed(self.model.exposure[rows], codes, size)
        here = np.flatnonzero(exposure)
        if len(here) == 1:
            return True
        exposure = exposure[here]
        amount = summed(self.model.amounts[place.direction][rows], codes, size)[here]
        leaves = np.bincount(codes, minlength=size)[here].astype(np.float64)
        own = amount / exposure
        siblings = np.maximum((amount.sum() - amount) / (exposure.sum() - exposure), 0.0)
        surely = _SURE + float(np.log(len(here)))
        whole = float(amount.sum() / exposure.sum())
        high = np.flatnonzero(own > TIMES * siblings)
        for child in high.tolist():
            part = slice(child, child + 1)
            if self.model.gap(amount[part], exposure[part], leaves[part], float(siblings[child]))[0] > surely:
                return False
        bare = (own < self.model.unlike(exposure, whole)) & (self.model.gap(amount, exposure, leaves, whole) > surely)
        return float(exposure[bare].sum()) <= _BARE * float(exposure.sum())

    def _largest(self, place: Place) -> Place:
        """Leave out dimensions as long as what is left is a place: the largest one that this one is a part of."""
        while place.dimensions:
            parents = [self._without(place, position) for position in range(len(place.dimensions))]
            parents = [parent for parent in parents if self._is_place(parent)]
            if not parents:
                break
            amount = self.model.amounts[place.direction]
            place = max(parents, key=lambda parent: round(float(amount[parent.rows].sum()), 6))
        return place

    def _without(self, place: Place, position: int) -> Place:
        dimensions = place.dimensions[:position] + place.dimensions[position + 1 :]
        codes = place.codes[:position] + place.codes[position + 1 :]
        rows = np.flatnonzero(self._inside(dimensions, codes) & (self.taken == LEFT))
        return Place(dimensions, codes, place.direction, rows)

    def _inside(self, dimensions: Sequence[int], codes: Sequence[int]) -> NDArray[np.bool_]:
        inside = np.ones(len(self.codes), dtype=np.bool_)
        for dimension, code in zip(dimensions, codes, strict=True):
            inside &= self.codes[:, dimension] == code
        return inside

    def _is_contested(self, place: Place) -> bool:
        """Tell whether leaves of a place were taken for the other direction: its name would belie them."""
        other = self.taken == EXTRA + MISSING - place.direction
        return bool(other.any() and (other & self._inside(place.dimensions, place.codes)).any())

    def _is_rest(self, place: Place) -> bool:
        """Tell whether a place is all that is left over of a table that earlier places have explained mostly."""
        return not place.dimensions and len(place.rows) < _MOST * len(self.taken)


def summed(numbers: Floats, cells: NDArray[np.int64], size: int) -> Floats:
    """Return the sum of the numbers of each cell, (size,)."""
    return np.asarray(np.bincount(cells, numbers, size), dtype=np.float64)


def cuboids_of(codes: NDArray[np.int64], sizes: Sequence[int]) -> list[_Cuboid]:
    """Return the cuboids whose cells say something new, the whole table first, then by layer.

    A cuboid that parts the leaves as one with fewer dimensions does (a city has one region) is left out.
    """
    leaves = len(codes)
    found: dict[tuple[int, ...], _Cuboid] = {(): _Cuboid((), np.zeros(leaves, np.int64), 1)}
    occupied: dict[tuple[int, ...], int] = {(): 1}
    for layer in range(1, len(sizes) + 1):
        for dimensions in combinations(range(len(sizes)), layer):
            parts = [dimensions[:position] + dimensions[position + 1 :] for position in range(layer)]
            if any(part not in found for part in parts):
                continue
            parent = found[dimensions[:-1]]
            cells, count = numbered(parent.cells, parent.size, codes[:, dimensions[-1]], sizes[dimensions[-1]])
            filled = int(np.count_nonzero(np.bincount(cells, minlength=count)))
            if filled > max(occupied[part] for part in parts):
                found[dimensions] = _Cuboid(dimensions, cells, count)
                occupied[dimensions] = filled
    return list(found.values())


def numbered(
    cells: NDArray[np.int64], count: int, codes: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int64], int]:
    """Return cells divided by one more dimension, and how many numbers they have; sorted as (cell, code) are."""
    divided = cells * size + codes
    if count * size <= _DENSE * len(cells):
        return divided, count * size
    kept, divided = np.unique(divided, return_inverse=True)
    return divided, len(kept)

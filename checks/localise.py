"""Name the leaves that explain a break (`Table` -> `Cause`s): exact for the books, by evidence for forecasts.

Pure, and the same for any order of rows and dimensions. The method is peeling over all cuboids (reference section
3.2); what is taken for a place differs: see `localise_search` and `localise_models`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from checks.kinds.base import Table
from checks.localise_models import EXTRA, MISSING, ROUNDING, Exact, Floats, Forecast, are_counts
from checks.localise_search import LEFT, TIMES, Place, Search, numbered
from checks.result import Cause
from reporting.errors import DataError

MAX_DIMENSIONS = 8
"""Twice as much work for each; who has more chooses among them."""

_MOST = 1e150
"""Numbers are below this, so that their sums and squares are numbers, too."""

_NOTHING = 1e-12
"""A leaf of less than this share of the largest says nothing."""

_SEVERAL = 5
"""A place of so many leaves is no tail of the noise."""

_FEW = 20
"""So many broken leaves are named one by one, even where chance could have picked them."""


@dataclass(frozen=True)
class Leaves:
    """A table in the order that does not depend on how it was given: dimensions and rows sorted, equal leaves summed.

    Attributes:
        dimensions: Sorted names of those that have more than one value.
        names: Of each dimension: code to value, sorted.
        codes: (leaves, dimensions).
        missing: (leaves,) expected - actual; 0 where it is rounding.
        expected: (leaves,).
        size: (leaves,) the larger of both, > 0: a leaf that neither has nor should have anything says nothing.
        counts: Whether all numbers are whole.
        exact: As the table's.
    """

    dimensions: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    codes: NDArray[np.int64]
    missing: Floats
    expected: Floats
    size: Floats
    counts: bool
    exact: bool

    @property
    def broken(self) -> NDArray[np.bool_]:
        """(leaves,) whether each differs from what was expected."""
        return np.asarray(self.missing != 0)


def localise(table: Table, *, limit: int = 5) -> list[Cause]:
    """Return the places that explain a break, the largest part first.

    A place is named as coarse as it can be and as fine as it must be: all of it is hit, and what stands beside it is
    not, or less than a quarter as much. Places that differ in one dimension only are one cause with several values.
    A leaf counts for the first cause that it is in, so that shares add up to 1 at most for each direction.

    Args:
        table: Leaves of one task or edge; equal leaves are summed. Finite numbers; what is negative counts by its
            size.
        limit: Causes to return, >= 1.

    Returns:
        [] where nothing is broken, nothing stands out of the noise, or everything is hit alike.

    Raises:
        DataError: a number is not finite, or there are more than 8 dimensions with more than one value.
    """
    leaves = leaves_of(table)
    if not leaves.dimensions or not leaves.broken.any():
        return []
    places = _places_exact(leaves) if leaves.exact else _places_forecast(leaves)
    drafts = merged([_draft_of(place, leaves) for place in places])
    wholes = whole(leaves, [draft.missing for draft in drafts])
    causes = [
        Cause(
            where={leaves.dimensions[dimension]: names for dimension, names in draft.where},
            missing=draft.missing,
            share=abs(draft.missing) / wholes[MISSING if draft.missing > 0 else EXTRA],
        )
        for draft in drafts
        if draft.missing != 0
    ]
    return sorted(causes, key=lambda cause: (-abs(cause.missing), sorted(cause.where.items())))[:limit]


def whole(leaves: Leaves, missing: Iterable[float]) -> tuple[float, float]:
    """Return the whole break by direction, >= 0: what is missing in all, and what is too much.

    Of an exact table the sums of the leaves that have too few, and of those that have too many; of a forecast, whose
    leaves all have noise, the difference of the totals, or what the causes come to where that is more.

    Args:
        leaves: Of the table.
        missing: Of each cause.
    """
    off = leaves.missing
    if leaves.exact:
        return float(off[off > 0].sum()), -float(off[off < 0].sum())
    found, total = list(missing), float(off.sum())
    return (
        max(total, sum(one for one in found if one > 0), 0.0),
        max(-total, -sum(one for one in found if one < 0), 0.0),
    )


def leaves_of(table: Table) -> Leaves:
    """Return a table's leaves in canonical order.

    Raises:
        DataError: see `localise`.
    """
    actual, expected = (np.asarray(column, dtype=np.float64) for column in (table.actual, table.expected))
    usable = (np.abs(actual) < _MOST) & (np.abs(expected) < _MOST)
    if not usable.all():
        bad = int((~usable).sum())
        raise DataError(
            f"{bad} of {len(actual)} leaves have no finite number below {_MOST:g}; give actual and expected of each"
        )
    columns = {name: [row[position] for row in table.values] for position, name in enumerate(table.dimensions)}
    names = {name: sorted({*columns[name]}) for name in sorted(columns)}
    names = {name: found for name, found in names.items() if len(found) > 1}
    if len(names) > MAX_DIMENSIONS:
        listed = ", ".join(names)
        raise DataError(f"{len(names)} dimensions ({listed}) are too many to search; choose at most {MAX_DIMENSIONS}")
    codes = np.empty((len(actual), len(names)), dtype=np.int64)
    for position, (name, found) in enumerate(names.items()):
        code = {value: number for number, value in enumerate(found)}
        codes[:, position] = np.fromiter(map(code.__getitem__, columns[name]), np.int64, len(actual))
    codes, actual, expected = _sorted_leaves(codes, [len(found) for found in names.values()], actual, expected)
    size = np.maximum(np.abs(actual), np.abs(expected))
    missing = np.where(np.abs(expected - actual) > ROUNDING * size, expected - actual, 0.0)
    alive = size > _NOTHING * size.max(initial=0.0)
    return Leaves(
        tuple(names),
        tuple(map(tuple, names.values())),
        codes[alive],
        missing[alive],
        expected[alive],
        size[alive],
        are_counts(actual, expected),
        table.exact,
    )


def _sorted_leaves(
    codes: NDArray[np.int64], sizes: Sequence[int], actual: Floats, expected: Floats
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Sort leaves by their codes, and sum equal ones in an order that does not depend on that of the rows."""
    keys, count = np.zeros(len(codes), np.int64), 1
    for position, size in enumerate(sizes):
        keys, count = numbered(keys, count, codes[:, position], size)
    order = np.argsort(keys, kind="stable")
    if (np.diff(keys[order]) == 0).any():
        order = np.lexsort((expected, actual, keys))
        starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
        return codes[order][starts], np.add.reduceat(actual[order], starts), np.add.reduceat(expected[order], starts)
    return codes[order], actual[order], expected[order]


def _places_exact(leaves: Leaves) -> list[Place]:
    """Search by what chance allows; what is left over and is little, leaf by leaf."""
    taken = np.full(len(leaves.missing), LEFT, dtype=np.int8)
    sizes = [len(names) for names in leaves.names]
    places: list[Place] = []
    if leaves.counts:
        model = Exact(leaves.missing, leaves.size, counts=True, certain=False)
        places = Search(leaves.codes, sizes, model, taken).places()
        if not 0 < int((leaves.broken & (taken == LEFT)).sum()) <= _FEW:
            return places
    model = Exact(leaves.missing, leaves.size, counts=leaves.counts, certain=True)
    return places + Search(leaves.codes, sizes, model, taken).places()


def _places_forecast(leaves: Leaves) -> list[Place]:
    """Search, and again with more noise where single leaves that were found, or not, tell of wide tails."""
    model = Forecast(leaves.missing, leaves.size, leaves.expected, counts=leaves.counts)
    sizes = [len(names) for names in leaves.names]
    taken = np.full(len(leaves.missing), LEFT, dtype=np.int8)
    places = Search(leaves.codes, sizes, model, taken).places()
    normal = np.ones(len(taken), dtype=np.bool_)
    for place in places:
        normal[place.rows] = len(place.rows) < _SEVERAL
    if places and model.widen(normal):
        places = Search(leaves.codes, sizes, model, np.full(len(taken), LEFT, dtype=np.int8)).places()
    return places


@dataclass(frozen=True)
class Draft:
    """A cause in the making."""

    where: tuple[tuple[int, tuple[str, ...]], ...]
    """(dimension, values), dimensions ascending, values sorted."""
    missing: float
    size: float
    """Sum over its leaves, > 0."""

    @property
    def hit(self) -> float:
        """How much of it is missing or too much: -1..1."""
        return self.missing / self.size


def _draft_of(place: Place, leaves: Leaves) -> Draft:
    where = zip(place.dimensions, place.codes, strict=True)
    return Draft(
        tuple((dimension, (leaves.names[dimension][code],)) for dimension, code in where),
        float(leaves.missing[place.rows].sum()),
        float(leaves.size[place.rows].sum()),
    )


def merged(drafts: Iterable[Draft]) -> list[Draft]:
    """Join drafts of the same dimensions that differ in the values of one and are hit alike, the largest first.

    Example:
        >>> one, other = Draft(((0, ("a",)), (1, ("x",))), 3.0, 9.0), Draft(((0, ("b",)), (1, ("x",))), 2.0, 9.0)
        >>> merged([one, other])
        [Draft(where=((0, ('a', 'b')), (1, ('x',))), missing=5.0, size=18.0)]
    """
    left = sorted(drafts, key=lambda draft: (-abs(draft.missing), draft.where))
    done: list[Draft] = []
    while left:
        draft = left.pop(0)
        partner = next((other for other in left if _differ_in(draft, other) is not None), None)
        if partner is None:
            done.append(draft)
            continue
        left.remove(partner)
        left.insert(0, _joined(draft, partner))
        if done:  # what is now larger may join what could not join its parts
            left, done = left + done, []
    return done


def _differ_in(one: Draft, other: Draft) -> int | None:
    """Return the position of the only dimension whose values differ, or None."""
    if [name for name, _ in one.where] != [name for name, _ in other.where]:
        return None
    if one.hit * other.hit <= 0 or not 1 / TIMES <= one.hit / other.hit <= TIMES:
        return None
    pairs = zip(one.where, other.where, strict=True)
    different = [position for position, (own, others) in enumerate(pairs) if own != others]
    return different[0] if len(different) == 1 else None


def _joined(one: Draft, other: Draft) -> Draft:
    where = tuple(
        (dimension, tuple(sorted({*values, *more})))
        for (dimension, values), (_, more) in zip(one.where, other.where, strict=True)
    )
    return Draft(where, one.missing + other.missing, one.size + other.size)

"""What must be named in a small exact table, by looking at every place there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations, product

import numpy as np

from checks.kinds.base import Table
from tests.checks.risk_generator import Element

Values = tuple[str, ...]


def table_of(
    dimensions: Values, leaves: Mapping[Values, tuple[float, float]], *, exact: bool = True, order: Iterable[int] = ()
) -> Table:
    """Return a table of {leaf: (actual, expected)}, its dimensions in another order if one is given."""
    picked = tuple(order) or tuple(range(len(dimensions)))
    return Table(
        tuple(dimensions[position] for position in picked),
        tuple(tuple(values[position] for position in picked) for values in leaves),
        np.array([actual for actual, _ in leaves.values()], dtype=np.float64),
        np.array([expected for _, expected in leaves.values()], dtype=np.float64),
        exact,
    )


def grid(**sizes: int) -> tuple[Values, list[Values]]:
    """Return dimensions and every leaf of them: values are the dimension's name and a number from 1."""
    names = tuple(sizes)
    return names, list(product(*([f"{name}{number + 1}" for number in range(sizes[name])] for name in names)))


def leaves_in(element: Element, dimensions: Values, leaves: Iterable[Values]) -> frozenset[Values]:
    """Return the leaves of an element."""
    where = dict(element)
    return frozenset(
        leaf
        for leaf in leaves
        if all(where.get(name, value) == value for name, value in zip(dimensions, leaf, strict=True))
    )


def pure_elements(
    dimensions: Values, leaves: list[Values], broken: frozenset[Values]
) -> dict[Element, frozenset[Values]]:
    """Return every element whose leaves are all broken, with them; the whole table is one, too (no dimension)."""
    found: dict[Element, frozenset[Values]] = {}
    for layer in range(len(dimensions) + 1):
        for chosen in combinations(range(len(dimensions)), layer):
            for leaf in leaves:
                element = frozenset((dimensions[position], leaf[position]) for position in chosen)
                inside = leaves_in(element, dimensions, leaves)
                if inside <= broken:
                    found[element] = inside
    return found


def largest(pure: Mapping[Element, frozenset[Values]]) -> dict[Element, frozenset[Values]]:
    """Return the pure elements that are part of no other."""
    return {one: inside for one, inside in pure.items() if not any(other < one for other in pure)}


def fewest(pure: Mapping[Element, frozenset[Values]], broken: frozenset[Values]) -> int:
    """Return how few elements hold all broken leaves."""
    elements = list(largest(pure).values())
    for count in range(1, len(elements) + 1):
        if any(frozenset().union(*chosen) == broken for chosen in combinations(elements, count)):
            return count
    return 0

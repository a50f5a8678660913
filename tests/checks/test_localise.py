"""Localisation against brute force over every place of small tables, and what it must never do."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.kinds.base import Table
from checks.localise import leaves_of, localise, whole
from checks.result import Cause
from reporting.errors import DataError
from tests.checks.localise_oracle import Values, fewest, grid, largest, leaves_in, pure_elements, table_of
from tests.checks.risk_generator import Element, elements_of

EVERY = 1000
EXAMPLES = 25

sizes = st.sampled_from([(4,), (3, 3), (2, 5), (4, 4), (2, 2, 2), (3, 2, 2), (3, 3, 2), (2, 4, 2)])


def places(causes: list[Cause]) -> list[dict[str, tuple[str, ...]]]:
    return [cause.where for cause in causes]


@st.composite
def broken_tables(draw: st.DrawFn) -> tuple[Values, list[Values], list[Element], random.Random]:
    """A grid of at most 18 leaves and one to three elements that lose everything."""
    shape = draw(sizes)
    dimensions, leaves = grid(**dict(zip("abc", shape, strict=False)))
    planted = []
    for _ in range(draw(st.integers(1, 3))):
        leaf = draw(st.sampled_from(leaves))
        chosen = draw(st.sets(st.sampled_from(range(len(shape))), min_size=1))
        planted.append(frozenset((dimensions[position], leaf[position]) for position in chosen))
    return dimensions, leaves, planted, draw(st.randoms(use_true_random=False))


@settings(max_examples=EXAMPLES)
@given(broken_tables(), st.booleans())
def test_exactly_the_broken_leaves_are_named_by_the_largest_places_and_few_of_them(drawn, whole_numbers):
    dimensions, leaves, planted, chance = drawn
    broken = frozenset().union(*(leaves_in(element, dimensions, leaves) for element in planted))
    factor = 1 if whole_numbers else 0.37
    sizes_of = {leaf: factor * chance.randint(1000, 9000) for leaf in leaves}
    table = table_of(dimensions, {leaf: (0 if leaf in broken else size, size) for leaf, size in sizes_of.items()})
    causes = localise(table, limit=EVERY)
    if len(broken) == len(leaves):
        assert causes == []  # everything is hit alike: no place stands out
        return
    found = elements_of(causes)
    pure = pure_elements(dimensions, leaves, broken)
    assert found <= set(largest(pure))
    assert frozenset().union(*(pure[element] for element in found)) == broken
    assert len(found) <= fewest(pure, broken) + 1  # greedy: one more where places overlap
    assert sum(cause.missing for cause in causes) == pytest.approx(sum(sizes_of[leaf] for leaf in broken))
    assert sum(cause.share for cause in causes) == pytest.approx(1)


@settings(max_examples=EXAMPLES)
@given(broken_tables())
def test_one_broken_place_is_named_and_nothing_else(drawn):
    dimensions, leaves, planted, chance = drawn
    broken = leaves_in(planted[0], dimensions, leaves)
    lost = chance.choice([0.0, 0.4, 0.97])
    table = table_of(
        dimensions, {leaf: (round(4000 * (lost if leaf in broken else 1)), 4000) for leaf in leaves}, exact=True
    )
    assert elements_of(localise(table)) == {planted[0]}


values = st.one_of(st.integers(0, 500).map(float), st.floats(0, 1e6, allow_subnormal=False))


@st.composite
def any_tables(draw: st.DrawFn) -> tuple[Values, dict[Values, tuple[float, float]], bool]:
    shape = draw(sizes)
    dimensions, leaves = grid(**dict(zip("abc", shape, strict=False)))
    kept = draw(st.lists(st.sampled_from(leaves), min_size=1, unique=True))
    alike = st.tuples(values, values) | values.map(lambda value: (value, value))
    return dimensions, {leaf: draw(alike) for leaf in kept}, draw(st.booleans())


@settings(max_examples=EXAMPLES)
@given(any_tables(), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_dimensions_changes_nothing(drawn, chance):
    dimensions, leaves, exact = drawn
    shuffled = list(leaves.items())
    chance.shuffle(shuffled)
    order = list(range(len(dimensions)))
    chance.shuffle(order)
    given_so = localise(table_of(dimensions, leaves, exact=exact), limit=EVERY)
    assert localise(table_of(dimensions, dict(shuffled), exact=exact, order=order), limit=EVERY) == given_so


@settings(max_examples=EXAMPLES)
@given(any_tables())
def test_what_is_too_much_is_found_as_what_is_missing_is(drawn):
    """Exchanging both columns of exact books turns every sign, and nothing else."""
    dimensions, leaves, _ = drawn
    ways = [localise(table_of(dimensions, rows), limit=EVERY) for rows in (leaves, _exchanged(leaves))]
    turned = [cause.model_copy(update={"missing": -cause.missing}) for cause in ways[1]]
    assert sorted(map(repr, turned)) == sorted(map(repr, ways[0]))


def _exchanged(leaves: dict[Values, tuple[float, float]]) -> dict[Values, tuple[float, float]]:
    return {leaf: (expected, actual) for leaf, (actual, expected) in leaves.items()}


@settings(max_examples=EXAMPLES)
@given(any_tables())
def test_shares_of_one_direction_come_to_no_more_than_the_whole(drawn):
    dimensions, leaves, exact = drawn
    table = table_of(dimensions, leaves, exact=exact)
    causes = localise(table, limit=EVERY)
    wholes = whole(leaves_of(table), [cause.missing for cause in causes])
    for sign, total in zip((1, -1), wholes, strict=True):
        shares = [cause.share for cause in causes if cause.missing * sign > 0]
        assert all(share > 0 for share in shares)
        assert sum(shares) <= 1 + 1e-9
        assert all(abs(c.missing) == pytest.approx(c.share * total) for c in causes if c.missing * sign > 0)


@settings(max_examples=EXAMPLES)
@given(any_tables(), st.integers(1, 5))
def test_a_limit_keeps_the_largest(drawn, limit):
    dimensions, leaves, exact = drawn
    table = table_of(dimensions, leaves, exact=exact)
    found = localise(table, limit=EVERY)
    assert localise(table, limit=limit) == found[:limit]
    sizes_found = [abs(cause.missing) for cause in found]
    assert sizes_found == sorted(sizes_found, reverse=True)


@settings(max_examples=EXAMPLES)
@given(any_tables(), st.randoms(use_true_random=False))
def test_a_leaf_in_several_rows_is_their_sum(drawn, chance):
    dimensions, leaves, exact = drawn
    whole_leaves = {leaf: (float(round(actual)), float(round(expected))) for leaf, (actual, expected) in leaves.items()}
    parts: list[tuple[Values, float, float]] = []
    for leaf, (actual, expected) in whole_leaves.items():
        some = float(chance.randint(0, int(min(actual, expected))))
        parts += [(leaf, some, some), (leaf, actual - some, expected - some)]
    chance.shuffle(parts)
    rows = Table(
        dimensions,
        tuple(leaf for leaf, _, _ in parts),
        np.array([actual for _, actual, _ in parts]),
        np.array([expected for _, _, expected in parts]),
        exact,
    )
    assert localise(rows) == localise(table_of(dimensions, whole_leaves, exact=exact))


@pytest.mark.parametrize("exact", [True, False])
def test_nothing_is_named_where_nothing_is_broken(exact):
    dimensions, leaves = grid(category=3, subinstance=4)
    assert localise(table_of(dimensions, dict.fromkeys(leaves, (70.0, 70.0)), exact=exact)) == []
    assert localise(table_of(dimensions, dict.fromkeys(leaves, (0.0, 0.0)), exact=exact)) == []
    assert localise(table_of(dimensions, {}, exact=exact)) == []


def test_a_table_without_dimensions_or_of_one_leaf_names_no_place():
    alone = Table((), ((),), np.array([3.0]), np.array([5.0]), exact=True)
    assert localise(alone) == []
    assert localise(table_of(("category",), {("all",): (3, 5)})) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e200])
def test_a_number_that_is_none_is_refused(bad):
    with pytest.raises(DataError, match="1 of 2 leaves have no finite number"):
        localise(table_of(("a",), {("x",): (bad, 1), ("y",): (1, 1)}))


def test_more_than_eight_dimensions_are_refused_but_constant_ones_do_not_count():
    names = tuple("abcdefghi")
    leaves = {tuple("x" * 9): (0.0, 5.0), tuple("y" * 9): (5.0, 5.0)}
    with pytest.raises(DataError, match="9 dimensions"):
        localise(table_of(names, leaves))
    constant = {(*"xxxxxxxx", "1"): (0.0, 5.0), (*"xxxxxxxx", "2"): (5.0, 5.0)}
    assert places(localise(table_of(names, constant))) == [{"i": ("1",)}]

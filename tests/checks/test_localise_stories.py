"""Localisation of what happens to a pipeline: packages lost, silent drops, things booked in the wrong place."""

from __future__ import annotations

import numpy as np
import pytest

from checks.kinds.base import Table
from checks.localise import localise
from checks.result import Cause
from tests.checks.localise_oracle import Values, grid, table_of

DIMENSIONS, LEAVES = grid(category=12, subinstance=40)


def table(change, *, size: float = 1000, exact: bool = True, seed: int = 0) -> Table:
    """A table of Poisson sizes; `change(category, subinstance, expected, rng)` gives what each leaf has."""
    rng = np.random.default_rng(seed)
    leaves: dict[Values, tuple[float, float]] = {}
    for leaf in LEAVES:
        expected = float(rng.poisson(size))
        leaves[leaf] = (float(change(*leaf, expected, rng)), expected)
    return table_of(DIMENSIONS, leaves, exact=exact)


def where(causes: list[Cause]) -> list[dict[str, tuple[str, ...]]]:
    return [cause.where for cause in causes]


def test_a_lost_package_is_named_whole():
    found = localise(table(lambda category, package, n, rng: 0 if package == "subinstance7" else n))
    assert where(found) == [{"subinstance": ("subinstance7",)}]
    assert found[0].share == 1


def test_some_categories_of_a_package_are_one_cause():
    lost = {"category2", "category9"}
    found = localise(
        table(lambda category, package, n, rng: 0 if package == "subinstance7" and category in lost else n)
    )
    assert where(found) == [{"category": ("category2", "category9"), "subinstance": ("subinstance7",)}]


def test_a_leaf_that_is_whole_is_not_named_among_its_broken_siblings():
    kept = "category5"
    found = localise(
        table(lambda category, package, n, rng: 0 if package == "subinstance7" and category != kept else n)
    )
    assert len(found) == 1
    assert kept not in found[0].where["category"]
    assert len(found[0].where["category"]) == 11


@pytest.mark.parametrize("size", [20, 100, 5000])
def test_a_silent_drop_of_three_percent_of_a_category_is_named_though_small_leaves_lost_nothing(size):
    def drop(category, package, n, rng):
        return n - rng.binomial(int(n), 0.03) if category == "category3" else n

    found = localise(table(drop, size=size))
    assert where(found) == [{"category": ("category3",)}]
    assert found[0].share == 1


def test_two_breaks_at_once_are_two_causes_the_larger_first():
    def both(category, package, n, rng):
        return 0 if package == "subinstance7" else n - rng.binomial(int(n), 0.03) if category == "category3" else n

    found = localise(table(both))
    assert where(found) == [{"subinstance": ("subinstance7",)}, {"category": ("category3",)}]


def test_what_went_to_the_wrong_category_is_missing_there_and_too_much_here():
    moved = {"category1": 0.5, "category2": 1.5}
    found = localise(table(lambda category, package, n, rng: round(n * moved.get(category, 1))))
    assert sorted(where(found), key=str) == [{"category": ("category1",)}, {"category": ("category2",)}]
    signs = {cause.where["category"][0]: cause.missing > 0 for cause in found}
    assert signs == {"category1": True, "category2": False}
    assert [cause.share for cause in found] == [1, 1]


def test_a_lost_package_stands_out_of_a_little_loss_everywhere():
    def change(category, package, n, rng):
        return 0 if package == "subinstance7" else n - rng.binomial(int(n), 0.001)

    found = localise(table(change))
    assert where(found) == [{"subinstance": ("subinstance7",)}]
    assert 0.9 < found[0].share < 1


def test_a_leaf_that_is_lost_within_a_category_that_is_dripping_is_a_cause_of_its_own():
    def change(category, package, n, rng):
        if category != "category3":
            return n
        return 0 if package == "subinstance7" else n - rng.binomial(int(n), 0.03)

    assert where(localise(table(change))) == [
        {"category": ("category3",)},
        {"category": ("category3",), "subinstance": ("subinstance7",)},
    ]


@pytest.mark.parametrize("exact", [True, False])
def test_a_loss_that_is_everywhere_is_nowhere(exact):
    assert localise(table(lambda category, package, n, rng: n - rng.binomial(int(n), 0.3), exact=exact)) == []


@pytest.mark.parametrize("exact", [True, False])
def test_a_lost_leaf_stands_out_of_a_loss_everywhere(exact):
    def change(category, package, n, rng):
        return 0 if category + package == "category3subinstance7" else n - rng.binomial(int(n), 0.1)

    found = localise(table(change, exact=exact))
    assert where(found) == [{"category": ("category3",), "subinstance": ("subinstance7",)}]
    assert found[0].share < 0.1


def test_half_of_the_packages_are_all_named():
    lost = {f"subinstance{number}" for number in range(1, 21)}
    found = localise(table(lambda category, package, n, rng: n * (package not in lost)))
    assert where(found) == [{"subinstance": tuple(sorted(lost))}]


def test_items_lost_one_by_one_all_over_name_no_place():
    rng = np.random.default_rng(1)
    hit = {LEAVES[number] for number in rng.choice(len(LEAVES), 150, replace=False)}
    assert localise(table(lambda category, package, n, rng: n - ((category, package) in hit))) == []


def test_a_single_lost_item_is_found():
    found = localise(table(lambda category, package, n, rng: n - (category + package == "category4subinstance9")))
    assert where(found) == [{"category": ("category4",), "subinstance": ("subinstance9",)}]
    assert found[0].missing == 1


def test_a_dimension_that_follows_from_another_is_not_named_beside_it():
    cities = {f"city{number}": f"region{number % 3}" for number in range(9)}
    leaves: dict[Values, tuple[float, float]] = {
        (city, region, shop): (0.0 if city == "city4" else 500.0, 500.0)
        for city, region in cities.items()
        for shop in ("s1", "s2", "s3")
    }
    assert where(localise(table_of(("city", "region", "shop"), leaves))) == [{"city": ("city4",)}]


@pytest.mark.parametrize("seed", range(6))
def test_a_forecast_that_is_only_noisy_names_nothing(seed):
    assert localise(table(lambda category, package, n, rng: rng.poisson(n), exact=False, seed=seed)) == []


@pytest.mark.parametrize("seed", range(3))
def test_a_place_that_stands_out_of_the_noise_of_a_forecast_is_named(seed):
    def change(category, package, n, rng):
        return rng.poisson(n * (0.6 if package == "subinstance7" else 1.0)) * rng.uniform(0.9, 1.1)

    found = localise(table(change, size=200, exact=False, seed=seed))
    assert where(found) == [{"subinstance": ("subinstance7",)}]
    assert 0.4 < found[0].share <= 1


def test_a_rise_and_a_fall_of_a_forecast_are_both_named():
    factors = {"category1": 0.4, "category2": 1.8}

    def change(category, package, n, rng):
        return rng.poisson(n * factors.get(category, 1.0))

    found = localise(table(change, size=300, exact=False))
    assert sorted(where(found), key=str) == [{"category": ("category1",)}, {"category": ("category2",)}]


def test_a_few_leaves_of_counts_are_enough():
    dimensions, leaves = grid(category=3, subinstance=3)
    rows = {leaf: (60.0 - (leaf[0] == "category2") * 2, 60.0) for leaf in leaves}
    assert where(localise(table_of(dimensions, rows))) == [{"category": ("category2",)}]


def test_versions_of_the_minority_are_named():
    """A table of ones and zeros: which leaves have the version of the majority."""
    found = localise(table_of(DIMENSIONS, {leaf: (float(leaf[1] != "subinstance7"), 1.0) for leaf in LEAVES}))
    assert where(found) == [{"subinstance": ("subinstance7",)}]

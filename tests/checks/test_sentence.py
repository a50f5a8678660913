"""Where a break sits, in words: the numbers are those of the table, the places those of the causes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.kinds.base import Table
from checks.localise import localise
from checks.result import Cause
from checks.sentence import number, percent, place, sentence
from tests.checks.localise_oracle import Values, grid, table_of


def lost(shares: dict[Values, float], *, size: float = 1000, exact: bool = True) -> Table:
    """Twelve leaves of a size, some of which lack a share (or have too much, below 0)."""
    dimensions, leaves = grid(category=3, subinstance=4)
    return table_of(dimensions, {leaf: (size * (1 - shares.get(leaf, 0)), size) for leaf in leaves}, exact=exact)


def said(table: Table, unit: str = "items") -> str:
    return sentence(localise(table), table, unit)


def test_the_example_of_the_design():
    table = Table(
        ("category", "subinstance"),
        (("bags", "17"), ("shoes", "17"), ("hats", "17"), ("bags", "18"), ("shoes", "18"), ("hats", "18")),
        np.array([0, 0, 9000, 20000, 20000, 17116.0]),
        np.array([18000, 20323, 9000, 20000, 20000, 20000.0]),
        exact=True,
    )
    assert said(table, "crop") == (
        "93 % of 41,207 missing crops: subinstance=17, category in {bags, shoes}; 7 %: category=hats, subinstance=18"
    )


def test_what_is_too_much_is_said_apart_from_what_is_missing():
    table = lost({("category1", "subinstance1"): 0.5, ("category2", "subinstance2"): -0.25})
    assert said(table) == (
        "100 % of 500 missing items: category=category1, subinstance=subinstance1; "
        "100 % of 250 surplus items: category=category2, subinstance=subinstance2"
    )


def test_what_sits_nowhere_is_spread():
    _, leaves = grid(category=3, subinstance=4)
    assert said(lost(dict.fromkeys(leaves, 0.1)), "picture") == "1,200 missing pictures, spread over 12 leaves"


def test_causes_that_are_less_than_half_are_named_after_that():
    table = lost({("category1", "subinstance1"): 0.5, ("category2", "subinstance2"): 0.7})
    minor = [Cause(where={"category": ("category1",)}, missing=500, share=500 / 1200)]
    assert sentence(minor, table) == "1,200 missing items, spread over 2 leaves; of them 42 %: category=category1"


def test_nothing_broken_says_nothing():
    assert said(lost({})) == ""


def test_only_the_largest_causes_are_named():
    causes = [
        Cause(where={"category": (f"category{index}",)}, missing=missing, share=missing / 1000)
        for index, missing in enumerate((600, 200, 100, 60, 40))
    ]
    table = lost({("category1", "subinstance1"): 1.0})
    assert sentence(causes, table) == (
        "60 % of 1,000 missing items: category=category0; 20 %: category=category1; 10 %: category=category2; "
        "10 % in 2 smaller places"
    )
    assert sentence(causes[:4], table).endswith("6 % in 1 smaller place")


@pytest.mark.parametrize(
    ("unit", "count", "words"),
    [
        ("query", 2, "2 missing queries"),
        ("box", 2, "2 missing boxes"),
        ("box", 1, "1 missing box"),
        ("items", 1, "1 missing item"),
        ("items", 2, "2 missing items"),
        ("class", 2, "2 missing classes"),
        ("day", 3, "3 missing days"),
    ],
)
def test_units_stand_in_the_number_of_their_count(unit, count, words):
    table = table_of(("a",), {("x",): (10.0 - count, 10.0), ("y",): (10.0, 10.0)})
    assert said(table, unit) == f"100 % of {words}: a=x"


def test_many_values_are_cut_and_counted():
    where = {"subinstance": tuple(f"{index:04d}" for index in range(299)), "category": ("shoes",)}
    assert place(where) == "category=shoes, subinstance in {0000, 0001, 0002, 0003, 0004, 0005 and 293 more}"


@given(st.floats(min_value=1e-9, max_value=1))
def test_a_share_is_never_said_to_be_all_or_nothing_when_it_is_not(share):
    words = percent(share)
    assert (words == "100 %") == (share >= 0.9995)
    assert words not in ("0 %", "0.0 %")
    if not words.startswith(("less", "100")):
        assert float(words.split()[0]) == pytest.approx(100 * share, abs=0.51)


@given(st.floats(min_value=0.01, max_value=1e12))
def test_a_number_is_said_to_within_a_twentieth(value):
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=0.06)


def test_a_forecast_is_said_in_the_difference_of_the_totals():
    rng = np.random.default_rng(0)
    dimensions, leaves = grid(category=6, subinstance=30)
    rows = {leaf: (rng.poisson(100 if leaf[0] == "category2" else 200), 200.0) for leaf in leaves}
    table = table_of(dimensions, rows, exact=False)
    total = float((table.expected - table.actual).sum())
    causes = localise(table)
    assert [cause.where for cause in causes] == [{"category": ("category2",)}]
    whole = max(total, causes[0].missing)
    assert said(table) == f"{percent(causes[0].missing / whole)} of {whole:,.0f} missing items: category=category2"

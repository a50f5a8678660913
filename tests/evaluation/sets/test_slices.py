"""Slices and what they can prove, against hand counts and the published table of sample sizes."""

from __future__ import annotations

import math
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm  # type: ignore[import-untyped]

from evaluation.evalset import EvalSet, Gallery, Label
from evaluation.set_power import power_rows
from evaluation.slices import slices_of
from tests.evaluation.small_set import digest, image, query, small_set

DAY = date(2026, 11, 20)


def members(evalset: EvalSet, **options: object) -> dict[str, list[str]]:
    return {
        name: [one.query_id for one, held in zip(evalset.queries, mask, strict=True) if held]
        for name, mask in slices_of(evalset, **options).items()  # type: ignore[arg-type]
    }


def with_copies(*counts: int, **fields: object) -> EvalSet:
    """Return a set in which query n has a product with counts[n] pictures."""
    return small_set(
        queries=tuple(query(f"q{n}") for n in range(len(counts))),
        labels=tuple(Label(query_id=f"q{n}", group_id=f"g{n}") for n in range(len(counts))),
        catalog=tuple(image(f"i{n}-{c}", f"g{n}") for n, count in enumerate(counts) for c in range(count)),
        **fields,
    )


def test_head_torso_and_tail_are_cut_at_five_and_two_pictures():
    found = members(with_copies(0, 1, 2, 4, 5, 9))
    assert found == {
        "all": ["q0", "q1", "q2", "q3", "q4", "q5"],
        "category=shoes": ["q0", "q1", "q2", "q3", "q4", "q5"],
        "freq=head": ["q4", "q5"],
        "freq=none": ["q0"],
        "freq=tail": ["q1"],
        "freq=torso": ["q2", "q3"],
    }


def test_taken_down_pictures_the_querys_own_distractors_and_repeated_rows_are_no_copies():
    catalog = (
        image("a", "g"),
        image("b", "g", takedown_day=DAY),
        image("c", "g", first_day=DAY + timedelta(1)),
        image("d", "g", sha256=digest("query q")),
        image("e", "g", role="noise"),
        image("a", "h"),
    )
    labels = (Label(query_id="q", group_id="g"), Label(query_id="q", group_id="h", grade=1))
    gallery = Gallery(query_domain="a", gallery_domain="b", as_of=DAY)
    found = members(small_set(queries=(query("q"),), labels=labels, catalog=catalog, gallery=gallery))
    assert "freq=tail" in found
    yesterday = gallery.model_copy(update={"as_of": DAY - timedelta(1)})
    found = members(small_set(queries=(query("q"),), labels=labels, catalog=catalog, gallery=yesterday))
    assert "freq=torso" in found


@pytest.mark.parametrize(
    ("days", "age"),
    [
        ([29], "age=in_window"),
        ([30], "age=tail_only"),
        ([400, 29, 90], "age=in_window"),
        ([None], "age=unknown"),
        ([None, 90], "age=unknown"),
        ([None, 3], "age=in_window"),
    ],
)
def test_age_is_that_of_the_newest_live_picture(days, age):
    catalog = [
        image(f"i{n}", "g", last_day=None if one is None else DAY - timedelta(one)) for n, one in enumerate(days)
    ]
    catalog.append(image("gone", "g", last_day=DAY, takedown_day=DAY))
    parts = {"queries": (query("q"),), "labels": (Label(query_id="q", group_id="g"),), "catalog": catalog}
    gallery = Gallery(query_domain="a", gallery_domain="b", as_of=DAY, window_days=30)
    assert [name for name in members(small_set(**parts, gallery=gallery)) if name.startswith("age=")] == [age]
    undated = gallery.model_copy(update={"window_days": None})
    assert not [name for name in members(small_set(**parts, gallery=undated)) if name.startswith("age=")]


def test_type_source_tags_and_left_window_are_slices_and_what_nobody_knows_is_none():
    evalset = small_set(
        queries=(
            query("q1", cluster="g1", query_type="live", tags=("hard", "dark")),
            query("q2", "hats", cluster="g2", tags=("hard",)),
        )
    )
    found = members(evalset, left_window=["g2", "other"])
    assert {name: who for name, who in found.items() if name.split("=")[0] not in ("all", "category", "freq")} == {
        "left_window=yes": ["q2"],
        "tag=dark": ["q1"],
        "tag=hard": ["q1", "q2"],
        "type=live": ["q1"],
        "type=unknown": ["q2"],
    }
    assert "left_window=yes" not in members(evalset, left_window=["other"])


@given(st.lists(st.integers(0, 7), min_size=1, max_size=12), st.lists(st.sampled_from("ab"), min_size=12))
def test_each_dimension_puts_every_query_in_one_slice_and_no_slice_is_empty(counts, kinds):
    evalset = with_copies(*counts)
    queries = [
        one.model_copy(update={"query_type": kind, "category": kind})
        for one, kind in zip(evalset.queries, kinds, strict=False)
    ]
    found = slices_of(small_set(queries=queries, labels=evalset.labels, catalog=evalset.catalog))
    assert all(mask.any() and mask.shape == (len(counts),) for mask in found.values())
    for dimension in ("category=", "freq=", "type="):
        masks = np.array([mask for name, mask in found.items() if name.startswith(dimension)])
        assert np.all(masks.sum(axis=0) == 1)


def test_the_margins_are_those_of_the_published_sample_sizes():
    # evaluation-index-eviction.md, 2.6: 1 % flipped and 1 pp need 857 queries, 2 % and 2 pp 429, 5 % and 2 pp 1,071.
    for queries, flipped, margin in ((857, "0.01", 1.0), (429, "0.02", 2.0), (1071, "0.05", 2.0)):
        assert power_rows(with_copies(*[1] * queries))[0].margin_pp[flipped] == pytest.approx(margin, abs=0.005)


def test_few_queries_prove_no_less_than_what_may_hide_among_none():
    z = norm.isf(0.05) + norm.isf(0.1)
    row = power_rows(with_copies(*[1] * 50))[0]
    assert row.margin_pp["0.05"] == pytest.approx(100 * z * math.sqrt(0.05 / 50), abs=0.001)
    assert row.margin_pp["0.01"] == pytest.approx(100 * (1 - 0.05 ** (1 / 50)), abs=0.001)  # nothing seen among 50


def test_power_counts_products_as_the_worst_case_and_flags_below_429_queries():
    few, enough = with_copies(*[1] * 428), with_copies(*[1] * 429)
    assert power_rows(few)[0].underpowered
    assert not power_rows(enough)[0].underpowered
    clustered = small_set(
        queries=tuple(query(f"q{n}", cluster=f"c{n % 50}") for n in range(200)), labels=(), catalog=()
    )
    row = power_rows(clustered)[0]
    assert (row.slice, row.queries, row.clusters) == ("all", 200, 50)
    assert row.margin_pp_worst["0.05"] == pytest.approx(2 * row.margin_pp["0.05"], abs=0.002)

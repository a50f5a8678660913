"""Systems side by side: every figure equals another library's, and what was planted is what is named."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]

from evaluation.compare import compare, latency_of
from evaluation.comparing.columns import Columns, SystemColumns, unique_names
from evaluation.comparing.holm import holm
from evaluation.comparing.of_set import columns_of_set
from evaluation.measure import measure
from reporting.errors import DataError, UsageError
from tests.evaluation.gate_world import measured, system, world

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def columns(values, *, clusters=None, share=False, slices=None):
    """Return columns of systems with one metric, each question its own product unless told otherwise."""
    n = len(next(iter(values.values())))
    return Columns(
        about="drawn",
        questions=tuple(f"q{number}" for number in range(n)),
        clusters=tuple(clusters or (f"g{number}" for number in range(n))),
        slices={"all": np.ones(n, np.bool_), **(slices or {})},
        shares=frozenset(["m"] if share else []),
        systems=tuple(
            SystemColumns(name, {"m": np.asarray(column, np.float64)}, np.ones(n, np.bool_))
            for name, column in values.items()
        ),
        tested=("m",),
    )


@given(p_values)
def test_holm_is_the_closed_test_of_bonferroni(drawn):
    """A hypothesis falls if each set of hypotheses that holds it does, by Bonferroni (Marcus, Peritz, Gabriel 1976)."""
    places = range(len(drawn))
    subsets = [chosen for size in range(1, len(drawn) + 1) for chosen in combinations(places, size)]
    expected = [
        max(min(1.0, len(chosen) * min(drawn[at] for at in chosen)) for chosen in subsets if place in chosen)
        for place in places
    ]
    assert holm(drawn) == pytest.approx(expected)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(wrong):
    with pytest.raises(ValueError, match="no p value"):
        holm([0.5, wrong])


def test_shares_equal_scipys_wilson_and_binomial_test():
    draw = np.random.default_rng(7)
    first, second = (draw.random(180) < 0.8), (draw.random(180) < 0.7)
    found = compare(columns({"a": first, "b": second}, share=True))
    for side, hits in zip(found.systems, (first, second), strict=True):
        interval = stats.binomtest(int(hits.sum()), 180).proportion_ci(0.95, "wilson")
        assert (side.metrics["m"].low, side.metrics["m"].high) == pytest.approx((interval.low, interval.high))
    pair = found.pairs[0]
    assert (pair.won, pair.lost) == (int((first & ~second).sum()), int((second & ~first).sum()))
    assert pair.p_mcnemar == pytest.approx(stats.binomtest(pair.won, pair.won + pair.lost).pvalue)
    assert pair.value == pytest.approx(first.mean() - second.mean())
    assert pair.low < pair.value < pair.high


def test_means_equal_scipys_paired_tests():
    draw = np.random.default_rng(11)
    first, second = draw.random(12).round(2), draw.random(12).round(2)
    pair = compare(columns({"a": first, "b": second})).pairs[0]
    tossed = stats.permutation_test(
        (first, second), lambda one, other: np.mean(one - other), permutation_type="samples", n_resamples=np.inf
    )
    assert pair.p_value == pytest.approx(tossed.pvalue)
    assert pair.p_student == pytest.approx(stats.ttest_rel(first, second).pvalue)
    assert pair.p_mcnemar is None


def test_the_questions_of_one_product_count_together():
    """40 questions about 4 products, of which one system finds two more: no evidence, though McNemar sees 20:0."""
    gained = [1.0] * 20 + [0.0] * 20
    clusters = [f"g{number // 10}" for number in range(40)]
    together = compare(columns({"a": gained, "b": [0.0] * 40}, clusters=clusters, share=True)).pairs[0]
    apart = compare(columns({"a": gained, "b": [0.0] * 40}, share=True)).pairs[0]
    assert together.p_value == 0.5  # two signs: (+,+) and (-,-) of four
    assert together.low < 0 < apart.low
    assert apart.p_value < 0.001
    assert together.p_mcnemar == apart.p_mcnemar == pytest.approx(2.0**-19)


def test_every_pair_and_metric_is_corrected_for():
    draw = np.random.default_rng(3)
    found = compare(columns({name: draw.random(30) for name in "abcd"}))
    assert [(one.first, one.second) for one in found.pairs] == list(combinations("abcd", 2))
    assert {one.family for one in found.pairs} == {6}
    assert [one.p_holm for one in found.pairs] == list(holm([one.p_value for one in found.pairs]))


def test_a_system_against_itself_differs_by_exactly_nothing():
    evalset = world(products=30)
    one = measured(evalset, misses=[2, 5])
    found = compare(columns_of_set(evalset, [one, one], ["a.run", "b.run"]))
    assert [side.name for side in found.systems] == ["a.run", "b.run"]
    for pair in (*found.pairs, *found.slices):
        assert (pair.value, pair.low, pair.high, pair.won, pair.lost) == (0, 0, 0, 0, 0)
        assert (pair.p_value, pair.p_holm, pair.p_student) == (1, 1, 1)
    assert [(one.won, one.lost, one.shown) for one in found.flips] == [(0, 0, ())]


def test_equal_values_of_other_lists_are_not_proven_alike():
    """Two systems that find the same are not the same system: the interval says how much they may still differ."""
    found = compare(columns({"a": [1.0] * 50, "b": [1.0] * 50}, share=True)).pairs[0]
    assert found.value == 0
    assert found.low < 0 < found.high


def test_what_was_planted_is_named_as_flips_and_as_the_slice_that_differs_most():
    evalset = world(products=60)
    rows = [row for row, query in enumerate(evalset.queries) if query.category == "c1"][:40]
    better, worse = measured(evalset, name="better"), measured(evalset, misses=rows, name="worse")
    found = compare(columns_of_set(evalset, [better, worse], ["better", "worse"]))
    assert found.headline == "hit@10"
    assert found.tested == ("hit@10", "recall@10", "mrr", "map_at_r", "ndcg@10", "answer_rate")
    flips = found.flips[0]
    assert (flips.won, flips.lost) == (40, 0)
    assert {flip.question for flip in flips.shown} == {evalset.queries[row].query_id for row in rows}
    assert {flip.ranks for flip in flips.shown} == {(1, 0)}
    most = found.slices[0]
    assert (most.slice, most.n) == ("category=c1", 60)
    assert most.value == pytest.approx(40 / 60)
    assert {one.value for one in found.slices if one.slice in ("category=c0", "category=c2")} == {0.0}
    side = found.systems[1]
    assert side.slices["category=c1"]["hit@10"].value == pytest.approx(20 / 60)
    assert side.metrics["label_loss@10"].value == 0.0  # shown, though a difference of views is not tested


def test_a_query_that_was_not_answered_counts_as_zero_and_is_counted():
    evalset = world(products=12, queries_each=1)
    whole, half = system(evalset), system(evalset, name="half")
    served = next(iter(half.views.values()))
    statuses = tuple("missing" if row % 2 else "answered" for row in range(12))
    kept = np.flatnonzero(served.row % 2 == 0)
    cut = type(served)(
        query_ids=served.query_ids,
        statuses=tuple(type(served.statuses[0])(status) for status in statuses),
        row=served.row[kept],
        image_id=served.image_id[kept],
        distance=served.distance[kept],
    )
    died = type(half)(name="half", views=dict.fromkeys(half.views, cut))
    found = compare(columns_of_set(evalset, [measure(one, evalset) for one in (whole, died)], ["whole", "half"]))
    assert (found.systems[1].answered, found.systems[1].notes["unanswered"]) == (6, 6)
    assert found.systems[1].metrics["hit@10"].value == 0.5
    assert found.systems[1].metrics["hit@10"].n == 12


@given(st.integers(1, 25), st.integers(0, 2**32 - 1))
def test_exchanging_two_systems_mirrors_everything(n, seed):
    draw = np.random.default_rng(seed)
    values = {"a": draw.integers(0, 5, n) / 4, "b": draw.integers(0, 5, n) / 4}
    clusters = [f"g{draw.integers(0, n)}" for _ in range(n)]
    forth = compare(columns(values, clusters=clusters), resamples=50).pairs[0]
    back = compare(columns(dict(reversed(values.items())), clusters=clusters), resamples=50).pairs[0]
    assert (forth.value, forth.low, forth.high) == pytest.approx((-back.value, -back.high, -back.low), abs=1e-9)
    assert (forth.won, forth.lost, forth.p_value) == (back.lost, back.won, back.p_value)


def test_latency_is_of_what_is_known():
    assert latency_of(None) is None
    assert latency_of([float("nan")]) is None
    found = latency_of([0.1, float("nan"), 0.3])
    assert found is not None
    assert found.n == 2
    assert [found.mean_seconds, found.p50_seconds] == pytest.approx([0.2, 0.2])


def test_systems_of_different_sets_or_metrics_nobody_knows_are_refused():
    evalset, other = world(products=12), world(products=15)
    one, two = measured(evalset), measured(other)
    with pytest.raises(DataError, match="measured on small@"):
        columns_of_set(evalset, [one, two], ["a", "b"])
    with pytest.raises(DataError, match="different cuts"):
        columns_of_set(evalset, [one, measure(system(evalset), evalset, ks=(2,))], ["a", "b"])
    with pytest.raises(UsageError, match=r"'hit@11' .*did you mean .*hit@10"):
        columns_of_set(evalset, [one, one], ["a", "b"], tested=["hit@11"])
    with pytest.raises(UsageError, match="cannot be tested"):
        columns_of_set(evalset, [one, one], ["a", "b"], tested=["label_loss@10"])
    with pytest.raises(UsageError, match="two or more"):
        columns_of_set(evalset, [one], ["a"])


@given(st.lists(st.sampled_from(["run", "run (2)", "x/run"]), min_size=1, max_size=6))
def test_names_are_always_told_apart(names):
    assert len(set(unique_names(names, names))) == len(names)

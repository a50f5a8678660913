"""One rule at a time: what is proven, refuted or neither, and what is said where something was not measured."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import binomtest  # type: ignore[import-untyped]

from evaluation.case import Case, fits, model_changed, same_answers
from evaluation.gate_spec import KINDS, GateSpec
from evaluation.judging import judge_rule, queries_needed
from evaluation.measured import Measured
from evaluation.system import Fact, View
from evaluation.verdict import RuleResult
from tests.evaluation.gate_world import measured, with_facts, world

SET = world(200, 1)
ALL_RIGHT = measured(SET, name="candidate")


def judged(candidate: Measured, kind: str, metric: str, baselines=None, named=None, counts=None, **said) -> RuleResult:
    """Return the one result of a rule."""
    rule = KINDS[kind].model_validate({"id": "r", "kind": kind, "metric": metric, **said})
    spec = GateSpec.model_validate({"schema": "gate/1", "rules": [rule], "baselines": named or {}})
    results = judge_rule(rule, Case(spec, candidate, baselines or {}, counts or {}))
    assert len(results) == 1
    return results[0]


def bounds(found: RuleResult) -> tuple[float, float]:
    assert found.interval is not None
    return found.interval


def missing(*rows: int) -> Measured:
    return measured(SET, rows, name="candidate")


@pytest.mark.parametrize(
    ("misses", "floor", "status"), [(0, 0.98, "pass"), (10, 0.98, "fail"), (5, 0.98, "inconclusive")]
)
def test_a_floor_is_judged_by_its_interval_and_not_by_the_point(misses, floor, status):
    found = judged(missing(*range(misses)), "floor", "hit@10", min=floor)
    low, high = bounds(found)
    expected = binomtest(200 - misses, 200).proportion_ci(confidence_level=0.9, method="wilson")
    assert (found.status, found.value, found.n, found.clusters) == (status, (200 - misses) / 200, 200, 200)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=2e-3)


def test_a_floor_of_the_point_compares_the_value_itself():
    assert judged(missing(0), "floor", "hit@10", min=0.995, bound="point").status == "pass"
    assert judged(missing(0, 1), "floor", "hit@10", min=0.995, bound="point").status == "fail"


def test_a_mean_has_a_clustered_bound_and_the_worst_queries_are_named():
    found = judged(missing(3, 7), "floor", "recall@10", min=0.9)
    assert found.status == "pass"
    low, high = bounds(found)
    assert found.value == 0.99
    assert low < 0.99 < high <= 1
    assert found.worst == ("q0003-0", "q0007-0")


def test_a_ceiling_looks_at_the_upper_bound():
    assert judged(ALL_RIGHT, "ceiling", "label_loss@10", max_pp=5).status == "pass"
    assert judged(ALL_RIGHT, "ceiling", "label_loss@10", max_pp=0.01).status == "inconclusive"
    assert judged(missing(*range(40)), "ceiling", "short_list@10", max=0.5).status == "pass"


def test_a_slice_that_is_not_there_and_a_metric_that_nobody_measured_do_not_pass():
    assert judged(ALL_RIGHT, "floor", "hit@10", min=0.5, slice="tag=hard").status == "inconclusive"
    found = judged(ALL_RIGHT, "invariant", "orphan_idz")
    assert (found.status, found.value) == ("inconclusive", None)
    assert "did you mean orphan_ids?" in found.reason
    assert judged(ALL_RIGHT, "invariant", "orphan_idz", on_missing="fail").status == "fail"
    assert judged(ALL_RIGHT, "invariant", "orphan_idz", on_missing="not_applicable").status == "not_applicable"


def test_too_few_queries_do_not_pass_but_can_refute():
    """What even few queries refute is refuted; `not_applicable` looks away as it is told."""
    assert judged(ALL_RIGHT, "floor", "hit@10", min=0.9, min_n=201).status == "inconclusive"
    assert judged(missing(*range(100)), "floor", "hit@10", min=0.9, min_n=201).status == "fail"
    lenient = {"min": 0.9, "min_n": 201, "on_underpowered": "not_applicable"}
    assert judged(missing(*range(100)), "floor", "hit@10", **lenient).status == "not_applicable"


def test_a_drop_within_the_margin_is_proven_beyond_it_refuted_and_between_open():
    release = missing()
    for drop, status in ((0, "pass"), (3, "inconclusive"), (30, "fail")):
        found = judged(
            missing(*range(drop)), "noninferior", "hit@10", {"release": release}, margin_pp=2, vs=["release"]
        )
        assert (found.status, found.value, found.vs) == (status, -drop / 200, "release"), drop
        assert found.flipped == drop / 200
    assert found.worst == tuple(f"q{row:04d}-0" for row in range(20))


def test_an_open_margin_says_how_many_queries_would_tell():
    found = judged(missing(0, 1), "noninferior", "hit@10", {"release": missing(2, 3)}, margin_pp=1, vs=["release"])
    assert found.status == "inconclusive"
    assert found.value == 0
    assert found.needed is not None
    assert found.needed > 200
    assert f"{found.needed:,} queries" in found.reason


def test_the_queries_needed_are_those_of_the_table_of_the_reference():
    """Rows of 2.6: one-sided alpha 0.05, power 0.90."""
    z = NormalDist().inv_cdf(0.95)
    for flipped, margin, expected in (
        (0.005, 0.0025, 6852),
        (0.01, 0.005, 3426),
        (0.02, 0.01, 1713),
        (0.05, 0.02, 1071),
    ):
        half = z * (flipped / 777) ** 0.5
        assert abs(queries_needed(777, half, margin, alpha=0.05) - expected) <= 1


def test_the_same_answers_differ_by_nothing_at_any_n():
    tiny = measured(world(3, 1), name="candidate")
    found = judged(
        tiny, "noninferior", "recall@10", {"release": measured(world(3, 1))}, margin_pp=0.1, min_n=900, vs=["release"]
    )
    assert (found.status, found.value, found.interval, found.flipped) == ("pass", 0, (0, 0), 0)


def test_three_equal_queries_of_other_answers_prove_no_small_margin():
    """Nothing flipped among few queries is no proof: only the very same lists are."""
    one, other = measured(world(3, 1)), measured(world(3, 1))
    names = other.views[View.SERVED].image_names.copy()
    names[0, -1] = "another"
    other = replace(other, views={**other.views, View.SERVED: replace(other.views[View.SERVED], image_names=names)})
    assert not same_answers(one, other)
    assert same_answers(one, one)
    found = judged(other, "noninferior", "hit@10", {"release": one}, margin_pp=0.5, vs=["release"])
    assert found.status == "inconclusive"
    assert found.value == 0
    assert bounds(found)[0] < -0.1


def test_padding_is_no_difference_between_lists():
    one = measured(world(3, 1))
    served = one.views[View.SERVED]
    wider = np.pad(served.image_names, ((0, 0), (0, 4)), constant_values="")
    assert same_answers(one, replace(one, views={**one.views, View.SERVED: replace(served, image_names=wider)}))


def test_superior_means_better_and_not_as_good():
    release = missing(*range(40))
    said = {"baselines": {"release": release}}
    assert judged(ALL_RIGHT, "superior", "hit@10", **said).status == "pass"
    assert judged(release, "superior", "hit@10", **said).status == "fail"
    assert judged(missing(*range(39)), "superior", "hit@10", **said).status == "inconclusive"
    assert judged(ALL_RIGHT, "superior", "hit@10", by_pp=30, **said).status == "fail"


def test_superiority_is_asked_of_a_new_model_only_where_the_rule_says_so():
    release, asked = missing(*range(40)), {"required_for": "model_change_only"}
    assert judged(ALL_RIGHT, "superior", "hit@10", {"release": release}, **asked).status == "not_applicable"
    new = replace(ALL_RIGHT, inputs={**ALL_RIGHT.inputs, "model": "c" * 64})
    assert judged(new, "superior", "hit@10", {"release": release}, **asked).status == "pass"
    unknown, nobody = replace(ALL_RIGHT, inputs={}), replace(release, inputs={})
    found = judged(unknown, "superior", "hit@10", {"release": nobody}, **asked)
    assert found.status == "not_applicable"
    assert "names no model" in found.reason
    assert model_changed({"shoes/model": "a"}, {"shoes/model": "b"})
    assert model_changed({"model": "a"}, {})
    assert not model_changed({"remodelled": "a"}, {"remodelled": "b"})


def test_a_first_release_has_nothing_to_compare_with():
    for kind, said in (
        ("noninferior", {"margin_pp": 1, "vs": ["release"]}),
        ("superior", {}),
        ("ceiling_rel", {"max_ratio": 1}),
    ):
        assert judged(ALL_RIGHT, kind, "hit@10", **said).status == "not_applicable", kind


def test_a_forgotten_baseline_is_no_first_release():
    named = judged(ALL_RIGHT, "noninferior", "hit@10", named={"champion": "pinned@v118"}, margin_pp=1, vs=["champion"])
    assert named.status == "inconclusive"
    assert "add --champion" in named.reason
    lone = judged(ALL_RIGHT, "noninferior", "hit@10", {"champion": ALL_RIGHT}, margin_pp=1, vs=["release"])
    assert lone.status == "inconclusive"
    assert "add --release" in lone.reason
    none = judged(ALL_RIGHT, "noninferior", "hit@10", {"release": ALL_RIGHT}, margin_pp=1, vs=["champion"])
    assert none.status == "not_applicable"


def test_a_baseline_that_answered_nothing_is_an_error():
    served = ALL_RIGHT.views[View.SERVED]
    dead = replace(ALL_RIGHT, views={View.SERVED: replace(served, answered=np.zeros_like(served.answered))})
    assert judged(ALL_RIGHT, "noninferior", "hit@10", {"release": dead}, margin_pp=1, vs=["release"]).status == "error"


@pytest.mark.parametrize(("value", "n", "bound", "status"), [
    (0.99, 200, "auto", "pass"),
    (0.98, 200, "auto", "fail"),
    (1.0, 200, "wilson_lower", "inconclusive"),
    (1.0, 2000, "wilson_lower", "pass"),
    (0.9, 2000, "wilson_lower", "fail"),
    (1.0, None, "wilson_lower", "error"),
    (1.0, 200, "clustered_lower", "error"),
    (float("nan"), 200, "auto", "error"),
])  # fmt: skip
def test_a_floor_under_a_fact(value, n, bound, status):
    candidate = with_facts(ALL_RIGHT, Fact(metric="self_recall@1", slice="day=2026-11-01", value=value, n=n))
    assert judged(candidate, "floor", "self_recall@1", min=0.99, slice="day=2026-11-01", bound=bound).status == status


def test_a_fact_that_rests_on_too_little_does_not_pass():
    candidate = with_facts(ALL_RIGHT, Fact(metric="self_recall@1", slice="all", value=1, n=5))
    assert judged(candidate, "floor", "self_recall@1", min=0.99, min_n=100).status == "inconclusive"


def test_an_invariant_names_what_breaks_it_and_may_be_a_count_of_the_verdict():
    lost = with_facts(ALL_RIGHT, Fact(metric="groups_with_zero_images", value=2, n=200, examples=("g1", "g2")))
    found = judged(lost, "invariant", "groups_with_zero_images")
    assert (found.status, found.value, found.limit, found.worst) == ("fail", 2, 0, ("g1", "g2"))
    assert judged(ALL_RIGHT, "invariant", "duplicates", counts={"duplicates": 3}).status == "fail"


@pytest.mark.parametrize(("samples", "statistic", "status"), [
    ((11.0,) * 5, "median_of_runs", "pass"),
    ((10.0, 30.0, 11.0, 11.0, 30.0), "median_of_runs", "pass"),
    ((10.0, 30.0, 11.1, 30.0, 30.0), "median_of_runs", "fail"),
    ((10.0, 30.0, 30.0, 30.0, 30.0), "min_of_runs", "pass"),
    ((11.0,) * 4, "median_of_runs", "inconclusive"),
])  # fmt: skip
def test_a_ratio_takes_its_statistic_of_enough_runs(samples, statistic, status):
    ours, theirs = (
        with_facts(ALL_RIGHT, Fact(metric="latency_p99_ms", value=runs[0], samples=runs))
        for runs in (samples, (10.0,) * 5)
    )
    other = replace(theirs, query_ids=tuple(reversed(theirs.query_ids)))  # not the very same answers
    said = {"max_ratio": 1.10, "samples": 5, "statistic": statistic}
    assert judged(ours, "ceiling_rel", "latency_p99_ms", {"release": other}, **said).status == status


def test_a_ratio_to_zero_fails_unless_both_are_zero():
    zero, one = (with_facts(ALL_RIGHT, Fact(metric="orphan_ids", value=value)) for value in (0, 1))
    assert judged(zero, "ceiling_rel", "orphan_ids", {"release": zero}, max_ratio=1).status == "pass"
    found = judged(one, "ceiling_rel", "orphan_ids", {"release": zero}, max_ratio=1)
    assert (found.status, found.value) == ("fail", None)


def test_a_limit_is_met_whichever_way_it_was_rounded():
    """0.7 pp is 0.006999999999999999 as a share, and 7 of 1,000 queries are not."""
    seven = with_facts(ALL_RIGHT, Fact(metric="loss", value=7 / 1000))
    assert judged(seven, "ceiling", "loss", max_pp=0.7).status == "pass"


def test_a_pattern_fits_each_value_of_its_dimensions_only():
    assert fits("category=*", "category=shoes")
    assert not fits("category=*", "freq=tail")
    assert fits("category=*,day=*", "category=a,day=2026-11-01")
    assert not fits("category=*", "category=a,day=b")
    assert not fits("all", "category=a")


def test_a_rule_over_a_dimension_is_judged_on_each_value_by_name():
    rule = KINDS["floor"].model_validate(
        {"id": "r", "kind": "floor", "metric": "hit@10", "min": 0.5, "slice": "category=*"}
    )
    spec = GateSpec.model_validate({"schema": "gate/1", "rules": [rule]})
    assert [one.slice for one in judge_rule(rule, Case(spec, ALL_RIGHT, {}))] == [f"category=c{n}" for n in range(3)]

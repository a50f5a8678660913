"""Breaks of one cause are one group, its root the most upstream."""

from __future__ import annotations

import random
import time
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.causes import group, meet, regions_of
from checks.result import Status
from reporting.topology import Topology
from tests.checks.broken import GRAPH, result

CATEGORIES, SUBINSTANCES = ("bags", "hats", "shoes"), ("0001", "0002", "0003")


def named(groups):
    return [(one.root.id, one.root.key.task, [(part.id, part.key.task) for part in one.impact]) for one in groups]


def test_the_most_upstream_break_is_the_root_and_what_follows_is_its_impact():
    breaks = [result(task) for task in ("embed", "index", "detect")]
    assert named(group(breaks, GRAPH)) == [
        ("conservation", "detect", [("conservation", "embed"), ("conservation", "index")])
    ]


@pytest.mark.parametrize(
    ("nearer", "farther"), [*pairwise(["complete", "reconcile", "digest", "conservation", "version", "drift"])]
)
def test_at_one_task_the_kind_nearest_to_the_fault_is_the_root(nearer, farther):
    first, second = (result("embed", kind=kind, source="categorise") for kind in (nearer, farther))
    (found,) = group([second, first], GRAPH)
    assert (found.root.kind, [part.kind for part in found.impact]) == (nearer, [farther])


def test_disjoint_leaves_have_causes_of_their_own():
    first = result("detect", group={"subinstance": "0001"})
    second = result("crop", group={"subinstance": "0002"})
    third = result("embed", group={"subinstance": "0002", "category": "bags"})
    assert named(group([third, second, first], GRAPH)) == [
        ("conservation", "detect", []),
        ("conservation", "crop", [("conservation", "embed")]),
    ]


def test_causes_that_explain_a_break_are_its_place_and_what_they_do_not_is_none():
    whole = result("detect", causes=[{"subinstance": ["0003"]}])
    assert meet(regions_of(whole), regions_of(result("crop", group={"subinstance": "0003"})))
    assert not meet(regions_of(whole), regions_of(result("crop", group={"subinstance": "0001"})))
    little = whole.model_copy(update={"explain": tuple(one.model_copy(update={"share": 0.3}) for one in whole.explain)})
    assert meet(regions_of(little), regions_of(result("crop", group={"subinstance": "0001"})))


def test_the_value_all_restricts_nothing():
    assert meet(regions_of(result(group={"category": "all"})), regions_of(result(group={"category": "bags"})))


def test_breaks_of_different_days_never_share_a_cause():
    later = result("crop", date=result().key.date.replace(day=6))
    assert len(group([result("detect"), later], GRAPH)) == 2


def test_what_is_only_unlikely_is_no_cause_of_books_that_do_not_close():
    drift = result("collect", kind="drift", value=60)
    books = result("crop", kind="conservation")
    assert [one[:2] for one in named(group([drift, books], GRAPH))] == [
        ("drift", "collect"),
        ("conservation", "crop"),
    ]
    assert len(group([drift, result("crop", kind="drift", value=60)], GRAPH)) == 1


def test_of_two_kinds_equally_near_to_the_fault_the_more_severe_is_the_root():
    warns = result("detect", Status.WARN, kind="drift", check="a")
    pages = result("detect", Status.FAIL, kind="drift", check="b")
    assert named(group([warns, pages], GRAPH)) == [("b", "detect", [("a", "detect")])]


def test_what_takes_unlikely_long_can_make_the_rest_late():
    slow = result("detect", kind="drift", check="seconds")
    assert named(group([slow, result("embed", kind="fresh")], GRAPH)) == [("seconds", "detect", [("fresh", "embed")])]


def test_a_band_or_a_path_is_unlikely_only_and_an_equal_edge_is_exact():
    path = result("index", kind="reconcile", source="collect", check="yield")
    edge = result("embed", kind="reconcile", source="categorise", check="edges")
    assert named(group([path, edge], GRAPH)) == [("edges", "embed", [("yield", "index")])]
    band = result("crop", kind="reconcile", source="detect", check="band")
    assert len(group([band, edge], GRAPH)) == 2


def test_a_small_break_is_not_the_cause_of_a_large_one():
    small = result("collect", Status.WARN, kind="drift", value=970, expected=1000)
    large = result("detect", kind="drift", value=200, expected=1000)
    assert len(group([small, large], GRAPH)) == 2
    assert len(group([small, result("detect", kind="drift", value=900, expected=1000)], GRAPH)) == 1


def test_a_lost_leaf_explains_any_number_of_items():
    lost = result("download", kind="complete", value=299, expected=300, causes=[{"subinstance": ["0003"]}])
    drift = result("detect", kind="drift", value=0, expected=50_000, group={"subinstance": "0003"})
    assert len(group([lost, drift], GRAPH)) == 1


def test_a_break_of_the_books_is_preferred_as_cause_to_an_unlikely_number_further_upstream():
    drift = result("collect", kind="drift")
    lost = result("detect", kind="complete")
    late = result("embed", kind="drift", check="volume")
    assert named(group([drift, lost, late], GRAPH)) == [
        ("drift", "collect", []),
        ("complete", "detect", [("volume", "embed")]),
    ]


def test_a_task_that_the_graph_does_not_have_stands_alone():
    assert len(group([result("detect"), result("gone")], GRAPH)) == 2


def test_passes_and_what_was_not_evaluated_are_no_breaks():
    assert group([result(status=status) for status in (Status.PASS, Status.NOT_EVALUATED, Status.ERROR)], GRAPH) == []


PLACES = st.fixed_dictionaries(
    {},
    optional={"category": st.sampled_from(CATEGORIES), "subinstance": st.sampled_from(SUBINSTANCES)},
)
BREAKS = st.lists(
    st.builds(
        result,
        st.sampled_from(list(GRAPH.tasks)),
        st.sampled_from([Status.FAIL, Status.WARN]),
        kind=st.sampled_from(["complete", "conservation", "digest", "drift", "fresh"]),
        group=PLACES,
        value=st.sampled_from([0.0, 50.0, 99.0, None]),
        expected=st.just(100.0),
    ),
    max_size=8,
    unique_by=lambda one: one.fingerprint(),
)


def cells(one):
    """Leaves by brute force: every cell of a world of 3 x 3 that the break can be about."""
    where = one.key.group
    return {
        (category, subinstance)
        for category, subinstance in product(CATEGORIES, SUBINSTANCES)
        if where.get("category", category) == category and where.get("subinstance", subinstance) == subinstance
    }


def before(topology: Topology, task: str, other: str) -> bool:
    return any(edge.source == task or before(topology, task, edge.source) for edge in topology.upstream(other))


def may_explain(one, other):
    """The rules of the reference (6.4) by brute force, but for the order within a task."""
    loose = {"drift"}
    if one.kind in loose and other.kind not in {*loose, "fresh"}:
        return False
    counts = {"complete", "fresh", "digest"}
    known = None not in (one.value, other.value) and not {one.kind, other.kind} & counts
    if known and 5 * abs(one.value - one.expected) < abs(other.value - other.expected):
        return False
    return bool(cells(one) & cells(other))


@settings(max_examples=30)
@given(BREAKS)
def test_a_root_is_what_nothing_upstream_explains_and_impact_is_what_something_does(breaks):
    groups = group(breaks, GRAPH)
    roots = [one.root for one in groups]
    parts = [part for one in groups for part in one.impact]
    assert sorted(one.fingerprint() for one in (*roots, *parts)) == sorted(one.fingerprint() for one in breaks)
    for root in roots:
        upstream = [one for one in breaks if before(GRAPH, one.key.task, root.key.task)]
        assert not [one for one in upstream if may_explain(one, root)]
    for part in parts:
        same_or_upstream = [
            one for one in breaks if one.key.task == part.key.task or before(GRAPH, one.key.task, part.key.task)
        ]
        assert [one for one in same_or_upstream if one != part and may_explain(one, part)]


@settings(max_examples=30)
@given(BREAKS, st.randoms(use_true_random=False))
def test_the_order_of_the_results_does_not_matter(breaks, rng: random.Random):
    mixed = list(breaks)
    rng.shuffle(mixed)
    assert group(mixed, GRAPH) == group(breaks, GRAPH)


@pytest.mark.slow
def test_a_day_on_which_every_leaf_of_every_task_breaks_is_grouped_in_seconds():
    breaks = [
        result(task, kind="conservation", group={"category": f"c{c}", "subinstance": f"{s:04}"})
        for task in ("categorise", "embed")
        for c in range(30)
        for s in range(30)
    ]
    began = time.process_time()
    groups = group(breaks, GRAPH)
    assert len(groups) == 900
    assert all(len(one.impact) == 1 for one in groups)
    print(f"{len(breaks)} breaks, {len(groups)} causes: {time.process_time() - began:.2f} s")

"""Ratio: bounds read as written, sums against exact fractions, and what is never a pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from checks.kinds.ratio import Ratio
from checks.result import Status
from checks.view import View
from reporting.errors import ConfigError
from reporting.plans import Leaf
from reporting.record import State
from reporting.testing import DAY, MOMENT, make_plan, make_record
from tests.checks.world import SUBINSTANCES, TOPOLOGY, World


def ratio(**keys) -> Ratio:
    given_keys = {"value": "dropped.blurred / input", "between": [0, 0.5], "tasks": ["quality"], **keys}
    return Ratio.model_validate({"id": "r", "kind": "ratio", **given_keys})


def one(check: Ratio, view: View):
    (finding,) = check.judge(view)
    return finding


def view_of(records, *, complete: bool = True, expected=None) -> View:
    plan = make_plan(created_at=MOMENT - timedelta(hours=9), completed_at=MOMENT if complete else None)
    manifest = {"daily": frozenset(expected or ())}
    return View(topology=TOPOLOGY, date=DAY, as_of=MOMENT, records=records, plans=[plan], expected=manifest)


def quality(subinstance: str, input: int, blurred: int, **keys):
    return make_record("quality", subinstance=subinstance, input=input, dropped={"blurred": blurred}, **keys)


@given(
    leaves=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=4),
    low=st.integers(0, 60),
    high=st.integers(60, 100),
)
def test_a_ratio_is_of_the_sums_and_its_bounds_are_read_as_written(leaves, low, high):
    records = [quality(str(n), max(pair), min(pair)) for n, pair in enumerate(leaves)]
    top, bottom = sum(min(pair) for pair in leaves), sum(max(pair) for pair in leaves)
    found = one(ratio(between=[low / 100, high / 100]), view_of(records))
    if bottom == 0:
        assert found.status is Status.NOT_EVALUATED
        return
    within = Fraction(low, 100) <= Fraction(top, bottom) <= Fraction(high, 100)
    assert found.status is (Status.PASS if within else Status.FAIL)
    assert (found.numerator, found.denominator, found.value) == (top, bottom, top / bottom)
    assert found.expected is not None
    assert found.tolerance is not None
    assert (abs(top / bottom - found.expected) <= found.tolerance + 1e-12) == within


def test_groups_are_judged_one_by_one():
    check = ratio(value="failed / input", between=[None, 0.1], tasks=["embed"], group_by=["subinstance", "category"])
    world = World().fail("embed", {"category": "bags", "subinstance": "0002"}, 0.5)
    findings = {finding.instance: finding.status for finding in check.judge(world.view(DAY, digests=False))}
    assert len(findings) == 9
    assert [name for name, status in findings.items() if status is Status.FAIL] == [
        "embed category=bags subinstance=0002"
    ]


def test_a_group_by_goes_as_far_as_a_task_splits():
    check = ratio(value="output / input", tasks=["collect", "quality", "index"], group_by=["subinstance"])
    by = {instance.task: instance.by for instance in check.expand(TOPOLOGY)}
    assert by == {"collect": (), "quality": ("subinstance",), "index": ()}
    with pytest.raises(ConfigError, match="category"):
        ratio(group_by=["category"]).expand(TOPOLOGY)


def test_levels_are_shares_of_the_bound_that_is_broken():
    view = view_of([quality("0001", 100, 60)])
    for page, status in ((0.19, Status.FAIL), (0.21, Status.WARN)):
        assert one(ratio(between=[0, 0.5], levels={"page": page}), view).status is status
    assert one(ratio(between=[0.7, None], levels={"warn": 0.15, "page": 1}), view).status is Status.PASS


def test_a_break_says_where_each_leaf_would_be_at_the_bound():
    table = one(ratio(between=[0, 0.1]), view_of([quality("0001", 100, 50), quality("0002", 40, 2)])).table
    assert table is not None
    assert (table.dimensions, table.values, table.exact) == (("subinstance",), (("0001",), ("0002",)), False)
    assert table.actual.tolist() == [50, 2]
    assert table.expected.tolist() == [10, 4]
    grouped = list(ratio(between=[0, 0.1], group_by=["subinstance"]).judge(view_of([quality("0001", 10, 5)])))
    assert grouped[0].table is None  # no dimension is left to name


def test_nothing_passes_while_a_leaf_is_missing_but_a_break_stands():
    missing = [Leaf("quality", DAY, subinstance="0002")]
    view = view_of([quality("0001", 100, 50)], expected=missing)
    assert one(ratio(), view).status is Status.NOT_EVALUATED
    assert one(ratio(), view).counts
    assert one(ratio(between=[0, 0.1]), view).status is Status.FAIL


@pytest.mark.parametrize("manifest", [(), (Leaf("quality", DAY, subinstance="0002"),)])
def test_while_more_may_come_nothing_is_judged_and_that_does_not_count(manifest):
    """Either a leaf is missing, or the open plan has not said which there will be."""
    found = one(ratio(between=[0, 0.1]), view_of([quality("0001", 100, 50)], complete=False, expected=manifest))
    assert (found.status, found.counts) == (Status.NOT_EVALUATED, False)


def test_an_open_plan_whose_leaves_are_all_there_is_judged():
    manifest = [Leaf("quality", DAY, subinstance="0001")]
    assert one(ratio(), view_of([quality("0001", 100, 50)], complete=False, expected=manifest)).status is Status.PASS


@pytest.mark.parametrize("manifest", [(), (Leaf("quality", DAY, subinstance="0001"),)])
def test_no_record_is_not_evaluated(manifest):
    found = one(ratio(), view_of([], expected=manifest))
    assert (found.status, found.counts) == (Status.NOT_EVALUATED, True)


def test_a_record_without_the_metric_is_not_evaluated_unless_it_was_skipped():
    check = ratio(value="metrics.objects_per_picture / records", between=[1, 2], tasks=["detect"])
    held = make_record("detect", subinstance="0001", metrics={"objects_per_picture": 1.5})
    bare = make_record("detect", subinstance="0002", input=0)
    assert one(check, view_of([held])).status is Status.PASS
    assert one(check, view_of([held, bare])).status is Status.NOT_EVALUATED
    skipped = bare.model_copy(update={"state": State.SKIPPED})
    assert one(check, view_of([held, skipped])).value == pytest.approx(0.75)
    assert one(check, view_of([skipped])).status is Status.NOT_EVALUATED


def test_repairs_count_and_plans_that_do_not_count_change_nothing():
    world = World().fail("quality", {"subinstance": "0001"}, 0.5)
    check = ratio(value="failed / input", between=[0, 0.01])
    assert one(check, world.view(DAY, digests=False)).status is Status.FAIL
    repaired = world.rerun("r1", ("quality",), subinstances=("0001",))
    assert one(check, repaired.view(DAY, digests=False)).status is Status.PASS
    waiting = world.rerun("r1", ("quality",), subinstances=("0001",), promoted=False)
    assert one(check, waiting.view(DAY, digests=False)).status is Status.FAIL


@given(order=st.permutations(range(len(SUBINSTANCES))))
def test_the_order_of_records_does_not_matter(order):
    records = [quality(name, 50 + n, n) for n, name in enumerate(SUBINSTANCES)]
    view = view_of(records)
    shuffled = replace(view, records=[records[n] for n in order])
    assert one(ratio(), shuffled) == one(ratio(), view)


@pytest.mark.parametrize(
    "keys",
    [
        {"value": "input"},
        {"value": "input / output / failed"},
        {"value": "/ input"},
        {"value": "input / "},
        {"between": [None, None]},
        {"between": [0.5, 0.2]},
        {"between": [0, float("inf")]},
        {"between": [0]},
    ],
)
def test_what_is_no_ratio_is_refused(keys):
    with pytest.raises(ValidationError):
        ratio(**keys)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"value": "dropped.blured / input"}, r"did you mean dropped\.blurred"),
        ({"value": "dropped.blurred / inputs"}, "did you mean input"),
        ({"tasks": ["qality"]}, "did you mean quality"),
    ],
)
def test_unknown_names_are_told_with_the_nearest(keys, told):
    with pytest.raises(ConfigError, match=told):
        ratio(**keys).expand(TOPOLOGY)

"""Reconcile: each edge, pair and path compares what was handed on with what was taken in, and says where it differs."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from checks.kinds.reconcile import Reconcile
from checks.result import Status
from checks.sides import nearest_within
from checks.view import View
from reporting.errors import ConfigError
from reporting.plans import Leaf
from reporting.record import Consumed
from reporting.testing import DAY, MOMENT, make_plan, make_record
from reporting.topology import Law
from tests.checks.judging import judged, lacking, rows, statuses
from tests.checks.world import SUBINSTANCES, TOPOLOGY, World, noon, planid_of, record_of
from tests.reporting.ledgers import graph

EMBED = Leaf("embed", DAY, "shoes", "0002")
PACKAGE = Leaf("download", DAY, subinstance="0002")
TWO = graph([("a", "b")], a=("subinstance",), b=("subinstance",))


def on(topology, *records, plan=None, expected=(), kind=Reconcile, **keys):
    """Judge some records under one plan, complete unless another is given."""
    plan = make_plan(completed_at=MOMENT) if plan is None else plan
    owed = {plan.planid: frozenset(expected)}
    return judged(kind, View(topology, DAY, MOMENT + timedelta(days=1), records, plans=[plan], expected=owed), **keys)


def a_and_b(handed, taken, **b_books):
    return (
        make_record("a", subinstance="0001", input=handed),
        make_record("b", subinstance="0001", input=taken, **b_books),
    )


def test_every_edge_that_counts_something_passes_in_a_whole_world():
    found = judged(Reconcile, World().view())
    assert statuses(found) == {}
    assert set(found) == {f"{edge.source}->{edge.target}" for edge in TOPOLOGY.edges if edge.law is not Law.AFTER}


def test_silent_loss_of_three_percent_of_a_category_is_found_on_its_edge_and_in_its_groups():
    world = World(rows=600).shrink("embed", {"category": "shoes"}, 0.03)
    found = judged(Reconcile, world.view())
    assert statuses(found) == {"categorise->embed": Status.FAIL}
    finding = found["categorise->embed"]
    assert set(rows(finding)) == {("shoes", package) for package in SUBINSTANCES}
    assert sum(expected - actual for actual, expected in rows(finding).values()) == lacking(finding)
    assert (finding.place.source, finding.place.task, finding.unit) == ("categorise", "embed", "objects")
    assert (finding.place.planid, finding.numerator) == (planid_of(DAY), finding.value)
    assert "unexplained in 3 of 9 groups" in finding.reason
    assert [group["group"] for group in finding.details["groups"]] == [
        {"category": "shoes", "subinstance": name} for name in ("0003", "0002", "0001")
    ]


def test_signed_differences_do_not_cancel():
    records = [
        make_record("a", subinstance="0001", input=10),
        make_record("a", subinstance="0002", input=10),
        make_record("b", subinstance="0001", input=8),
        make_record("b", subinstance="0002", input=12),
    ]
    (finding,) = on(TWO, *records).values()
    assert (finding.status, finding.value, finding.expected) == (Status.FAIL, 20, 20)
    assert finding.details["unexplained"] == 4


def test_groups_are_findings_of_their_own_where_asked_for():
    world = World().shrink("embed", {"category": "shoes", "subinstance": "0003"}, 0.5)
    found = judged(Reconcile, world.view(), group_by=["subinstance"])
    assert statuses(found) == {"categorise->embed subinstance=0003": Status.FAIL}
    assert found["categorise->embed subinstance=0003"].place.group == {"subinstance": "0003"}
    assert set(rows(found["categorise->embed subinstance=0003"])) == {("shoes", "0003")}
    assert "collect->download" in found  # whose ends have no dimension in common
    assert sum(name.startswith("categorise->embed") for name in found) == 3


def test_a_lost_record_lacks_all_that_was_handed_to_it_and_all_it_handed_on():
    view = World().view()
    lost = record_of(view, EMBED)
    found = judged(Reconcile, World().lose(EMBED).view())
    assert statuses(found) == {"categorise->embed": Status.FAIL, "embed->index": Status.FAIL}
    assert rows(found["categorise->embed"]) == {("shoes", "0002"): (0, lost.input)}
    assert found["categorise->embed"].details["missing"] == ["embed shoes/0002"]
    assert found["embed->index"].details["unexplained"] == lost.produced


def test_a_lost_package_is_named_though_the_edge_has_no_dimension_in_common():
    """The first task does not split: where the target's leaf is missing, it is what lacks the items."""
    whole = record_of(World().view(), PACKAGE)
    found = judged(Reconcile, World().ruin(PACKAGE).view())
    assert [name for name, one in found.items() if one.status is Status.FAIL] == ["collect->download"]
    # Behind it neither end has reported: nothing can be said of that, which is no pass.
    assert found["download->quality"].status is Status.NOT_EVALUATED
    assert found["download->quality"].counts
    assert found["download->quality"].details["missing"] == ["download 0002", "quality 0002"]
    assert rows(found["collect->download"]) == {("0002",): (0, whole.input)}


def test_a_break_without_a_place_has_no_table():
    finding = judged(Reconcile, World().shrink("download", {}, 0.1).view())["collect->download"]
    assert (finding.status, finding.table) == (Status.FAIL, None)


def test_an_open_plan_waits_for_a_missing_leaf_and_judges_the_others():
    during = noon(DAY) - timedelta(hours=9, minutes=48, seconds=30)  # 02:11:30: two of three packages are embedded
    found = judged(Reconcile, World().view(as_of=during))
    waiting = {name: one for name, one in found.items() if one.status is Status.NOT_EVALUATED}
    assert set(waiting) == {"categorise->embed", "embed->index", "index->merge"}
    assert not any(one.counts for one in waiting.values())
    assert set(statuses(found)) == set(waiting)
    broken = judged(Reconcile, World().shrink("embed", {"subinstance": "0001"}, 0.5).view(as_of=during))
    assert broken["categorise->embed"].status is Status.FAIL
    assert {values[1] for values in rows(broken["categorise->embed"])} == {"0001"}


def test_a_leaf_that_is_missing_when_the_plan_is_complete_is_not_waited_for():
    late = World().delay("embed", {"category": "shoes", "subinstance": "0002"}, timedelta(hours=20))
    assert judged(Reconcile, late.view())["categorise->embed"].status is Status.FAIL
    assert statuses(judged(Reconcile, late.view(as_of=noon(DAY) + timedelta(days=1)))) == {}


def test_nothing_on_both_sides_is_not_evaluated_and_zero_on_both_sides_passes():
    both = [Leaf("a", DAY, subinstance="0001"), Leaf("b", DAY, subinstance="0001")]
    for expected in ((), both):
        (finding,) = on(TWO, expected=expected).values()
        assert (finding.status, finding.counts, finding.value) == (Status.NOT_EVALUATED, True, None)
        (finding,) = on(TWO, expected=expected, plan=make_plan()).values()
        assert (finding.status, finding.counts) == (Status.NOT_EVALUATED, False)
    (finding,) = on(TWO, *a_and_b(0, 0)).values()
    assert (finding.status, finding.value, finding.expected) == (Status.PASS, 0, 0)


def test_one_side_empty_fails_for_all_its_items():
    before, after = a_and_b(7, 7)
    (lost,) = on(TWO, before).values()
    (made_up,) = on(TWO, after).values()
    assert [(one.status, one.value, one.expected) for one in (lost, made_up)] == [
        (Status.FAIL, 0, 7),
        (Status.FAIL, 7, 0),
    ]
    (waiting,) = on(TWO, before, plan=make_plan()).values()
    assert (waiting.status, waiting.counts) == (Status.NOT_EVALUATED, False)


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ({}, Status.FAIL),
        ({"tolerance": {"abs": 10}}, Status.PASS),
        ({"tolerance": {"abs": 9}}, Status.FAIL),
        ({"tolerance": {"rel": 0.01}}, Status.PASS),
        ({"tolerance": {"abs": 1, "rel": 0.01}}, Status.PASS),  # a breach exceeds both
        ({"levels": {"warn": 0, "page": 0.02}}, Status.WARN),
        ({"levels": {"warn": 0.02, "page": 0.02}}, Status.PASS),
    ],
)
def test_ten_of_a_thousand_missing(keys, status):
    (finding,) = on(TWO, *a_and_b(1000, 990), **keys).values()
    assert finding.status is status


def test_a_ratio_is_judged_by_its_band_and_expects_the_nearest_number_within():
    banded = graph([{"from": "a", "to": "b", "ratio": [0.5, 2]}], a=("subinstance",), b=("subinstance",))
    for taken, expected, status in (
        (5, 5, Status.PASS),
        (20, 20, Status.PASS),
        (4, 5, Status.FAIL),
        (23, 20, Status.FAIL),
    ):
        (finding,) = on(banded, *a_and_b(10, taken)).values()
        assert (finding.status, finding.value, finding.expected) == (status, taken, expected)
        assert (finding.numerator, finding.denominator) == (taken, 10)
    assert rows(finding) == {("0001",): (23, 20)}


DECIMALS = st.integers(0, 300).map(lambda n: n / 100)


@given(bounds=st.tuples(DECIMALS, DECIMALS).map(sorted), handed=st.integers(0, 50), taken=st.integers(0, 200))
def test_the_nearest_number_within_a_band_is_found_by_trying_all(bounds, handed, taken):
    low, high = (Fraction(str(bound)) for bound in bounds)
    inside = [n for n in range(201) if low * handed <= n <= high * handed]
    nearest = nearest_within(handed, taken, tuple(bounds))
    if inside:
        assert abs(nearest - taken) == min(abs(n - taken) for n in inside)
    else:  # no whole number lies in the band: any misses it
        assert nearest != taken


WINDOW = graph([{"from": "index", "to": "merge", "law": "window"}], index=("category",), merge=("category",))


def merged(category, taken, *read):
    consumed = tuple(Consumed(task="index", date=DAY, planid=planid, count=count) for planid, count in read)
    return make_record("merge", category=category, input=taken, consumed=consumed)


def index(category, produced):
    return make_record("index", category=category, input=produced)


@pytest.mark.parametrize(
    ("merge", "unexplained"),
    [
        (merged("hats", 10, ("daily", 10)), 0),
        (merged("hats", 9, ("daily", 10)), 1),  # took in less than it says it read
        (merged("hats", 9, ("daily", 9)), 1),  # read less than was handed on
        (merged("hats", 20, ("daily", 10), ("daily", 10)), 10),  # one partition twice
        (merged("hats", 10, ("daily", 10), ("daily", 10)), 20),  # and it took in other than it read
        (merged("hats", 10, ("daily", 9), ("ghost", 1)), 2),  # what it took in is right by chance only
        (merged("hats", 10, ("ghost", 10)), 10),  # of a plan that never was
        (merged("hats", 0), 0),  # a window may read nothing
        (merged("hats", 10), 10),
    ],
)
def test_a_window_is_judged_by_what_it_says_it_read(merge, unexplained):
    (finding,) = on(WINDOW, index("hats", 10), merge).values()
    assert finding.details["unexplained"] == unexplained
    assert finding.status is (Status.FAIL if unexplained else Status.PASS)
    if unexplained:
        assert set(rows(finding)) == {("hats",)}


def test_a_window_reads_the_days_that_it_names():
    """A merge that read an old day wrongly is found with that day."""
    yesterday = DAY - timedelta(days=1)
    view = World().lose(Leaf("index", yesterday, "shoes")).view()
    finding = judged(Reconcile, view)["index->merge"]
    (group,) = finding.details["groups"]
    assert group["group"] == {"category": "shoes"}
    assert [part.split(":")[0] for part in group["partitions"]] == [f"{yesterday} {planid_of(yesterday)}"]


def test_a_window_whose_leaf_is_missing_is_not_judged():
    leaves = [Leaf("merge", DAY, "hats")]
    for plan, counts in ((make_plan(), False), (make_plan(completed_at=MOMENT), True)):
        (finding,) = on(WINDOW, index("hats", 10), plan=plan, expected=leaves).values()
        assert (finding.status, finding.counts) == (Status.NOT_EVALUATED, counts)


def test_a_repair_that_counts_is_what_is_compared():
    broken = World().shrink("embed", {"subinstance": "0002"}, 0.5)
    mended = broken.rerun("fix", ["embed"], subinstances=("0002",))
    assert set(statuses(judged(Reconcile, broken.view()))) == {"categorise->embed"}
    found = judged(Reconcile, mended.view())
    assert statuses(found) == {}
    assert found["categorise->embed"].place.planid is None
    assert found["categorise->embed"].details["planids"] == [planid_of(DAY), "fix"]
    not_promoted = broken.rerun("fix", ["embed"], subinstances=("0002",), promoted=False)
    assert set(statuses(judged(Reconcile, not_promoted.view()))) == {"categorise->embed"}


def test_any_two_related_tasks_can_be_compared_by_any_measure():
    view = World().view()
    pair = {"from": "crop", "to": "embed"}
    equal = judged(Reconcile, view, pair=pair)
    assert equal["crop->embed"].status is Status.PASS  # categorise drops nothing
    found = judged(Reconcile, view, pair={**pair, "measure_from": "input", "measure_to": "output", "ratio": [0.5, 1]})
    assert found["crop.input->embed.output"].status is Status.PASS
    narrow = {**pair, "measure_from": "input", "measure_to": "output", "ratio": [0.999, 1]}
    assert judged(Reconcile, view, pair=narrow)["crop.input->embed.output"].status is Status.FAIL


def test_a_measure_that_a_record_does_not_hold_is_not_evaluated():
    pair = {"from": "download", "to": "detect", "measure_from": "metrics.bytes", "measure_to": "input", "ratio": [0, 1]}
    view = World().view()
    assert judged(Reconcile, view, pair=pair)["download.metrics.bytes->detect.input"].status is Status.PASS
    without = [
        r.model_copy(update={"metrics": {}}) if (r.key.task, r.key.subinstance) == ("download", "0003") else r
        for r in view.records
    ]
    again = View(TOPOLOGY, DAY, noon(DAY), without, view.other_days, view.plans, view.expected)
    finding = judged(Reconcile, again, pair=pair)["download.metrics.bytes->detect.input"]
    assert (finding.status, finding.counts) == (Status.NOT_EVALUATED, True)
    assert "does not hold metrics.bytes" in finding.reason


def test_a_path_has_a_yield_from_end_to_end():
    view = World(rows=600).view()
    first, last = (record for record in (record_of(view, Leaf("collect", DAY)),)), view.counting
    rows_in = next(iter(first)).input
    indexed = sum(record.produced for leaf, record in last.items() if leaf.task == "index")
    share = indexed / rows_in
    path = {"from": "collect", "to": "index"}
    for band, status in (((0.5, 1.5), Status.PASS), ((share * 1.01, 2), Status.FAIL), ((0, share * 0.99), Status.FAIL)):
        (finding,) = judged(Reconcile, view, path={**path, "ratio": list(band)}).values()
        assert (finding.status, finding.numerator, finding.denominator) == (status, indexed, rows_in)
        assert finding.instance == "collect->...->index"
    less = judged(
        Reconcile, World(rows=600).shrink("quality", {}, 0.3).view(), path={**path, "ratio": [share * 0.9, 2]}
    )
    assert less["collect->...->index"].status is Status.FAIL


def test_two_edges_between_the_same_tasks_are_told_apart():
    twice = graph([("a", "b"), {"from": "a", "to": "b", "ratio": [0, 1]}], a=("subinstance",), b=("subinstance",))
    found = on(twice, *a_and_b(5, 6))
    assert statuses(found) == {"a->b": Status.FAIL, "a->b #2": Status.FAIL}


def refused(topology=TOPOLOGY, **keys):
    with pytest.raises(ConfigError) as caught:
        Reconcile.model_validate({"id": "it", "kind": "reconcile", **keys}).expand(topology)
    return str(caught.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"edges": ["crop->embed"]}, "check it: edges: unknown edge 'crop->embed'; did you mean"),
        ({"edges": ["merge->release"]}, "merge->release has the law `after`"),
        ({"edges": ["collect->download"], "group_by": ["category"]}, "both ends split by category"),
        ({"pair": {"from": "corp", "to": "embed"}}, "check it: pair.from: unknown task 'corp'; did you mean crop?"),
        ({"pair": {"from": "crop", "to": "crop"}}, "from and to are both crop"),
        ({"pair": {"from": "crop", "to": "embed", "measure_to": "inptu"}}, "did you mean input?"),
        (
            {"pair": {"from": "quality", "to": "crop", "measure_from": "dropped.blurry"}},
            "did you mean dropped.blurred or",
        ),
        ({"path": {"from": "collect", "to": "merge", "ratio": [0, 1]}}, "a day's items do not go that way"),
        ({"path": {"from": "index", "to": "collect", "ratio": [0, 1]}}, "a day's items do not go that way"),
    ],
)
def test_what_cannot_be_compared_is_refused(keys, message):
    assert message in refused(**keys)


def test_tasks_that_nothing_connects_are_refused_and_siblings_are_not():
    fork = graph([("a", "b"), ("a", "c"), ("x", "y")], a=(), b=(), c=(), x=(), y=())
    assert "no edges lead from a to y" in refused(fork, pair={"from": "a", "to": "y"})
    check = Reconcile.model_validate({"id": "it", "kind": "reconcile", "pair": {"from": "b", "to": "c"}})
    assert [one.instance for one in check.expand(fork)] == ["b->c"]


@pytest.mark.parametrize(
    "keys",
    [
        {"pair": {"from": "a", "to": "b"}, "edges": "*"},
        {"pair": {"from": "a", "to": "b"}, "path": {"from": "a", "to": "b", "ratio": [0, 1]}},
        {"pair": {"from": "a", "to": "b"}, "except": ["a->b"]},
        {"pair": {"from": "a", "to": "b", "ratio": [2, 1]}},
        {"path": {"from": "a", "to": "b"}},
        {"path": {"from": "a", "to": "b", "ratio": [-1, 1]}},
        {"path": {"from": "a", "to": "b", "ratio": [0, float("nan")]}},
    ],
)
def test_contradictions_are_refused_before_the_topology_is_known(keys):
    with pytest.raises(ValidationError):
        Reconcile.model_validate({"id": "it", "kind": "reconcile", **keys})


def test_a_star_over_edges_of_order_only_is_about_nothing():
    order = graph([{"from": "a", "to": "b", "law": "after"}], a=(), b=())
    assert Reconcile.model_validate({"id": "it", "kind": "reconcile"}).expand(order) == []
    assert on(order, make_record("a")) == {}

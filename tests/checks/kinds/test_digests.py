"""Digest: equal counts of other items are found on their edge; what has no digest is not judged."""

from __future__ import annotations

from datetime import timedelta

import pytest

from checks.kinds.digest import DigestCheck
from checks.result import Status
from checks.view import View
from reporting.digest import Digest
from reporting.errors import ConfigError
from reporting.plans import Leaf
from reporting.testing import DAY, MOMENT, make_plan, make_record
from reporting.topology import Law
from tests.checks.judging import judged, rows, statuses
from tests.checks.world import SUBINSTANCES, TOPOLOGY, World, noon, record_of
from tests.reporting.ledgers import graph

EMBED = Leaf("embed", DAY, "shoes", "0002")
FAN_IN = graph([("a", "b")], a=("subinstance",), b=())


def on(*records, plan=None, expected=(), **keys):
    plan = make_plan(completed_at=MOMENT) if plan is None else plan
    owed = {plan.planid: frozenset(expected)}
    view = View(FAN_IN, DAY, MOMENT + timedelta(days=1), records, plans=[plan], expected=owed)
    (finding,) = judged(DigestCheck, view, **keys).values()
    return finding


def a(subinstance, *ids):
    return make_record("a", subinstance=subinstance, input=len(ids), digest_out=str(Digest.of(ids)))


def b(*ids):
    return make_record("b", input=len(ids), digest_in=str(Digest.of(ids)))


def test_every_edge_of_law_equal_passes_in_a_whole_world():
    found = judged(DigestCheck, World().view())
    assert statuses(found) == {}
    assert set(found) == {f"{edge.source}->{edge.target}" for edge in TOPOLOGY.edges if edge.law is Law.EQUAL}


def test_other_items_of_equal_number_are_found_where_they_are():
    view = World().swap_ids("embed", {"category": "shoes"}).view()
    found = judged(DigestCheck, view)
    assert statuses(found) == {"categorise->embed": Status.FAIL}
    finding = found["categorise->embed"]
    items = {name: record_of(view, EMBED._replace(subinstance=name)).input for name in SUBINSTANCES}
    assert rows(finding) == {("shoes", name): (0, count) for name, count in items.items()}
    assert (finding.expected or 0) - (finding.value or 0) == sum(items.values())
    assert finding.reason.startswith("equal counts, different ids")
    assert len(finding.details["groups"]) == 3


def test_groups_are_findings_of_their_own_where_asked_for():
    view = World().swap_ids("embed", {"category": "shoes"}).view()
    assert statuses(judged(DigestCheck, view, group_by=["category"])) == {
        "categorise->embed category=shoes": Status.FAIL
    }


def test_digests_of_several_leaves_merge():
    assert on(a("1", "x", "y"), a("2", "z"), b("z", "x", "y")).status is Status.PASS
    wrong = on(a("1", "x", "y"), a("2", "z"), b("z", "x", "w"))
    assert (wrong.status, wrong.value, wrong.expected) == (Status.FAIL, 0, 3)
    assert wrong.table is None  # the edge has no dimension in common


def test_what_two_leaves_swapped_between_each_other_is_the_same_for_who_joins_them():
    assert on(a("1", "x"), a("2", "y"), b("y", "x")).status is Status.PASS


def test_an_item_read_twice_in_the_place_of_another_is_found():
    assert on(a("1", "x", "y"), b("x", "x")).status is Status.FAIL
    assert on(a("1", "x", "x"), b("y", "y")).status is Status.FAIL  # the xor of both is 0


def test_other_counts_are_told_as_such():
    found = on(a("1", "x", "y"), b("x"))
    assert (found.status, found.reason) == (Status.FAIL, "a handed on 2 and b took in 1 a, other ones")


@pytest.mark.parametrize("required", [False, True])
def test_a_record_without_a_digest_counts_only_where_it_is_required(required):
    bare = make_record("a", subinstance="2", input=1)
    found = on(a("1", "x"), bare, b("x", "y"), required=required)
    assert (found.status, found.counts, found.value) == (Status.NOT_EVALUATED, required, None)
    assert found.details["without_digest"] == ["a 2"]
    bare = make_record("b", input=1)
    found = on(a("1", "x"), bare, required=required)
    assert (found.status, found.counts, found.details["without_digest"]) == (Status.NOT_EVALUATED, required, ["b"])


def test_a_record_without_items_needs_no_digest():
    assert on(a("1", "x"), make_record("a", subinstance="2", input=0), b("x")).status is Status.PASS


def test_a_missing_leaf_is_not_judged():
    leaf = Leaf("a", DAY, subinstance="2")
    at_work = make_plan()
    for plan, counts in ((None, True), (at_work, False)):
        found = on(a("1", "x"), b("x"), expected=[leaf], plan=plan)
        assert (found.status, found.counts) == (Status.NOT_EVALUATED, counts)
        found = on(plan=plan)
        assert (found.status, found.counts) == (Status.NOT_EVALUATED, counts)
        assert on(a("1", "x"), plan=plan).status is Status.NOT_EVALUATED


def test_a_difference_is_told_although_another_group_cannot_be_judged():
    world = World().swap_ids("embed", {"category": "shoes"}).lose(EMBED._replace(category="hats"))
    assert judged(DigestCheck, world.view())["categorise->embed"].status is Status.FAIL


def test_a_repair_is_compared_with_what_it_read():
    world = World().swap_ids("embed", {"category": "shoes"})
    assert statuses(judged(DigestCheck, world.rerun("fix", ["embed"]).view())) == {}


def test_order_and_repetition_of_records_change_nothing():
    view = World().swap_ids("crop", {"subinstance": "0001"}).view()
    records = [*reversed(view.records), *view.records]
    again = View(TOPOLOGY, DAY, noon(DAY), records, view.other_days, view.plans, view.expected)
    before, after = judged(DigestCheck, view), judged(DigestCheck, again)
    assert {name: one.details for name, one in before.items()} == {name: one.details for name, one in after.items()}


def test_edges_of_other_laws_are_refused_by_name_and_left_out_of_a_star():
    for keys, message in (
        ({"edges": ["index->merge"]}, "index->merge has the law `window`"),
        ({"edges": ["quality->corp"]}, "did you mean quality->crop"),
        ({"edges": ["collect->download"], "group_by": ["category"]}, "both split by category"),
    ):
        with pytest.raises(ConfigError, match=message):
            DigestCheck.model_validate({"id": "it", "kind": "digest", **keys}).expand(TOPOLOGY)

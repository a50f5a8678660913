"""The trial balance: 0 on closed books, and each kind of break found where it is with its exact size."""

from __future__ import annotations

import io
import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from reporting.balance import Books, balance, balance_frame
from reporting.effective import leaf_of
from reporting.plans import Leaf, PlanKind, cover_of
from reporting.render import balance_table
from reporting.testing import DAY, MOMENT, make_plan, make_record
from tests.reporting.ledgers import (
    CATEGORIES,
    CHAIN,
    ITEMS,
    PACKAGES,
    Item,
    changed,
    close,
    closed_records,
    graph,
    unexplained,
)

LATER = MOMENT + timedelta(hours=1)
RECORDS = closed_records(CHAIN, ITEMS, seed=1)


def at(task, category="all", subinstance="all"):
    """Return the place of a leaf's record among RECORDS."""
    return next(n for n, r in enumerate(RECORDS) if leaf_of(r.key) == Leaf(task, DAY, category, subinstance))


def replaced(*changes):
    """Return RECORDS with (index, record) replaced, or removed where the record is None."""
    found = dict(enumerate(RECORDS)) | dict(changes)
    return [record for record in found.values() if record is not None]


def test_closed_books_leave_nothing_unexplained():
    found = close(CHAIN, RECORDS)
    (row,) = found.rows
    assert found.residuals == []
    assert (row.date, row.planid, row.unexplained, row.missing_leaves, row.provisional) == (DAY, "daily", 0, 0, False)
    assert row.input == sum(r.input for r in RECORDS)
    assert row.input == row.output + row.dropped + row.failed
    assert row.input > row.output > 0


def test_the_order_of_records_does_not_matter():
    broken = replaced((at("embed", "shoes", "0001"), None))
    shuffled = random.Random(0).sample(broken, len(broken))
    assert close(CHAIN, shuffled) == close(CHAIN, broken)


@pytest.mark.parametrize(
    ("leaf", "edge"),
    [
        (("hash", "all", "0002"), "collect -> hash"),
        (("dedup", "all", "all"), "hash -> dedup"),
        (("split", "shoes", "0001"), "dedup -> split"),
        (("embed", "shoes", "0001"), "split -> embed shoes/0001"),
        (("index", "hats", "all"), "embed -> index hats"),
    ],
)
@pytest.mark.parametrize("by", [1, 3])
def test_a_changed_count_is_found_on_its_edge_with_its_size(leaf, edge, by):
    index = at(*leaf)
    found = close(CHAIN, replaced((index, changed(RECORDS[index], by))))
    assert [(one.where, one.residual, one.taken - one.handed_on) for one in found.residuals] == [(edge, by, by)]
    assert unexplained(found) == by


def test_a_lost_leaf_is_found_with_all_that_went_into_it_and_came_out_of_it():
    index = next(n for n, r in enumerate(RECORDS) if r.key.task == "embed" and r.input > r.output > 0)
    lost = RECORDS[index]
    found = close(CHAIN, replaced((index, None)), expected={"daily": {leaf_of(lost.key)}})
    assert {one.where: one.residual for one in found.residuals} == {
        f"split -> embed {lost.key.category}/{lost.key.subinstance}": lost.input,
        f"embed -> index {lost.key.category}": lost.produced,
    }
    assert found.rows[0].missing_leaves == 1


def test_a_lost_leaf_is_found_without_a_manifest_too():
    index = at("embed", "shoes", "0001")
    lost = RECORDS[index]
    assert unexplained(close(CHAIN, replaced((index, None)))) == lost.input + lost.produced


def test_a_last_leaf_of_its_group_that_is_lost_is_found():
    """Nothing stands in its group any more, on the target's side."""
    index = at("index", "hats")
    found = close(CHAIN, replaced((index, None)))
    assert {one.where: one.residual for one in found.residuals} == {"embed -> index hats": RECORDS[index].input}


def test_a_record_whose_own_books_do_not_close_is_found():
    """A writer without our client can store one; the store does not judge."""
    index = at("index", "hats")
    record = RECORDS[index]
    broken = replaced((index, record.model_copy(update={"output": record.output - 3})))
    found = balance(CHAIN, Books(records=broken, plans=[DAILY], expected={}, consumed=[]))
    assert [(one.where, one.residual) for one in found.residuals] == [("index hats/all", 3)]


def test_signed_residuals_do_not_cancel():
    less = next(n for n, r in enumerate(RECORDS) if r.key.task == "embed" and r.dropped_total)
    more = next(n for n, r in enumerate(RECORDS) if r.key.task == "embed" and n != less)
    found = close(CHAIN, replaced((more, changed(RECORDS[more], 1)), (less, changed(RECORDS[less], -1))))
    assert unexplained(found) == 2
    assert sum(one.taken - one.handed_on for one in found.residuals) == 0


def rerun(planid, records, *, promoted_at=None, cover=None):
    plan = make_plan(planid, PlanKind.RERUN, created_at=LATER, completed_at=LATER, promoted_at=promoted_at, cover=cover)
    again = [
        record.model_copy(update={"key": record.key.model_copy(update={"planid": planid})})
        for record in records
        if plan.covers(leaf_of(record.key))
    ]
    return plan, again


DAILY = make_plan(completed_at=MOMENT)


def test_a_rerun_is_not_counted_twice():
    plan, again = rerun("r1", RECORDS, promoted_at=LATER)
    found = close(CHAIN, RECORDS + again, [DAILY, plan])
    assert [(row.planid, row.input, row.unexplained) for row in found.rows] == [
        ("r1", sum(r.input for r in RECORDS), 0)
    ]


def test_two_promoted_reruns_count_once_and_the_later_promotion_counts():
    first, again = rerun("r1", RECORDS, promoted_at=LATER)
    second, once_more = rerun("r2", RECORDS, promoted_at=LATER + timedelta(hours=1))
    found = close(CHAIN, RECORDS + again + once_more, [DAILY, first, second])
    assert [(row.planid, row.unexplained) for row in found.rows] == [("r2", 0)]


def test_a_rerun_that_nobody_promoted_changes_nothing_however_broken_it_is():
    plan, again = rerun("r1", RECORDS)
    found = close(CHAIN, RECORDS + again[::2], [DAILY, plan])
    assert found == close(CHAIN, RECORDS, [DAILY])


def test_all_plans_closes_the_books_of_each_on_its_own():
    plan, again = rerun("r1", RECORDS)
    index = at("embed", "shoes", "0001")
    again[index] = changed(again[index], 4)
    found = close(CHAIN, RECORDS + again, [DAILY, plan], all_plans=True)
    assert [(row.planid, row.unexplained) for row in found.rows] == [("daily", 0), ("r1", 4)]


def test_all_plans_lists_shadow_plans_too():
    shadow = make_plan("s1", PlanKind.SHADOW, created_at=LATER, completed_at=LATER)
    again = [r.model_copy(update={"key": r.key.model_copy(update={"planid": "s1"})}) for r in RECORDS]
    plans = [DAILY, shadow]
    assert [row.planid for row in close(CHAIN, RECORDS + again, plans).rows] == ["daily"]
    assert [row.planid for row in close(CHAIN, RECORDS + again, plans, all_plans=True).rows] == ["daily", "s1"]


@pytest.mark.parametrize("all_plans", [False, True])
def test_the_repair_of_one_package_closes_together_with_its_siblings(all_plans):
    """One leaf and its downstream come from the repair, the other package from the daily plan."""
    cover = cover_of(CHAIN, ("hash",), subinstances=("0002",))
    plan, again = rerun("fix", RECORDS, promoted_at=LATER, cover=cover)
    found = close(CHAIN, RECORDS + again, [DAILY, plan], all_plans=all_plans)
    assert [(row.planid, row.unexplained) for row in found.rows] == [("daily", 0), ("fix", 0)]
    if not all_plans:
        assert sum(row.input for row in found.rows) == sum(r.input for r in RECORDS)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_repair_that_lost_items_is_found_once_though_two_plans_share_the_edge(package):
    cover = cover_of(CHAIN, ("hash",), subinstances=(package,))
    plan, again = rerun("fix", RECORDS, promoted_at=LATER, cover=cover)
    number = next(n for n, r in enumerate(again) if r.key.task == "hash")
    again[number] = changed(again[number], 2)
    found = close(CHAIN, RECORDS + again, [DAILY, plan])
    assert unexplained(found) == 2
    assert [(one.where, one.residual) for one in found.residuals] == [("collect -> hash", 2)]


def test_a_repair_of_the_leaf_downstream_mends_a_daily_break():
    index = at("index", "hats")
    broken = replaced((index, changed(RECORDS[index], 5)))
    assert unexplained(close(CHAIN, broken, [DAILY])) == 5
    plan, again = rerun("fix", RECORDS, promoted_at=LATER, cover=cover_of(CHAIN, ("index",), categories=("hats",)))
    assert unexplained(close(CHAIN, broken + again, [DAILY, plan])) == 0


def test_an_open_plan_is_not_judged_where_leaves_have_not_reported():
    half = [r for r in RECORDS if r.key.task in ("collect", "hash")]
    waiting = {leaf_of(r.key) for r in RECORDS}
    missing = at("hash", "all", "0002")
    found = close(CHAIN, [r for r in half if r != RECORDS[missing]], [make_plan()], expected={"daily": waiting})
    (row,) = found.rows
    assert (row.unexplained, row.provisional) == (0, True)
    assert row.missing_leaves == len(waiting) - len(half) + 1


def test_an_open_plan_is_judged_where_all_have_reported():
    index = at("hash", "all", "0002")
    half = [r for r in replaced((index, changed(RECORDS[index], 2))) if r.key.task in ("collect", "hash")]
    found = close(CHAIN, half, [make_plan()], expected={"daily": {leaf_of(r.key) for r in RECORDS}})
    assert unexplained(found) == 2


def test_nothing_planned_and_nothing_booked_is_an_empty_balance():
    assert close(CHAIN, [], []).rows == []
    assert unexplained(close(CHAIN, [make_record("collect")], [])) == 0


def test_an_edge_of_order_only_counts_nothing():
    topology = graph([{"from": "a", "to": "b", "law": "after"}], a=(), b=())
    assert unexplained(close(topology, [make_record("a", input=5), make_record("b", input=9)])) == 0


def test_the_frame_and_the_table_show_the_rows():
    index = at("index", "hats")
    found = close(CHAIN, replaced((index, changed(RECORDS[index], 5))))
    frame = balance_frame(found)
    assert frame["unexplained"].tolist() == [5]
    assert frame["planid"].tolist() == ["daily"]
    out = io.StringIO()
    Console(file=out, width=120).print(balance_table(found))
    words = out.getvalue().split()
    assert words[:7] == ["date", "plan", "input", "output", "dropped", "failed", "unexplained"]
    assert words.count("5") == 2  # the row and the sum
    assert balance_frame(close(CHAIN, [], [])).empty


@st.composite
def trees(draw):
    """A graph in which each task reads one earlier task, with any grains."""
    count = draw(st.integers(2, 6))
    grains = [(), ("category",), ("subinstance",), ("category", "subinstance")]
    edges = [(f"t{draw(st.integers(0, n - 1))}", f"t{n}") for n in range(1, count)]
    return graph(edges, **{f"t{n}": draw(st.sampled_from(grains)) for n in range(count)})


ITEM_LISTS = st.lists(st.builds(Item, st.sampled_from(CATEGORIES), st.sampled_from(PACKAGES)), max_size=25)


@given(topology=trees(), items=ITEM_LISTS, seed=st.integers(0, 10))
def test_consistent_books_of_any_graph_close(topology, items, seed):
    assert unexplained(close(topology, closed_records(topology, items, seed))) == 0


@given(topology=trees(), items=ITEM_LISTS, seed=st.integers(0, 10), size=st.integers(1, 5), data=st.data())
def test_one_break_of_any_size_anywhere_is_never_smaller_in_the_balance(topology, items, seed, size, data):
    records = closed_records(topology, items, seed)
    tasks = [task for task in topology.tasks if topology.upstream(task)]
    index = data.draw(st.sampled_from([n for n, r in enumerate(records) if r.key.task in tasks]))
    records[index] = changed(records[index], size)
    assert unexplained(close(topology, records)) == size


@given(topology=trees(), items=ITEM_LISTS, seed=st.integers(0, 10), data=st.data())
def test_one_lost_record_with_items_is_never_unseen(topology, items, seed, data):
    records = closed_records(topology, items, seed)
    full = [n for n, r in enumerate(records) if topology.upstream(r.key.task) and r.input]
    if not full:
        return
    lost = records.pop(data.draw(st.sampled_from(full)))
    assert unexplained(close(topology, records)) >= lost.input

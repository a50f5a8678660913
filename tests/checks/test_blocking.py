"""What a failing check with `block: true` holds: what is downstream of its leaves, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from checks.blocking import blocked_leaves, holding, holds_of
from checks.incidents import Hold
from checks.result import Status
from reporting.key import ALL
from reporting.plans import Leaf
from tests.checks.broken import DAY, GRAPH, Board, Rule, result

BLOCKING = {"conservation": Rule(id="conservation", block=True)}


def held(broken, *leaf):
    return any(hold.holds(Leaf(*leaf)) for hold in holds_of(broken, GRAPH))


def test_a_leaf_holds_the_same_leaf_downstream_and_not_its_siblings_nor_itself():
    broken = result("detect", group={"subinstance": "0003"})
    assert held(broken, "crop", DAY, ALL, "0003")
    assert not held(broken, "crop", DAY, ALL, "0001")
    assert not held(broken, "detect", DAY, ALL, "0003")
    assert not held(broken, "dedup", DAY)
    assert not held(broken, "crop", DAY + timedelta(days=1), ALL, "0003")


def test_a_unit_of_work_that_makes_several_leaves_is_held_by_any_of_them():
    broken = result("detect", group={"subinstance": "0003"})
    assert held(broken, "categorise", DAY, ALL, "0003")
    assert held(broken, "embed", DAY, "shoes", "0003")
    shoes = result("categorise", group={"category": "shoes", "subinstance": "0003"})
    assert held(shoes, "embed", DAY, "shoes", "0003")
    assert not held(shoes, "embed", DAY, "bags", "0003")


def test_a_unit_of_work_for_all_categories_is_held_for_the_sake_of_one():
    hold = Hold(task="categorise", date=DAY, categories=("shoes",), subinstances=("0003",))
    assert hold.holds(Leaf("categorise", DAY, ALL, "0003"))
    assert hold.holds(Leaf("categorise", DAY, "shoes", ALL))
    assert not hold.holds(Leaf("categorise", DAY, ALL, "0001"))


def test_behind_a_task_that_joins_all_packages_everything_is_held():
    broken = result("download", group={"subinstance": "0003"})
    assert held(broken, "dedup", DAY)
    assert held(broken, "detect", DAY, ALL, "0001")


def test_behind_a_window_later_days_are_held_too_and_before_it_they_are_not():
    broken = result("index", group={"category": "shoes"})
    after = DAY + timedelta(days=2)
    assert held(broken, "merge", after, "shoes")
    assert not held(broken, "merge", after, "bags")
    assert not held(broken, "merge", DAY - timedelta(days=1), "shoes")
    assert held(broken, "release", after)
    assert not held(result("crop"), "embed", after, "shoes", "0001")


def test_causes_narrow_what_is_held():
    broken = result("categorise", causes=[{"category": ["shoes"]}, {"category": ["bags"], "subinstance": ["0001"]}])
    assert held(broken, "embed", DAY, "shoes", "0009")
    assert held(broken, "embed", DAY, "bags", "0001")
    assert not held(broken, "embed", DAY, "bags", "0002")


def test_a_task_that_the_graph_does_not_have_holds_nothing():
    assert holds_of(result("gone"), GRAPH) == ()


@pytest.mark.parametrize(
    ("status", "rules", "holds"),
    [(Status.FAIL, BLOCKING, True), (Status.WARN, BLOCKING, False), (Status.FAIL, {}, False)],
)
def test_only_a_failure_of_a_blocking_check_holds(status, rules, holds):
    board = Board(rules)
    board.run(result("detect", status))
    assert bool(holding(board.open(), Leaf("crop", DAY, ALL, "0001"))) is holds


def test_a_warning_that_becomes_a_failure_holds_from_then_on_and_what_it_holds_follows_the_break():
    board = Board(BLOCKING)
    board.run(result("detect", Status.WARN))
    assert blocked_leaves(board.open()) == []
    board.run(result("detect", causes=[{"subinstance": ["0001"]}], data="data-2"))
    assert holding(board.open(), Leaf("crop", DAY, ALL, "0001"))
    board.run(result("detect", causes=[{"subinstance": ["0002"]}], data="data-3"))
    assert not holding(board.open(), Leaf("crop", DAY, ALL, "0001"))
    assert holding(board.open(), Leaf("crop", DAY, ALL, "0002"))


def test_a_blocking_break_that_is_only_impact_holds_too_until_it_passes():
    board = Board({"books": Rule(id="books", block=True)})
    board.run(result("detect", kind="complete"), result("embed", check="books", group={"category": "shoes"}))
    assert len(board.incidents) == 1
    (found,) = {(one.check, one.hold.task) for one in blocked_leaves(board.open()) if one.hold.task == "index"}
    assert found == ("books", "index")
    board.run(result("detect", kind="complete", data="data-2"), result("embed", Status.PASS, check="books", data="x"))
    passed = result("embed", Status.PASS, check="books", group={"category": "shoes"}, data="data-2")
    board.run(result("detect", kind="complete", data="data-2"), passed)
    assert blocked_leaves(board.open()) == []


def test_what_was_mended_holds_nothing():
    board = Board(BLOCKING)
    board.run(result("detect"))
    board.run(result("detect", Status.PASS, data="data-2", provisional=True))
    assert blocked_leaves(board.open())
    board.run(result("detect", Status.PASS, data="data-3"))
    assert blocked_leaves(board.incidents.values()) == []


def test_a_repair_is_not_held_by_what_it_repairs_and_the_broken_plan_is():
    board = Board(BLOCKING)
    board.run(result("index", group={"category": "shoes"}, planids=["daily"]))
    same_day, later = Leaf("merge", DAY, "shoes"), Leaf("merge", DAY + timedelta(days=1), "shoes")
    assert holding(board.open(), same_day, "daily", [DAY])
    assert not holding(board.open(), same_day, "repair", [DAY])
    assert holding(board.open(), later, "daily-of-the-next-day", [later.date])
    assert not holding(board.open(), later, "repair", [DAY, later.date])
    assert holding(board.open(), same_day)
    assert holding(board.open(), later)


def test_where_it_is_not_known_whose_records_are_broken_every_plan_is_held():
    board = Board(BLOCKING)
    board.run(result("index", planids=[]))
    assert holding(board.open(), Leaf("merge", DAY, "shoes"), "any", [DAY])

"""Each injector changes exactly what it says, and never the view that it is given."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

import pytest

from checks.faults import DELAY, FAULTS, NO_PLAN, Fault, Spot, punctual
from checks.kinds.fresh import due_at
from checks.losing import matches
from checks.view import View
from reporting.digest import Digest
from reporting.effective import leaf_of
from reporting.key import RunKey
from reporting.plans import Leaf, PlanKind
from reporting.record import TaskRecord
from reporting.testing import DAY
from tests.checks.views import facts
from tests.checks.world import SUBINSTANCES, TOPOLOGY, World, noon

FAULT = {fault.name: fault for fault in FAULTS}
NAMES = (
    *("lost_package", "shrunk_3_percent", "swapped_version", "duplicated_rerun"),
    *("delayed_task", "wrong_ids_equal_counts", "empty_both_sides", "never_ran"),
)


@cache
def day() -> View:
    return World().view()


def first_spot(name: str, task: str) -> Spot:
    return next(spot for spot in FAULT[name].spots(day()) if spot.task == task)


def by_key(view: View) -> dict[RunKey, TaskRecord]:
    return {record.key: record for record in view.records}


def changed(before: View, after: View) -> tuple[dict[RunKey, tuple[TaskRecord, TaskRecord]], set[RunKey], set[RunKey]]:
    """Return the records that differ as pairs, the keys that went and those that came."""
    old, new = by_key(before), by_key(after)
    pairs = {key: (old[key], new[key]) for key in old.keys() & new.keys() if old[key] != new[key]}
    return pairs, old.keys() - new.keys(), new.keys() - old.keys()


def differing(pair: tuple[TaskRecord, TaskRecord]) -> set[str]:
    before, after = (record.model_dump() for record in pair)
    return {name for name in before if before[name] != after[name]}


def test_the_classes_are_those_of_the_issue():
    assert tuple(FAULT) == NAMES
    assert [fault.name for fault in FAULTS if fault.harmless] == ["duplicated_rerun"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_view_that_is_given_stays_as_it_is_and_equal_spots_give_equal_views(fault: Fault):
    view = fault.base(World().view())
    before = facts(view)
    spots = fault.spots(view)
    assert len(spots) == len(set(spots)) > 2
    once, again = (facts(fault.inject(view, spots[0])) for _ in range(2))
    assert once == again != before
    assert facts(view) == before


def test_of_a_lost_package_no_leaf_reports_from_the_task_on():
    spot = Spot("crop", (("subinstance", "0002"),))
    assert spot in FAULT["lost_package"].spots(day())
    after = FAULT["lost_package"].inject(day(), spot)
    pairs, gone, came = changed(day(), after)
    assert gone == {
        r.key for r in day().records if r.key.task in ("crop", "categorise", "embed") and r.key.subinstance == "0002"
    }
    assert {key.task for key in pairs} == {"index", "merge"}
    assert all(new.input < old.input for old, new in pairs.values())
    assert came == set()
    assert (after.plans, after.expected) == (day().plans, day().expected)


def test_a_shrunk_task_takes_in_3_percent_less_of_each_leaf_of_one_category():
    spot = Spot("embed", (("category", "shoes"),))
    assert spot in FAULT["shrunk_3_percent"].spots(day())
    pairs, gone, came = changed(day(), FAULT["shrunk_3_percent"].inject(day(), spot))
    assert gone == came == set()
    mine = {key: pair for key, pair in pairs.items() if key.task == "embed"}
    assert {(key.category, key.subinstance) for key in mine} == {("shoes", sub) for sub in SUBINSTANCES}
    for old, new in mine.values():
        assert 0 <= old.input - new.input - 0.03 * old.input < 1
    assert {(key.task, key.category) for key in pairs} == {(task, "shoes") for task in ("embed", "index", "merge")}


def test_a_swapped_version_is_one_field_of_one_record():
    spot = first_spot("swapped_version", "embed")
    pairs, gone, came = changed(day(), FAULT["swapped_version"].inject(day(), spot))
    assert gone == came == set()
    ((key, pair),) = pairs.items()
    assert matches(key, spot.place)
    assert differing(pair) == {"versions"}
    old, new = (record.versions for record in pair)
    assert {field for field in old if old[field] != new[field]} == {spot.detail}


def test_no_version_is_swapped_where_too_few_leaves_could_tell():
    assert {spot.task for spot in FAULT["swapped_version"].spots(day())}.isdisjoint({"collect", "release"})
    swapped = World().swap_version("detect", {"subinstance": "0001"}, "model", "other").view()
    assert not [s for s in FAULT["swapped_version"].spots(swapped) if (s.task, s.detail) == ("detect", "model")]


def test_a_repair_made_twice_adds_two_plans_with_the_same_leaves_and_takes_nothing_away():
    spot = Spot("crop", (("subinstance", "0002"),))
    after = FAULT["duplicated_rerun"].inject(day(), spot)
    pairs, gone, came = changed(day(), after)
    assert (pairs, gone) == ({}, set())
    first, second = after.plans[len(day().plans) :]
    assert {first.kind, second.kind} == {PlanKind.RERUN}
    leaves = {plan.planid: {leaf_of(key) for key in came if key.planid == plan.planid} for plan in (first, second)}
    assert leaves[first.planid] == leaves[second.planid] == set(after.expected[first.planid])
    assert Leaf("crop", DAY, "all", "0001") not in leaves[first.planid]
    counting = {leaf: record.key.planid for leaf, record in after.counting.items()}
    assert {counting[leaf] for leaf in leaves[second.planid]} == {second.planid}
    assert {leaf: (r.input, r.produced) for leaf, r in after.counting.items()} == {
        leaf: (r.input, r.produced) for leaf, r in day().counting.items()
    }


@pytest.mark.parametrize("task", ["collect", "merge", "release"])
def test_a_delayed_task_reports_three_hours_late_and_what_waits_for_it_as_much_later(task):
    base = punctual(day())
    after = FAULT["delayed_task"].inject(base, Spot(task))
    pairs, gone, came = changed(base, after)
    assert gone == came == set()
    assert {key.task for key in pairs} == set(TOPOLOGY.closure((task,)))
    assert all(differing(pair) == {"started_at", "finished_at", "reported_at"} for pair in pairs.values())
    due = due_at(DAY, TOPOLOGY.task(task).deadline or "", TOPOLOGY.timezone)
    assert max(new.finished_at for key, (_, new) in pairs.items() if key.task == task) == due + DELAY
    assert len({new.finished_at - old.finished_at for old, new in pairs.values()}) == 1
    assert max(new.reported_at for _, new in pairs.values()) <= after.as_of


def test_a_day_played_back_weeks_later_is_moved_to_where_it_is_in_time():
    late = World().view(as_of=noon(DAY) + timedelta(days=40))
    weeks = [
        record.model_copy(update={n: getattr(record, n) + timedelta(days=30) for n in ("started_at", "finished_at")})
        for record in late.records
    ]
    moved = punctual(View(TOPOLOGY, DAY, late.as_of, weeks, plans=late.plans, expected=late.expected))
    due = {task: due_at(DAY, spec.deadline, "UTC") for task, spec in TOPOLOGY.tasks.items() if spec.deadline}
    mine = [record for record in moved.records if record.key.task in due]
    assert all(record.finished_at < due[record.key.task] for record in mine)
    assert len({old.finished_at - new.finished_at for old, new in zip(weeks, moved.records, strict=True)}) == 1
    assert punctual(day()).records == day().records


def test_wrong_ids_are_another_digest_over_as_many_ids_of_one_leaf():
    spot = first_spot("wrong_ids_equal_counts", "embed")
    pairs, gone, came = changed(day(), FAULT["wrong_ids_equal_counts"].inject(day(), spot))
    assert gone == came == set()
    ((key, pair),) = pairs.items()
    assert (key.task, matches(key, spot.place)) == ("embed", True)
    assert differing(pair) == {"digest_in"}
    old, new = (Digest.parse(record.digest_in or "") for record in pair)
    assert old.count == new.count > 0
    assert old.sum != new.sum
    assert old.xor != new.xor


def test_ids_can_only_be_wrong_where_somebody_could_compare_them():
    assert FAULT["wrong_ids_equal_counts"].spots(World().view(digests=False)) == []
    assert "merge" not in {spot.task for spot in FAULT["wrong_ids_equal_counts"].spots(day())}


def test_of_empty_both_sides_neither_a_record_nor_a_line_of_a_manifest_is_left():
    after = FAULT["empty_both_sides"].inject(day(), Spot("quality", source="download"))
    pairs, gone, came = changed(day(), after)
    assert (pairs, came) == ({}, set())
    assert gone == {record.key for record in day().records if record.key.task in ("download", "quality")}
    owed = {leaf.task for leaves in after.expected.values() for leaf in leaves if leaf.date == DAY}
    assert owed == set(TOPOLOGY.tasks) - {"download", "quality"}


def test_what_never_ran_is_still_expected_and_what_nobody_planned_is_not():
    after = FAULT["never_ran"].inject(day(), Spot("crop"))
    assert {r.key.task for r in after.records} == set(TOPOLOGY.tasks) - set(TOPOLOGY.closure(("crop",)))
    assert (after.plans, after.expected) == (day().plans, day().expected)
    nothing = FAULT["never_ran"].inject(day(), Spot("collect", detail=NO_PLAN))
    assert list(nothing.records) == []
    assert all(DAY not in plan.dates for plan in nothing.plans)
    assert nothing.leaves == {}


def test_a_spot_is_named_by_its_task_or_edge_place_and_detail():
    assert str(Spot("embed", (("category", "shoes"), ("subinstance", "0001")), detail="model")) == (
        "embed category=shoes subinstance=0001 model"
    )
    assert str(Spot("crop", source="detect")) == "detect->crop"

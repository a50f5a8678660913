"""The world of the checks' tests: closed books without faults, and each fault exactly where it was put."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from checks.history import Need
from reporting.balance import balance
from reporting.effective import leaf_of
from reporting.ledger import gather_books
from reporting.plans import Leaf
from reporting.stores.memory import MemoryStore
from tests.checks.world import CATEGORIES, DAY, SUBINSTANCES, TOPOLOGY, World, noon, planid_of, record_of

EMBED = Leaf("embed", DAY, "shoes", "0002")


def residuals(world, days=1):
    store = MemoryStore()
    world.put(store, [DAY - timedelta(days=n) for n in reversed(range(days + 2))], digests=False)
    books = gather_books(store, TOPOLOGY, DAY - timedelta(days=days - 1), DAY)
    return {one.where: one.residual for one in balance(TOPOLOGY, books).residuals}


@pytest.mark.parametrize("seed", range(3))
def test_a_world_without_faults_is_balanced(seed):
    assert residuals(World(seed=seed), days=3) == {}


def test_a_world_is_a_function_of_its_seed():
    assert World(seed=4).day() == World(seed=4).day()
    assert World(seed=4).day().records != World(seed=5).day().records


def test_all_leaves_of_the_manifest_report_before_the_plan_completes():
    day = World().day()
    (plan,) = day.plans
    assert {leaf_of(record.key) for record in day.records} == day.expected[planid_of(DAY)]
    assert plan.created_at < min(record.started_at for record in day.records)
    assert plan.was_complete(noon(DAY))
    assert not plan.was_complete(max(record.reported_at for record in day.records))


def test_digests_of_both_ends_of_an_edge_agree():
    view = World().view()
    for category in CATEGORIES:
        for subinstance in SUBINSTANCES:
            before, after = (record_of(view, Leaf(t, DAY, category, subinstance)) for t in ("categorise", "embed"))
            assert before.digest_out == after.digest_in


def test_a_lost_leaf_lacks_its_record_only():
    before, after = World().day().records, World().lose(EMBED).day().records
    assert [record for record in before if record not in after] == [
        record for record in before if leaf_of(record.key) == EMBED
    ]


def test_a_ruined_leaf_takes_its_items_with_it_and_breaks_one_edge_only():
    package = Leaf("download", DAY, subinstance="0002")
    whole, ruined = World(), World().ruin(package)
    gone = {leaf_of(r.key) for r in whole.day().records} - {leaf_of(r.key) for r in ruined.day().records}
    assert {leaf.task for leaf in gone} == {"download", "quality", "detect", "crop", "categorise", "embed"}
    assert {leaf.subinstance for leaf in gone} == {"0002"}
    assert [*residuals(ruined)] == ["collect -> download"]


def test_a_shrunk_task_breaks_its_edge_where_it_shrank():
    found = residuals(World(rows=600).shrink("embed", {"category": "shoes"}, 0.03))
    assert [*found] == [f"categorise -> embed shoes/{package}" for package in SUBINSTANCES]


def test_a_smaller_day_is_balanced():
    small, whole = World().shrink("collect", {}, 0.5), World()
    assert residuals(small) == {}
    ends = [record_of(world.view(), Leaf("collect", DAY)).input for world in (small, whole)]
    assert 0.4 < ends[0] / ends[1] < 0.51


def test_failing_items_are_booked():
    world = World().fail("crop", {"subinstance": "0001"}, 0.2)
    assert residuals(world) == {}
    assert record_of(world.view(), Leaf("crop", DAY, subinstance="0001")).failed_total > 0


def test_a_repair_mends_what_it_covers():
    broken = World().ruin(Leaf("download", DAY, subinstance="0002"))
    assert residuals(broken.rerun("fix", ["download"], subinstances=("0002",))) == {}
    assert residuals(broken.rerun("fix", ["download"], subinstances=("0002",), promoted=False)) == residuals(broken)
    assert residuals(broken.rerun("fix", ["download"], subinstances=("0003",))) != {}


def test_a_view_holds_only_what_was_known():
    world = World().rerun("fix", ["index"])
    early = world.view(as_of=noon(DAY) - timedelta(hours=11))  # 01:00: the third task is at work
    assert {record.key.task for record in early.records} == {"collect", "download", "quality"}
    assert [plan.planid for plan in early.plans if DAY in plan.dates] == [planid_of(DAY)]
    assert early.is_open(Leaf("embed", DAY, "shoes", "0001"))
    late = world.view()
    assert late.planid(Leaf("index", DAY, "shoes")) == "fix"
    assert late.planid(Leaf("embed", DAY, "shoes", "0001")) == planid_of(DAY)


def test_the_history_is_of_the_days_before_and_without_repaired_ones():
    world = World().rerun("fix", ["index"], DAY - timedelta(days=2))
    need = Need("index", "input", ("category",), 5)
    baseline = world.view(history=[need]).history.of(*need)
    assert baseline.groups == tuple((name,) for name in CATEGORIES)
    assert baseline.days[-1] == DAY - timedelta(days=1)
    assert np.isnan(baseline.values).tolist() == [[False, False, False, True, False]] * 3
    past = world.view(baseline.days[0])
    assert baseline.values[2, 0] == record_of(past, Leaf("index", baseline.days[0], "shoes")).input

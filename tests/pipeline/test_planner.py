"""Expanding plans: which leaves are owed, what waits for what, and that a split is sealed whole or not at all."""

from __future__ import annotations

import itertools
import threading
import time
from datetime import UTC, datetime
from datetime import date as Date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from pipeline import instances
from pipeline.instance_states import DONE, READY, WAITING
from pipeline.planner import Split, open_plan, seal
from pipeline.promote import abandon_plan
from pipeline.worker import attempt_once
from reporting import tables as t
from reporting.key import ALL
from reporting.plans import Leaf, Plan, PlanKind
from reporting.stores.base import RecordQuery
from reporting.stores.sql import SqlStore
from reporting.topology import Law, Topology
from tests.pipeline.claimers import claim_one, finish
from tests.pipeline.project import DAY_1, DAY_2, DAY_3, new_project, plan_day, row, run_here

NOW = datetime(2026, 11, 20, tzinfo=UTC)
_names = (f"plan-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def topology(repository: Path) -> Topology:
    return Topology.load(repository / "pipeline" / "default.yaml")


def opened(store: SqlStore, topology: Topology, *days: Date, kind: PlanKind = PlanKind.DAILY) -> Plan:
    plan = Plan(planid=next(_names), kind=kind, dates=days, created_at=datetime.now(UTC))
    with store.begin() as work:
        open_plan(work, topology, plan)
    return plan


def sealed(store: SqlStore, topology: Topology, plan: Plan, day: Date, split: Split) -> None:
    with store.begin() as work:
        seal(work, topology, plan, day, split, NOW)


def brute_force(topology: Topology, split: Split, day: Date, *, work: bool) -> set[Leaf]:
    """Every task times every value of the dimensions it splits by: the definition."""
    found = set()
    for task, category, package in itertools.product(topology.tasks, [*split.categories, ALL], [*split.packages, ALL]):
        grain = topology.task(task).work_grain if work else topology.task(task).grain
        if (category != ALL) == ("category" in grain) and (package != ALL) == ("subinstance" in grain):
            found.add(Leaf(task, day, category, package))
    return found


def leaves(store: SqlStore, plan: Plan) -> dict[int, Leaf]:
    c = t.instance.c
    with store.read() as connection:
        rows = connection.execute(
            select(c.id, c.task, c.date, c.category, c.subinstance).where(c.planid == plan.planid)
        ).all()
    return {row[0]: Leaf(*row[1:]) for row in rows}


def states(store: SqlStore, plan: Plan) -> dict[Leaf, str]:
    by_id = leaves(store, plan)
    c = t.instance.c
    with store.read() as connection:
        rows = connection.execute(select(c.id, c.state).where(c.planid == plan.planid)).all()
    return {by_id[row[0]]: row[1] for row in rows}


def pairs(store: SqlStore, *plans: Plan) -> set[tuple[Leaf, Leaf]]:
    known = {number: leaf for plan in plans for number, leaf in leaves(store, plan).items()}
    with store.read() as connection:
        rows = connection.execute(select(t.dependency.c.upstream_id, t.dependency.c.downstream_id)).all()
    return {(known[a], known[b]) for a, b in rows if a in known and b in known}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(packages=st.integers(1, 4), categories=st.sets(st.sampled_from(["red", "green", "blue"]), max_size=3))
def test_a_sealed_day_owes_the_product_of_tasks_packages_and_categories(
    sqlite_store: SqlStore, topology: Topology, packages: int, categories: set[str]
) -> None:
    split = Split(packages=tuple(f"{n:04d}" for n in range(packages)), categories=(*sorted(categories), "other"))
    plan = opened(sqlite_store, topology, DAY_1, kind=PlanKind.TEST)
    sealed(sqlite_store, topology, plan, DAY_1, split)
    assert sqlite_store.expected(plan.planid) == brute_force(topology, split, DAY_1, work=False)
    work = brute_force(topology, split, DAY_1, work=True)
    assert sorted(leaves(sqlite_store, plan).values()) == sorted(work)
    expected = {
        (one, other)
        for edge in topology.edges
        for one in work
        for other in work
        if (one.task, other.task) == (edge.source, edge.target)
        and (ALL in (one.category, other.category) or one.category == other.category)
        and (ALL in (one.subinstance, other.subinstance) or one.subinstance == other.subinstance)
    }
    # Tasks that need no split also wait for the one that makes it: they exist before their real upstream does.
    early = {leaf for leaf in work if not topology.task(leaf.task).work_grain and leaf.task != "collect"}
    expected |= {(Leaf("collect", DAY_1), leaf) for leaf in early}
    assert pairs(sqlite_store, plan) == expected


def test_before_the_seal_only_what_needs_no_split_is_owed(sqlite_store: SqlStore, topology: Topology) -> None:
    plan = opened(sqlite_store, topology, DAY_1)
    owed = {Leaf(task, DAY_1) for task in ("collect", "dedup", "recheck", "evict", "evaluate", "release", "reclaim")}
    assert sqlite_store.expected(plan.planid) == owed
    assert states(sqlite_store, plan) == {
        leaf: READY if leaf.task == "collect" else WAITING for leaf in owed
    }  # nothing of them starts, and the plan cannot look complete, before the day is divided


def test_a_split_is_sealed_whole_or_not_at_all(store: SqlStore, topology: Topology) -> None:
    plan = opened(store, topology, DAY_1)
    before = (store.expected(plan.planid), leaves(store, plan))

    def die_while_sealing() -> None:
        with store.begin() as work:
            seal(work, topology, plan, DAY_1, Split(packages=("0001",), categories=("other",)), NOW)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die_while_sealing()
    assert (store.expected(plan.planid), leaves(store, plan)) == before
    assert store.split_text(plan.planid, DAY_1) is None


def test_a_collect_that_lost_its_lease_seals_nothing(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    project.manifest(DAY_1, [row(project.drawn(n), f"s{n}") for n in range(3)])
    with project.place() as place:
        plan = plan_day(place, DAY_1)
        slow = claim_one(place.store, "slow", time.time() - 1000)
        other = claim_one(place.store, "other", time.time())
        assert slow is not None
        assert other is not None
        assert (other.instance_id, other.attempt) == (slow.instance_id, 2)
        assert not attempt_once(place, plan, place.topology, slow)
        assert place.store.split_text(plan.planid, DAY_1) is None
        assert place.store.records(RecordQuery()) == []
        assert attempt_once(place, plan, place.topology, other)
        assert place.store.split_text(plan.planid, DAY_1) is not None
        (record,) = place.store.records(RecordQuery())
        assert (record.attempt, record.input) == (2, 3)


SPLIT = Split(packages=("0001",), categories=("red", "other"))


def test_a_task_that_carries_state_waits_for_the_nearest_open_day(sqlite_store: SqlStore, topology: Topology) -> None:
    first = opened(sqlite_store, topology, DAY_1)
    third = opened(sqlite_store, topology, DAY_3)
    assert (Leaf("dedup", DAY_1), Leaf("dedup", DAY_3)) in pairs(sqlite_store, first, third)
    with sqlite_store.read() as connection:
        blocked = instances.blockers(connection, [third.planid])
    assert f"dedup of {DAY_3} waits for dedup of {DAY_1} in plan {first.planid}, which is waiting" in blocked


def test_a_window_waits_for_every_open_day_it_reads(sqlite_store: SqlStore, topology: Topology) -> None:
    plans = [opened(sqlite_store, topology, day) for day in (DAY_1, DAY_2, DAY_3)]
    for plan in plans:
        sealed(sqlite_store, topology, plan, plan.dates[0], SPLIT)
    across = {(a, b) for a, b in pairs(sqlite_store, *plans) if a.date != b.date and b.task == "merge"}
    assert across == {
        (Leaf("index", early, category), Leaf("merge", late, category))
        for early, late in itertools.combinations((DAY_1, DAY_2, DAY_3), 2)
        for category in SPLIT.categories
    }


def test_a_window_waits_also_when_the_later_day_was_divided_first(sqlite_store: SqlStore, topology: Topology) -> None:
    first, second = (opened(sqlite_store, topology, day) for day in (DAY_1, DAY_2))
    sealed(sqlite_store, topology, second, DAY_2, SPLIT)
    sealed(sqlite_store, topology, first, DAY_1, SPLIT)
    found = pairs(sqlite_store, first, second)
    for category in SPLIT.categories:
        assert (Leaf("index", DAY_1, category), Leaf("merge", DAY_2, category)) in found


def test_only_tasks_that_carry_state_or_read_a_window_wait_for_other_days(
    sqlite_store: SqlStore, topology: Topology
) -> None:
    plans = [opened(sqlite_store, topology, day) for day in (DAY_1, DAY_2)]
    for plan in plans:
        sealed(sqlite_store, topology, plan, plan.dates[0], SPLIT)
    across = {(a.task, b.task) for a, b in pairs(sqlite_store, *plans) if a.date != b.date}
    windows = {(edge.source, edge.target) for edge in topology.edges if edge.law is Law.WINDOW}
    assert windows == {("index", "tail"), ("index", "merge"), ("tail", "merge")}
    carried = {("collect", "collect"), ("dedup", "dedup"), ("evict", "dedup"), ("recheck", "recheck"), ("tail", "tail")}
    # What the tail holds of earlier days it hands on itself: the merge waits for that of its own day alone.
    assert across == {*carried, *windows} - {("tail", "merge")}


def test_the_tail_of_a_category_waits_for_that_of_the_day_before_whichever_day_is_sealed_first(
    sqlite_store: SqlStore, topology: Topology
) -> None:
    first, second = (opened(sqlite_store, topology, day) for day in (DAY_1, DAY_2))
    sealed(sqlite_store, topology, second, DAY_2, SPLIT)
    sealed(sqlite_store, topology, first, DAY_1, SPLIT)
    across = {pair for pair in pairs(sqlite_store, first, second) if pair[0].task == pair[1].task == "tail"}
    assert across == {(Leaf("tail", DAY_1, name), Leaf("tail", DAY_2, name)) for name in SPLIT.categories}


def test_nothing_waits_for_a_plan_that_never_counts(sqlite_store: SqlStore, topology: Topology) -> None:
    shadow = opened(sqlite_store, topology, DAY_1, kind=PlanKind.SHADOW)
    given_up = opened(sqlite_store, topology, DAY_1)
    abandon_plan(sqlite_store, given_up)
    second = opened(sqlite_store, topology, DAY_2)
    sealed(sqlite_store, topology, second, DAY_2, SPLIT)
    assert {a.date for a, _ in pairs(sqlite_store, shadow, given_up, second)} <= {DAY_1, DAY_2}
    assert not [one for one in pairs(sqlite_store, shadow, given_up, second) if one[0].date != one[1].date]


def test_abandoning_a_day_frees_the_days_that_wait_for_it(sqlite_store: SqlStore, topology: Topology) -> None:
    first = opened(sqlite_store, topology, DAY_1)
    second = opened(sqlite_store, topology, DAY_2)
    assert states(sqlite_store, second)[Leaf("collect", DAY_2)] == WAITING
    abandon_plan(sqlite_store, first)
    assert states(sqlite_store, second)[Leaf("collect", DAY_2)] == READY
    assert states(sqlite_store, second)[Leaf("dedup", DAY_2)] == WAITING  # for its own day's collect
    with sqlite_store.read() as connection:
        assert instances.blockers(connection, [second.planid]) == []


def test_a_day_planned_while_the_day_before_completes_waits_for_nothing_that_is_done(
    store: SqlStore, topology: Topology
) -> None:
    opened(store, topology, DAY_1)
    claimed = claim_one(store, "w", 1000.0)
    assert claimed is not None
    assert claimed.key.task == "collect"
    made: list[Plan] = []
    with store.begin() as work:  # completing, not yet committed
        instances.complete(work, claimed, artifact="out", inputs="[]", built_with="{}", now=1000.0)
        planner = threading.Thread(target=lambda: made.append(opened(store, topology, DAY_2)))
        planner.start()
        planner.join(0.3)  # it must wait for our commit, or not see its effect too early: either order is right
    planner.join()
    assert states(store, made[0])[Leaf("collect", DAY_2)] == READY


def test_a_failed_leaf_holds_back_what_needs_it_and_nothing_else(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project", package_items=2)
    project.manifest(DAY_1, [row(project.drawn(n), f"s{n}", category="red") for n in range(4)])
    run_here(project, DAY_1)
    project.manifest(DAY_2, [row(project.drawn(n), f"s{n}", category="red") for n in range(4, 8)])
    with project.place() as place:
        plan = plan_day(place, DAY_2)
        (project.folder / f"{DAY_2}.csv").write_text("url,sku\n")
        claimed = claim_one(place.store, "w", time.time(), planids=[plan.planid])
        assert claimed is not None
        assert not attempt_once(place, plan, place.topology, claimed)
        assert states(place.store, plan) == {
            leaf: "failed" if leaf.task == "collect" else WAITING for leaf in leaves(place.store, plan).values()
        }
        assert set(states(place.store, plan_day(place, DAY_1)).values()) == {DONE}


def test_finish_reports_only_leaves_without_downstream_as_last(sqlite_store: SqlStore, topology: Topology) -> None:
    plan = opened(sqlite_store, topology, DAY_1)
    sealed(sqlite_store, topology, plan, DAY_1, SPLIT)
    last = []
    while (claimed := claim_one(sqlite_store, "w", 1000.0)) is not None:
        if finish(sqlite_store, claimed, 1000.0):
            last.append(claimed.key.task)
    assert last == ["reclaim"]
    assert set(states(sqlite_store, plan).values()) == {DONE}

"""Which plan a command gets: made once, refused where it makes no sense, scoped to what must be done again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date as Date
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from pipeline.plans import PlanRequest, find_or_make_plans
from pipeline.promote import abandon_plan, promote_plan
from reporting import tables as t
from reporting.errors import ConfigError, DataError, UsageError
from reporting.plans import Leaf, Plan, PlanKind, PlanState
from reporting.stores.base import RecordQuery
from reporting.stores.sql import SqlStore
from reporting.topology import Topology
from tests.pipeline.project import DAY_1, DAY_2, DAY_3, Project, plan_day, store_of, work_off

TODAY = Date(2026, 11, 20)


@pytest.fixture(scope="module")
def topology(repository: Path) -> Topology:
    return Topology.load(repository / "pipeline" / "default.yaml")


@pytest.fixture
def arrivals(tmp_path: Path) -> Path:
    """A folder with the manifests of three days."""
    for day in (DAY_1, DAY_2, DAY_3):
        (tmp_path / f"{day}.csv").write_text(f"path,sku,merchant,category,title,listed\n{day}.png,s,m,c,t,true\n")
    return tmp_path


def daily(arrivals: Path, *days: Date) -> PlanRequest:
    return PlanRequest(kind=PlanKind.DAILY, dates=days, source=str(arrivals / "{date}.csv"), today=TODAY)


def rerun(*days: Date, **scope: Any) -> PlanRequest:
    return PlanRequest(kind=PlanKind.RERUN, dates=days, today=TODAY, **scope)


def test_a_day_is_planned_once(sqlite_store: SqlStore, topology: Topology, arrivals: Path) -> None:
    (first,) = find_or_make_plans(sqlite_store, topology, daily(arrivals, DAY_1))
    (again,) = find_or_make_plans(sqlite_store, topology, daily(arrivals, DAY_1))
    assert first.planid == "daily-20261101"
    assert again == first
    assert sqlite_store.plans() == [first]


def test_a_span_of_days_is_one_daily_plan_a_day(sqlite_store: SqlStore, topology: Topology, arrivals: Path) -> None:
    plans = find_or_make_plans(sqlite_store, topology, daily(arrivals, DAY_1, DAY_2))
    assert [plan.dates for plan in plans] == [(DAY_1,), (DAY_2,)]


def test_a_rerun_of_a_span_is_one_plan(sqlite_store: SqlStore, topology: Topology, arrivals: Path) -> None:
    find_or_make_plans(sqlite_store, topology, daily(arrivals, DAY_1, DAY_2))
    (plan,) = find_or_make_plans(sqlite_store, topology, rerun(DAY_1, DAY_2))
    assert plan.planid == "rerun-20261101-20261102-1"
    assert plan.dates == (DAY_1, DAY_2)
    assert plan.supersedes == "daily-20261101,daily-20261102"
    assert {day: Path(source.path).name for day, source in plan.sources.items()} == {
        DAY_1: f"{DAY_1}.csv",
        DAY_2: f"{DAY_2}.csv",
    }


def test_a_changed_source_is_refused_with_both_hashes(
    sqlite_store: SqlStore, topology: Topology, arrivals: Path
) -> None:
    (plan,) = find_or_make_plans(sqlite_store, topology, daily(arrivals, DAY_1))
    (arrivals / f"{DAY_1}.csv").write_text("something else\n")
    with pytest.raises(UsageError) as refused:
        find_or_make_plans(sqlite_store, topology, daily(arrivals, DAY_1))
    text = str(refused.value)
    assert f"{DAY_1} has already been planned as daily-20261101" in text
    assert plan.sources[DAY_1].sha256[:12] in text
    assert "use --kind rerun" in text


def test_a_day_in_the_future_is_refused(sqlite_store: SqlStore, topology: Topology, arrivals: Path) -> None:
    request = replace(daily(arrivals, TODAY + timedelta(1)), source=None)
    with pytest.raises(UsageError, match=r"2026-11-21 is in the future \(today is 2026-11-20 in UTC\)"):
        find_or_make_plans(sqlite_store, topology, request)
    assert sqlite_store.plans() == []


def test_today_is_that_of_the_topologys_zone(sqlite_store: SqlStore, topology: Topology, arrivals: Path) -> None:
    far = Date(2999, 1, 1)
    pacific = topology.model_copy(update={"timezone": "Pacific/Kiritimati"})
    with pytest.raises(UsageError, match="in Pacific/Kiritimati"):
        find_or_make_plans(sqlite_store, pacific, replace(daily(arrivals, far), today=None))


def test_a_rerun_of_a_day_nobody_planned_is_refused(sqlite_store: SqlStore, topology: Topology) -> None:
    with pytest.raises(UsageError, match="2026-11-01 has no plan and no source; give --source MANIFEST"):
        find_or_make_plans(sqlite_store, topology, rerun(DAY_1))


def test_a_missing_manifest_is_refused(sqlite_store: SqlStore, topology: Topology, arrivals: Path) -> None:
    (arrivals / f"{DAY_2}.csv").unlink()
    with pytest.raises(DataError, match=rf"{DAY_2}\.csv: the source manifest of {DAY_2} cannot be read: No such file"):
        find_or_make_plans(sqlite_store, topology, daily(arrivals, DAY_2))
    assert sqlite_store.plans() == []


def test_a_repair_of_a_day_that_was_never_divided_is_refused(
    sqlite_store: SqlStore, topology: Topology, arrivals: Path
) -> None:
    find_or_make_plans(sqlite_store, topology, daily(arrivals, DAY_1))
    with pytest.raises(UsageError, match="nothing to repeat, 'collect' has not completed there"):
        find_or_make_plans(sqlite_store, topology, rerun(DAY_1, tasks=("hash",)))
    assert len(sqlite_store.plans()) == 1


def test_a_bad_setting_is_refused_before_a_plan_is_stored(
    sqlite_store: SqlStore, topology: Topology, arrivals: Path
) -> None:
    spec = topology.task("dedup").model_copy(update={"settings": {"max_distence": 3}})
    bad = topology.model_copy(update={"tasks": {**topology.tasks, "dedup": spec}})
    with pytest.raises(ConfigError, match=r"tasks\.dedup\.settings\.max_distence: .*known settings: max_distance"):
        find_or_make_plans(sqlite_store, bad, daily(arrivals, DAY_1))
    assert sqlite_store.plans() == []


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ({"subinstances": ("0009",)}, "2026-11-01 has no subinstance '0009'; it has 0001, 0002, 0003"),
        ({"categories": ("reed",)}, "2026-11-01 has no category 'reed'; it has green, red, other"),
    ],
)
def test_an_unknown_package_or_category_is_refused(
    three_days: Project, copy_of: Callable[[Project], Project], scope: dict[str, tuple[str, ...]], message: str
) -> None:
    with copy_of(three_days).place() as place:
        with pytest.raises(UsageError, match=message):
            find_or_make_plans(place.store, place.topology, rerun(DAY_1, **scope))
        assert len(place.store.plans()) == 3


def test_an_unknown_task_is_refused_with_the_nearest(three_days: Project) -> None:
    with three_days.place() as place, pytest.raises(ConfigError, match="unknown task 'dedupe'; did you mean dedup"):
        find_or_make_plans(place.store, place.topology, rerun(DAY_1, tasks=("dedupe",)))


def test_an_abandoned_day_may_be_planned_again(sqlite_store: SqlStore, topology: Topology, arrivals: Path) -> None:
    (first,) = find_or_make_plans(sqlite_store, topology, daily(arrivals, DAY_1))
    abandon_plan(sqlite_store, first)
    (second,) = find_or_make_plans(sqlite_store, topology, daily(arrivals, DAY_1))
    assert second.planid == "daily-20261101-1"
    with pytest.raises(UsageError, match="daily-20261101 is abandoned; only an open plan can be abandoned"):
        abandon_plan(sqlite_store, sqlite_store.get_plan(first.planid) or first)


def test_only_a_complete_plan_of_a_kind_that_counts_can_be_promoted(
    sqlite_store: SqlStore, topology: Topology, arrivals: Path
) -> None:
    (plan,) = find_or_make_plans(sqlite_store, topology, daily(arrivals, DAY_1))
    with pytest.raises(UsageError, match="daily-20261101 is open; only a complete plan can count"):
        promote_plan(sqlite_store, plan)
    with pytest.raises(UsageError, match="is a shadow plan, which never counts"):
        promote_plan(sqlite_store, plan.model_copy(update={"kind": PlanKind.SHADOW}))


def leaves_of(store: SqlStore, plan: Plan) -> dict[int, Leaf]:
    c = t.instance.c
    with store.read() as connection:
        rows = connection.execute(
            select(c.id, c.task, c.date, c.category, c.subinstance).where(c.planid == plan.planid)
        ).all()
    return {row[0]: Leaf(*row[1:]) for row in rows}


def downstream_of(store: SqlStore, plan: Plan, start: set[Leaf]) -> set[Leaf]:
    """Walk the daily plan's own dependencies: what had to be done after these leaves."""
    known = leaves_of(store, plan)
    with store.read() as connection:
        edges = connection.execute(select(t.dependency.c.upstream_id, t.dependency.c.downstream_id)).all()
    found = set(start)
    while True:
        more = {known[b] for a, b in edges if a in known and b in known and known[a] in found} - found
        if not more:
            return found
        found |= more


REPAIRS: list[tuple[dict[str, tuple[str, ...]], Callable[[Leaf], bool]]] = [
    (
        {"tasks": ("hash",), "subinstances": ("0002",)},
        lambda leaf: leaf.task == "hash" and leaf.subinstance == "0002",
    ),
    (
        {"tasks": ("embed",), "categories": ("red",), "subinstances": ("0001",)},
        lambda leaf: (leaf.task, leaf.category, leaf.subinstance) == ("embed", "red", "0001"),
    ),
    ({"tasks": ("merge",)}, lambda leaf: leaf.task == "merge"),
    (
        {"categories": ("green",)},  # starts where work splits by category: the fan-out before runs for all at once
        lambda leaf: leaf.task == "embed" and leaf.category == "green",
    ),
    (
        {"tasks": ("categorise",), "categories": ("green",)},
        lambda leaf: leaf.task == "categorise",
    ),
    ({"subinstances": ("0001",)}, lambda leaf: leaf.task == "download" and leaf.subinstance == "0001"),
]


@pytest.mark.parametrize(("scope", "chosen"), REPAIRS, ids=[" ".join(scope) for scope, _ in REPAIRS])
def test_a_repair_covers_its_leaves_and_their_downstream(
    three_days: Project,
    copy_of: Callable[[Project], Project],
    scope: dict[str, tuple[str, ...]],
    chosen: Callable[[Leaf], bool],
) -> None:
    with copy_of(three_days).place() as place:
        day_plan = plan_day(place, DAY_1)
        (repair,) = find_or_make_plans(place.store, place.topology, rerun(DAY_1, **scope))
        start = {leaf for leaf in leaves_of(place.store, day_plan).values() if chosen(leaf)}
        expected = downstream_of(place.store, day_plan, start)
        assert set(leaves_of(place.store, repair).values()) == expected


def test_a_repair_reads_the_rest_from_the_daily_plan(
    three_days: Project, copy_of: Callable[[Project], Project]
) -> None:
    project = copy_of(three_days)
    with project.place() as place:
        (repair,) = find_or_make_plans(
            place.store, place.topology, rerun(DAY_1, tasks=("hash",), subinstances=("0002",))
        )
        work_off(place, repair)
        done = place.store.get_plan(repair.planid)
        assert done is not None
        assert done.state is PlanState.COMPLETE
    c = t.instance.c
    with store_of(project) as store, store.read() as connection:
        read = connection.execute(select(c.inputs).where(c.planid == repair.planid, c.task == "dedup")).scalar_one()
    by_package = {package: planid for task, _, _, package, planid, _ in json.loads(read) if task == "hash"}
    assert by_package == {"0001": "daily-20261101", "0002": repair.planid, "0003": "daily-20261101"}


def test_a_plan_keeps_the_settings_it_was_made_with(three_days: Project, copy_of: Callable[[Project], Project]) -> None:
    project = copy_of(three_days)
    with project.place() as place:
        (repair,) = find_or_make_plans(place.store, place.topology, rerun(DAY_3, tasks=("quality",)))
    project.configure(quality={"limits": {"min_side": 5000}})  # would drop everything
    with project.place() as place:
        work_off(place, repair)
        records = place.store.records(RecordQuery(planids=(repair.planid,), tasks=("quality",)))
    assert [(record.input, record.output) for record in records] == [(9, 9)]

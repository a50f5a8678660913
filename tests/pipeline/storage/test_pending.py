"""Which libraries a later one may still take in, read from plans and the times at which they were made."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from pathlib import Path

import pytest
import yaml
from sqlalchemy import insert

from pipeline.lake import Lake
from pipeline.partitions import Partition, Partitions
from pipeline.project import default_topology
from pipeline.storage.holdings import days_at_work
from pipeline.storage.pending import pending_libraries
from pipeline.tasks.reclaim import Settings, needed_on
from reporting import tables as t
from reporting.errors import StoreError
from reporting.plans import Cover, Plan, PlanKind, PlanState
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import iso
from reporting.topology import Topology

START = Date(2026, 9, 1)
TOPOLOGY = Topology.model_validate(yaml.safe_load(default_topology()))
TODAY, GRACE = 20, 4
COVER = (Cover(task="evict"),)


def day(number: int) -> Date:
    return START + timedelta(number)


def at(minute: float) -> datetime:
    return datetime(2026, 10, 1, tzinfo=UTC) + timedelta(minutes=minute)


def put(
    store: SqlStore,
    name: str,
    days: Collection[int],
    made: float,
    *,
    kind: PlanKind = PlanKind.RERUN,
    state: PlanState = PlanState.PROMOTED,
    done: Collection[int] | None = None,
    cover: tuple[Cover, ...] | None = COVER,
) -> None:
    """Store a plan of which some days, default all, have their library; `made` is the minute of its first one."""
    ended = at(made) if state is not PlanState.OPEN else None
    plan = Plan(
        planid=name,
        kind=kind,
        state=state,
        dates=tuple(day(one) for one in sorted(days)),
        cover=cover,
        created_at=at(made),
        completed_at=ended,
        promoted_at=ended if state is PlanState.PROMOTED else None,
    )
    with store.begin() as work:
        work.put_plan(plan)
        for number in sorted(days):
            is_done = done is None or number in done
            row = {"task": "evict", "date": day(number), "category": "all", "subinstance": "all", "planid": name}
            row |= {"state": "done" if is_done else "waiting", "attempt": 1, "max_attempts": 3}
            row |= {"artifact": f"{name}/{number:02}", "finished_at": iso(at(made + number / 100))} if is_done else {}
            work.connection.execute(insert(t.instance).values(row))


@pytest.fixture
def daily(sqlite_store: SqlStore) -> SqlStore:
    """A store with a library of each day up to today, one made a minute."""
    for number in range(TODAY + 1):
        put(sqlite_store, f"d{number:02}", [number], number, kind=PlanKind.DAILY, state=PlanState.COMPLETE, cover=None)
    return sqlite_store


def pending(store: SqlStore) -> list[str]:
    return sorted(part.folder for part in pending_libraries(store, TOPOLOGY, day(TODAY), GRACE))


def test_days_that_were_done_one_after_another_leave_nothing_to_be_taken_in(daily: SqlStore) -> None:
    assert pending(daily) == []


def test_what_days_done_again_one_by_one_lead_to_counts_until_the_next_day_has_taken_it_in(daily: SqlStore) -> None:
    for number in (3, 4, 5):
        put(daily, f"again{number}", [number], 100 + number)
    assert pending(daily) == ["again5/05"]
    for number in range(6, TODAY + 1):
        put(daily, f"again{number}", [number], 100 + number)
    assert pending(daily) == []


def test_a_day_that_came_late_counts_as_long_as_what_leaves_the_library_keeps_its_bytes(daily: SqlStore) -> None:
    made = TODAY - GRACE
    put(daily, "before", [-3], made - 0.5, kind=PlanKind.DAILY, state=PlanState.COMPLETE)
    put(daily, "after", [-6], made + 0.5, kind=PlanKind.DAILY, state=PlanState.COMPLETE)
    assert pending(daily) == ["after/-6"]


def test_a_rerun_counts_by_its_newest_library_while_it_may_still_be_promoted(daily: SqlStore) -> None:
    put(daily, "lately", [2, 3, 4], 100, state=PlanState.COMPLETE)
    put(daily, "long-ago", [2, 3], 1, state=PlanState.COMPLETE)
    put(daily, "working", [6, 7, 8], 1, state=PlanState.OPEN, done=[6, 7])
    put(daily, "begun", [11, 12], 100, state=PlanState.OPEN, done=[])
    put(daily, "given-up", [2, 3], 100, state=PlanState.ABANDONED)
    put(daily, "shadow", [2, 3], 100, kind=PlanKind.SHADOW, state=PlanState.OPEN)
    put(daily, "elsewhere", [2, 3], 100, state=PlanState.OPEN, cover=(Cover(task="embed"),))
    assert pending(daily) == ["d10/10", "lately/04", "working/07"]


def test_a_library_that_is_made_meanwhile_is_the_newest(daily: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Partitions.of_task

    def then_one_more_is_made(view: Partitions, task: str, asked: Date) -> list[Partition]:
        monkeypatch.setattr(Partitions, "of_task", real)
        put(daily, "again", [TODAY - GRACE], 100)
        return real(view, task, asked)

    monkeypatch.setattr(Partitions, "of_task", then_one_more_is_made)
    assert pending(daily) == []


def test_a_day_whose_library_is_owed_is_at_work_though_all_its_bytes_have_been_read(daily: SqlStore) -> None:
    put(daily, "full", [4, 5], 100, state=PlanState.OPEN, done=[4])
    assert days_at_work(daily, day(TODAY)) == {day(5)}
    assert days_at_work(daily, day(4)) == set()


def test_where_no_day_has_a_library_nothing_is_let_go(sqlite_store: SqlStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"reclaim of 2026-09-21: no day has a library of 'evict'; run that day's"):
        needed_on(
            (sqlite_store, Lake(str(tmp_path)), TOPOLOGY),
            [Partitions(sqlite_store, TOPOLOGY, None)],
            day(TODAY),
            Settings(),
        )

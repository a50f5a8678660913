"""A run from the store to the store: what is judged, what is written, and what follows; once each, whatever happens."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from checks.engine import judge
from checks.incidents import IncidentState
from checks.result import Result, Status
from checks.run import Run, judge_day, run_checks
from checks.spec import LoadedChecks
from checks.view import View
from reporting import tables as t
from reporting.errors import StoreError
from reporting.plans import Leaf
from reporting.stores import open_store
from reporting.stores.base import RecordQuery
from reporting.stores.memory import MemoryStore
from reporting.stores.sql import SqlStore
from reporting.testing import DAY
from tests.checks.rule_sets import every_kind, load_text
from tests.checks.world import TOPOLOGY, World, noon

BEFORE = [DAY - timedelta(days=back) for back in range(1, 31)]
RUINED = Leaf("crop", DAY, "all", "0002")


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with thirty balanced days before the one that is judged."""
    path = tmp_path_factory.mktemp("month") / "store.db"
    with open_store(f"sqlite:///{path}") as opened:
        World().put(opened, BEFORE, digests=False)
    return path


@pytest.fixture
def store(month: Path, tmp_path: Path) -> Iterator[SqlStore]:
    """A store of its own, with the thirty days."""
    with open_store(f"sqlite:///{shutil.copy(month, tmp_path / 'store.db')}") as opened:
        yield opened


def rows(store: SqlStore, table: Any) -> Sequence[Any]:
    with store.read() as connection:
        return connection.execute(select(table)).all()


def run(store: SqlStore, now: datetime | None = None, *, act: bool = True, loaded: LoadedChecks | None = None) -> Run:
    moment = noon(DAY) if now is None else now
    return run_checks(store, TOPOLOGY, loaded or every_kind(), DAY, None, moment, act=act)


def test_a_balanced_day_passes_every_kind_of_check(store):
    World().put(store)
    found = run(store)
    counting = [result for result in found.results if result.counts]
    assert (found.status, {result.status for result in counting}) == (Status.PASS, {Status.PASS})
    assert {result.kind for result in counting} == {check.kind for check in every_kind().file.checks} - {"plan_diff"}
    assert (found.incidents, found.told) == ((), 0)


def test_every_result_is_written_the_passes_too_and_can_be_read_back(store):
    World().ruin(RUINED).put(store)
    found = run(store)
    written = rows(store, t.evaluation)
    assert [Result.model_validate_json(row.body) for row in written] == list(found.results)
    assert Counter(row.status for row in written)["pass"] > 20
    assert {(row.run_id, row.date, row.config_hash) for row in written} == {(found.run_id, DAY, found.config_hash)}
    entries = [entry for entry in rows(store, t.outbox) if entry.topic == "evaluation"]
    assert [json.loads(entry.body)["result"] for entry in entries] == [json.loads(row.body) for row in written]
    (whole,) = rows(store, t.check_run)
    assert (whole.run_id, whole.status, whole.results) == (found.run_id, "fail", len(written))


def test_a_lost_package_is_one_incident_with_its_place_and_its_repair(store):
    World().ruin(RUINED).put(store)
    (incident,) = run(store).incidents
    assert (incident.state, incident.key.task) == (IncidentState.FIRING, "crop")
    assert incident.result.explain[0].where == {"subinstance": ("0002",)}
    assert incident.result.repair.endswith("--tasks crop --subinstances 0002 --promote")
    assert {part.task for part in incident.impact} >= {"categorise", "embed"}


def test_a_second_run_over_the_same_data_changes_and_tells_nothing(store):
    World().ruin(RUINED).put(store)
    first, second = run(store), run(store, noon(DAY) + timedelta(hours=1))
    assert len(first.incidents) == 1
    assert second.incidents == ()
    assert [(r.instance, r.status) for r in second.results] == [(r.instance, r.status) for r in first.results]
    assert len(rows(store, t.incident_action)) == len({row.kind for row in rows(store, t.incident_action)})


def test_the_promoted_repair_ends_the_incident_of_what_it_repairs(store):
    broken = World().ruin(RUINED)
    broken.put(store)
    (before,) = run(store, noon(DAY) - timedelta(hours=6)).incidents
    broken.rerun("repair-1", ["crop"], subinstances=("0002",)).put(store)
    found = run(store)
    (after,) = found.incidents
    assert found.status is Status.PASS
    assert (after.episode, after.is_open) == (before.episode, False)
    assert "repair-1" in after.note


def test_who_only_looks_opens_nothing(store):
    World().ruin(RUINED).put(store)
    assert run(store, act=False).status is Status.FAIL
    assert rows(store, t.incident) == []
    assert len(rows(store, t.check_run)) == 1
    judge_day(store, TOPOLOGY, every_kind(), DAY, None, noon(DAY))
    assert len(rows(store, t.check_run)) == 1


def test_a_run_that_breaks_off_leaves_nothing(store, monkeypatch):
    World().ruin(RUINED).put(store)

    def fails(*_args: object, **_named: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr("checks.run._write", fails)
    with pytest.raises(StoreError, match="the disk is full"):
        run(store)
    tables = (t.check_run, t.evaluation, t.incident, t.incident_action, t.notice)
    assert [rows(store, table) for table in tables] == [[]] * len(tables)


@pytest.mark.slow
def test_a_past_moment_is_judged_as_it_was(store):
    world = World().ruin(RUINED)
    world.put(store)
    early = noon(DAY) - timedelta(hours=10)
    then = judge_day(store, TOPOLOGY, every_kind(), DAY, early, noon(DAY))
    needs = [need for check in every_kind().file.checks for need in check.needs(TOPOLOGY)]
    view = world.view(DAY, as_of=early, history=needs)
    expected = judge(every_kind().file, view, every_kind().config_hash)
    assert then.as_of == early
    assert [(r.id, r.instance, r.status, r.value) for r in then.results] == [
        (r.id, r.instance, r.status, r.value) for r in expected
    ]


SHRUNK = "checks: [{id: volume, kind: drift, measure: produced, tasks: [embed]}]"


def test_a_total_that_has_drifted_is_looked_into_leaf_by_leaf(store):
    World().shrink("collect", {"subinstance": "0003"}, 0.9).put(store)
    loaded = load_text(SHRUNK)
    (result,) = run(store, loaded=loaded, act=False).results
    assert result.status is Status.FAIL
    assert result.explain[0].where == {"subinstance": ("0003",)}
    assert result.explain[0].share > 0.9
    assert "subinstance=0003" in result.sentence


def test_a_day_with_an_unmended_incident_is_in_no_baseline(store):
    loaded, memory, yesterday = load_text(SHRUNK), MemoryStore(), BEFORE[0]
    world = World().shrink("collect", {}, 0.5, on=yesterday)
    world.put(memory, [DAY, *BEFORE[:20]], digests=False)

    def days() -> int | None:
        (result,) = judge_day(memory, TOPOLOGY, loaded, DAY, None, noon(DAY), books=store).results
        return result.history

    before = days()
    run_checks(memory, TOPOLOGY, loaded, yesterday, None, noon(yesterday), act=True, books=store)
    assert len(rows(store, t.incident)) == 1
    assert (before, days()) == (20, 19)


def test_without_an_sql_store_there_is_nowhere_to_write():
    with pytest.raises(TypeError, match="MemoryStore keeps no results"):
        run_checks(MemoryStore(), TOPOLOGY, every_kind(), DAY, None, noon(DAY), act=False)


def test_records_of_one_store_are_judged_into_another(store):
    memory = MemoryStore()
    World().ruin(RUINED).put(memory)
    found = run_checks(memory, TOPOLOGY, every_kind(), DAY, None, noon(DAY), act=True, books=store)
    assert len(rows(store, t.evaluation)) == len(found.results)
    assert len(rows(store, t.incident)) == 1


class Counting(MemoryStore):
    """Counts the questions it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def records(self, query: RecordQuery) -> Any:
        self.asked["records"] += 1
        return super().records(query)

    def sums(self, *query: Any) -> Any:
        self.asked["sums"] += 1
        return super().sums(*query)


def test_one_scan_serves_any_number_of_checks():
    few, many = Counting(), Counting()
    several = "checks:\n" + "".join(
        f"  - {{id: v{n}, kind: drift, measure: produced, score: {n + 3}}}\n  - {{id: b{n}, kind: conservation}}\n"
        for n in range(10)
    )
    for store, text in ((few, "checks: [{id: v, kind: drift, measure: produced}]"), (many, several)):
        World().put(store, [DAY, *BEFORE[:3]], digests=False)
        store.asked.clear()
        judge_day(store, TOPOLOGY, load_text(text), DAY, None, noon(DAY))
    assert few.asked == many.asked
    assert few.asked["sums"] == 1
    assert few.asked["records"] - few.asked["sums"] <= 2  # in memory, sums are made of records


@cache
def viewed(*ruined: Leaf) -> View:
    world = World().ruin(*ruined) if ruined else World()
    needs = [need for check in every_kind().file.checks for need in check.needs(TOPOLOGY)]
    return world.view(history=World().history([need._replace(days=30) for need in needs]))


@pytest.mark.slow
@settings(max_examples=30)
@given(st.randoms(use_true_random=False), st.sampled_from([(), (RUINED,)]))
def test_the_order_of_records_and_plans_decides_nothing(chance, ruined):
    view = viewed(*ruined)
    records, others, plans = (
        chance.sample(list(part), len(part)) for part in (view.records, view.other_days, view.plans)
    )
    other = replace(view, records=records, other_days=others, plans=plans)
    assert judge(every_kind().file, other, "cafe") == judge(every_kind().file, view, "cafe")


def test_both_sides_empty_is_not_evaluated():
    found = judge_day(MemoryStore(), TOPOLOGY, every_kind(), DAY, None, noon(DAY))
    kinds: dict[str, set[Status]] = {result.kind: set() for result in found.results}
    for result in found.results:
        kinds[result.kind].add(result.status)
    assert not any(Status.PASS in statuses for statuses in kinds.values())
    assert kinds["complete"] == {Status.FAIL}
    assert {Status.NOT_EVALUATED} == kinds["reconcile"] == kinds["digest"] == kinds["conservation"] == kinds["drift"]

"""Plans beside each other, missing leaves and broken relations: as the registry, the manifests and the balance say."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from datetime import date as Date

import pytest

from reporting.balance import balance
from reporting.effective import EffectivePlans
from reporting.ledger import gather_books
from reporting.plans import Leaf
from reporting.record import TaskRecord
from reporting.stores.base import RecordQuery
from reporting.stores.sql import SqlStore
from tests.dashboards.kibana import books
from tests.dashboards.kibana.conftest import Shown
from tests.dashboards.kibana.oracle import FIRST, LAST, counting, day, stage, sums_of

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow]


def _pairs(store: SqlStore) -> list[tuple[TaskRecord, TaskRecord]]:
    """What counts beside each other plan's record of the same leaf."""
    counted = {record.key.model_copy(update={"planid": ""}): record for record in counting(store)}
    return [
        (counted[leaf], other)
        for other in store.records(RecordQuery())
        if (leaf := other.key.model_copy(update={"planid": ""})) in counted and counted[leaf] != other
    ]


def test_plans_are_compared_over_the_leaves_that_both_have(shown: Shown, store: SqlStore):
    sums: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for counted, other in _pairs(store):
        sums[other.key.planid, stage(other.key.task)].update(
            leaves=1, ci=counted.input, co=counted.output, oi=other.input, oo=other.output
        )
    assert {plan for plan, _ in sums} == {books.daily(books.REPAIRED), "half-done", "shadow"}
    rows = shown.rows("plans", "pairs")
    assert {
        (row["other_plan"], row["stage"]): (
            row["leaves"],
            row["counted_in"],
            row["counted_out"],
            row["other_in"],
            row["other_out"],
            row["more_out"],
        )
        for row in rows
    } == {key: (n["leaves"], n["ci"], n["co"], n["oi"], n["oo"], n["co"] - n["oo"]) for key, n in sums.items()}
    change = {(row["other_plan"], row["stage"]): row["change"] for row in shown.rows("plans", "change")}
    assert change == {key: pytest.approx(n["co"] / n["ci"] - n["oo"] / n["oi"], abs=1e-12) for key, n in sums.items()}


def test_plans_are_compared_leaf_by_leaf(shown: Shown, store: SqlStore):
    rows = shown.rows("plans", "leaves")
    assert {
        (row["stage"], day(row["date"]), row["category"], row["subinstance"], row["other_plan"], row["more_out"])
        for row in rows
    } == {
        (
            stage(other.key.task),
            other.key.date,
            other.key.category,
            other.key.subinstance,
            other.key.planid,
            counted.output - other.output,
        )
        for counted, other in _pairs(store)
    }
    assert len(rows) == len(_pairs(store))


def test_each_plan_stands_by_itself_and_the_registry_is_whole(shown: Shown, store: SqlStore):
    records = store.records(RecordQuery())
    sums = sums_of(records, lambda record: (record.key.planid, stage(record.key.task)))
    effective = Counter((one.key.planid, stage(one.key.task)) for one in counting(store))
    rows = shown.rows("plans", "by-plan")
    assert {(row["planid"], row["stage"]): (row["taken"], row["kept"], row["counting"]) for row in rows} == {
        key: (*numbers, effective[key]) for key, numbers in sums.items()
    }
    registry = shown.rows("plans", "plans")
    assert {(row["planid"], row["kind"], row["state"]) for row in registry} == {
        (plan.planid, plan.kind.value, plan.state.value) for plan in store.plans()
    }


def _missing(store: SqlStore) -> set[tuple[Leaf, str]]:
    effective = EffectivePlans(store.plans())
    there = {
        (record.key.task, record.key.date, record.key.category, record.key.subinstance) for record in counting(store)
    }
    return {
        (leaf, plan.planid)
        for plan in store.plans()
        for leaf in store.expected(plan.planid)
        if (found := effective.of(leaf)) is not None and found.planid == plan.planid and tuple(leaf) not in there
    }


def test_missing_leaves_are_those_expected_by_the_plan_that_counts_and_not_reported(shown: Shown, store: SqlStore):
    missing = _missing(store)
    assert missing
    rows = shown.rows("freshness", "missing-leaves")
    assert {
        (Leaf(row["stage"][3:], day(row["date"]), row["category"], row["subinstance"]), row["planid"]) for row in rows
    } == missing
    [total] = shown.rows("freshness", "missing")
    assert total == {"leaves": len(missing) + len(counting(store)), "missing": len(missing)}
    by_day = Counter((leaf.date, stage(leaf.task)) for leaf, _ in missing)
    rows = shown.rows("freshness", "missing-days")
    assert {(day(row["date"]), row["stage"]): row["missing"] for row in rows if row["missing"]} == by_day


def test_lateness_counts_from_the_deadline_of_the_next_morning(shown: Shown, store: SqlStore):
    last: dict[tuple[str, Date], datetime] = {}
    for record in counting(store):
        place = record.key.task, record.key.date
        last[place] = max(record.finished_at, last.get(place, record.finished_at))
    rows = {(row["stage"][3:], day(row["date"])): row for row in shown.rows("freshness", "tasks")}
    assert set(last) <= set(rows)
    for (task, date), row in rows.items():
        clock = books.TOPOLOGY.task(task).deadline
        assert row["deadline"] == clock
        if clock is None or (task, date) not in last:
            assert row["late_minutes"] is None
            continue
        due = datetime.fromisoformat(f"{date}T{clock}:00").replace(tzinfo=UTC) + timedelta(days=1)
        assert row["late_minutes"] == pytest.approx((last[task, date] - due).total_seconds() / 60, abs=1)


def _residuals(store: SqlStore) -> dict[tuple[str, Date], int]:
    """What the trial balance leaves over of relations, without the partitions of windows."""
    found: Counter[tuple[str, Date]] = Counter()
    for one in balance(books.TOPOLOGY, gather_books(store, books.TOPOLOGY, FIRST, LAST)).residuals:
        if " -> " in one.where and "(read of" not in one.where:
            source, _, target = one.where.partition(" -> ")
            found[
                f"{stage(source.split(' ')[0])}{source[len(source.split(' ')[0]) :]} > {target.split(' ')[0]}", one.date
            ] += one.residual
    return dict(found)


def test_broken_relations_are_those_of_the_trial_balance(shown: Shown, store: SqlStore):
    broken = _residuals(store)
    assert ("06 listing > detect", books.BROKEN) in broken
    assert broken["06 listing > detect", books.BROKEN] == books.LOST + books.GAINED
    rows = shown.rows("graph", "places")
    found: Counter[tuple[str, Date]] = Counter()
    for row in rows:
        if not row["open"]:
            found[row["relation"], day(row["date"])] += row["residual"]
    assert found == {place: residual for place, residual in broken.items() if place[1] != books.OPEN}
    [total] = shown.rows("graph", "broken")
    assert total["broken"] == sum(found.values())
    relations = shown.rows("graph", "relations")
    assert {row["relation"] for row in relations if row["status"] == "BROKEN"} == {name for name, _ in found}
    assert sum(row["broken"] for row in relations) == total["broken"]


def test_every_relation_shows_what_was_handed_on_and_taken(shown: Shown, store: SqlStore):
    records = counting(store)
    handed, taken = Counter[str](), Counter[str]()
    for record in records:
        handed[record.key.task] += record.produced
        taken[record.key.task] += record.input
    rows = {row["relation"]: row for row in shown.rows("graph", "relations")}
    counted = [edge for edge in books.TOPOLOGY.edges if edge.law.value in ("equal", "ratio")]
    assert len(rows) == len(counted) + 2  # the windows of tail and merge
    for edge in counted:
        row = rows[f"{stage(edge.source)} > {edge.target}"]
        assert (row["handed_on"], row["taken"]) == (handed[edge.source], taken[edge.target])

"""The days before: one value a day and group, of the plans that counted, whatever was repaired, re-run or left out."""

from __future__ import annotations

import math
from datetime import date as Date
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.history import Baseline, Need
from checks.past import CountingPlans, reads_of
from checks.scan import leaf_history, scan
from reporting.effective import EffectivePlans
from reporting.measures import value_of
from reporting.plans import Cover, Leaf, Plan, PlanKind
from reporting.record import TaskRecord
from reporting.stores.memory import MemoryStore, latest
from reporting.testing import DAY, MOMENT, make_plan, make_record
from tests.checks.world import TOPOLOGY

HOUR = timedelta(hours=1)
DAYS = tuple(DAY - timedelta(days=back) for back in (4, 3, 2, 1))
CATEGORIES, PACKAGES = ("bags", "shoes"), ("0001", "0002")
LEAVES = [
    *(Leaf("collect", day) for day in DAYS),
    *(Leaf("download", day, subinstance=package) for day in DAYS for package in PACKAGES),
    *(Leaf("embed", day, category, package) for day in DAYS for category in CATEGORIES for package in PACKAGES),
]
NEEDS = [
    Need("collect", "input", (), 4),
    Need("download", "produced", (), 2),
    Need("download", "dropped.timeout", ("subinstance",), 4),
    Need("embed", "output", (), 4),
    Need("embed", "input", ("category",), 3),
    Need("embed", "seconds", ("category", "subinstance"), 4),
    Need("embed", "records", ("subinstance",), 4),
    Need("embed", "metrics.rate", ("category",), 4),
    Need("embed", "metrics.rate", (), 4),
    Need("merge", "input", (), 4),
]

maybe = st.integers(0, 5).map(lambda hours: None if hours == 5 else MOMENT + hours * HOUR)
some = st.sampled_from
covers = st.one_of(
    st.none(),
    st.tuples(
        some(["download", "embed"]),
        some([None, ("bags",), ("shoes",), ("bags", "shoes")]),
        some([None, ("0001",), ("0001", "0002")]),
    ).map(lambda parts: (Cover(task=parts[0], categories=parts[1], subinstances=parts[2]), Cover(task="merge"))),
)


@st.composite
def registries(draw: st.DrawFn) -> list[Plan]:
    """Draw daily plans, and re-runs of several days, kinds and scopes."""
    plans = [
        make_plan(f"daily-{number}", dates=(day,), created_at=MOMENT, completed_at=draw(maybe))
        for number, day in enumerate(DAYS)
        if draw(st.integers(0, 9))
    ]
    for number in range(draw(st.integers(0, 3))):
        days = draw(st.lists(some(DAYS), min_size=1, unique=True))
        kind = draw(some([PlanKind.RERUN, PlanKind.BACKFILL, PlanKind.SHADOW, PlanKind.DAILY]))
        created = MOMENT + draw(st.integers(0, 3)) * HOUR
        plans.append(
            make_plan(
                f"plan-{number}",
                kind,
                dates=sorted(days),
                created_at=created,
                promoted_at=draw(maybe),
                cover=draw(covers),
            )
        )
    return plans


@st.composite
def ledgers(draw: st.DrawFn) -> tuple[list[Plan], list[TaskRecord]]:
    """Draw a registry, and records that some of the leaves of each plan have booked, in one or two attempts."""
    plans, records = draw(registries()), []
    seed = draw(st.integers(0, 2**16))
    chance = np.random.default_rng(seed)
    for plan in plans:
        for leaf in LEAVES:
            if plan.covers(leaf) and chance.random() < 0.8:
                attempts = range(1, int(chance.integers(2, 4)))
                records += [_booked(leaf, plan.planid, attempt, chance) for attempt in attempts]
    return plans, records


def _booked(leaf: Leaf, planid: str, attempt: int, chance: np.random.Generator) -> TaskRecord:
    at = MOMENT + int(chance.integers(0, 4)) * HOUR
    lost = int(chance.integers(0, 10))
    return make_record(
        *leaf[:1],
        date=leaf.date,
        category=leaf.category,
        subinstance=leaf.subinstance,
        planid=planid,
        attempt=attempt,
        input=int(chance.integers(10, 1000)),
        dropped={"timeout": lost} if lost else {},
        metrics={"rate": float(chance.random())} if chance.random() < 0.7 else {},
        reported_at=at,
        started_at=at - timedelta(microseconds=int(chance.integers(0, 10**10))),
    )


def filled(plans: list[Plan], records: list[TaskRecord]) -> MemoryStore:
    store = MemoryStore()
    for plan in plans:
        store.put_plan(plan)
    for record in records:
        store.put_record(record)
    return store


def loop(plans: list[Plan], records: list[TaskRecord], need: Need, as_of: Any, *, non_daily: bool) -> Baseline:
    """Add the past up record by record."""
    known = [plan for plan in plans if plan.created_at <= as_of]
    daily = {plan.planid for plan in plans if plan.kind is PlanKind.DAILY}
    effective = EffectivePlans(known, as_of)
    span = tuple(DAY - timedelta(days=back) for back in range(need.days, 0, -1))
    there = latest(record for record in records if record.reported_at <= as_of).values()
    cells: dict[tuple[str, ...], dict[Date, list[TaskRecord]]] = {}
    for record in there:
        if record.key.task == need.task and record.key.date in span and effective.counts(record.key):
            group = tuple(getattr(record.key, dimension) for dimension in need.by)
            cells.setdefault(group, {}).setdefault(record.key.date, []).append(record)
    rows = {}
    for group, days in sorted(cells.items()):
        row = []
        for day in span:
            mine = days.get(day, [])
            values = [value for record in mine if (value := value_of(record, need.measure)) is not None]
            normal = not non_daily or any(record.key.planid in daily for record in mine)
            row.append((math.fsum(values), len(values)) if values and normal else (math.nan, 1))
        if any(math.isfinite(value) for value, _ in row):
            rows[group] = row
    table = np.array(list(rows.values())).reshape(len(rows), len(span), 2)
    return Baseline(tuple(rows), span, table[:, :, 0], table[:, :, 0] / table[:, :, 1])


def assert_same(found: Baseline, expected: Baseline) -> None:
    assert (found.groups, found.days) == (expected.groups, expected.days)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-12)
    np.testing.assert_allclose(found.means, expected.means, rtol=1e-12)


@settings(max_examples=60)
@given(ledger=ledgers(), hours=st.integers(0, 5), non_daily=st.booleans())
def test_the_past_is_what_a_loop_over_the_records_that_counted_finds(ledger, hours, non_daily):
    plans, records = ledger
    as_of = MOMENT + hours * HOUR
    view = scan(filled(plans, records), TOPOLOGY, DAY, as_of=as_of, needs=NEEDS, skip_non_daily=non_daily)
    for need in NEEDS:
        expected = loop(plans, records, need, as_of, non_daily=non_daily)
        assert_same(view.history.of(need.task, need.measure, need.by, need.days), expected)


@settings(max_examples=100)
@given(plans=registries(), hours=st.integers(0, 5))
def test_a_day_is_split_only_where_leaves_of_a_task_may_have_different_plans(plans, hours):
    as_of = MOMENT + hours * HOUR
    known = [plan for plan in plans if plan.created_at <= as_of]
    counting, effective = CountingPlans(known, as_of), EffectivePlans(known, as_of)
    for leaf in LEAVES:
        found = effective.of(leaf)
        assert counting.of(leaf) == (None if found is None else found.planid)
        if not counting.is_split(leaf.task, leaf.date):
            assert counting.of(leaf) == counting.of(Leaf(leaf.task, leaf.date))


def books(day: Date, planid: str, **inputs: int) -> list[TaskRecord]:
    return [make_record("download", date=day, subinstance=name, planid=planid, input=n) for name, n in inputs.items()]


def values(store: MemoryStore, **options: Any) -> list[list[float | None]]:
    """Return what is known of two days of `download`, by package; None where there is nothing."""
    needs = [Need("download", "input", ("subinstance",), 2)]
    view = scan(store, TOPOLOGY, DAY, as_of=MOMENT, needs=needs, **options)
    found = view.history.of("download", "input", ("subinstance",), 2).values.tolist()
    return [[None if math.isnan(value) else value for value in row] for row in found]


@pytest.fixture
def repaired() -> MemoryStore:
    """Two days; on the second one package was repaired, and the first was run again as a whole."""
    first, second = DAYS[-2:]
    plans = [make_plan(f"daily-{day}", dates=(day,), completed_at=MOMENT) for day in (first, second)]
    plans.append(make_plan("again", PlanKind.RERUN, dates=(first,), promoted_at=MOMENT))
    one = (Cover(task="download", subinstances=("a",)),)
    plans.append(make_plan("repair", PlanKind.RERUN, dates=(second,), promoted_at=MOMENT, cover=one))
    records = books(first, f"daily-{first}", a=1, b=2) + books(second, f"daily-{second}", a=10, b=20)
    return filled(plans, records + books(first, "again", a=3, b=4) + books(second, "repair", a=30))


def test_a_value_that_only_a_rerun_brought_is_no_example_of_a_normal_day(repaired):
    assert values(repaired, skip_non_daily=False) == [[3, 30], [4, 20]]
    assert values(repaired) == [[None, 20]]  # of b; of a nothing is left
    totals = scan(repaired, TOPOLOGY, DAY, as_of=MOMENT, needs=[Need("download", "input", (), 2)])
    found = totals.history.of("download", "input", (), 2).values
    assert np.isnan(found[0, 0])
    assert found[0, 1] == 50  # a repaired package does not take its whole day away


def test_holidays_and_the_days_of_incidents_are_left_out(repaired):
    first, second = DAYS[-2:]
    assert values(repaired, skip_non_daily=False, holidays=[first]) == [[None, 30], [None, 20]]
    of_others = {("embed", first), ("download", second)}
    assert values(repaired, skip_non_daily=False, excluded_days=of_others) == [[3, None], [4, None]]


def test_leaves_are_read_for_one_task_by_the_dimensions_it_splits_by(repaired):
    view = scan(repaired, TOPOLOGY, DAY, as_of=MOMENT)
    found = leaf_history(repaired, view, "download", "input", 2, skip_non_daily=False)
    assert found.groups == (("a",), ("b",))
    assert found.values.tolist() == [[3, 30], [4, 20]]
    left = leaf_history(repaired, view, "download", "input", 2, holidays=[DAYS[-1]], with_as_of=False)
    assert left.groups == ()
    with pytest.raises(ValueError, match="expected at least one day back"):
        leaf_history(repaired, view, "download", "input", 0)


def test_what_is_needed_by_few_dimensions_is_added_up_from_what_is_read_by_more():
    by_package = Need("download", "input", ("subinstance",), 14)
    reads = reads_of([by_package, Need("download", "output", (), 56), Need("collect", "input", (), 7)])
    assert [(read.by, read.tasks, read.measures, read.days) for read in reads] == [
        ((), ("collect",), ("input",), 7),
        (("subinstance",), ("download",), ("input", "output"), 56),
    ]


def test_entries_of_maps_are_read_only_for_the_tasks_concerned():
    needs = [Need(task, "input", (), 7) for task in ("collect", "download", "embed")]
    reads = reads_of([*needs, Need("embed", "dropped.undecodable", (), 7)])
    assert [(read.tasks, read.measures) for read in reads] == [
        (("collect", "download", "embed"), ("input",)),
        (("embed",), ("dropped.undecodable",)),
    ]


@given(
    st.lists(
        st.builds(
            Need,
            some(["collect", "download", "embed"]),
            some(["input", "seconds", "metrics.bytes", "dropped.timeout"]),
            some([(), ("category",), ("subinstance",), ("category", "subinstance")]),
            st.integers(1, 60),
        ),
        unique=True,
    )
)
def test_every_need_is_answered_by_one_read_that_is_fine_enough_and_long_enough(needs):
    reads = reads_of(needs)
    assert sorted(need for read in reads for need in read.needs) == sorted(needs)
    for read in reads:
        for need in read.needs:
            assert need.task in read.tasks
            assert need.measure in read.measures
            assert set(need.by) <= set(read.by)
            assert need.days <= read.days

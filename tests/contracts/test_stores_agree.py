"""The same ledger in every store gives the same funnel, balance, effective records and registry."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from reporting.balance import balance
from reporting.effective import effective_records, leaf_of
from reporting.funnel import funnel
from reporting.ledger import gather_books
from reporting.plans import Leaf, PlanKind
from reporting.testing import DAY, MOMENT, make_plan
from tests.contracts.conftest import SHARED_STORES
from tests.reporting.ledgers import CHAIN, ITEMS, changed, closed_records

DAYS = tuple(DAY + timedelta(days=n) for n in (0, 1, 30))


def random_ledger(seed):
    """Return plans, manifests and records of three days over a month's end: closed and broken, repaired and re-run."""
    chance = random.Random(seed)
    plans, expected, records = [], {}, []
    for number, day in enumerate(DAYS):
        planid = f"daily-{number}"
        done = MOMENT + timedelta(hours=1) if chance.random() < 0.7 else None
        plans.append(make_plan(planid, dates=(day,), completed_at=done))
        booked = closed_records(CHAIN, ITEMS, seed=chance.randrange(1000), day=day, planid=planid)
        expected[planid] = {Leaf(r.key.task, day, r.key.category, r.key.subinstance) for r in booked}
        records += [changed(r, 1) if chance.random() < 0.1 else r for r in booked if chance.random() < 0.9]
    promoted = chance.choice([None, MOMENT + timedelta(hours=2)])
    plans.append(make_plan("rerun", PlanKind.RERUN, dates=DAYS[:2], completed_at=MOMENT, promoted_at=promoted))
    again = closed_records(CHAIN, ITEMS[:25], seed=seed, day=DAYS[1], planid="rerun")
    later = MOMENT + timedelta(hours=3)
    records += [r.model_copy(update={"reported_at": later}) for r in again]
    chance.shuffle(records)
    return plans, expected, records


def fill(store, plans, expected, records):
    with store.begin() as work:
        for plan in plans:
            work.put_plan(plan)
        for planid, leaves in expected.items():
            work.expect(planid, leaves)
        for record in records:
            work.put_record(record)


@pytest.mark.parametrize("name", SHARED_STORES)
@pytest.mark.parametrize("seed", range(3))
def test_funnel_balance_and_effective_records_are_those_of_the_store_in_memory(open_named, name, seed):
    ledger = random_ledger(seed)
    memory, store = open_named("memory"), open_named(name)
    for one in (memory, store):
        fill(one, *ledger)
    for first, last in ((DAYS[0], DAYS[-1]), (DAYS[1], DAYS[1])):
        for as_of in (None, MOMENT, MOMENT + timedelta(hours=3)):
            counted = effective_records(memory, first, last, as_of)
            assert effective_records(store, first, last, as_of) == counted
            assert funnel(CHAIN, effective_records(store, first, last, as_of)) == funnel(CHAIN, counted)
        books = gather_books(memory, CHAIN, first, last)
        assert gather_books(store, CHAIN, first, last) == books
        for all_plans in (False, True):
            closed = balance(CHAIN, books, all_plans=all_plans)
            assert balance(CHAIN, gather_books(store, CHAIN, first, last), all_plans=all_plans) == closed
            assert any(row.unexplained for row in closed.rows)  # else nothing was compared


@pytest.mark.parametrize("name", SHARED_STORES)
def test_the_registry_knows_every_leaf_of_a_day_once_and_counts_the_changes_of_its_plans(open_named, name):
    plans, expected, records = random_ledger(7)
    store = open_named(name)
    fill(store, plans, expected, records)
    fill(store, plans[-1:], {}, [])
    for day in DAYS:
        leaves = list(store.leaves(day))
        assert len(leaves) == len(set(leaves))
        reported = {leaf_of(record.key) for record in records}
        manifest = {leaf for known in expected.values() for leaf in known}
        assert set(leaves) == {leaf for leaf in reported | manifest if leaf.date == day}
        assert store.revision(day) == sum(day in plan.dates for plan in (*plans, plans[-1]))
    far = DAY + timedelta(days=400)
    assert (list(store.leaves(far)), store.revision(far)) == ([], 0)

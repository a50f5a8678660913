"""Transactions, plans, manifests and verdicts in every store: all of a transaction is kept, or nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from reporting import tables as t
from reporting.errors import StoreError, VersionConflict
from reporting.plans import Leaf, PlanKind, PlanState
from reporting.stores.base import RecordQuery
from reporting.testing import DAY, MOMENT, FaultyStore, make_plan, make_record
from reporting.verdict import Outcome, Verdict


def make_verdict(verdict_id="v1", planid="daily", outcome=Outcome.PASS, decided_at=MOMENT):
    return Verdict(
        verdict_id=verdict_id,
        date=DAY,
        planid=planid,
        outcome=outcome,
        inputs={"index": "ab" * 32},
        evidence=[{"rule": "floor", "value": 0.5, "passed": True}],
        metrics={"hit_at_1": 0.5},
        decided_at=decided_at,
    )


def count(store, table):
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar()


def write_everything(work):
    work.put_plan(make_plan())
    work.expect("daily", [Leaf("quality", DAY)])
    work.put_record(make_record())
    work.put_verdict(make_verdict())


def change_everything(work):
    work.put_plan(make_plan(completed_at=MOMENT))
    work.expect("daily", [Leaf("hash", DAY)])
    work.put_record(make_record(attempt=2, input=99))
    work.put_verdict(make_verdict(outcome=Outcome.FAIL))


def within(store, write):
    with store.begin() as work:
        write(work)


def stopped(store, write):
    """Write in a transaction whose block then raises."""

    def write_and_stop(work):
        write(work)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        within(store, write_and_stop)


def test_a_fault_of_the_database_is_a_store_error_with_a_remedy(sql_store):
    """Whatever path a statement takes to the driver."""
    for table in ("outbox", "event", "record"):
        with sql_store.begin() as work:
            work.connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO away")
        with pytest.raises(StoreError, match="nothing of this step was kept"):
            within(sql_store, lambda work: work.put_record(make_record()))
        with sql_store.begin() as work:
            work.connection.exec_driver_sql(f"ALTER TABLE away RENAME TO {table}")
    assert sql_store.records(RecordQuery()) == []
    within(sql_store, lambda work: work.put_record(make_record()))
    assert sql_store.records(RecordQuery()) == [make_record()]


def test_a_block_that_raises_leaves_nothing(store):
    stopped(store, write_everything)
    assert store.records(RecordQuery()) == []
    assert store.history(make_record().key) == []
    assert store.plans() == []
    assert store.expected("daily") == set()
    assert store.verdicts("daily") == []


def test_a_rollback_keeps_what_was_committed_before(store):
    with store.begin() as work:
        write_everything(work)
    stopped(store, change_everything)
    assert store.records(RecordQuery()) == [make_record()]
    assert store.history(make_record().key) == [make_record()]
    assert store.get_plan("daily") == make_plan()
    assert store.expected("daily") == {Leaf("quality", DAY)}
    assert store.verdicts("daily") == [make_verdict()]


def test_a_conflict_rolls_back_its_whole_transaction(store):
    with store.begin() as work:
        work.put_record(make_record())

    def put_both(work):
        work.put_record(make_record("hash"))
        work.put_record(make_record(input=11))

    with pytest.raises(VersionConflict):
        within(store, put_both)
    assert store.records(RecordQuery()) == [make_record()]


def test_a_store_that_fails_at_any_place_loses_and_doubles_nothing_when_writers_retry(store):
    faulty = FaultyStore(store, probability=0.4, seed=7, at=("begin", "commit", "acknowledge"))
    made = [make_record(subinstance=f"{number:04}", input=number) for number in range(30)]
    for record in made:
        for _ in range(100):
            try:
                with faulty.begin() as work:
                    work.put_record(record)
                break
            except StoreError:
                continue
    assert faulty.faults > 10  # else nothing was tried
    assert store.records(RecordQuery()) == made
    assert all(store.history(record.key) == [record] for record in made)


def test_a_record_its_event_and_its_outbox_row_appear_together_or_not_at_all(sql_store):
    stopped(sql_store, lambda work: work.put_record(make_record()))
    assert [count(sql_store, table) for table in (t.record, t.event, t.outbox)] == [0, 0, 0]
    with sql_store.begin() as work:
        work.put_record(make_record())
        # Another connection sees none of the three before the commit.
        assert [count(sql_store, table) for table in (t.record, t.event, t.outbox)] == [0, 0, 0]
    assert [count(sql_store, table) for table in (t.record, t.event, t.outbox)] == [1, 1, 1]


def test_the_outbox_row_carries_the_document_that_was_booked(sql_store):
    record = make_record(input=4)
    with sql_store.begin() as work:
        work.put_record(record)
    with sql_store.read() as connection:
        row = connection.execute(select(t.outbox)).mappings().one()
        event = connection.execute(select(t.event)).mappings().one()
    assert (row["topic"], row["document_id"], row["version"]) == ("record", record.key.document_id(), record.version)
    assert row["body"] == event["body"] == record.model_dump_json()


def test_a_repeat_queues_nothing(sql_store):
    for _ in range(3):
        with sql_store.begin() as work:
            work.put_record(make_record())
    assert [count(sql_store, table) for table in (t.record, t.event, t.outbox)] == [1, 1, 1]


def test_plans_come_in_order_of_creation_and_only_those_that_touch_the_days(store):
    days = [DAY + timedelta(days=n) for n in range(4)]
    plans = [
        make_plan("z-first", dates=days[:2], created_at=MOMENT),
        make_plan("b", PlanKind.RERUN, dates=days[1:3], created_at=MOMENT + timedelta(hours=1)),
        make_plan("a", PlanKind.BACKFILL, dates=[days[0], days[3]], created_at=MOMENT + timedelta(hours=2)),
    ]
    with store.begin() as work:
        for plan in reversed(plans):
            work.put_plan(plan)
    assert store.plans() == plans
    assert [p.planid for p in store.plans(days[1], days[1])] == ["z-first", "b"]
    assert [p.planid for p in store.plans(date_from=days[3])] == ["a"]
    assert [p.planid for p in store.plans(date_to=days[0])] == ["z-first", "a"]
    # "a" has a day before and a day after, but none within
    assert [p.planid for p in store.plans(days[2], days[2])] == ["b"]
    assert store.get_plan("nobody") is None


def test_a_plan_put_again_has_its_new_state(store):
    with store.begin() as work:
        work.put_plan(make_plan(config={"k": [1, 2]}))
    done = make_plan(config={"k": [1, 2]}, completed_at=MOMENT + timedelta(hours=1))
    with store.begin() as work:
        work.put_plan(done)
    assert store.get_plan("daily") == done
    assert store.get_plan("daily").state is PlanState.COMPLETE
    assert store.plans() == [done]


def test_a_manifest_grows_and_ignores_repeats(store):
    leaves = [Leaf("quality", DAY, subinstance=f"{n:04}") for n in range(5)]
    with store.begin() as work:
        work.put_plan(make_plan())
        work.expect("daily", leaves[:3])
        work.expect("daily", [])
    with store.begin() as work:
        work.expect("daily", leaves[2:])
    assert store.expected("daily") == set(leaves)
    assert store.expected("other") == set()


def test_deleting_a_plans_records_keeps_its_events_and_the_other_plans(store):
    mine = [make_record(subinstance=f"{n}", planid="gone") for n in range(3)]
    other = make_record(planid="stays")
    with store.begin() as work:
        for record in (*mine, other):
            work.put_record(record)
    assert store.delete_plan_records("gone") == 3
    assert store.delete_plan_records("gone") == 0
    assert store.records(RecordQuery()) == [other]
    assert store.history(mine[0].key) == [mine[0]]
    assert store.records(RecordQuery(planids=("gone",), as_of=MOMENT)) == mine


def test_a_deleted_record_may_be_booked_again(store):
    record = make_record()
    within(store, lambda work: work.put_record(record))
    assert store.delete_plan_records("daily") == 1
    assert store.get_record(record.key) is None
    within(store, lambda work: work.put_record(record))
    assert store.get_record(record.key) == record
    assert store.records(RecordQuery()) == [record]
    assert store.totals(RecordQuery(), ["planid"])[0].records == 1


def test_verdicts_of_a_plan_come_the_latest_last_and_the_same_id_replaces(store):
    late = make_verdict("a", decided_at=MOMENT + timedelta(hours=1))
    early, other = make_verdict("b"), make_verdict("c", planid="other")
    with store.begin() as work:
        for verdict in (late, early, other):
            work.put_verdict(verdict)
    assert store.verdicts("daily") == [early, late]
    changed = make_verdict("a", outcome=Outcome.INCONCLUSIVE, decided_at=MOMENT - timedelta(hours=1))
    with store.begin() as work:
        work.put_verdict(changed)
    assert store.verdicts("daily") == [changed, early]
    assert store.verdicts("nobody") == []

"""The outbox table on SQLite and PostgreSQL: nothing leaves it twice, and nothing leaves it unsettled."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from reporting import tables as t
from reporting.outbox import Entry, Fate, Outcome, Topic
from reporting.outbox_sql import SqlOutbox
from reporting.plans import Leaf
from reporting.stores import open_store
from reporting.stores.sql import SqlStore
from reporting.testing import DAY, MOMENT, make_plan, make_record
from tests.contracts.conftest import SQL_STORES, open_named, postgres

__all__ = ["open_named", "postgres"]


@pytest.fixture(params=SQL_STORES)
def store(request, open_named) -> SqlStore:
    found = open_named(request.param)
    assert isinstance(found, SqlStore)
    return found


def fill(store: SqlStore, number: int, *, first: int = 0, size: int = 0) -> None:
    with store.begin() as work:
        for n in range(first, first + number):
            work.put_record(make_record(subinstance=f"{n:05}", versions={"padding": "x" * size} if size else {}))


def outcomes(entries: list[Entry], fate: Fate, error: str = "") -> list[Outcome]:
    return [Outcome(entry, fate, error) for entry in entries]


def ids(entries: list[Entry]) -> list[str]:
    return [entry.document_id for entry in entries]


def test_the_oldest_come_first_and_not_more_than_asked_for(store):
    fill(store, 7)
    outbox = SqlOutbox(store)
    everything = outbox.peek(100, 2**20)
    assert ids(everything) == [make_record(subinstance=f"{n:05}").key.document_id() for n in range(7)]
    assert outbox.peek(3, 2**20) == everything[:3]
    assert outbox.peek(3, 2**20) == everything[:3]  # looking takes nothing
    sizes = [len(entry.body) for entry in everything]
    assert outbox.peek(100, sum(sizes[:4])) == everything[:4]
    assert outbox.peek(100, sum(sizes[:4]) - 1) == everything[:3]
    assert outbox.peek(100, 1) == everything[:1]  # one that is larger than allowed must move too


def test_an_entry_carries_what_was_written(store):
    record, plan = make_record(), make_plan()
    with store.begin() as work:
        work.put_plan(plan)
        work.put_plan(plan)
        work.expect("daily", [Leaf("quality", DAY)])
        work.put_record(record)
    store.delete_plan_records("daily")
    entries = SqlOutbox(store).peek(10, 2**20)
    assert [(e.topic, e.document_id, e.version) for e in entries] == [
        (Topic.PLAN, "daily", 1),
        (Topic.PLAN, "daily", 2),
        (Topic.EXPECTED, "daily", 0),
        (Topic.RECORD, record.key.document_id(), record.version),
        (Topic.DELETE, record.key.document_id(), record.version),
    ]
    assert type(record).model_validate_json(entries[3].body) == record


def test_a_transaction_that_fails_queues_nothing(store):
    def fail() -> None:
        with store.begin() as work:
            work.put_record(make_record())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert SqlOutbox(store).peek(10, 2**20) == []


@pytest.mark.parametrize(
    ("fate", "stays", "dead", "shipped"),
    [
        (Fate.DELIVERED, False, False, 1),
        (Fate.STALE, False, False, 1),
        (Fate.POISON, False, True, 0),
        (Fate.CONFLICT, False, True, 0),
        (Fate.RETRY, True, False, 0),
        (Fate.BLOCKED, True, False, 0),
    ],
)
def test_what_becomes_of_an_entry_follows_from_its_fate(store, fate, stays, dead, shipped):
    fill(store, 2)
    outbox = SqlOutbox(store)
    first, second = outbox.peek(10, 2**20)
    outbox.settle([Outcome(first, fate, "why")])
    assert outbox.peek(10, 2**20) == ([first, second] if stays else [second])
    put_aside = outbox.dead()
    assert [(o.entry.document_id, o.entry.body, o.fate, o.error) for o in put_aside] == (
        [(first.document_id, first.body, fate, "why")] if dead else []
    )
    status = outbox.status()
    assert (status.pending, status.quarantined, status.shipped) == (1 + stays, int(dead), shipped)


def test_of_two_shippers_that_settle_the_same_entries_one_is_counted(store):
    fill(store, 1300)  # more than are removed by one statement
    outboxes = [SqlOutbox(store), SqlOutbox(store)]
    entries = outboxes[0].peek(2000, 2**30)
    some = set(ids(entries[::7]))
    judged = [Outcome(e, Fate.POISON if e.document_id in some else Fate.DELIVERED, "x") for e in entries]
    barrier = threading.Barrier(2)

    def settle(outbox: SqlOutbox) -> None:
        barrier.wait(60)
        for start in range(0, len(judged), 650):
            outbox.settle(judged[start : start + 650])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(settle, outboxes))
    status = outboxes[0].status()
    assert (status.pending, status.quarantined, status.shipped) == (0, len(some), len(entries) - len(some))
    assert sorted(o.entry.document_id for o in outboxes[0].dead()) == sorted(some)


def test_a_late_settlement_takes_no_entry_that_has_the_number_of_one_that_is_gone(store):
    slow, quick = SqlOutbox(store), SqlOutbox(store)
    fill(store, 3)
    held = slow.peek(10, 2**20)
    quick.settle(outcomes(quick.peek(10, 2**20), Fate.DELIVERED))
    fill(store, 3, first=3)
    with store.begin() as work:
        work.expect("daily", [Leaf("quality", DAY, "x")])
    waiting = quick.peek(10, 2**20)
    slow.settle(outcomes(held, Fate.DELIVERED))
    slow.settle(outcomes(held, Fate.POISON))
    assert slow.peek(10, 2**20) == waiting
    assert slow.status().shipped == 3
    assert slow.dead() == []


def test_a_late_settlement_of_a_manifest_takes_no_other_one_of_the_same_plan(store):
    slow, quick = SqlOutbox(store), SqlOutbox(store)
    for name in ("a", "b"):
        with store.begin() as work:
            work.expect("daily", [Leaf("quality", DAY, name)])
        if name == "a":
            held = slow.peek(10, 2**20)
            quick.settle(outcomes(held, Fate.DELIVERED))
    slow.settle(outcomes(held, Fate.DELIVERED))
    (left,) = slow.peek(10, 2**20)
    assert '"b"' in left.body


def test_what_was_put_aside_comes_back_once_at_the_end_in_its_order(store):
    fill(store, 5)
    outbox = SqlOutbox(store)
    assert outbox.revive() == 0
    entries = outbox.peek(10, 2**20)
    outbox.settle(outcomes(entries[:3], Fate.POISON, "bad") + outcomes(entries[3:4], Fate.CONFLICT, "two"))
    assert outbox.revive() == 4
    assert outbox.dead() == []
    assert outbox.status().quarantined == 0
    back = outbox.peek(10, 2**20)
    assert ids(back) == ids([entries[4], *entries[:4]])
    assert {e.body for e in back} == {e.body for e in entries}
    assert outbox.revive() == 0


def test_what_is_put_aside_while_others_are_revived_is_not_lost(store):
    outbox = SqlOutbox(store)
    fill(store, 60)
    barrier = threading.Barrier(2)

    def bury() -> None:
        barrier.wait(60)
        for entry in outbox.peek(60, 2**30):
            outbox.settle([Outcome(entry, Fate.POISON, "x")])

    def revive() -> None:
        barrier.wait(60)
        for _ in range(60):
            outbox.revive()

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(bury), pool.submit(revive)]:
            done.result()
    here = ids(outbox.peek(1000, 2**30)) + [o.entry.document_id for o in outbox.dead()]
    assert sorted(here) == sorted(make_record(subinstance=f"{n:05}").key.document_id() for n in range(60))


def test_queued_entries_keep_all_but_their_number(store):
    fill(store, 2)
    outbox = SqlOutbox(store)
    entries = outbox.peek(10, 2**20)
    outbox.queue(entries)
    again = outbox.peek(10, 2**20)
    assert [e._replace(seq=0) for e in again] == [e._replace(seq=0) for e in entries * 2]
    assert len({e.seq for e in again}) == 4


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_one_leads_until_it_resigns_or_its_time_is_over(store):
    clock = Clock()
    first, second = SqlOutbox(store, clock), SqlOutbox(store, clock)
    assert first.lead("a", 60)
    assert not second.lead("b", 60)
    assert first.lead("a", 60)
    clock.now += 59
    assert not second.lead("b", 60)
    assert first.lead("a", 60)  # kept for another minute
    clock.now += 59
    assert not second.lead("b", 60)
    clock.now += 1
    assert second.lead("b", 60)
    assert not first.lead("a", 60)
    first.resign("a")  # of what it has no more
    assert not first.lead("a", 60)
    second.resign("b")
    assert first.lead("a", 60)


def test_a_clock_that_is_fast_takes_the_lease_and_the_other_follows(store):
    clock, fast = Clock(), Clock(1000.0 + 3600)
    mine, other = SqlOutbox(store, clock), SqlOutbox(store, fast)
    assert mine.lead("mine", 60)
    assert other.lead("other", 60)
    assert not mine.lead("mine", 60)
    clock.now = fast.now + 60
    assert mine.lead("mine", 60)  # the worst it can do is to hold it by its own hour


@pytest.mark.parametrize("round_", range(3))
def test_of_many_who_ask_at_once_one_leads(store, round_):
    if round_ == 2:
        assert SqlOutbox(store, Clock(0)).lead("dead since long", 60)
    asked = 6
    barrier = threading.Barrier(asked)

    def ask(number: int) -> bool:
        outbox = SqlOutbox(store, Clock())
        barrier.wait(60)
        return outbox.lead(f"owner {number}", 60)

    with ThreadPoolExecutor(asked) as pool:
        assert sum(pool.map(ask, range(asked))) == 1


def test_the_status_of_an_empty_outbox_has_no_age(store):
    status = SqlOutbox(store).status()
    assert status.model_dump() == {"pending": 0, "oldest_seconds": None, "quarantined": 0, "shipped": 0, "bytes": 0}


def test_the_status_tells_how_much_waits_and_since_when(store):
    with store.begin() as work:
        work.put_record(make_record())
        work.put_record(make_record("hash", reported_at=MOMENT + timedelta(days=36500)))  # from a clock that is fast
    outbox = SqlOutbox(store)
    entries = outbox.peek(10, 2**20)
    status = outbox.status()
    assert status.pending == 2
    assert status.bytes == sum(len(e.body) for e in entries)
    assert status.oldest_seconds is not None
    assert status.oldest_seconds >= 0
    outbox.settle(outcomes(entries[:1], Fate.DELIVERED))
    assert outbox.status().oldest_seconds == 0.0  # and not less


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_shippers_of_two_stores_and_a_writer_deliver_each_entry_at_least_once_and_count_it_once(store, seed):
    number = 300
    delivered: list[list[str]] = [[], []]
    written = threading.Event()

    def write() -> None:
        for first in range(0, number, 20):
            fill(store, 20, first=first)
        written.set()

    def ship(who: int) -> None:
        rng = random.Random(seed * 10 + who)
        with open_store(store.url) as own:
            outbox = SqlOutbox(own)
            while True:
                last = written.is_set()
                entries = outbox.peek(rng.randint(1, 40), 2**20)
                delivered[who] += ids(entries)
                if rng.random() < 0.8:  # else it died before settling
                    outbox.settle([Outcome(e, rng.choice([Fate.DELIVERED, Fate.STALE, Fate.RETRY])) for e in entries])
                if last and not entries:
                    return

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(write), pool.submit(ship, 0), pool.submit(ship, 1)]:
            done.result()
    assert set(delivered[0] + delivered[1]) == {
        make_record(subinstance=f"{n:05}").key.document_id() for n in range(number)
    }
    assert SqlOutbox(store).status().shipped == number
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(t.outbox)).scalar() == 0

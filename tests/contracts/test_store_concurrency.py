"""Many writers on one SQL store, in threads and in processes: nothing is lost and the greatest version stays."""

from __future__ import annotations

import multiprocessing
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from reporting import tables as t
from reporting.errors import VersionConflict
from reporting.stores import open_store
from reporting.stores.base import RecordQuery
from reporting.testing import make_record

WRITERS, RECORDS, ATTEMPTS = 4, 25, 12


def write(store, writer: int) -> None:
    """Put records of this writer's own leaves, and in a random order attempts of one leaf that all share."""
    attempts = list(range(1, ATTEMPTS + 1))
    random.Random(writer).shuffle(attempts)
    for number in range(RECORDS):
        with store.begin() as work:
            work.put_record(make_record(subinstance=f"w{writer}-{number:03}", input=number))
        if number < ATTEMPTS:
            with store.begin() as work:
                work.put_record(make_record("hash", attempt=attempts[number], input=attempts[number]))


def write_in_process(url: str, writer: int) -> None:
    """Open the store in a process of its own and write."""
    with open_store(url) as store:
        write(store, writer)


def assert_nothing_is_lost(store) -> None:
    own = store.records(RecordQuery(tasks=("quality",)))
    assert {(r.key.subinstance, r.input) for r in own} == {
        (f"w{w}-{n:03}", n) for w in range(WRITERS) for n in range(RECORDS)
    }
    shared = make_record("hash").key
    assert store.get_record(shared).attempt == ATTEMPTS
    assert sorted(event.attempt for event in store.history(shared)) == list(range(1, ATTEMPTS + 1))
    with store.read() as connection:
        queued = connection.execute(
            select(func.count(t.outbox.c.document_id.distinct())).where(t.outbox.c.topic == "record")
        ).scalar()
    assert queued == WRITERS * RECORDS + 1


def test_threads_that_share_a_store_lose_nothing(sql_store):
    with ThreadPoolExecutor(WRITERS) as pool:
        for done in [pool.submit(write, sql_store, writer) for writer in range(WRITERS)]:
            done.result()
    assert_nothing_is_lost(sql_store)


def test_the_greater_version_stays_when_two_transactions_overlap(sql_store):
    """Both read before either writes: the second to commit must not bury the greater version."""
    key = make_record().key
    with ThreadPoolExecutor(2) as pool:
        with sql_store.begin() as work:
            work.put_record(make_record(attempt=2, input=2))
            other = pool.submit(put_alone, sql_store, make_record(attempt=1, input=1))
            # The other transaction can only wait for this one, or have ended.
            with pytest.raises(TimeoutError):
                other.result(timeout=0.3)
        other.result()
    assert sql_store.get_record(key).attempt == 2
    assert len(sql_store.history(key)) == 2


def test_two_transactions_cannot_book_different_content_under_one_version(sql_store):
    with ThreadPoolExecutor(2) as pool:
        with sql_store.begin() as work:
            work.put_record(make_record(input=1))
            other = pool.submit(put_alone, sql_store, make_record(input=2))
            with pytest.raises(TimeoutError):
                other.result(timeout=0.3)
        with pytest.raises(VersionConflict):
            other.result()
    assert sql_store.get_record(make_record().key).input == 1


def put_alone(store, record):
    with store.begin() as work:
        return work.put_record(record)


@pytest.mark.slow
def test_four_processes_lose_nothing(sql_store):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_in_process, args=(sql_store.url, writer)) for writer in range(WRITERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0] * WRITERS
    assert_nothing_is_lost(sql_store)

"""The recorder: a record is emitted whatever happens inside the block, and last."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import pytest

from reporting.errors import ConfigError, RecordError, StoreError
from reporting.logs import EcsFormatter
from reporting.record import State
from reporting.recorder import Recorder
from reporting.stores.base import RecordQuery
from reporting.stores.memory import MemoryStore
from reporting.testing import MOMENT, FaultyStore, make_record
from reporting.topology import TaskSpec, Topology

KEY = make_record("quality").key
TOPOLOGY = Topology(tasks={"quality": TaskSpec(unit_in="picture", unit_out="picture", drop_reasons=("blurred",))})


class Clock:
    """A clock that goes on by a second at each look."""

    def __init__(self):
        self.now = MOMENT

    def __call__(self):
        self.now += timedelta(seconds=1)
        return self.now


def work(recorder, *, until=None, key=KEY, keep=2):
    """Take three items, keep some, drop one, and perhaps raise."""
    with recorder.task(key) as books:
        books.take(["a", "b", "c"])
        if until is not None:
            raise until
        books.keep(["a", "b"][:keep])
        books.drop("blurred", ["c"])


def test_a_block_that_ends_well_is_one_record():
    store = MemoryStore()
    work(Recorder(store, TOPOLOGY, Clock()))
    (record,) = store.records(RecordQuery())
    assert (record.state, record.input, record.output, record.dropped) == (State.SUCCEEDED, 3, 2, {"blurred": 1})
    assert (record.seconds, record.error) == (1.0, None)


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3), StoreError("gone")])
def test_a_block_that_raises_is_a_failed_record_and_the_same_exception(error):
    store = MemoryStore()
    with pytest.raises(type(error)) as raised:
        work(Recorder(store, TOPOLOGY), until=error)
    assert raised.value is error
    record = store.get_record(KEY)
    assert record is not None
    assert record.state is State.FAILED
    assert record.failed == {type(error).__name__: 3}
    assert record.error is not None
    assert record.error.error_class == type(error).__name__


def test_books_that_do_not_close_are_a_failed_record_and_an_error():
    store = MemoryStore()
    with pytest.raises(RecordError, match="3 items were taken in but 2 booked out"):
        work(Recorder(store, TOPOLOGY), keep=1)
    record = store.get_record(KEY)
    assert record is not None
    assert (record.state, record.output, record.failed) == (State.FAILED, 1, {"RecordError": 1})


def run_block(recorder, block):
    with recorder.task(KEY) as books:
        block(books)


def overbook(books):
    books.take(["a"])
    books.keep(["a", "b"])
    books.drop("blurred", 1)


def test_books_with_more_out_than_in_are_a_failed_record_and_the_same_error():
    store = MemoryStore()
    with pytest.raises(RecordError, match="1 items were taken in but 3 booked out"):
        run_block(Recorder(store), overbook)
    record = store.get_record(KEY)
    assert record is not None
    assert (record.state, record.input, record.produced, record.failed) == (State.FAILED, 1, 0, {"RecordError": 1})
    assert record.error is not None
    assert "1 items were taken in but 3 booked out" in record.error.message


def test_an_exception_is_not_hidden_by_books_with_more_out_than_in():
    def block(books):
        overbook(books)
        raise ZeroDivisionError

    store = MemoryStore()
    with pytest.raises(ZeroDivisionError):
        run_block(Recorder(store), block)
    record = store.get_record(KEY)
    assert record is not None
    assert (record.state, record.failed) == (State.FAILED, {"ZeroDivisionError": 1})


def test_an_undeclared_reason_inside_a_block_fails_it():
    def block(books):
        books.take(["a"])
        books.drop("blured", ["a"])

    store = MemoryStore()
    with pytest.raises(RecordError, match=r"did you mean blurred\?"):
        run_block(Recorder(store, TOPOLOGY), block)
    record = store.get_record(KEY)
    assert record is not None
    assert record.failed == {"RecordError": 1}


def test_an_unknown_task_is_refused_before_any_work():
    store, key = MemoryStore(), make_record("qualitty").key
    with pytest.raises(ConfigError, match=r"unknown task 'qualitty'; did you mean quality\?"):
        work(Recorder(store, TOPOLOGY), key=key)
    assert store.records(RecordQuery()) == []


def test_the_record_comes_last():
    store = MemoryStore()
    with Recorder(store).task(KEY) as books:
        books.take(["a"])
        books.keep(["a"])
        assert store.records(RecordQuery()) == []
    assert len(store.records(RecordQuery())) == 1


def test_a_second_attempt_replaces_the_first():
    store = MemoryStore()
    with pytest.raises(ValueError, match="bad"):
        work(Recorder(store, TOPOLOGY), until=ValueError("bad"))
    with Recorder(store, TOPOLOGY).task(KEY, attempt=2) as books:
        books.take(1)
        books.keep(1)
    record = store.get_record(KEY)
    assert record is not None
    assert (record.attempt, record.state) == (2, State.SUCCEEDED)
    assert len(store.history(KEY)) == 2


def test_a_store_that_fails_is_an_error_and_never_a_silent_success():
    with pytest.raises(StoreError, match="made to fail at commit"):
        work(Recorder(FaultyStore(MemoryStore(), probability=1, seed=0, at=("commit",)), TOPOLOGY))


def test_log_lines_inside_the_block_carry_its_key():
    line = logging.LogRecord("funnelgate.x", logging.INFO, __file__, 1, "hello", None, None)
    with Recorder(MemoryStore()).task(KEY):
        inside = json.loads(EcsFormatter().format(line))
    outside = json.loads(EcsFormatter().format(line))
    assert inside["funnelgate.task"] == "quality"
    assert "funnelgate.task" not in outside

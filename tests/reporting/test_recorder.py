"""The recorder: a record is emitted whatever happens inside the block, and last."""

from __future__ import annotations

import inspect
import json
import logging
from datetime import date, timedelta

import pytest

from reporting.errors import ConfigError, RecordError, StoreError, UsageError, VersionConflict
from reporting.logs import EcsFormatter
from reporting.record import State, TaskRecord
from reporting.recorder import Recorder
from reporting.spool import Spool
from reporting.spool_store import SpoolStore
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


# --- versions -----------------------------------------------------------------------------------------


def records_in(spool):
    return [TaskRecord.model_validate_json(entry.body) for entry in spool.peek(10**6, 10**9)]


def test_without_attempts_the_run_that_ended_later_counts_in_a_spool(tmp_path):
    clock = Clock()
    recorder = Recorder(SpoolStore(Spool(tmp_path)), clock=clock, later_counts=True)
    work(recorder)
    work(recorder, keep=2)
    with recorder.task(KEY, attempt=1) as books:
        books.take(0)
    with recorder.task(KEY, attempt=2) as books:
        books.take(0)
    with Spool(tmp_path) as spool:
        first, second, numbered, again = records_in(spool)
    assert first.version < second.version < again.version
    assert numbered.version == 1 << 32
    assert again.version == 2 << 32
    assert first.version == (1 << 32) + int(first.finished_at.timestamp())


def test_in_a_store_that_looks_back_a_second_run_must_be_a_new_attempt():
    recorder = Recorder(MemoryStore())
    work(recorder)
    with pytest.raises(VersionConflict):
        work(recorder)


def test_a_clock_that_was_put_back_meanwhile_does_not_cost_the_record():
    store = MemoryStore()
    times = iter([MOMENT, MOMENT - timedelta(hours=1)])
    work(Recorder(store, clock=lambda: next(times)))
    record = store.get_record(KEY)
    assert record is not None
    assert record.seconds == 0


# --- the decorator ------------------------------------------------------------------------------------


def test_a_booked_function_keeps_books_under_the_key_of_its_call():
    store = MemoryStore()

    @Recorder(store).booked(task="filter", planid="p1")
    def sift(books, numbers, *, date, category="hats"):
        """Sift."""
        books.take(len(numbers))
        books.keep(len(numbers))
        return sum(numbers)

    assert sift([1, 2], date="2026-11-01") == 3
    assert sift([5], date=date(2026, 11, 2), category="shoes") == 5
    assert [str(record.key) for record in store.records(RecordQuery())] == [
        "filter/2026-11-01/hats/all/p1",
        "filter/2026-11-02/shoes/all/p1",
    ]
    assert (sift.__name__, sift.__doc__) == ("sift", "Sift.")
    assert list(inspect.signature(sift).parameters) == ["numbers", "date", "category"]


def test_a_booked_function_takes_positional_parts_and_attempts():
    store = MemoryStore()

    @Recorder(store).booked(task="filter")
    def sift(books, date, planid, attempt, category=None):
        books.take(attempt)
        books.keep(attempt)

    sift("2026-11-01", "p1", 1)
    sift("2026-11-01", "p1", 2)
    (record,) = store.records(RecordQuery())
    assert (str(record.key), record.attempt, record.input) == ("filter/2026-11-01/all/all/p1", 2, 2)


def test_a_booked_function_that_raises_is_a_failed_record_and_the_same_exception():
    store, error = MemoryStore(), OSError("disk gone")

    @Recorder(store).booked(task="filter", date="2026-11-01", planid="p1")
    def sift(books):
        books.take(["a"])
        raise error

    with pytest.raises(OSError, match="disk gone") as raised:
        sift()
    assert raised.value is error
    (record,) = store.records(RecordQuery())
    assert (record.state, record.failed) == (State.FAILED, {"OSError": 1})


def plain(books): ...


async def coroutine(books, date, planid): ...


def generator(books, date, planid):
    yield


@pytest.mark.parametrize(
    ("function", "parts", "says"),
    [
        (plain, {"task": "t", "planid": "p"}, "nothing tells its date"),
        (plain, {"task": "t", "date": "2026-11-01"}, "nothing tells its planid"),
        (plain, {"categry": "x"}, r"unknown key part 'categry'; did you mean category\?"),
        (coroutine, {"task": "t"}, "use `with recorder.task"),
        (generator, {"task": "t"}, "use `with recorder.task"),
    ],
)
def test_a_function_that_cannot_be_booked_is_refused_when_it_is_decorated(function, parts, says):
    with pytest.raises(UsageError, match=says):
        Recorder(MemoryStore()).booked(**parts)(function)


def test_a_call_with_a_bad_key_is_refused_before_any_work():
    called = []

    @Recorder(MemoryStore()).booked(task="t", planid="p")
    def sift(books, date):
        called.append(date)

    with pytest.raises(UsageError, match=r"call of booked function .*sift.*: date:"):
        sift("yesterday")
    with pytest.raises(TypeError, match="missing a required argument: 'date'"):
        sift()  # type: ignore[call-arg]
    assert called == []

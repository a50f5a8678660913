"""Booking: every item taken in is kept, dropped or failed once, under names the topology declares."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting.booking import Booking
from reporting.digest import Digest
from reporting.errors import RecordError
from reporting.record import MAX_ERROR_CLASSES, Consumed, State, TaskRecord
from reporting.testing import DAY, MOMENT, make_record
from reporting.topology import TaskSpec

RULES = TaskSpec(unit_in="picture", unit_out="picture", drop_reasons=("blurred", "too_small"), metrics=("bytes",))
KEY = make_record("quality").key
END = MOMENT + timedelta(seconds=2)


def open_books(rules=RULES, **changes):
    return Booking(KEY, started_at=MOMENT, rules=rules, **changes)


@given(
    kept=st.lists(st.text("abc", max_size=4), max_size=8),
    dropped=st.dictionaries(
        st.sampled_from(["blurred", "too_small"]), st.lists(st.text("xyz", max_size=4), max_size=5)
    ),
    failed=st.dictionaries(st.sampled_from(["OSError", "ValueError"]), st.integers(0, 5)),
    data=st.data(),
)
def test_books_close_to_what_was_booked_in_any_order(kept, dropped, failed, data):
    books = open_books()
    broken = [f"f{n}" for n in range(sum(failed.values()))]
    steps: list[Callable[[], None]] = [
        partial(books.take, kept),
        partial(books.keep, kept),
        partial(books.take, broken),
    ]
    steps += [partial(books.take, items) for items in dropped.values()]
    steps += [partial(books.drop, reason, items) for reason, items in dropped.items()]
    steps += [partial(books.fail, name, count) for name, count in failed.items()]
    for step in data.draw(st.permutations(steps)):
        step()
    record = books.close(finished_at=END)
    everything = [*kept, *broken, *(item for items in dropped.values() for item in items)]
    assert (record.input, record.output, record.produced) == (len(everything), len(kept), len(kept))
    assert record.dropped == {reason: len(items) for reason, items in dropped.items()}
    assert record.failed == failed
    assert record.digest_in == str(Digest.of(everything))
    assert record.digest_out == str(Digest.of(kept))
    assert record.state is State.SUCCEEDED


@pytest.mark.parametrize(
    ("found", "remedy"),
    [("blured", "did you mean blurred?"), ("xxxx", "expected one of: blurred, too_small")],
)
def test_an_undeclared_drop_reason_names_the_nearest_valid_one(found, remedy):
    with pytest.raises(RecordError) as raised:
        open_books().drop(found, ["a"])
    message = str(raised.value)
    assert str(KEY) in message
    assert f"drop reason {found!r} is not declared for task 'quality'; {remedy}" in message
    assert "pipeline.yaml" in message


def test_a_metric_declared_by_its_beginning_may_be_booked_under_any_name_that_begins_so():
    books = open_books(RULES.model_copy(update={"metrics": ("bytes", "declared_as_*")}))
    for name in ("declared_as_hats", "declared_as_Food-Fruit, fresh", "bytes"):
        books.measure(name, 1)
    for name in ("declared_a", "bytes2", "*", "xdeclared_as_hats"):
        with pytest.raises(RecordError, match="is not declared for task 'quality'"):
            books.measure(name, 1)
    record = books.close(finished_at=END)
    assert set(record.metrics) == {"declared_as_hats", "declared_as_Food-Fruit, fresh", "bytes"}


def test_an_undeclared_metric_names_the_nearest_valid_one():
    with pytest.raises(RecordError, match=r"metric 'byte' is not declared for task 'quality'; did you mean bytes\?"):
        open_books().measure("byte", 1)


def test_a_task_without_reasons_says_that_none_are_declared():
    with pytest.raises(RecordError, match="none are declared"):
        open_books(TaskSpec(unit_in="a", unit_out="a")).drop("blurred", 1)


def test_without_a_topology_any_name_may_be_booked():
    books = open_books(rules=None)
    books.take(1)
    books.drop("whatever", 1)
    books.measure("anything", 2)
    record = books.close(finished_at=END)
    assert (record.dropped, record.metrics) == ({"whatever": 1}, {"anything": 2.0})


def test_error_classes_beyond_the_cap_are_summed_in_other():
    books, classes = open_books(), MAX_ERROR_CLASSES + 7
    books.take(2 * classes)
    for _ in range(2):
        for number in range(classes):
            books.fail(f"Error{number}", 1)
    record = books.close(finished_at=END)
    assert record.failed == {**{f"Error{n}": 2 for n in range(MAX_ERROR_CLASSES)}, "other": 14}


def test_an_exception_is_booked_under_its_class():
    books = open_books()
    books.take(["a"])
    books.fail(ValueError("no"), ["a"])
    assert books.close(finished_at=END).failed == {"ValueError": 1}


@pytest.mark.parametrize(("kept", "lost"), [(2, 1), (4, -1)])
def test_items_not_booked_or_booked_twice_are_refused_with_the_numbers(kept, lost):
    books = open_books()
    books.take(4)
    books.keep(kept)
    books.drop("blurred", 1)
    with pytest.raises(RecordError, match=rf"4 items were taken in but {4 - lost} booked out \(kept {kept}, dropped"):
        books.close(finished_at=END)


def test_with_an_error_what_is_not_booked_yet_failed_by_it():
    books = open_books()
    books.take(10)
    books.keep(3)
    books.drop("blurred", 2)
    record = books.close(finished_at=END, error=OSError("disk full"))
    assert (record.state, record.failed) == (State.FAILED, {"OSError": 5})
    assert record.error is not None
    assert (record.error.error_class, record.error.message) == ("OSError", "disk full")


def test_with_an_error_before_anything_was_read_the_expected_input_failed():
    record = open_books().close(finished_at=END, error=OSError("no disk"), input_if_unread=7)
    assert (record.input, record.output, record.failed) == (7, 0, {"OSError": 7})


def test_an_endless_error_message_is_cut():
    record = open_books().close(finished_at=END, error=OSError("x" * 10_000_000))
    assert record.error is not None
    assert len(record.error.message) == 2000


def test_what_is_produced_is_counted_apart_once_the_unit_changes():
    books = open_books()
    books.take(["a"])
    books.keep(["a"])
    books.produce(["a#0", "a#1"])
    record = books.close(finished_at=END)
    assert (record.output, record.produced) == (1, 2)
    assert record.digest_out == str(Digest.of(["a#0", "a#1"]))


def test_produced_may_be_nothing():
    books = open_books()
    books.take(["a"])
    books.keep(["a"])
    books.produce([])
    assert books.close(finished_at=END).produced == 0


def test_a_count_without_ids_has_no_digest_but_a_count_of_none_does_not_spoil_one():
    books = open_books()
    books.take(["a"])
    books.take(0)
    books.keep(1)
    record = books.close(finished_at=END)
    assert record.digest_in == str(Digest.of(["a"]))
    assert record.digest_out is None


@pytest.mark.parametrize("book", ["take", "keep", "produce", "drop", "fail"])
def test_a_negative_count_is_refused(book):
    arguments = ("blurred", -1) if book in ("drop", "fail") else (-1,)
    with pytest.raises(RecordError, match="cannot book -1 items"):
        getattr(open_books(), book)(*arguments)


def test_what_was_consumed_and_used_is_in_the_record():
    books = open_books(attempt=3)
    consumed = Consumed(task="download", date=DAY, planid="daily", count=0)
    books.consume(consumed)
    books.use("model", "m2")
    record = books.close(finished_at=END, emit=5)
    assert record.consumed == (consumed,)
    assert record.versions == {"model": "m2"}
    assert (record.attempt, record.version) == (3, 3 * 2**32 + 5)
    assert record.seconds == 2.0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_metric_that_json_has_no_number_for_is_refused(value):
    with pytest.raises(RecordError, match="book a finite number"):
        open_books().measure("bytes", value)


def test_a_failure_over_a_name_that_is_no_utf8_is_booked_all_the_same():
    error = FileNotFoundError("b\udcff.jpg")
    record = open_books().close(finished_at=END, error=error)
    assert record.error.message == r"b\udcff.jpg"
    assert TaskRecord.model_validate_json(record.model_dump_json()) == record

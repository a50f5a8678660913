"""Measures: their names are checked against the task, and what a record holds is read off as one number."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting.errors import ConfigError
from reporting.measures import PLAIN, Measure, amount_of, parse_measure, read_measure, value_of
from reporting.record import State
from reporting.testing import MOMENT, make_record
from reporting.topology import TaskSpec

TASK = TaskSpec(unit_in="a", unit_out="b", drop_reasons=("blurred", "too.small"), metrics=("bytes", "declared_as_*"))
RECORD = make_record(
    input=100,
    dropped={"blurred": 7, "too.small": 3},
    failed={"OSError": 4, "http.Timeout": 1},
    produced=170,
    metrics={"bytes": -0.5, "zero": 0.0},
    started_at=MOMENT - timedelta(seconds=61, microseconds=7),
)


@pytest.mark.parametrize(
    ("measure", "value"),
    [
        ("input", 100),
        ("output", 85),
        ("produced", 170),
        ("dropped", 10),
        ("failed", 5),
        ("records", 1),
        ("seconds", 61.000007),
        ("dropped.blurred", 7),
        ("dropped.too.small", 3),
        ("failed.OSError", 4),
        ("failed.http.Timeout", 1),
        ("metrics.bytes", -0.5),
        ("metrics.zero", 0),
    ],
)
def test_a_record_has_one_number_for_each_measure(measure, value):
    assert value_of(RECORD, measure) == value == value_of(RECORD, read_measure(measure))
    assert type(value_of(RECORD, measure)) is float


def test_a_reason_nobody_was_dropped_for_is_zero_and_a_metric_nobody_booked_is_unknown():
    assert (value_of(RECORD, "dropped.off_shelf"), value_of(RECORD, "failed.KeyError")) == (0.0, 0.0)
    assert value_of(RECORD, "metrics.live") is None
    assert amount_of(RECORD, Measure("metrics", "live")) is None


def test_a_record_that_failed_or_was_skipped_is_measured_like_any_other():
    skipped = make_record(input=0, state=State.SKIPPED)
    assert [value_of(skipped, name) for name in PLAIN] == [0, 0, 0, 0, 0, 1, 60]


@given(st.integers(0, 10**9), st.integers(0, 999_999))
def test_seconds_are_added_up_as_whole_microseconds(seconds, micros):
    took = timedelta(seconds=seconds, microseconds=micros)
    record = make_record(started_at=MOMENT - took, finished_at=MOMENT)
    assert amount_of(record, Measure("seconds")) == seconds * 1_000_000 + micros
    assert value_of(record, "seconds") == record.seconds


@pytest.mark.parametrize("text", [*PLAIN, "dropped.too.small", "failed.Any, thing: at all", "metrics.declared_as_hats"])
def test_what_the_task_declares_is_a_measure_and_can_be_taken_apart(text):
    assert parse_measure(text, TASK, "here") == text == read_measure(text).text


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("inputs", "did you mean input"),
        ("dropped.blured", r"did you mean dropped\.blurred"),
        ("metrics.byte", r"did you mean metrics\.bytes"),
        ("metrics.declared_as_*", r"did you mean metrics\.declared_as_\*"),
        ("dropped.", "did you mean dropped"),
        ("dropped", ""),
        ("Output", "did you mean output"),
        ("", "expected one of: dropped, dropped.blurred"),
        ("seconds.total", "did you mean seconds"),
        ("output.x", "did you mean output"),
    ],
)
def test_an_unknown_measure_is_named_with_its_place_and_the_nearest(text, hint):
    if not hint:
        assert parse_measure(text, TASK, "checks.yaml:7") == text
        return
    with pytest.raises(ConfigError, match=f"^checks.yaml:7: unknown measure .*{hint}"):
        parse_measure(text, TASK, "checks.yaml:7")


@pytest.mark.parametrize("text", ["", ".", "metrics.", "metrics", "latency", ".input", "input.x", "seconds.s"])
def test_what_is_no_measure_of_any_task_cannot_be_read(text):
    with pytest.raises(ConfigError, match="unknown measure"):
        read_measure(text)
    with pytest.raises(ConfigError, match="unknown measure"):
        value_of(RECORD, text)


@given(st.text(max_size=30))
def test_any_text_is_a_measure_or_a_configuration_error(text):
    head, _, name = text.partition(".")
    if text in PLAIN or (head in ("dropped", "failed", "metrics") and name):
        assert read_measure(text).text == text
    else:
        with pytest.raises(ConfigError) as raised:
            read_measure(text)
        assert repr(text) in str(raised.value)

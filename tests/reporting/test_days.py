"""Days, moments and keys as people write them; anything else says how to write it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from datetime import date as Date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting.days import latest_day, parse_day, parse_key, parse_moment, span
from reporting.errors import UsageError
from reporting.stores.memory import MemoryStore
from reporting.testing import DAY, make_plan, make_record

LAST = DAY + timedelta(days=6)


def store_with_days():
    store = MemoryStore()
    with store.begin() as work:
        work.put_plan(make_plan("a", dates=(DAY, DAY + timedelta(days=1))))
        work.put_plan(make_plan("b", dates=(LAST,)))
    return store


@given(day=st.dates())
def test_a_day_reads_back(day):
    assert parse_day(day.isoformat()) == day


@pytest.mark.parametrize(
    "text",
    ["", "2026-13-01", "2026-02-30", "01.11.2026", "2026-11-1", "20261101", "2026-W44-7", "today", "2026-11-01T00"],
)
def test_another_form_of_a_day_is_refused_and_shown_how(text):
    with pytest.raises(UsageError) as raised:
        parse_day(text)
    assert str(raised.value) == f"{text!r} is no day; write it YYYY-MM-DD, as in 2026-11-01"


def test_a_moment_without_a_zone_is_utc():
    assert parse_moment("2026-11-01T06:00:00") == datetime(2026, 11, 1, 6, tzinfo=UTC)
    assert parse_moment("2026-11-01") == datetime(2026, 11, 1, tzinfo=UTC)
    assert parse_moment("2026-11-01T06:00:00Z") == datetime(2026, 11, 1, 6, tzinfo=UTC)
    shanghai = timezone(timedelta(hours=8))
    assert parse_moment("2026-11-01T14:00:00+08:00") == datetime(2026, 11, 1, 14, tzinfo=shanghai)
    assert parse_moment(None) is None


def test_another_form_of_a_moment_is_refused():
    with pytest.raises(UsageError, match=r"'yesterday' is no moment; write it as in 2026-11-01T06:00:00"):
        parse_moment("yesterday")


def test_a_key_reads_back():
    key = make_record("embed", category="鞋 & co", subinstance="0003").key
    assert parse_key(str(key)) == key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("embed/2026-11-01", "has 2 parts; a key is task/date/category/subinstance/planid"),
        ("embed/2026-11-31/a/b/p", "Input should be a valid date"),
        ("embed/2026-11-01//b/p", "1 to 128 characters"),
    ],
)
def test_another_form_of_a_key_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_key(text)


@pytest.mark.parametrize(
    ("date", "first", "last", "expected"),
    [
        ("2026-11-03", None, None, (Date(2026, 11, 3), Date(2026, 11, 3))),
        (None, None, None, (DAY, LAST)),
        (None, "2026-11-02", None, (Date(2026, 11, 2), LAST)),
        (None, None, "2026-11-02", (DAY, Date(2026, 11, 2))),
        (None, "2025-01-01", "2027-01-01", (Date(2025, 1, 1), Date(2027, 1, 1))),
    ],
)
def test_a_span_is_what_the_options_say_and_else_all_days_that_have_plans(date, first, last, expected):
    assert span(store_with_days(), date, first, last) == expected


def test_the_latest_day_is_the_last_that_has_a_plan():
    assert latest_day(store_with_days()) == LAST


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(UsageError, match="either --date, or --from and --to"):
        span(store_with_days(), "2026-11-01", "2026-11-01", None)
    with pytest.raises(UsageError, match="--to 2026-11-01 is before --from 2026-11-02; swap them"):
        span(store_with_days(), None, "2026-11-02", "2026-11-01")


def test_where_nothing_has_been_run_the_message_says_how_to_begin():
    for ask in (lambda: span(MemoryStore(), None, None, None), lambda: latest_day(MemoryStore())):
        with pytest.raises(UsageError, match="nothing has been run here yet; begin with `funnelgate run"):
            ask()

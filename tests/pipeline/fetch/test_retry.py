"""Back-off stays in its bounds, and a server's wish is read in both its forms."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.fetch.policy import FetchPolicy
from pipeline.fetch.retry import backoff_seconds, retry_after_seconds

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0.0),
        ("0", 0.0),
        (" 17 ", 17.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("soon", 0.0),
        ("²", 0.0),
        ("9" * 5000, float("inf")),
        ("Thu, 01 Jan 2026 12:01:00 GMT", 60.0),
        ("Thu, 01 Jan 2026 12:01:00 -0000", 60.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("Thu, 99 Jan 2026 12:01:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_nonsense_is_no_wait(value, seconds):
    assert retry_after_seconds(value, NOON) == seconds


@given(st.integers(0, 10**6), st.integers(-12, 12))
def test_a_date_means_the_same_in_every_time_zone(seconds, hours):
    there = (NOON + timedelta(seconds=seconds)).astimezone(timezone(timedelta(hours=hours)))
    assert retry_after_seconds(format_datetime(there), NOON) == seconds


@given(st.integers(1, 20), st.integers(0, 2**32))
def test_backoff_lies_between_zero_and_the_doubled_base_or_the_cap(attempt, seed):
    limits = FetchPolicy(backoff_base_seconds=0.5, backoff_cap_seconds=10)
    found = backoff_seconds(attempt, limits, random.Random(seed).uniform)
    assert 0 <= found <= min(10, 0.5 * 2 ** (attempt - 1))


def test_the_upper_bound_doubles_until_the_cap():
    limits = FetchPolicy(backoff_base_seconds=0.5, backoff_cap_seconds=3)
    assert [backoff_seconds(n, limits, lambda _, high: high) for n in range(1, 6)] == [0.5, 1, 2, 3, 3]

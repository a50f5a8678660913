"""When a day is looked at: on the morning after by the wall clock of the business, summer time or not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from datetime import date as Date

import pytest

from checks.moments import business_days, overdue_at, parse_clock, parse_span, replay_moments, settled_at
from reporting.errors import UsageError
from reporting.topology import Topology

DAY = Date(2026, 11, 1)


def graph(timezone: str = "UTC", **deadlines: str) -> Topology:
    tasks = {name: {"unit_in": "row", "unit_out": "row", "deadline": at} for name, at in deadlines.items()}
    return Topology.model_validate(
        {"timezone": timezone, "tasks": tasks or {"only": {"unit_in": "a", "unit_out": "b"}}}
    )


def test_a_day_is_settled_twenty_minutes_after_the_last_deadline_of_the_morning_after():
    assert settled_at(graph("Asia/Shanghai"), DAY) == datetime(2026, 11, 2, 4, 20, tzinfo=UTC)  # noon there
    found = settled_at(Topology.model_validate(graph("Asia/Shanghai").model_dump()), DAY, "07:30")
    assert found == datetime(2026, 11, 1, 23, 30, tzinfo=UTC)
    two = Topology.model_validate(
        {
            "timezone": "UTC",
            "tasks": {
                "a": {"unit_in": "x", "unit_out": "x", "deadline": "02:00"},
                "b": {"unit_in": "x", "unit_out": "x", "deadline": "06:00"},
            },
            "edges": [{"from": "a", "to": "b"}],
        }
    )
    assert settled_at(two, DAY) == datetime(2026, 11, 2, 6, 20, tzinfo=UTC)
    assert overdue_at(two, DAY) == datetime(2026, 11, 2, 2, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("date", "hours"), [(Date(2026, 10, 23), 25), (Date(2026, 3, 27), 23), (DAY, 24)], ids=["autumn", "spring", "plain"]
)
def test_the_second_look_is_at_the_same_clock_of_the_next_morning(date, hours):
    """Berlin puts its clocks back in the night to 2026-10-25, and forward in that to 2026-03-29."""
    first, second = replay_moments(graph("Europe/Berlin"), date, every=timedelta(days=1))
    assert second - first == timedelta(hours=hours)


def test_looks_come_every_so_often_until_the_next_morning():
    found = list(replay_moments(graph(), DAY, every=timedelta(hours=6), clock="06:00"))
    assert found == [datetime(2026, 11, 2, 6, tzinfo=UTC) + timedelta(hours=6 * n) for n in range(5)]
    assert len(list(replay_moments(graph(), DAY, every=timedelta(hours=25)))) == 1


def test_the_days_that_are_watched_end_with_that_of_the_business_and_not_of_utc():
    late = datetime(2026, 11, 1, 17, 0, tzinfo=UTC)  # 01:00 on the 2nd in Shanghai
    assert business_days(graph("Asia/Shanghai"), late, 1) == [Date(2026, 11, 1), Date(2026, 11, 2)]
    assert business_days(graph(), late, 0) == [Date(2026, 11, 1)]


def test_lengths_of_time_and_clocks_are_read_as_people_write_them():
    assert parse_span("1h30m", "--every") == timedelta(minutes=90)
    assert parse_span("90s", "--every") == timedelta(seconds=90)
    assert parse_clock("7:05", "--at") == "07:05"
    assert parse_clock(None, "--at") is None


@pytest.mark.parametrize("text", ["", "0m", "5", "1.5", "-5m", "soon", "5 parsecs", "nan", "m"])
def test_what_is_no_length_of_time_is_refused_with_its_option(text):
    with pytest.raises(UsageError, match="--every"):
        parse_span(text, "--every")


@pytest.mark.parametrize("text", ["", "25:00", "7", "07:60", "noon"])
def test_what_is_no_clock_is_refused_with_its_option(text):
    with pytest.raises(UsageError, match="--at"):
        parse_clock(text, "--at")

"""Fresh: the truth table moment by moment, deadlines in zones with daylight saving, and what may stand in the file."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from datetime import date as Date
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from checks.kinds.base import Finding
from checks.kinds.fresh import DAYS, Fresh, due_at
from checks.result import Status
from checks.view import View
from reporting.errors import ConfigError
from reporting.plans import Leaf, PlanKind
from reporting.testing import DAY, make_plan, make_record
from reporting.topology import Topology
from tests.checks.world import CATEGORIES, TOPOLOGY, World

MORNING = datetime.combine(DAY + timedelta(days=1), time(0), UTC)
MERGE = Leaf("merge", DAY, "shoes")


def fresh(**keys) -> Fresh:
    return Fresh.model_validate({"id": "on-time", "kind": "fresh", **keys})


def found(view: View, task: str = "merge", **keys) -> Finding:
    (finding,) = fresh(tasks=[task], **keys).judge(view)
    return finding


def at(world: World, clock: str) -> View:
    return world.view(DAY, as_of=datetime.combine(MORNING, time.fromisoformat(clock), UTC), digests=False)


def test_work_that_is_done_in_time_passes_for_each_task_with_a_deadline():
    findings = list(fresh().judge(World().view(DAY, digests=False)))
    assert [(one.instance, one.status) for one in findings] == [
        (task, Status.PASS) for task in ("collect", "merge", "release")
    ]


@pytest.mark.parametrize(
    ("clock", "status", "counts"),
    [
        ("00:30", Status.NOT_EVALUATED, False),
        ("04:39", Status.NOT_EVALUATED, False),
        ("04:40", Status.NOT_EVALUATED, True),
        ("04:59", Status.NOT_EVALUATED, True),
        ("05:00", Status.FAIL, True),
        ("05:10", Status.FAIL, True),
    ],
)
def test_a_missing_leaf_is_waited_for_until_its_deadline_and_then_fails(clock, status, counts):
    """Merge is due at 05:00 of the next morning, and 20 minutes before that what is missing counts."""
    one = found(at(World().lose(MERGE), clock))
    assert (one.status, one.counts) == (status, counts)
    if status is Status.FAIL:
        assert (one.numerator, one.denominator) == (2, 3)
        assert one.details["minutes_late"] == int(clock[3:])
        assert one.details["missing"] == ["merge shoes"]


@pytest.mark.parametrize(
    ("minutes", "status"), [(0, Status.PASS), (1, Status.WARN), (30, Status.WARN), (31, Status.FAIL)]
)
def test_late_leaves_warn_or_fail_by_the_latest_of_them(minutes, status):
    arrives = next(r for r in World().day(DAY, digests=False).records if r.key.task == "merge").finished_at
    deadline = datetime.combine(MORNING, time(5), UTC)
    world = World().delay("merge", {"category": "shoes"}, deadline - arrives + timedelta(minutes=minutes))
    one = found(world.view(DAY, digests=False))
    assert (one.status, one.details["minutes_late"]) == (status, minutes)
    assert (one.value, one.expected, one.denominator) == (3 if status is Status.PASS else 2, 3, 3)


def test_lateness_is_judged_by_the_levels_of_the_check():
    world = World().delay("merge", {"category": "shoes"}, timedelta(hours=3))  # until 05:50
    assert found(world.view(DAY, digests=False), levels={"warn": "1h", "page": "2h"}).status is Status.PASS
    assert found(world.view(DAY, digests=False), levels={"warn": "45m", "page": "2h"}).status is Status.WARN


def test_the_table_of_a_break_names_the_leaves_that_are_not_there_in_time():
    world = World().delay("merge", {"category": "bags"}, timedelta(hours=4)).lose(MERGE)
    table = found(world.view(DAY, digests=False)).table
    assert table is not None
    assert table.exact
    assert dict(zip(table.values, table.actual, strict=True)) == {("bags",): 0, ("hats",): 1, ("shoes",): 0}
    assert set(table.expected) == {1}


def test_a_repair_does_not_make_late_what_had_come_in_time():
    world = World().shrink("embed", {"category": "shoes"}, 0.5).rerun("r1", ("embed",), categories=("shoes",))
    assert found(world.view(DAY, digests=False)).status is Status.PASS


def test_a_leaf_that_only_a_repair_brought_is_as_late_as_the_repair():
    world = World().lose(MERGE).rerun("r1", ("merge",), categories=("shoes",))
    one = found(world.view(DAY, digests=False))
    assert one.status is Status.FAIL
    assert one.details["minutes_late"] > 5 * 60
    assert one.details["late"] == ["merge shoes"]


def test_a_repair_that_is_not_promoted_delivers_nothing():
    world = World().lose(MERGE).rerun("r1", ("merge",), categories=("shoes",), promoted=False)
    assert found(world.view(DAY, digests=False)).details["missing"] == ["merge shoes"]


def test_a_failed_record_is_no_delivery():
    assert found(World().fail("collect", {}, 0.1).view(DAY, digests=False), "collect").status is Status.FAIL


def test_a_task_of_a_day_without_any_plan_fails_after_its_deadline():
    view = View(topology=TOPOLOGY, date=DAY, as_of=datetime.combine(MORNING, time(6), UTC), records=())
    one = found(view)
    assert (one.status, one.value, one.expected) == (Status.FAIL, 0, 1)


def test_an_open_plan_that_names_no_leaves_never_passes():
    """Some leaves are there in time, but nobody knows how many there will be."""
    early = datetime.combine(MORNING, time(1), UTC)
    plan = make_plan(created_at=early)
    records = [make_record("merge", category="shoes", reported_at=early)]
    for clock, counts in (("02:00", False), ("06:00", True)):
        as_of = datetime.combine(MORNING, time.fromisoformat(clock), UTC)
        view = View(topology=TOPOLOGY, date=DAY, as_of=as_of, records=records, plans=[plan])
        assert (found(view).status, found(view).counts) == (Status.NOT_EVALUATED, counts)
    done = replace(view, plans=[make_plan(created_at=early, completed_at=as_of)])
    assert found(done).status is Status.PASS


def test_a_plan_that_ended_without_a_leaf_of_the_task_owes_nothing_and_passes_nothing():
    early = datetime.combine(MORNING, time(1), UTC)
    as_of = early + timedelta(hours=5)
    plan = make_plan(created_at=early, completed_at=early)
    view = View(topology=TOPOLOGY, date=DAY, as_of=as_of, records=(), plans=[plan])
    assert found(view).status is Status.NOT_EVALUATED


def test_a_day_that_only_a_backfill_has_done_has_no_deadline():
    as_of = MORNING + timedelta(days=30)
    backfill = make_plan("b1", PlanKind.BACKFILL, created_at=MORNING, completed_at=as_of, promoted_at=as_of)
    records = [make_record("merge", category="shoes", planid="b1", reported_at=as_of)]
    view = View(topology=TOPOLOGY, date=DAY, as_of=as_of, records=records, plans=[backfill])
    assert (found(view).status, found(view).counts) == (Status.NOT_EVALUATED, False)
    daily = make_plan(created_at=MORNING)
    assert found(replace(view, plans=[backfill, daily])).status is Status.FAIL


def test_on_other_weekdays_no_deadline_holds():
    view = World().lose(MERGE).view(DAY, digests=False)
    today = DAYS[DAY.weekday()]
    other = DAYS[(DAY.weekday() + 1) % 7]
    assert found(view, days=[today]).status is Status.FAIL
    one = found(view, days=[other])
    assert (one.status, one.counts) == (Status.NOT_EVALUATED, False)


def test_the_deadline_is_of_the_zone_of_the_task_graph():
    """05:00 in Shanghai is 21:00 UTC of the business day itself: what comes at 02:50 UTC is six hours late."""
    topology = TOPOLOGY.model_copy(update={"timezone": "Asia/Shanghai"})
    one = found(World(topology=topology).view(DAY, digests=False))
    assert one.status is Status.FAIL
    assert one.details["deadline"] == f"{DAY}T21:00:00+00:00"


@pytest.mark.parametrize("days", [0, 2])
def test_deadlines_may_lie_on_another_day(days):
    view = World().lose(MERGE).view(DAY, as_of=datetime.combine(MORNING, time(7), UTC), digests=False)
    assert found(view, deadline_days=days).status is (Status.FAIL if days == 0 else Status.NOT_EVALUATED)


@given(order=st.permutations(range(12)))
def test_the_order_of_records_does_not_matter(order):
    view = _LATE_VIEW
    records = [r for r in view.records if r.key.task in ("merge", "collect", "index", "release")]
    shuffled = [records[n] for n in order if n < len(records)] + records[len(order) :]
    assert list(fresh().judge(replace(view, records=shuffled)))[1].details == found(view).details


_LATE_VIEW = World().delay("merge", {"category": CATEGORIES[0]}, timedelta(hours=3)).view(DAY, digests=False)


# Deadlines -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("date", "clock", "zone", "expected"),
    [
        (Date(2026, 11, 1), "04:30", "UTC", "2026-11-02T04:30:00+00:00"),
        (Date(2026, 11, 1), "04:30", "Asia/Shanghai", "2026-11-01T20:30:00+00:00"),
        # New York, 8 March 2026: 02:00 EST becomes 03:00 EDT at 07:00 UTC. 02:30 is never shown.
        (Date(2026, 3, 7), "01:59", "America/New_York", "2026-03-08T06:59:00+00:00"),
        (Date(2026, 3, 7), "02:00", "America/New_York", "2026-03-08T07:00:00+00:00"),
        (Date(2026, 3, 7), "02:30", "America/New_York", "2026-03-08T07:00:00+00:00"),
        (Date(2026, 3, 7), "03:00", "America/New_York", "2026-03-08T07:00:00+00:00"),
        (Date(2026, 3, 7), "05:00", "America/New_York", "2026-03-08T09:00:00+00:00"),
        # 1 November 2026: 02:00 EDT becomes 01:00 EST at 06:00 UTC. 01:30 is shown twice.
        (Date(2026, 10, 31), "01:30", "America/New_York", "2026-11-01T05:30:00+00:00"),
        (Date(2026, 10, 31), "05:00", "America/New_York", "2026-11-01T10:00:00+00:00"),
        # Lord Howe moves by half an hour: 4 October 2026, 02:00 becomes 02:30 at 15:30 UTC of the 3rd.
        (Date(2026, 10, 3), "02:10", "Australia/Lord_Howe", "2026-10-03T15:30:00+00:00"),
        # Samoa had no 30 December 2011: after the 29th, 24:00 (10:00 UTC of the 30th) came the 31st, 00:00.
        (Date(2011, 12, 29), "08:00", "Pacific/Apia", "2011-12-30T10:00:00+00:00"),
    ],
)
def test_a_deadline_is_the_moment_the_clock_first_shows_it_or_has_passed_it(date, clock, zone, expected):
    assert due_at(date, clock, zone).isoformat() == expected


@given(
    date=st.dates(Date(1995, 1, 1), Date(2036, 12, 1)),
    minutes=st.integers(0, 24 * 60 - 1),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo"]),
    turn=st.booleans(),
)
def test_a_deadline_is_the_first_minute_whose_local_time_has_come(date, minutes, zone, turn):
    """The oracle goes through the minutes of UTC one by one."""
    if turn:  # most days do not turn the clock; take the last Sunday of March or of October
        date = Date(date.year, 3 if date.day % 2 else 10, 31)
        date -= timedelta(days=(date.weekday() + 1) % 7 + 1)
    clock = f"{minutes // 60:02}:{minutes % 60:02}"
    wanted = datetime.combine(date + timedelta(days=1), time.fromisoformat(clock))
    moment = wanted.replace(tzinfo=UTC) - timedelta(hours=15)
    while moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None) < wanted:
        ahead = wanted - moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        # Whole hours as long as no turn of the clock (two hours at most) can lie between.
        moment += timedelta(hours=1) if ahead > timedelta(hours=4) else timedelta(minutes=1)
    assert due_at(date, clock, zone) == moment


# The file ------------------------------------------------------------------------------------------------------------


def test_times_are_minutes_or_text_with_a_unit():
    one = fresh(grace="1h30m", levels={"warn": 5, "page": "2 h"})
    assert (one.grace, one.levels.warn, one.levels.page) == (90, 5, 120)
    assert fresh(grace="90s").grace == 1.5


@pytest.mark.parametrize("bad", ["", "soon", "30", "1h30", "-5m", "m", "1h 30x", None, -1, float("nan"), float("inf")])
def test_what_is_no_time_is_refused(bad):
    with pytest.raises(ValidationError):
        fresh(grace=bad)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (["mon..sun"], DAYS),
        (["sat..mon"], ("mon", "sat", "sun")),
        (["fri", "mon..tue", "tue"], ("mon", "tue", "fri")),
    ],
)
def test_days_may_be_ranges(written, meant):
    assert fresh(days=written).days == tuple(meant)


@pytest.mark.parametrize("bad", ["mon..sun", [], ["Monday"], ["mon..wed..fri"], ["mon.."], [1], [None]])
def test_what_is_no_day_is_refused(bad):
    with pytest.raises(ValidationError):
        fresh(days=bad)


def test_a_warning_later_than_the_page_is_refused():
    with pytest.raises(ValidationError, match="must not be later"):
        fresh(levels={"warn": "1h", "page": "30m"})


def test_a_named_task_needs_a_deadline_and_all_means_those_that_have_one():
    with pytest.raises(ConfigError, match=r"'embed' has no `deadline`"):
        fresh(tasks=["embed"]).expand(TOPOLOGY)
    with pytest.raises(ConfigError, match=r"did you mean merge\?"):
        fresh(tasks=["merges"]).expand(TOPOLOGY)
    with pytest.raises(ConfigError, match="no task has a `deadline`"):
        fresh().expand(Topology.model_validate({"tasks": {"a": {"unit_in": "row", "unit_out": "row"}}}))
    assert [one.task for one in fresh(**{"except": ["merge"]}).expand(TOPOLOGY)] == ["collect", "release"]


@pytest.mark.parametrize("zone", ["Asia/Shangai", "", "../etc/passwd", "Asia"])
def test_an_unknown_zone_is_an_error_of_the_task_graph(zone):
    with pytest.raises(ConfigError, match=r"pipeline\.yaml: timezone"):
        fresh().expand(TOPOLOGY.model_copy(update={"timezone": zone}))

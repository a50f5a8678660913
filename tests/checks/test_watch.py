"""Watching judges what is due, tells what is new once, and somebody else can see that it still does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from checks.acting import handle
from checks.clock import tick_until_told
from checks.handling import snooze
from checks.incident_store import list_incidents
from checks.incidents import Event, IncidentState
from checks.run import run_checks
from checks.sinks.base import Fate, Notice, Sent
from checks.sinks.settings import LogSink
from checks.watch import EXPIRE_DAYS, Watcher, ask_alive, due_days
from reporting.errors import EXIT_FAILED, EXIT_OK, StoreError
from reporting.plans import Leaf
from reporting.stores import open_store
from reporting.stores.memory import MemoryStore
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import iso
from reporting.tables import check_run, evaluation
from reporting.testing import DAY, make_plan
from tests.checks.command import call, new_project
from tests.checks.rule_sets import load_text
from tests.checks.world import TOPOLOGY, World, noon

NEXT = DAY + timedelta(days=1)
RULES = load_text("version: 1\nchecks: [{id: there, kind: complete}, {id: edges, kind: reconcile}]\n")


class Heard:
    """A sink that remembers."""

    name = "heard"
    timeout_seconds = 1.0

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def send(self, notice: Notice) -> Fate:
        self.notices.append(notice)
        return Sent()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days of which the first has lost a package, and the two before them that their windows read."""
    path = tmp_path_factory.mktemp("watch") / "store.db"
    with open_store(f"sqlite:///{path}") as opened:
        days = [DAY - timedelta(days=2), DAY - timedelta(days=1), DAY, NEXT]
        World().ruin(Leaf("crop", DAY, "all", "0002")).put(opened, days, digests=False)
    return path


@pytest.fixture
def store(written: Path, tmp_path: Path) -> Iterator[SqlStore]:
    with open_store(f"sqlite:///{shutil.copy(written, tmp_path / 'store.db')}") as opened:
        yield opened


@pytest.fixture
def heard() -> Heard:
    return Heard()


def watcher(store: SqlStore, heard: Heard, owner: str = "one", **options: Any) -> Watcher:
    shared: dict[str, Any] = {
        "sinks": [LogSink(kind="log", name="heard")],
        "opened": [heard],
        "days": 2,
        "lease_seconds": 900,
    }
    return Watcher(store, options.pop("records", store), TOPOLOGY, RULES, owner=owner, **shared, **options)


def rows(store: SqlStore, table: Any) -> list[Any]:
    with store.read() as connection:
        return list(connection.execute(select(table)))


def test_a_tick_judges_the_days_that_are_due_and_sends_what_is_new(store, heard):
    tick = watcher(store, heard).tick(noon(DAY) + timedelta(days=1))
    assert [(run.date, run.status) for run in tick.runs] == [(DAY, "fail"), (NEXT, "pass")]
    assert (tick.leader, tick.sent, tick.errors) == (True, 1, ())
    (notice,) = heard.notices
    assert (notice.event, notice.incident.key.task, notice.incident.date) == (Event.TRIGGER, "crop", DAY)


def test_more_ticks_over_the_same_data_tell_nothing_more(store, heard):
    one = watcher(store, heard)
    ticks = [one.tick(noon(NEXT) + timedelta(minutes=5 * n)) for n in range(3)]
    assert [tick.sent for tick in ticks] == [1, 0, 0]
    assert len(heard.notices) == 1


def test_a_day_of_which_nothing_is_new_is_not_judged_again_and_the_look_is_booked(store, heard):
    """The first judgement changes incidents, which it has to be seen to have done; from then on nothing does."""
    one = watcher(store, heard)
    ticks = [one.tick(noon(NEXT) + timedelta(minutes=5 * n)) for n in range(4)]
    assert [[run.judged for run in tick.runs] for tick in ticks] == [
        [True, True],
        [True, False],
        [False, False],
        [False, False],
    ]
    assert {tuple((run.date, run.status) for run in tick.runs) for tick in ticks} == {((DAY, "fail"), (NEXT, "pass"))}
    runs = {row.run_id: row for row in rows(store, check_run)}
    judged = {row.run_id for row in rows(store, evaluation)}
    assert judged == {run.run_id for tick in ticks for run in tick.runs if run.judged}
    for run in ticks[3].runs:
        row = runs[run.run_id]
        assert (row.date, row.status, row.results, row.started_at) == (run.date, run.status, 0, iso(ticks[3].at))
        assert json.loads(row.body)["unchanged_since"] in judged
    found = ask_alive(store, store, TOPOLOGY, ticks[3].at, within=timedelta(minutes=1), days=2)
    assert (found.alive, found.last_run) == (True, ticks[3].at)


def test_a_day_is_judged_again_when_a_record_comes_a_deadline_passes_or_an_hour_is_over(store, heard):
    one = watcher(store, heard)
    start = noon(NEXT)
    for minute in range(3):
        one.tick(start + timedelta(minutes=minute))
    assert not any(run.judged for run in one.tick(start + timedelta(minutes=3)).runs)
    World().ruin(Leaf("crop", DAY, "all", "0002")).rerun("again", ["embed"], on=NEXT).put(store, [NEXT], digests=False)
    assert all(run.judged for run in one.tick(start + timedelta(minutes=4)).runs)
    one.tick(start + timedelta(minutes=5))
    judged = [one.tick(start + timedelta(minutes=minutes)).runs[0].judged for minutes in (30, 63, 64, 65)]
    assert judged == [False, False, True, False]


@pytest.mark.slow
def test_what_a_watcher_that_skips_tells_is_what_one_that_always_judges_tells(written, tmp_path, monkeypatch):
    """Over a day of ticks with a repair, a snooze and deadlines in it."""

    def told(name: str) -> tuple[Any, ...]:
        heard = Heard()
        with open_store(f"sqlite:///{shutil.copy(written, tmp_path / name)}") as store:
            one = watcher(store, heard, remind_after=timedelta(hours=2))
            judged = 0
            for number in range(36):
                now = noon(DAY) + timedelta(hours=12, minutes=20 * number)
                if number == 8:
                    snoozed = partial(snooze, until=now + timedelta(hours=1.5), by="anna", why="", now=now)
                    handle(store, heard.notices[0].incident.episode, snoozed, now=now, sinks=one.sinks)
                if number == 26:
                    broken = World().ruin(Leaf("crop", DAY, "all", "0002"))
                    broken.rerun("repair", ["crop"], subinstances=("0002",)).put(store, digests=False)
                judged += sum(run.judged for run in one.tick(now).runs)
            with store.read() as connection:
                known = list_incidents(connection, states=None)
        said = [(one.notice_id.split("|", 1)[1], one.created_at) for one in heard.notices]
        return judged, said, sorted((one.state, one.updated_at, one.note) for one in known)

    skips, *often = told("skips.db")
    monkeypatch.setattr("checks.watch.ground_of", lambda *_: None)
    always, *reference = told("always.db")
    assert often == reference
    assert {name.split("|")[0] for name, _ in reference[0]} == {"trigger", "remind", "update", "resolve"}
    assert (always, skips < 0.8 * always) == (36 + 36, True)


def test_records_of_a_store_that_cannot_tell_are_judged_each_time(store, heard):
    records = MemoryStore()
    World().put(records, [DAY], digests=False)
    one = watcher(store, heard, records=records)
    ticks = [one.tick(noon(NEXT) + timedelta(minutes=5 * n)) for n in range(3)]
    assert all(run.judged for tick in ticks for run in tick.runs)


def test_what_pages_and_nobody_takes_is_told_again_by_the_watcher(store, heard):
    one = watcher(store, heard, remind_after=timedelta(hours=4))
    reminded = [one.tick(noon(NEXT) + timedelta(hours=hours)).reminded for hours in (0, 3.9, 4, 7.9, 8)]
    assert reminded == [0, 0, 1, 0, 1]
    assert [notice.event for notice in heard.notices] == [Event.TRIGGER, Event.REMIND, Event.REMIND]


def test_old_evaluations_are_deleted_once_a_day_and_a_tick_s_worth_at_a_time(store, heard, monkeypatch):
    watcher(store, heard).tick(noon(NEXT))
    monkeypatch.setattr("checks.retention.ROWS_AT_ONCE", 1)
    monkeypatch.setattr("checks.watch.PRUNE_BATCHES", 1)
    one = watcher(store, heard, "two", keep=timedelta(days=30))
    later = noon(NEXT) + timedelta(days=EXPIRE_DAYS + 30)  # by then nothing of these days is open
    old = sum(row.started_at < iso(noon(NEXT) + timedelta(hours=1)) for row in rows(store, check_run))
    pruned = [one.tick(later + timedelta(minutes=n)).pruned > 0 for n in range(old + 2)]
    assert (old, pruned) == (2, [True, True, False, False])
    assert min(row.started_at for row in rows(store, check_run)) == iso(later)


def test_a_repair_is_noticed_by_the_next_tick_and_its_end_is_told_once(store, heard):
    one = watcher(store, heard)
    one.tick(noon(NEXT))
    broken = World().ruin(Leaf("crop", DAY, "all", "0002"))
    broken.rerun("repair", ["crop"], subinstances=("0002",)).put(store, digests=False)
    one.tick(noon(NEXT) + timedelta(minutes=5))
    one.tick(noon(NEXT) + timedelta(minutes=10))
    assert [notice.event for notice in heard.notices] == [Event.TRIGGER, Event.RESOLVE]


def test_one_watcher_leads_until_its_lease_is_over_or_given_back(store, heard):
    one, two = watcher(store, heard, "one"), watcher(store, heard, "two")
    assert one.tick(noon(NEXT)).leader
    other = two.tick(noon(NEXT) + timedelta(seconds=1))
    assert (other.leader, other.runs, other.sent) == (False, (), 0)
    assert two.tick(noon(NEXT) + timedelta(seconds=901)).leader
    two.resign()
    assert one.tick(noon(NEXT) + timedelta(seconds=902)).leader


def test_a_day_that_cannot_be_read_keeps_no_other_from_its_turn(store, heard, monkeypatch):
    def failing(records, topology, loaded, day, *rest, **named):
        if day == DAY:
            raise StoreError("the disk is full")
        return run_checks(records, topology, loaded, day, *rest, **named)

    monkeypatch.setattr("checks.watch.run_checks", failing)
    tick = watcher(store, heard).tick(noon(NEXT))
    assert [run.date for run in tick.runs] == [NEXT]
    assert tick.errors == (f"{DAY}: the disk is full",)


def test_an_incident_of_a_day_that_nobody_judges_any_more_is_ended(store, heard):
    watcher(store, heard).tick(noon(NEXT))
    long_after = noon(DAY) + timedelta(days=EXPIRE_DAYS)
    tick = watcher(store, heard).tick(long_after)
    assert tick.expired == 1
    with store.read() as connection:
        states = {one.date: one.state for one in list_incidents(connection, states=None)}
    assert states[DAY] is IncidentState.EXPIRED
    assert IncidentState.FIRING in states.values()  # the days that it judged then have no plan


def clock(day: Date, hour: int, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)


def test_a_day_is_due_from_its_plan_on_and_a_forgotten_one_from_its_first_deadline_on():
    """The first deadline is collect's, 02:00 on the morning after; a plan may be made 20 minutes later still."""
    records = MemoryStore()
    with records.begin() as work:
        work.put_plan(make_plan(dates=(NEXT,), created_at=clock(NEXT, 6)))
    yesterday = DAY - timedelta(days=1)
    assert due_days(records, TOPOLOGY, clock(NEXT, 2, 19), 2) == [yesterday]
    assert due_days(records, TOPOLOGY, clock(NEXT, 2, 20), 2) == [yesterday, DAY]
    assert due_days(records, TOPOLOGY, clock(NEXT, 6), 2) == [yesterday, DAY, NEXT]


def test_who_has_judged_what_is_due_is_alive_and_who_has_not_is_dead(store, heard):
    now = noon(NEXT)

    def ask(later: timedelta):
        return ask_alive(store, store, TOPOLOGY, now + later, within=timedelta(minutes=15), days=2)

    never = ask(timedelta())
    assert (never.alive, never.last_run, never.missing) == (False, None, (DAY, NEXT))
    watcher(store, heard).tick(now)
    soon, later = ask(timedelta(minutes=10)), ask(timedelta(minutes=20))
    assert (soon.alive, soon.exit_code, soon.missing) == (True, EXIT_OK, ())
    assert (later.alive, later.exit_code, later.missing) == (False, EXIT_FAILED, (DAY, NEXT))
    assert later.last_run == soon.last_run


def test_a_watcher_that_forgets_one_of_the_days_is_as_good_as_dead(store, heard, monkeypatch):
    monkeypatch.setattr("checks.watch.due_days", lambda *_: [NEXT])
    watcher(store, heard).tick(noon(NEXT))
    monkeypatch.undo()
    found = ask_alive(store, store, TOPOLOGY, noon(NEXT), within=timedelta(minutes=15), days=2)
    assert (found.alive, found.missing) == (False, (DAY,))
    assert found.to_document()["runs_done"] == 1


def test_where_no_day_is_due_a_checker_that_never_ran_is_not_alive(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'empty.db'}") as empty:
        found = ask_alive(empty, empty, TOPOLOGY, noon(DAY), within=timedelta(minutes=15), days=0)
    assert (found.expected, found.alive) == ((), False)


def test_the_clock_ends_with_sigterm_after_the_tick_at_work():
    done = []

    def tick() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        done.append(True)

    before = signal.getsignal(signal.SIGTERM)
    tick_until_told(tick, timedelta(hours=1))
    assert done == [True]
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_clock_calls_again_and_does_not_hide_what_a_tick_raises():
    calls = []

    def tick() -> None:
        calls.append(True)
        if len(calls) == 3:
            raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError, match="a fault of ours"):
        tick_until_told(tick, timedelta(milliseconds=5))
    assert len(calls) == 3


def test_the_commands_look_once_and_tell_whether_somebody_does(tmp_path):
    from checks.cli_watch import add_to

    settings = new_project(tmp_path, World(), [])
    dead = call(add_to, settings, "alive", "--json")
    assert (dead.code, dead.json()["alive"]) == (EXIT_FAILED, False)
    once = call(add_to, settings, "watch", "--once", "--json").json()
    assert {run["status"] for run in once["runs"]} == {"fail"}  # nobody has planned these days
    alive = call(add_to, settings, "alive", "--within", "1h")
    assert (alive.code, alive.out.startswith("alive: ")) == (EXIT_OK, True)


@pytest.mark.slow
def test_a_watching_process_ends_cleanly_when_it_is_told_to(tmp_path):
    settings = new_project(tmp_path, World(), [])
    line = [sys.executable, "-m", "funnelgate", "--config", str(settings), "checks", "watch", "--every", "1s", "--json"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline()[:7] for _ in range(2)] == ['{"at":"'] * 2
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store, store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM lease").scalar() == 0

"""The watch loop on a real PostgreSQL does what it does on SQLite, tick by tick."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select

from checks.acting import handle
from checks.handling import acknowledge
from checks.incident_store import list_incidents
from checks.incidents import Event
from checks.sinks.base import Fate, Notice, Sent
from checks.sinks.settings import LogSink
from checks.watch import Tick, Watcher, ask_alive
from reporting.plans import Leaf
from reporting.stores import open_store
from reporting.stores.sql import SqlStore
from reporting.tables import evaluation
from reporting.testing import DAY
from tests.checks.rule_sets import load_text
from tests.checks.world import TOPOLOGY, World, noon

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

RULES = load_text("version: 1\nchecks: [{id: there, kind: complete}, {id: edges, kind: reconcile}]\n")
BROKEN = World().ruin(Leaf("crop", DAY, "all", "0002"))
START = noon(DAY)


class Heard:
    name = "heard"
    timeout_seconds = 1.0

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def send(self, notice: Notice) -> Fate:
        self.notices.append(notice)
        return Sent()


def watcher(store: SqlStore, heard: Heard, owner: str) -> Watcher:
    times: dict[str, Any] = {"remind_after": timedelta(hours=4), "keep": timedelta(days=90), "lease_seconds": 900}
    sinks = [LogSink(kind="log", name="heard")]
    return Watcher(store, store, TOPOLOGY, RULES, sinks=sinks, opened=[heard], days=1, owner=owner, **times)


def without_ids(tick: Tick) -> dict[str, Any]:
    found = tick.model_dump(mode="json")
    for run in found["runs"]:
        del run["run_id"]
    return found


def lived(store: SqlStore) -> tuple[Any, ...]:
    """Let a store see a break, reminders, an acknowledgement, a repair, another leader, and half a year."""
    heard, ticks = Heard(), []
    BROKEN.put(store, [DAY - timedelta(days=2), DAY - timedelta(days=1), DAY], digests=False)
    one, two = watcher(store, heard, "one"), watcher(store, heard, "two")
    hours = (-12, -11.9, -11.8, -8, -7.9, -7.8, -3.9, -3.7)  # the plan is made 12 hours before noon, and done 8 before
    ticks += [one.tick(START + timedelta(hours=at)) for at in hours]
    episode, now = heard.notices[0].incident.episode, START - timedelta(hours=3)
    handle(store, episode, partial(acknowledge, by="anna", why="", now=now), now=now, sinks=one.sinks)
    ticks += [two.tick(now), one.tick(now + timedelta(minutes=5))]
    BROKEN.rerun("repair", ["crop"], subinstances=("0002",)).put(store, digests=False)
    late = noon(DAY) - timedelta(minutes=45)
    ticks += [one.tick(late + timedelta(minutes=minutes)) for minutes in (0, 5, 10)]
    ticks += [one.tick(START + timedelta(days=120, minutes=minutes)) for minutes in (0, 5, 10)]
    alive = ask_alive(store, store, TOPOLOGY, ticks[-1].at, within=timedelta(minutes=15), days=1)
    with store.read() as connection:
        known = [one.model_dump() for one in list_incidents(connection, states=None)]
        left = connection.execute(select(evaluation.c.date, func.count()).group_by(evaluation.c.date)).all()
    return [without_ids(tick) for tick in ticks], heard.notices, alive, known, sorted(map(tuple, left))


def test_postgresql_and_sqlite_live_the_same_days(postgres, migrated_file):
    with open_store(f"sqlite:///{migrated_file.with_name('days.db')}") as store:
        reference = lived(store)
    with open_store(postgres.migrated_database()) as store:
        found = lived(store)
    for mine, theirs in zip(found, reference, strict=True):
        assert mine == theirs
    ticks, notices, alive, *_ = found
    assert {Event.TRIGGER, Event.REMIND, Event.ACKNOWLEDGE, Event.RESOLVE} <= {one.event for one in notices}
    assert {run["judged"] for tick in ticks for run in tick["runs"]} == {True, False}
    assert any(tick["pruned"] for tick in ticks)
    assert [tick["leader"] for tick in ticks].count(False) == 1
    assert (alive.alive, any(tick["errors"] for tick in ticks)) == (True, False)

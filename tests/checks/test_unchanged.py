"""Whatever changes a verdict changes the ground it stands on; where the ground is the same, so are the verdicts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from checks import handling
from checks.acting import act, handle
from checks.engine import judge
from checks.spec import LoadedChecks
from checks.unchanged import Ground, clock_moments, ground_of
from reporting import tables as t
from reporting.plans import Leaf
from reporting.stores import open_store
from reporting.stores.memory import MemoryStore
from reporting.stores.sql import SqlStore
from reporting.testing import DAY, make_plan, make_record
from tests.checks.broken import GRAPH, result
from tests.checks.rule_sets import every_kind, load_text
from tests.checks.world import TOPOLOGY, World, noon, planid_of

NOW = noon(DAY)
RULES = every_kind()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ground") / "store.db"
    with open_store(f"sqlite:///{path}") as opened:
        World().put(opened, [DAY - timedelta(days=1), DAY], digests=False)
    return path


@pytest.fixture
def store(written: Path, tmp_path: Path) -> Iterator[SqlStore]:
    with open_store(f"sqlite:///{shutil.copy(written, tmp_path / 'store.db')}") as opened:
        yield opened


def ground(store: SqlStore, now: datetime = NOW) -> Ground:
    found = ground_of(store, store, TOPOLOGY, RULES, DAY, now)
    assert found is not None
    return found


def put(store: SqlStore, **fields: Any) -> None:
    record = {"task": "detect", "date": DAY, "category": "all", "subinstance": "0001", "planid": planid_of(DAY)}
    with store.begin() as work:
        work.put_record(make_record(**{**record, "attempt": 2, "reported_at": NOW, **fields}))


def put_plan(store: SqlStore, **fields: Any) -> None:
    with store.begin() as work:
        work.put_plan(make_plan("other", dates=(DAY,), created_at=NOW, **fields))


def expect(store: SqlStore) -> None:
    with store.begin() as work:
        work.expect(planid_of(DAY), [Leaf("detect", DAY, "all", "0009")])


def break_(store: SqlStore) -> str:
    with store.begin() as work:
        done = act(work, [result(date=DAY)], topology=GRAPH, now=NOW, rules={}, sinks=())
    return done.incidents[0].episode


CHANGES: dict[str, Callable[[SqlStore], object]] = {
    "a record": put,
    "a record of an earlier day": partial(put, date=DAY - timedelta(days=1), planid=planid_of(DAY - timedelta(days=1))),
    "a record taken away": lambda store: store.delete_plan_records(planid_of(DAY)),
    "a plan": put_plan,
    "a line of a manifest": expect,
    "an incident": break_,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_is_written_makes_the_ground_another_one(store, change):
    before = ground(store)
    assert before == ground(store)
    change(store)
    assert ground(store) != before


def test_a_plan_that_is_completed_or_promoted_makes_it_another_one_when_its_moment_has_come(store):
    put_plan(store)
    found = [ground(store)]
    put_plan(store, completed_at=NOW + timedelta(minutes=5))  # another machine's clock is ahead
    found += [ground(store), ground(store, NOW + timedelta(minutes=5))]
    put_plan(store, completed_at=NOW, promoted_at=NOW + timedelta(minutes=5))
    found += [ground(store), ground(store, NOW + timedelta(minutes=5))]
    assert len(set(found)) == 5


def test_what_people_say_of_an_incident_makes_it_another_one_and_so_does_the_end_of_a_snooze(store):
    episode = break_(store)
    until = NOW + timedelta(hours=1)
    sayings = [
        partial(handling.acknowledge, by="anna", why="", now=NOW),
        partial(handling.snooze, by="anna", why="", now=NOW, until=until),
        partial(handling.resolve, by="anna", why="as it should be", now=NOW, benign=True),
    ]
    found = [ground(store)]
    for say in sayings[:2]:
        handle(store, episode, say, now=NOW, sinks=())
        found.append(ground(store))
    assert ground(store, until - timedelta(seconds=1)) == found[-1]
    found.append(ground(store, until))
    handle(store, episode, sayings[2], now=NOW, sinks=())
    assert len({*found, ground(store)}) == 5


def test_a_record_that_turns_up_behind_a_newer_one_is_noticed(store):
    """As in PostgreSQL, where a transaction that took its number first may end last."""
    put(store)
    put(store, attempt=3)
    with store.begin() as work:
        last_but_one = t.event.select().order_by(t.event.c.seq.desc()).offset(1).limit(1)
        row = work.connection.execute(last_but_one).mappings().one()
        work.connection.execute(delete(t.event).where(t.event.c.seq == row["seq"]))
    before = ground(store)
    with store.begin() as work:
        work.connection.execute(t.event.insert().values(**row))
    after = ground(store)
    assert (before.newest_event, before.recent_events + 1) == (after.newest_event, after.recent_events)


def test_a_store_that_cannot_tell_has_no_ground(store):
    assert ground_of(MemoryStore(), store, TOPOLOGY, RULES, DAY, NOW) is None


HURRIED = load_text(
    "version: 1\nchecks: [{id: in-time, kind: fresh, grace: 35m}, "
    "{id: there, kind: complete, deadline: true, grace: 40m}, {id: edges, kind: reconcile}]\n"
)
LATE = World().lose(Leaf("crop", DAY, "all", "0002")).lose(Leaf("release", DAY))
VIEW = LATE.view(DAY, digests=False)
OPEN = [plan.model_copy(update={"state": "open", "completed_at": None}) for plan in VIEW.plans]
MIDNIGHT = datetime.combine(DAY + timedelta(days=1), datetime.min.time(), UTC)
OF_PLANS = {moment for plan in VIEW.plans for moment in (plan.created_at, plan.completed_at) if moment is not None}
OF_RULES = {*clock_moments(TOPOLOGY, HURRIED, DAY), *clock_moments(TOPOLOGY, RULES, DAY)}
BOUNDS = [MIDNIGHT, *sorted(one for one in OF_PLANS | OF_RULES if one > MIDNIGHT), MIDNIGHT + timedelta(days=1)]


def verdicts(now: datetime, plans: Any, *rules: LoadedChecks) -> list[tuple[Any, ...]]:
    view = replace(VIEW, as_of=now, plans=plans)
    found = [one for loaded in rules or (HURRIED, RULES) for one in judge(loaded.file, view, "rules")]
    return [(one.id, one.instance, one.status, one.counts) for one in found]


@pytest.mark.slow
@settings(max_examples=40)
@given(
    between=st.sampled_from([*pairwise(BOUNDS)]),
    share=st.floats(0, 1),
    plans=st.sampled_from([OPEN, list(VIEW.plans)]),
)
def test_between_two_of_the_moments_the_clock_changes_no_verdict(between, share, plans):
    """Of every kind there is, on equal records: only what is said of the lateness may differ."""
    first, last = between[0], between[1] - timedelta.resolution
    assert verdicts(first, plans) == verdicts(first + share * (last - first), plans) == verdicts(last, plans)


def test_the_moments_are_those_at_which_something_is_judged_otherwise():
    """So that the law above is not kept by a list of moments for which nothing ever happens: release is late here."""
    of_rules = {*clock_moments(TOPOLOGY, HURRIED, DAY)}
    six, tick = MIDNIGHT + timedelta(hours=6), timedelta.resolution
    changed = {one for one in of_rules if verdicts(one - tick, OPEN, HURRIED) != verdicts(one, OPEN, HURRIED)}
    assert changed == {six - timedelta(minutes=35), six, six + timedelta(minutes=40) + tick}

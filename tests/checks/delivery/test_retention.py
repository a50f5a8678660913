"""Old evaluations go, in small batches; what an open incident is about, and what people did, stays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select

from checks import retention
from checks.acting import act, handle
from checks.cli_watch import add_to
from checks.handling import resolve
from checks.retention import Pruned, prunable, prune
from reporting import tables as t
from reporting.errors import UsageError
from reporting.stores import open_store
from reporting.stores.sql_work import iso
from tests.checks.broken import DAY, GRAPH, NOW, result
from tests.checks.command import call, new_project
from tests.checks.world import World

KEPT = ("incident", "incident_action", "notice")


class Ran(NamedTuple):
    """A run of the checks: of which day, how many days ago, with how many results."""

    day: int
    age: float
    results: int


def write(store: Any, runs: Sequence[Ran], now: datetime = NOW) -> None:
    rows, results = [], []
    for number, one in enumerate(runs):
        at, day = iso(now - timedelta(days=one.age)), DAY - timedelta(days=one.day)
        shared = {"run_id": f"run-{number}", "date": day, "as_of": at, "config_hash": "rules"}
        ended = {"started_at": at, "finished_at": at, "status": "pass", "results": one.results, "body": "{}"}
        rows.append({**shared, **ended})
        said = {**shared, "check_id": "books", "status": "pass", "body": "{}"}
        results += [{**said, "instance": f"task-{one}"} for one in range(one.results)]
    with store.begin() as work:
        if rows:
            work.connection.execute(t.check_run.insert(), rows)
        if results:
            work.connection.execute(t.evaluation.insert(), results)


def left(store: Any) -> tuple[set[str], dict[str, int]]:
    """Return the runs that are there, and how many evaluations there are of each run."""
    with store.read() as connection:
        runs = set(connection.execute(select(t.check_run.c.run_id)).scalars())
        c = t.evaluation.c
        counts = connection.execute(select(c.run_id, func.count()).group_by(c.run_id)).all()
    return runs, dict(map(tuple, counts))


def break_(store: Any, day: Date, now: datetime = NOW) -> str:
    """Open an incident of a day; return its episode."""
    with store.begin() as work:
        done = act(work, [result(date=day)], topology=GRAPH, now=now, rules={}, sinks=())
    return done.incidents[0].episode


def test_what_is_older_goes_with_its_evaluations_and_the_days_of_open_incidents_stay(store):
    write(store, [Ran(0, 0, 2), Ran(1, 89.9, 3), Ran(2, 90.1, 4), Ran(3, 200, 5), Ran(5, 300, 6)])
    episode = break_(store, DAY - timedelta(days=3))
    before = NOW - timedelta(days=90)
    found = prunable(store, before)
    assert (found.runs, found.evaluations, found.oldest) == (2, 10, NOW - timedelta(days=300))
    assert found.kept_days == (DAY - timedelta(days=3),)
    assert prune(store, before) == Pruned(2, 10, is_done=True)
    assert left(store) == ({"run-0", "run-1", "run-3"}, {"run-0": 2, "run-1": 3, "run-3": 5})
    handle(
        store,
        episode,
        lambda one, members: resolve(one, members, by="anna", why="done", now=NOW),
        now=NOW,
        sinks=(),
    )
    assert prune(store, before) == Pruned(1, 5, is_done=True)
    assert prune(store, before) == Pruned(0, 0, is_done=True)
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(t.incident_action)).scalar_one() == 3


@pytest.fixture(scope="module")
def one_store(tmp_path_factory):
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('retention') / 'store.db'}") as found:
        yield found


RUNS = st.lists(st.builds(Ran, st.integers(0, 4), st.floats(0, 10), st.integers(0, 7)), max_size=12)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=RUNS, open_days=st.sets(st.integers(0, 4), max_size=2), days=st.integers(1, 9), at_once=st.integers(1, 9))
def test_what_goes_is_what_a_loop_over_the_runs_says_however_small_the_batches(
    one_store, runs, open_days, days, at_once
):
    with one_store.begin() as work:
        for table in (t.check_run, t.evaluation, *(t.metadata.tables[name] for name in KEPT)):
            work.connection.execute(delete(table))
    write(one_store, runs)
    for day in sorted(open_days):
        break_(one_store, DAY - timedelta(days=day))
    kept = {f"run-{number}": one.results for number, one in enumerate(runs) if one.age <= days or one.day in open_days}
    before = NOW - timedelta(days=days)
    gone = [one for one in runs if one.age > days and one.day not in open_days]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "ROWS_AT_ONCE", at_once)
        found, first = prunable(one_store, before), prune(one_store, before, most_batches=1)
        assert first.evaluations <= max(at_once, *(one.results for one in runs), 0)
        rest = prune(one_store, before)
    assert (found.runs, found.evaluations) == (len(gone), sum(one.results for one in gone))
    assert (first.runs + rest.runs, first.evaluations + rest.evaluations) == (found.runs, found.evaluations)
    assert left(one_store) == (set(kept), {name: count for name, count in kept.items() if count})


def test_a_tick_s_worth_stops_after_its_batches_and_says_that_more_is_left(one_store, monkeypatch):
    with one_store.begin() as work:
        for table in (t.check_run, t.evaluation, t.incident):
            work.connection.execute(delete(table))
    write(one_store, [Ran(0, 5, 3)] * 5)
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 6)
    found = [prune(one_store, NOW - timedelta(days=1), most_batches=1) for _ in range(4)]
    assert found == [Pruned(2, 6, False), Pruned(2, 6, False), Pruned(1, 3, False), Pruned(0, 0, True)]


def test_the_command_deletes_nothing_until_it_is_told_to(tmp_path):
    project = new_project(tmp_path, World(), [])
    now = datetime.now(UTC)
    with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        write(store, [Ran(0, 1, 2), Ran(1, 40, 3), Ran(2, 100, 4)], now)
        break_(store, DAY - timedelta(days=1), now)
        shown = call(add_to, project, "prune", "--json").json()
        assert (shown["dry_run"], shown["runs"], shown["evaluations"]) == (True, 1, 4)
        assert shown["deleted"] == {"runs": 0, "evaluations": 0}
        told = call(add_to, project, "prune", "--older-than", "30").out
        assert "1 runs, 4 evaluations" in told
        assert f"kept beside them, for an open incident: the runs of {DAY - timedelta(days=1)}" in told
        assert told.endswith("nothing was deleted; --yes deletes\n")
        assert left(store)[0] == {"run-0", "run-1", "run-2"}
        done = json.loads(call(add_to, project, "prune", "--yes", "--json").out)
        assert done["deleted"] == {"runs": 1, "evaluations": 4}
        assert left(store) == ({"run-0", "run-1"}, {"run-0": 2, "run-1": 3})

    project.write_text(project.read_text().replace("checks: {", "checks: {keep_days: null, "))
    with pytest.raises(UsageError, match="--older-than DAYS"):
        call(add_to, project, "prune", "--yes")

"""What is said of a moment of the past is what was said then; and alerts are counted right, noise and all."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from datetime import date as Date
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import func, select

from checks.backtest import Backtest, CheckReport, backtest
from checks.incident_store import incident_days, list_incidents
from checks.incidents import Incident
from checks.marks import Mark
from checks.replay import Memory, look
from checks.run import run_checks
from checks.spec import LoadedChecks
from reporting import tables as t
from reporting.errors import EXIT_FAILED, EXIT_OK
from reporting.plans import Leaf
from reporting.stores import open_store
from reporting.stores.memory import MemoryStore
from reporting.stores.sql import SqlStore
from reporting.testing import DAY
from tests.checks.rule_sets import every_kind, load_text
from tests.checks.world import TOPOLOGY, World, noon

NIGHT = datetime.combine(DAY + timedelta(days=1), datetime.min.time(), noon(DAY).tzinfo)
WEEK = [DAY - timedelta(days=back) for back in range(6, -1, -1)]
BOOKS = "version: 1\nchecks: [{id: there, kind: complete}, {id: edges, kind: reconcile}]\n"


def days_before(count: int) -> list[Date]:
    return [DAY - timedelta(days=back) for back in range(count, 0, -1)]


def twice(day: Date) -> Iterable[datetime]:
    return noon(day), noon(day) + timedelta(days=1)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a day that loses a package and is repaired at 11:00, and the 16 days before it."""
    path = tmp_path_factory.mktemp("backtest") / "store.db"
    with open_store(f"sqlite:///{path}") as opened:
        World().put(opened, days_before(16), digests=False)
        world = World().ruin(Leaf("crop", DAY, "all", "0002")).shrink("embed", {"category": "hats"}, 0.05)
        world.rerun("repair", ["crop"], subinstances=("0002",)).put(opened)
    return path


@pytest.fixture
def store(written: Path, tmp_path: Path) -> Iterator[SqlStore]:
    """A copy of it."""
    with open_store(f"sqlite:///{shutil.copy(written, tmp_path / 'store.db')}") as opened:
        yield opened


MOMENTS = [NIGHT + timedelta(hours=hours) for hours in (0.05, 2.5, 6.5, 10.7, 12)]


@pytest.mark.slow
def test_a_look_at_a_moment_says_what_a_run_as_of_that_moment_says(store):
    for moment in MOMENTS:
        then = run_checks(store, TOPOLOGY, every_kind(), DAY, moment, moment, act=False)
        assert look(store, TOPOLOGY, every_kind(), DAY, moment, frozenset()).results == list(then.results)


def facts(incidents: Iterable[Incident]) -> dict[str, tuple[object, ...]]:
    return {
        one.episode: (one.state, one.severity, one.fired_at, one.closed_at, one.note, len(one.impact), one.revision)
        for one in incidents
    }


@pytest.mark.slow
def test_incidents_open_fire_and_end_in_memory_as_they_do_in_the_store(store):
    memory = Memory(TOPOLOGY, {check.id: check for check in every_kind().file.checks})
    for moment in MOMENTS:
        found = look(store, TOPOLOGY, every_kind(), DAY, moment, memory.left_out(moment))
        memory.advance(found.results, moment)
        run_checks(store, TOPOLOGY, every_kind(), DAY, moment, moment, act=True)
        with store.read() as connection:
            stored = list_incidents(connection, states=None)
            assert memory.left_out(moment) == incident_days(connection, DAY, DAY)
        assert facts(memory.incidents) == facts(stored)
    assert len({one.state for one in memory.incidents}) > 1


@pytest.mark.slow
def test_a_backtest_writes_nothing(store):
    def counts() -> dict[str, int]:
        with store.read() as connection:
            names = t.metadata.sorted_tables
            return {
                table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in names
            }

    before = counts()
    found = backtest(store, TOPOLOGY, every_kind(), [DAY], twice)
    assert sum(check.alerts for check in found.checks) > 0
    assert counts() == before


def report(found: Backtest, check: str) -> CheckReport:
    return next(one for one in found.checks if one.id == check)


@cache
def faulty_week() -> MemoryStore:
    """A week: on its 2nd day crop loses a package, on its 4th too, on its 6th embed takes in too few of the hats."""
    world = World()
    for day in (WEEK[1], WEEK[3]):
        world = world.ruin(Leaf("crop", day, "all", "0003"))
    world = world.shrink("embed", {"category": "hats"}, 0.1, on=WEEK[5])
    store = MemoryStore()
    world.put(store, [WEEK[0] - timedelta(days=2), WEEK[0] - timedelta(days=1), *WEEK], digests=False)
    return store


def week(*marks: Mark, loaded: LoadedChecks | None = None) -> Backtest:
    return backtest(faulty_week(), TOPOLOGY, loaded or load_text(BOOKS), WEEK, twice, marks=marks)


def mark(day: Date, task: str, **where: str) -> Mark:
    return Mark(day, task, ({name: frozenset({value}) for name, value in where.items()},))


def test_each_break_is_one_alert_of_the_check_that_is_nearest_to_it_however_often_it_is_looked_at():
    found = week()
    assert (found.looks, found.weeks, found.marks) == (14, 1.0, 0)
    assert (report(found, "there").alerts, report(found, "edges").alerts) == (2, 1)
    assert report(found, "there").alerts_per_week == 2.0
    assert report(found, "there").evaluations == 14 * len(TOPOLOGY.tasks)
    assert report(found, "edges").failed > 2  # the impact fails too, and alerts nobody


def test_without_marks_nothing_is_known_of_right_and_wrong_and_every_alert_counts_as_false():
    there = report(week(), "there")
    assert (there.precision, there.recall, there.false_alerts) == (None, None, 2)


def test_precision_and_recall_are_those_of_the_marked_incidents():
    """By hand: of the two alerts of `there` one is marked. Of three marks it sees one; `edges`, by its impact, two."""
    marks = [mark(WEEK[1], "crop", subinstance="0003"), mark(WEEK[5], "embed", category="hats"), mark(WEEK[6], "index")]
    found = week(*marks, mark(WEEK[0] - timedelta(days=9), "crop"))
    assert found.marks == 3
    there, edges = report(found, "there"), report(found, "edges")
    assert (there.precision, there.recall, there.false_alerts) == (1 / 2, 1 / 3, 1)
    assert (edges.precision, edges.recall, edges.false_alerts) == (1.0, 2 / 3, 0)


def test_a_mark_of_other_leaves_or_of_an_unrelated_task_is_another_incident():
    there = report(week(mark(WEEK[1], "crop", subinstance="0001")), "there")
    assert (there.precision, there.recall) == (0.0, 0.0)
    assert there.false_alerts == 1  # the day has an incident, so its alert is not held against the noise budget


SCORES = (2.0, 4.0, 8.0, 20.0)
NOISY = """\
version: 1
checks: [{id: volume, kind: drift, measure: output, tasks: [collect], max_false_per_week: BUDGET, score: SCORE}]
"""


def noisy(budget: float, score: float = 4) -> LoadedChecks:
    return load_text(NOISY.replace("BUDGET", str(budget)).replace("SCORE", str(score)))


@cache
def uneven() -> MemoryStore:
    """Four weeks and one, in which three days are smaller by 8, 20 and 45 percent: nothing that anybody marked."""
    world = World()
    for day, share in zip((WEEK[1], WEEK[3], WEEK[5]), (0.08, 0.2, 0.45), strict=True):
        world = world.shrink("collect", {}, share, on=day)
    store = MemoryStore()
    days = [WEEK[0] - timedelta(days=back) for back in range(30, 0, -1)]
    world.put(store, [*days, *WEEK], digests=False)
    return store


def alone(loaded: LoadedChecks) -> CheckReport:
    return report(backtest(uneven(), TOPOLOGY, loaded, WEEK, lambda day: [noon(day)]), "volume")


@pytest.mark.slow
def test_the_threshold_is_the_smallest_score_whose_alerts_keep_the_budget(monkeypatch):
    """The oracle: a backtest of its own for each score."""
    monkeypatch.setattr("checks.backtest.THRESHOLDS", SCORES)
    per_week = {score: alone(noisy(99, score)).alerts for score in SCORES}
    assert len(set(per_week.values())) > 2, per_week
    for budget in sorted(set(per_week.values())):
        expected = next(score for score in SCORES if per_week[score] <= budget)
        assert alone(noisy(budget)).threshold == expected


def test_a_check_that_is_noisier_than_its_budget_fails_and_one_without_a_budget_never_does():
    strict = backtest(uneven(), TOPOLOGY, noisy(0.5, 2), WEEK, lambda day: [noon(day)])
    assert (strict.exit_code, strict.checks[0].within_budget) == (EXIT_FAILED, False)
    free = load_text(NOISY.replace(", max_false_per_week: BUDGET", "").replace("SCORE", "2"))
    found = backtest(uneven(), TOPOLOGY, free, WEEK, lambda day: [noon(day)])
    assert (found.exit_code, found.checks[0].threshold) == (EXIT_OK, None)
    assert found.checks[0].alerts == strict.checks[0].alerts > 0


def test_a_day_that_broke_and_was_never_mended_is_in_no_later_baseline_unless_called_benign():
    rules = every_kind()
    memory = Memory(TOPOLOGY, {check.id: check for check in rules.file.checks})
    broken = look(faulty_week(), TOPOLOGY, rules, WEEK[1], noon(WEEK[1]), frozenset())
    memory.advance(broken.results, noon(WEEK[1]))
    left_out = memory.left_out(noon(WEEK[2]))
    assert ("crop", WEEK[1]) in left_out
    assert ("download", WEEK[1]) not in left_out
    said = {incident.fingerprint: noon(WEEK[3]) for incident in memory.incidents}
    calm = Memory(TOPOLOGY, {check.id: check for check in rules.file.checks}, said)
    calm.advance(broken.results, noon(WEEK[1]))
    assert calm.left_out(noon(WEEK[2])) == left_out
    assert calm.left_out(noon(WEEK[3])) == frozenset()


def test_looks_are_in_the_order_of_time_and_progress_is_told_of_each():
    told: list[tuple[Date, int, int]] = []
    loaded = load_text("version: 1\nchecks: [{id: there, kind: complete}]\n")
    backtest(faulty_week(), TOPOLOGY, loaded, WEEK[:2], twice, progress=lambda *what: told.append(what))
    first, second = WEEK[:2]
    assert told == [(first, 0, 4), (first, 1, 4), (second, 2, 4), (second, 3, 4)]


def test_the_document_has_what_the_issue_asks_for():
    document = week().to_document()
    assert (document["from"], document["to"], document["weeks"]) == (str(WEEK[0]), str(WEEK[-1]), 1.0)
    names = {"id", "kind", "evaluations", "failed", "alerts_per_week", "precision", "recall", "budget", "threshold"}
    assert all(names <= check.keys() for check in document["checks"])

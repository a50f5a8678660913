"""What the checks of a day cost, as a ratio to the bare SQL that reads the day's leaves and the same sums."""

from __future__ import annotations

import importlib.util
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date as Date
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sqlalchemy import text

from checks.engine import judge
from checks.history import Need
from checks.past import Read, reads_of
from checks.result import Result, Status
from checks.scan import scan
from checks.spec import LoadedChecks, load_checks
from checks.view import View
from reporting.stores.sql import SqlStore
from reporting.topology import Topology
from tests.benches.expectations import Sheet, Validations, queries
from tests.benches.many_days import DAY, NOW, chain, fill

TASKS, CATEGORIES, PACKAGES, DAYS = 30, 10, 30, 60
RULES = """
version: 1
checks:
  - {id: conserved, kind: conservation, tasks: "*"}
  - {id: edges, kind: reconcile, edges: "*"}
  - {id: end-to-end, kind: reconcile, path: {from: task-00, to: task-29, ratio: [0.3, 1]}}
  - {id: ids, kind: digest, edges: "*"}
  - {id: arrived, kind: complete, tasks: "*"}
  - {id: on-time, kind: fresh, tasks: [task-00, task-29]}
  - {id: versions, kind: version, fields: [code, model], within: plan, tasks: "*"}
  - {id: dropped-share, kind: ratio, value: "dropped / input", tasks: "*", between: [0, 0.5]}
  - {id: volume, kind: drift, measure: output, tasks: "*"}
  - {id: volume-of-packages, kind: drift, measure: output, tasks: "*", group_by: [subinstance]}
  - {id: volume-of-categories, kind: drift, measure: output, tasks: "*", group_by: [category]}
  - {id: duration, kind: drift, measure: seconds, aggregate: mean, tasks: [task-01, task-08], group_by: [subinstance]}
"""
EMPTY = DAY - timedelta(days=365)
"""A day of which nobody has planned or reported anything; nor of the weeks before."""

Answer = TypeVar("Answer")


def timed(function: Callable[[], Answer]) -> tuple[float, Answer]:
    """Return the CPU seconds a call took, and its answer."""
    started = time.process_time()
    answer = function()
    return time.process_time() - started, answer


def bare(connection: sqlite3.Connection, reads: list[Read]) -> int:
    """Read the leaves of the day and the sums of the days before; return how many rows there were."""
    leaves = connection.execute("SELECT * FROM record WHERE date = ?", (DAY.isoformat(),)).fetchall()
    rows = len(leaves)
    for read in reads:
        groups = ", ".join(("task", "date", *read.by, "planid"))
        tasks = ", ".join(f"'{task}'" for task in read.tasks)
        sums = ", ".join(f"sum({measure})" for measure in read.measures)
        rows += len(
            connection.execute(
                f"SELECT {groups}, count(*), {sums} FROM record WHERE date >= date('{DAY}', '-{read.days} days')"
                f" AND date < '{DAY}' AND task IN ({tasks}) GROUP BY {groups}"
            ).fetchall()
        )
    return rows


@dataclass(frozen=True)
class Books:
    """540,000 records in SQLite, and the rules for them."""

    path: Path
    store: SqlStore
    topology: Topology
    loaded: LoadedChecks

    @cached_property
    def needs(self) -> list[Need]:
        """What the rules want to know of the days before."""
        return [need for check in self.loaded.file.checks for need in check.needs(self.topology)]

    def read(self, day: Date = DAY) -> View:
        """Scan a day."""
        return scan(self.store, self.topology, day, as_of=NOW, needs=self.needs, with_as_of=False)

    def judge(self, view: View) -> list[Result]:
        """Judge the day."""
        return judge(self.loaded.file, view, self.loaded.config_hash)

    def shift(self, by: int) -> None:
        """Add a number to what one task took in on the day."""
        with self.store.begin() as work:
            change = text("UPDATE record SET input = input + :by WHERE task = 'task-07' AND date = :day")
            work.connection.execute(change, {"by": by, "day": DAY.isoformat()})

    def bare_seconds(self) -> tuple[float, int]:
        """Return the CPU seconds and the rows of the bare SQL, on a connection of its own."""
        connection = sqlite3.connect(self.path)
        reads = reads_of(self.needs)
        bare(connection, reads)  # all sides find the file in memory
        seconds, rows = timed(lambda: bare(connection, reads))
        connection.close()
        return seconds, rows


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    """30 tasks x 300 leaves x 60 days."""
    folder = tmp_path_factory.mktemp("books")
    topology = chain(TASKS)
    rules = folder / "checks.yaml"
    rules.write_text(RULES, encoding="utf-8")
    path = folder / "books.db"
    with fill(path, topology, categories=CATEGORIES, packages=PACKAGES, days=DAYS) as store:
        yield Books(path, store, topology, load_checks(rules, topology))


@pytest.mark.slow
@pytest.mark.benchmark(group="checks")
def test_a_full_rule_set_against_the_bare_sql_of_the_same_sums(benchmark: BenchmarkFixture, books: Books) -> None:
    """30 tasks x 300 leaves x 60 days in SQLite, 540,000 records; CPU seconds."""
    sql_seconds, rows = books.bare_seconds()
    scan_seconds, view = timed(lambda: benchmark.pedantic(books.read, rounds=1, iterations=1))
    judge_seconds, results = timed(lambda: books.judge(view))
    assert len(view.records) == TASKS * CATEGORIES * PACKAGES < rows
    assert {result.status for result in results} <= {Status.PASS, Status.WARN}
    benchmark.extra_info |= {
        "results": len(results),
        "bare_sql_cpu_s": round(sql_seconds, 2),
        "scan_cpu_s": round(scan_seconds, 2),
        "judge_cpu_s": round(judge_seconds, 2),
        "times_bare_sql": round((scan_seconds + judge_seconds) / sql_seconds, 2),
    }


@pytest.mark.slow
@pytest.mark.benchmark(group="checks")
@pytest.mark.filterwarnings("ignore")  # great_expectations imports what Python has deprecated
def test_the_same_comparisons_in_great_expectations(
    benchmark: BenchmarkFixture, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many expectations as there are results, and one a rule; contexts and suites are ready, as our rules are.

    Ours goes first: what great_expectations imports would slow its garbage collection.
    """
    if importlib.util.find_spec("great_expectations") is None:
        pytest.skip("great_expectations comes with the extra bench: pip install -e '.[bench]'")
    monkeypatch.setenv("GX_ANALYTICS_ENABLED", "false")
    sql_seconds, _ = books.bare_seconds()
    ours_seconds, results = timed(lambda: books.judge(benchmark.pedantic(books.read, rounds=1, iterations=1)))
    tasks = books.topology.order
    edges = [(edge.source, edge.target) for edge in books.topology.edges]
    validations = Validations(books.path)
    suites = [queries(Sheet(DAY), tasks, edges, apart=apart) for apart in (True, False)]
    apart, together = (validations.define(f"{len(suite)} queries", suite) for suite in suites)
    apart_seconds, found_apart = timed(apart)
    together_seconds, found_together = timed(together)
    assert len(found_apart) == len(results) > len(found_together)
    assert {**found_apart, **found_together} == dict.fromkeys([*suites[0], *suites[1]], True)
    books.shift(1)
    wrong = {name for name, holds in together().items() if not holds}
    books.shift(-1)
    assert wrong == {"books", "edges"}
    nothing = validations.define("nothing", queries(Sheet(EMPTY), tasks, edges, apart=True))()
    ours_of_nothing = books.judge(books.read(EMPTY))
    benchmark.extra_info |= {
        "comparisons": len(results),
        "ours_cpu_s": round(ours_seconds, 2),
        "one_expectation_a_comparison_cpu_s": round(apart_seconds, 2),
        "one_query_a_rule_cpu_s": round(together_seconds, 2),
        "queries_of_these": len(found_together),
        "ours_times_bare_sql": round(ours_seconds / sql_seconds, 2),
        "one_expectation_a_comparison_times_bare_sql": round(apart_seconds / sql_seconds, 2),
        "one_query_a_rule_times_bare_sql": round(together_seconds / sql_seconds, 2),
        "one_expectation_a_comparison_times_ours": round(apart_seconds / ours_seconds, 2),
        "one_query_a_rule_times_ours": round(together_seconds / ours_seconds, 2),
        "pass_on_a_day_without_records": sum(nothing.values()),
        "ours_that_pass_on_a_day_without_records": sum(one.status is Status.PASS for one in ours_of_nothing),
    }

"""What the checks of a day cost, as a ratio to the bare SQL that reads the day's leaves and the same sums."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from checks.engine import judge
from checks.past import Read, reads_of
from checks.result import Status
from checks.scan import scan
from checks.spec import load_checks
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


@pytest.mark.slow
@pytest.mark.benchmark(group="checks")
def test_a_full_rule_set_against_the_bare_sql_of_the_same_sums(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """30 tasks x 300 leaves x 60 days in SQLite, 540,000 records; CPU seconds."""
    topology = chain(TASKS)
    rules = tmp_path / "checks.yaml"
    rules.write_text(RULES, encoding="utf-8")
    loaded = load_checks(rules, topology)
    needs = [need for check in loaded.file.checks for need in check.needs(topology)]
    path = tmp_path / "books.db"
    with fill(path, topology, categories=CATEGORIES, packages=PACKAGES, days=DAYS) as store:
        connection = sqlite3.connect(path)
        bare(connection, reads_of(needs))  # both sides find the file in memory
        sql_seconds, rows = timed(lambda: bare(connection, reads_of(needs)))
        connection.close()

        def read() -> Any:
            return scan(store, topology, DAY, as_of=NOW, needs=needs, with_as_of=False)

        scan_seconds, view = timed(lambda: benchmark.pedantic(read, rounds=1, iterations=1))
        judge_seconds, results = timed(lambda: judge(loaded.file, view, loaded.config_hash))
    assert len(view.records) == TASKS * CATEGORIES * PACKAGES < rows
    assert {result.status for result in results} <= {Status.PASS, Status.WARN}
    benchmark.extra_info |= {
        "results": len(results),
        "bare_sql_cpu_s": round(sql_seconds, 2),
        "scan_cpu_s": round(scan_seconds, 2),
        "judge_cpu_s": round(judge_seconds, 2),
        "times_bare_sql": round((scan_seconds + judge_seconds) / sql_seconds, 2),
    }

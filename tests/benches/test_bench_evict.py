"""A day's eviction of a whole catalogue, its rule and its whole way, against DuckDB: CPU seconds and memory."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benches import evict_path
from tests.benches.evict_rivals import write

ROWS = int(os.environ.get("FUNNELGATE_BENCH_EVICT_ROWS", "2000000"))
"""20,000,000 is the published figure's size: 2 GB of files, 2.3 GB of memory for us and 4 for DuckDB."""
ROWS_PER_GROUP = 10
ROUNDS = 3
REPOSITORY = Path(__file__).parents[2]
MOST_BYTES_PER_ROW = 200
"""4 GB for 20 million rows; the columns of input and output take 71 of them."""
MOST_BYTES_PER_PICTURE = 400
"""8 GB for 20 million pictures from file to file, of which the columns that are read, as text, are 3.4."""


def measured(side: str, folder: Path, module: str = "evict_rivals") -> dict[str, Any]:
    """Run one side as a process of its own."""
    command = [sys.executable, "-m", f"tests.benches.{module}", side, str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.benchmark(group="evict")
def test_a_plan_against_the_same_rule_in_sql(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Books CPU seconds of all threads and the most memory resident, of the median of interleaved rounds.

    Both begin with the rows in memory, in columns of their own kind, and end with a row's decision in such columns. The
    peak is that of the whole process, rows included. Both must decide the same.
    """
    memberships = write(tmp_path, ROWS, ROWS // ROWS_PER_GROUP)
    rounds = [(measured("ours", tmp_path), measured("rival", tmp_path)) for _ in range(ROUNDS)]
    shutil.rmtree(tmp_path)
    benchmark.pedantic(lambda: None, rounds=1, iterations=1)
    first, other = rounds[0]
    for name in ("sums", "reasons", "less"):
        assert first[name] == other[name], name
    cpu = [statistics.median(pair[side]["cpu"] for pair in rounds) for side in (0, 1)]
    peak = [max(pair[side]["peak"] for pair in rounds) for side in (0, 1)]
    benchmark.extra_info |= {
        "rows": ROWS,
        "groups": ROWS // ROWS_PER_GROUP,
        "memberships": memberships,
        "load": round(os.getloadavg()[0], 1),
        "cpu_s": round(cpu[0], 2),
        "duckdb_cpu_s": round(cpu[1], 2),
        "duckdb_cpu_over_ours": round(cpu[1] / cpu[0], 2),
        "peak_gb": round(peak[0] / 1e9, 2),
        "of_which_rows_read_gb": round(first["loaded"] / 1e9, 2),
        "duckdb_peak_gb": round(peak[1] / 1e9, 2),
    }
    if ROWS >= 2_000_000:  # below, what Python itself takes counts
        assert peak[0] <= MOST_BYTES_PER_ROW * ROWS


@pytest.mark.slow
@pytest.mark.benchmark(group="evict")
def test_the_whole_way_of_a_day_against_duckdb(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """From the library's, the indexes', the checks' and the marks' files to the audit's file, median of three rounds.

    Both read the same Parquet, find the groups, rank, decide and write the audit, and must decide the same. `task` is
    all that the task does: the same with looks, the library that is left, and the digests of its books.
    """
    evict_path.write(tmp_path, ROWS, ROWS // ROWS_PER_GROUP, with_thumbs=True)
    sides = ("ours", "rival")
    rounds = [{side: measured(side, tmp_path, "evict_path") for side in sides} for _ in range(ROUNDS)]
    task = measured("task", tmp_path, "evict_path")
    shutil.rmtree(tmp_path)
    benchmark.pedantic(lambda: None, rounds=1, iterations=1)
    for name in ("groups", "reasons", "sums"):
        assert rounds[0]["ours"][name] == rounds[0]["rival"][name], name
    cpu = {side: statistics.median(one[side]["cpu"] for one in rounds) for side in sides}
    peak = {side: max(one[side]["peak"] for one in rounds) for side in sides}
    benchmark.extra_info |= {
        "rows": ROWS,
        "load": round(os.getloadavg()[0], 1),
        "cpu_s": round(cpu["ours"], 1),
        "duckdb_cpu_s": round(cpu["rival"], 1),
        "duckdb_cpu_over_ours": round(cpu["rival"] / cpu["ours"], 2),
        "peak_gb": round(peak["ours"] / 1e9, 2),
        "of_which_library_as_read_gb": round(rounds[0]["ours"]["live"] / 1e9, 2),
        "duckdb_peak_gb": round(peak["rival"] / 1e9, 2),
        "task_cpu_s": round(task["cpu"], 1),
        "task_peak_gb": round(task["peak"] / 1e9, 2),
    }
    if ROWS >= 2_000_000:  # below, what Python itself takes counts
        assert max(peak["ours"], task["peak"]) <= MOST_BYTES_PER_PICTURE * ROWS

"""What the recorder costs a record, and how fast a half-done plan of 10,000 instances is taken up again."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sqlalchemy import text

from pipeline import instances
from pipeline.run_lock import RunLock
from reporting.key import RunKey
from reporting.recorder import Recorder
from reporting.stores import open_store
from tests.benches.day import DAY, filled

RECORDS = 500
ITEMS = [f"{number:032x}" for number in range(1000)]


@pytest.mark.benchmark(group="records")
def test_recorder_overhead_per_record(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """CPU time of `with recorder.task(key)` with 1,000 item ids, and of its parts, against a bare SQLite insert."""
    with open_store(f"sqlite:///{tmp_path}/records.db") as store:
        recorder = Recorder(store)

        def emit(number: int, items: list[str]) -> None:
            with recorder.task(RunKey(task="embed", date=DAY, subinstance=f"{number:05d}", planid="p")) as books:
                books.take(items)
                books.keep(items)

        def emit_all() -> None:
            for number in range(1, RECORDS + 1):
                emit(number, ITEMS)

        emit(0, ITEMS)
        started = time.process_time()
        benchmark.pedantic(emit_all, rounds=1, iterations=1)
        with_items = (time.process_time() - started) / RECORDS
        started = time.process_time()
        for number in range(RECORDS):
            emit(RECORDS + 1 + number, [])
        empty = (time.process_time() - started) / RECORDS
    bare = _bare_insert(tmp_path / "bare.db")
    benchmark.extra_info |= {
        "cpu_ms": round(1000 * empty, 3),
        "cpu_ms_with_1000_items": round(1000 * with_items, 3),
        "ns_per_item_id": round(1e9 * (with_items - empty) / (2 * len(ITEMS))),
        "times_bare_insert": round(empty / bare, 1),
    }
    assert with_items > 0


def _bare_insert(path: Path) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE TABLE record (id TEXT PRIMARY KEY, body TEXT)")
    body = "x" * 800
    started = time.process_time()
    for number in range(RECORDS):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO record VALUES (?, ?)", (str(number), body))
        connection.execute("COMMIT")
    spent = (time.process_time() - started) / RECORDS
    connection.close()
    return spent


@pytest.mark.benchmark(group="records")
def test_resume_of_a_plan_of_10_000_instances(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """CPU time from opening the store to the first claim of a half-done plan, against one raw count by state."""
    path = tmp_path / "plan.db"
    with filled(path, 10_000) as store, store.begin() as work:
        work.connection.execute(text("UPDATE instance SET state = 'done' WHERE id % 2 = 0"))
        work.connection.execute(
            text(
                "UPDATE instance SET state = 'running', lease_until = 1.0, attempt = 1, worker = 'gone' "
                "WHERE id < 50 AND id % 2 = 1"
            )
        )

    def resume() -> int:
        with open_store(f"sqlite:///{path}") as store:
            lock = RunLock(store, ["bench"])
            with store.begin() as work:
                instances.requeue(work, ["bench"])
            with store.read() as connection:
                assert instances.claimable(connection, ["bench"])
                states = instances.progress(connection, ["bench"])[0].states
            with store.begin() as work:
                assert instances.claim(work, "bench", datetime.now(UTC).timestamp(), 60.0, ["bench"]) is not None
            lock.release()
        return sum(states.values())

    assert resume() == 10_000
    started = time.process_time()
    total = benchmark.pedantic(resume, rounds=1, iterations=1)
    ours = time.process_time() - started
    raw_connection = sqlite3.connect(path)
    started = time.process_time()
    raw_connection.execute("SELECT state, count(*) FROM instance GROUP BY state").fetchall()
    raw = time.process_time() - started
    raw_connection.close()
    benchmark.extra_info |= {"cpu_ms": round(1000 * ours, 1), "raw_count_ms": round(1000 * raw, 2)}
    assert total == 10_000

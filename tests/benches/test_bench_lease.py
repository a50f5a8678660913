"""Lease claim and done, with record, event and outbox row, against raw sqlite3 doing the same statements."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sqlalchemy import event, text

from checks.incident_store import write_step
from funnelgate import Services
from pipeline import instances
from pipeline.holds import claim_free
from pipeline.instances import Claim
from reporting.booking import Booking
from reporting.stores.sql import SqlStore
from reporting.stores.sql_hot import HotStatement
from tests.benches.day import DAY, filled
from tests.checks.broken import Board, Rule, result

COUNT, TURN = 1000, 100
SERVICES = Services()
_NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def claim(store: SqlStore) -> Claim | None:
    """Claim without asking whether an incident holds it."""
    with store.begin() as work:
        return instances.claim(work, "bench-worker", 1_000_000.0, 60.0)


def claim_unless_held(store: SqlStore) -> Claim | None:
    """Claim as a worker does."""
    return claim_free(store, SERVICES, "bench-worker", time.time(), 60.0, None, None)


def claim_and_finish(store: SqlStore, claim: Callable[[SqlStore], Claim | None] = claim) -> None:
    """One instance: claim it, book it, complete it."""
    claimed = claim(store)
    assert claimed is not None
    books = Booking(claimed.key, started_at=_NOW, attempt=claimed.attempt)
    books.take(["a", "b", "c"])
    books.keep(["a", "b"])
    books.drop("blurred", ["c"])
    record = books.close(finished_at=_NOW)
    with store.begin() as work:
        work.put_record(record)
        instances.complete(work, claimed, artifact="embed/x", inputs="[]", built_with="{}", now=1_000_001.0)


@contextmanager
def captured(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements that the store executes, with their parameters, and its commits."""
    seen: list[tuple[str, Any]] = []
    run = HotStatement.run

    def on_hot(statement: HotStatement, connection: Any, values: Any) -> Any:
        seen.append((statement.sql, statement.parameters(values)))
        return run(statement, connection, values)

    def on_begin(_c: Any) -> None:
        seen.append(("BEGIN IMMEDIATE", ()))

    def on_commit(_c: Any) -> None:
        seen.append(("COMMIT", ()))

    event.listen(store.engine, "begin", on_begin)
    event.listen(store.engine, "commit", on_commit)
    with monkeypatch.context() as patch:
        patch.setattr(HotStatement, "run", on_hot)
        yield seen
    event.remove(store.engine, "begin", on_begin)
    event.remove(store.engine, "commit", on_commit)


class Raw:
    """Plain sqlite3 that executes the captured statements on a copy of the same start."""

    def __init__(self, path: Path, statements: list[tuple[str, Any]]):
        filled(path, COUNT).close()
        self._connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._statements = statements

    def run(self, start: int, end: int) -> None:
        """Execute a part of the statements."""
        for statement, parameters in self._statements[start:end]:
            cursor = self._connection.execute(statement, parameters)
            if cursor.description is not None:
                cursor.fetchall()

    def close(self) -> None:
        """Close the database."""
        self._connection.close()


@pytest.mark.benchmark(group="lease")
def test_lease_claim_and_done_against_raw_sqlite(
    benchmark: BenchmarkFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The share of raw sqlite3's speed that claim+done keeps (aim .60), by CPU time, in turns of 100 instances."""
    with filled(tmp_path / "capture.db", COUNT) as store, captured(store, monkeypatch) as statements:
        for _ in range(COUNT):
            claim_and_finish(store)
    per_instance = len(statements) // COUNT
    raw = Raw(tmp_path / "raw.db", statements)
    spent = {"ours": 0.0, "raw": 0.0}

    def in_turns(store: SqlStore) -> None:
        for turn in range(COUNT // TURN):
            started = time.process_time()
            for _ in range(TURN):
                claim_and_finish(store)
            between = time.process_time()
            raw.run(turn * TURN * per_instance, (turn + 1) * TURN * per_instance)
            spent["ours"] += between - started
            spent["raw"] += time.process_time() - between

    with filled(tmp_path / "ours.db", COUNT) as store:
        benchmark.pedantic(in_turns, args=(store,), rounds=1, iterations=1)
        with store.read() as connection:
            done = connection.execute(text("SELECT count(*) FROM instance WHERE state = 'done'")).scalar()
    raw.close()
    benchmark.extra_info |= {
        "ours_cpu_ms": round(1000 * spent["ours"] / COUNT, 3),
        "raw_cpu_ms": round(1000 * spent["raw"] / COUNT, 3),
        "share_of_raw": round(spent["raw"] / spent["ours"], 3),
        "statements": per_instance,
    }
    assert done == COUNT


def with_incidents(store: SqlStore, checks: Sequence[str]) -> SqlStore:
    """Open an incident of the day for each check, in a package that is not to be claimed; `blocks` holds it."""
    rules = {name: Rule.model_validate({"id": name, "block": name == "blocks"}) for name in checks}
    broken = [
        result("detect", check=name, group={"subinstance": f"other-{number}"}, date=DAY)
        for number, name in enumerate(checks)
    ]
    with store.begin() as work:
        write_step(work, Board(rules).run(*broken))
    return store


@pytest.mark.benchmark(group="lease")
def test_what_asking_whether_an_incident_holds_it_adds_to_a_claim(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """CPU time of claim+done with and without the question, in turns of 100 instances; 10 % more is allowed."""
    spent: dict[str, float] = {}
    with ExitStack() as stack:

        def of(name: str) -> SqlStore:
            return stack.enter_context(filled(tmp_path / f"{name}.db", COUNT))

        others = [f"books-{number}" for number in range(10)]
        sides = {
            "not_asked": (of("plain"), claim),
            "no_incident": (of("none"), claim_unless_held),
            "10_incidents": (with_incidents(of("open"), others), claim_unless_held),
            "one_of_11_blocks": (with_incidents(of("blocks"), [*others, "blocks"]), claim_unless_held),
        }

        def in_turns() -> None:
            for _ in range(COUNT // TURN):
                for name, (store, how) in sides.items():
                    started = time.process_time()
                    for _ in range(TURN):
                        claim_and_finish(store, how)
                    spent[name] = spent.get(name, 0.0) + time.process_time() - started

        benchmark.pedantic(in_turns, rounds=1, iterations=1)
    benchmark.extra_info |= {f"{name}_cpu_ms": round(1000 * cpu / COUNT, 3) for name, cpu in spent.items()}
    benchmark.extra_info |= {
        f"{name}_times_not_asked": round(cpu / spent["not_asked"], 3) for name, cpu in spent.items()
    }

"""The instance table as a queue: leases, fencing, bounded attempts, dependencies."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from pipeline import instances
from pipeline.instance_states import DONE, FAILED, READY, RUNNING, WAITING
from pipeline.instances import Claim, LeaseLost
from reporting import tables as t
from reporting.booking import Booking
from reporting.record import TaskRecord
from reporting.stores.base import RecordQuery
from reporting.stores.sql import SqlStore
from tests.pipeline.claimers import LEASE, add_instances, claim_all, claim_one, compete, finish

START = 1_800_000_000.0
_plans = itertools.count()


def states(store: SqlStore, column: str = "state") -> dict[int, Any]:
    with store.read() as connection:
        rows = connection.execute(select(t.instance.c.id, t.instance.c[column])).all()
    return {row[0]: row[1] for row in rows}


def outcomes(store: SqlStore) -> list[tuple[int, int, str | None]]:
    c = t.attempt.c
    with store.read() as connection:
        rows = connection.execute(select(c.instance_id, c.attempt, c.outcome).order_by(c.instance_id, c.attempt)).all()
    return [tuple(row) for row in rows]


def held(store: SqlStore, worker: str, now: float, **scope: list[str]) -> Claim:
    claimed = claim_one(store, worker, now, **scope)
    assert claimed is not None
    return claimed


def record_of(claimed: Claim) -> TaskRecord:
    moment = datetime.fromtimestamp(START, UTC)
    return Booking(claimed.key, started_at=moment, attempt=claimed.attempt).close(finished_at=moment)


def test_the_highest_priority_is_claimed_first_and_among_equals_the_oldest(store: SqlStore) -> None:
    usual = add_instances(store, 2)
    urgent = add_instances(store, 2, priority=7)
    late = add_instances(store, 1, priority=-1)
    claimed = [held(store, "w", START).instance_id for _ in range(5)]
    assert claimed == urgent + usual + late
    assert claim_one(store, "w", START) is None


def test_an_instance_in_back_off_is_not_claimed_before_its_time(store: SqlStore) -> None:
    add_instances(store, 1, available_at=START + 10)
    assert claim_one(store, "w", START + 9.9) is None
    assert held(store, "w", START + 10).attempt == 1


def test_a_worker_claims_only_in_its_scope(store: SqlStore) -> None:
    mine = add_instances(store, 1, planid="mine", task="hash")
    add_instances(store, 1, planid="mine", task="embed")
    add_instances(store, 1, planid="other", task="hash")
    scope = {"planids": ["mine"], "tasks": ["hash"]}
    assert held(store, "w", START, **scope).instance_id == mine[0]
    assert claim_one(store, "w", START, **scope) is None


def test_eight_threads_get_every_instance_exactly_once(store: SqlStore) -> None:
    ids = add_instances(store, 60)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda number: claim_all(store, f"thread-{number}"), range(8)))
    assert sorted(itertools.chain(*got)) == ids
    assert outcomes(store) == [(number, 1, "done") for number in ids]


@pytest.mark.slow
def test_four_processes_get_every_instance_exactly_once(store: SqlStore) -> None:
    ids = add_instances(store, 80)
    got = compete("claim", store.url, 4)
    assert sorted(itertools.chain(*got)) == ids
    assert set(states(store).values()) == {DONE}


def test_a_worker_that_lost_its_lease_can_change_nothing(store: SqlStore) -> None:
    add_instances(store, 1)
    first = held(store, "slow", START)
    second = held(store, "next", START + LEASE + 1)
    assert (second.instance_id, second.attempt) == (first.instance_id, 2)
    assert second.token != first.token
    now = START + LEASE + 2
    with store.begin() as work:
        assert not instances.heartbeat(work.connection, first, now, LEASE)
    with pytest.raises(LeaseLost, match="attempt 1 of slow lost its lease; its result is dropped"):
        finish(store, first, now, record_of(first))
    with pytest.raises(LeaseLost), store.begin() as work:
        instances.give_up(work, first, error="too late", retry_at=None, now=now)
    assert store.records(RecordQuery()) == []  # its books were rolled back with it
    assert states(store) == {first.instance_id: RUNNING}
    assert finish(store, second, now)
    assert states(store, "artifact") == {first.instance_id: f"out/{second.token}"}
    assert outcomes(store) == [(first.instance_id, 1, "lost"), (first.instance_id, 2, "done")]


def test_a_done_instance_cannot_be_completed_again_by_the_same_attempt(store: SqlStore) -> None:
    add_instances(store, 1)
    claimed = held(store, "w", START)
    assert finish(store, claimed, START)
    with pytest.raises(LeaseLost):
        finish(store, claimed, START)


def test_a_heartbeat_keeps_the_lease_and_silence_loses_it(store: SqlStore) -> None:
    add_instances(store, 1)
    claimed = held(store, "w", START)
    with store.begin() as work:
        assert instances.heartbeat(work.connection, claimed, START + 50, LEASE)
    assert claim_one(store, "other", START + LEASE + 1) is None
    assert claim_one(store, "other", START + 50 + LEASE) is None  # the lease's last moment still holds
    assert held(store, "other", START + 50 + LEASE + 1).attempt == 2


def test_an_instance_that_kills_its_workers_is_quarantined_after_its_attempts(store: SqlStore) -> None:
    (poison,) = add_instances(store, 1, max_attempts=3)
    now = START
    for attempt in (1, 2, 3):
        assert held(store, f"victim-{attempt}", now).attempt == attempt
        now += LEASE + 1
    assert claim_one(store, "w", now) is None
    assert states(store) == {poison: FAILED}
    assert [outcome for *_, outcome in outcomes(store)] == ["lost"] * 3
    with store.read() as connection:
        assert not instances.claimable(connection, None)
        ((key, error),) = instances.failures(connection, ["plan"])
    assert key.subinstance == "0000"
    assert error == "WorkerLost: attempt 3 of 3: its lease ran out"


def test_a_failing_attempt_is_retried_until_its_attempts_are_spent(store: SqlStore) -> None:
    (number,) = add_instances(store, 1, max_attempts=2)
    for attempt, state in ((1, READY), (2, FAILED)):
        claimed = held(store, "w", START + attempt * 10)
        with store.begin() as work:
            instances.give_up(work, claimed, error=f"e{attempt}", retry_at=START + 15, now=START + attempt * 10)
        assert states(store) == {number: state}
        assert states(store, "error") == {number: f"e{attempt}"}
    assert claim_one(store, "w", START + 1000) is None


def test_an_error_that_will_come_again_is_not_retried(store: SqlStore) -> None:
    (number,) = add_instances(store, 1)
    with store.begin() as work:
        claimed = instances.claim(work, "w", START, LEASE)
        assert claimed is not None
        instances.give_up(work, claimed, error="DataError: bad line", retry_at=None, now=START)
    assert states(store) == {number: FAILED}


def test_a_dead_workers_instances_are_taken_back_and_nobody_elses(store: SqlStore) -> None:
    first, second, third = add_instances(store, 3)
    for worker in ("dead", "alive", "dead"):
        held(store, worker, START)
    with store.begin() as work:
        assert instances.release_worker(work, "dead", START + 1) == 2
    assert states(store) == {first: READY, second: RUNNING, third: READY}
    assert outcomes(store) == [(first, 1, "lost"), (second, 1, None), (third, 1, "lost")]
    assert held(store, "w", START + 1).attempt == 2


def test_requeue_gives_failed_instances_of_these_plans_fresh_attempts(store: SqlStore) -> None:
    mine = add_instances(store, 1, planid="mine", max_attempts=1)
    others = add_instances(store, 1, planid="other", max_attempts=1)
    waiting = add_instances(store, 1, planid="mine", task="hash")
    for _ in range(2):
        with store.begin() as work:
            claimed = instances.claim(work, "w", START, LEASE, tasks=["embed"])
            assert claimed is not None
            instances.give_up(work, claimed, error="broken", retry_at=None, now=START)
    with store.begin() as work:
        assert instances.requeue(work, ["mine"]) == 1
    assert states(store) == {mine[0]: READY, others[0]: FAILED, waiting[0]: READY}
    assert states(store, "error")[mine[0]] is None
    again = held(store, "w", START, planids=["mine"], tasks=["embed"])
    assert (again.attempt, again.max_attempts) == (2, 4)  # counted on: versions of records only rise


def add_graph(store: SqlStore, edges: set[tuple[int, int]], size: int) -> tuple[str, list[int]]:
    """Store a graph of instances under a fresh plan; return its plan and ids by node."""
    planid = f"graph-{next(_plans)}"
    ids = add_instances(store, size, planid=planid, max_attempts=100)
    if edges:
        needs = {node: sum(1 for _, target in edges if target == node) for _, node in edges}
        with store.begin() as work:
            work.connection.execute(
                instances.add_dependencies, [{"upstream_id": ids[a], "downstream_id": ids[b]} for a, b in edges]
            )
            work.connection.execute(
                instances.count_waits, [{"downstream": ids[node], "more": more} for node, more in needs.items()]
            )
    return planid, ids


@st.composite
def graphs(draw: st.DrawFn) -> tuple[set[tuple[int, int]], int]:
    size = draw(st.integers(1, 7))
    pairs = [(a, b) for a in range(size) for b in range(a + 1, size)]
    return (draw(st.sets(st.sampled_from(pairs))) if pairs else set()), size


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=graphs(), choices=st.randoms(use_true_random=False))
def test_an_instance_is_ready_exactly_when_all_its_upstream_is_done(
    sqlite_store: SqlStore, graph: tuple[set[tuple[int, int]], int], choices: Any
) -> None:
    edges, size = graph
    planid, ids = add_graph(sqlite_store, edges, size)
    done: set[int] = set()
    failures_left = 5  # bounded, so that every run of the oracle ends
    running: dict[int, Claim] = {}
    while len(done) < size:
        actual = {node: states(sqlite_store)[ids[node]] for node in range(size)}
        for node in range(size):
            open_upstream = {a for a, b in edges if b == node} - done
            expected = (
                DONE if node in done else RUNNING if node in running else WAITING if open_upstream else READY
            )  # the oracle: nothing but the definition
            assert actual[node] == expected
        claimed = claim_one(sqlite_store, "w", START, planids=[planid]) if choices.random() < 0.6 else None
        if claimed is not None:
            running[ids.index(claimed.instance_id)] = claimed
        elif running:
            node = choices.choice(sorted(running))
            claimed = running.pop(node)
            if failures_left and choices.random() < 0.3:
                failures_left -= 1
                with sqlite_store.begin() as work:
                    instances.give_up(work, claimed, error="again", retry_at=START, now=START)
            else:
                is_last = finish(sqlite_store, claimed, START)
                assert is_last == all(a != node for a, _ in edges)
                done.add(node)


def test_upstreams_finished_at_the_same_time_release_their_downstream_once(store: SqlStore) -> None:
    _, ids = add_graph(store, {(node, 16) for node in range(16)}, 17)
    claims = [held(store, f"w{number}", START) for number in range(16)]
    assert claim_one(store, "w", START) is None
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda claimed: finish(store, claimed, START), claims))
    assert states(store)[ids[16]] == READY
    assert states(store, "waiting_on")[ids[16]] == 0


def test_progress_counts_instances_by_task_and_state(store: SqlStore) -> None:
    add_instances(store, 3, planid="a", task="hash")
    add_instances(store, 1, planid="a", task="embed")
    add_instances(store, 1, planid="b", task="embed")
    finish(store, held(store, "w", START, planids=["a"], tasks=["hash"]), START)
    held(store, "w", START, planids=["a"], tasks=["hash"])
    with store.read() as connection:
        found = {(one.planid, one.task): one.states for one in instances.progress(connection, ["a"])}
    assert found == {("a", "embed"): {READY: 1}, ("a", "hash"): {DONE: 1, RUNNING: 1, READY: 1}}

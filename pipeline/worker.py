"""The lease worker: claim an instance, run its task, commit books and pointer in one transaction.

The same loop runs in the processes that `run` spawns, under `funnelgate worker` anywhere that reaches
the store, and later inside Ray actors. A killed worker loses its lease, never data: its attempt
directory has no pointer, and its instance becomes ready again.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline import instances
from pipeline.holds import claim_free
from pipeline.instances import Claim, LeaseLost
from pipeline.place import Place
from pipeline.planner import seal
from pipeline.tasks import run_task
from pipeline.tasks.context import LeafContext
from reporting.errors import (
    ConfigError,
    ContractViolation,
    DataError,
    FunnelgateError,
    GateRefused,
    Inconclusive,
    RecordError,
    UsageError,
)
from reporting.logs import logger, run_key
from reporting.plans import Plan, PlanState
from reporting.record import TaskRecord
from reporting.stores.sql_work import SqlUnitOfWork
from reporting.topology import Topology

_log = logger("worker")
_IDLE_SECONDS = 0.05
_IDLE_MAX_SECONDS = 1.0
_FINAL = (ConfigError, ContractViolation, DataError, GateRefused, Inconclusive, RecordError, UsageError)
"""Errors that the same input will meet again: no retry."""


@dataclass(frozen=True)
class Scope:
    """What a worker may claim; None does not restrict."""

    planids: tuple[str, ...] | None = None
    tasks: tuple[str, ...] | None = None


def worker_name() -> str:
    """Return a name no other worker has: host, process and a random part."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def work_loop(place: Place, name: str, scope: Scope, stop: Callable[[], bool]) -> int:
    """Work until `stop()` says so between two instances; return how many attempts were made."""
    attempts, idle = 0, _IDLE_SECONDS
    plans: dict[str, tuple[Plan, Topology]] = {}
    while not stop():
        claimed = claim_free(
            place.store, place.services, name, time.time(), place.settings.lease_seconds, scope.planids, scope.tasks
        )
        if claimed is None:
            time.sleep(idle)
            idle = min(idle * 1.5, _IDLE_MAX_SECONDS if scope.planids is None else 4 * _IDLE_SECONDS)
            continue
        idle = _IDLE_SECONDS
        planid = claimed.key.planid
        if planid not in plans:
            plans[planid] = _plan(place, planid)
        attempt_once(place, *plans[planid], claimed)
        attempts += 1
    return attempts


def _plan(place: Place, planid: str) -> tuple[Plan, Topology]:
    """Return a plan with the topology that was frozen in it: a later edit of pipeline.yaml does not touch it."""
    plan = place.store.get_plan(planid)
    assert plan is not None, f"an instance belongs to plan {planid}, which is not stored"
    return plan, Topology.model_validate(plan.config["topology"])


def attempt_once(place: Place, plan: Plan, topology: Topology, claimed: Claim) -> bool:
    """Run one attempt and commit what came of it; return whether it succeeded."""
    leaf = LeafContext(
        claimed, plan, store=place.store, lake=place.lake, topology=topology, services=place.services, clock=_now
    )
    with run_key(claimed.key), _heartbeat(place, claimed):
        try:
            run_task(leaf)
            records = leaf.close_books()
            place.lake.seal_folder(leaf.folder)
            _commit(place, plan, leaf, records)
        except LeaseLost as lost:
            _log.warning("%s", lost)
            return False
        except Exception as error:  # noqa: BLE001 - recorded as a failed attempt below, with its class and message
            _fail(place, leaf, error)
            return False
        # Within the block: the line carries the run key, by which it is found beside its record.
        _log.info("done: %s", ", ".join(f"{r.key.category} {r.input}->{r.produced}" for r in records))
    return True


def _commit(place: Place, plan: Plan, leaf: LeafContext, records: Sequence[TaskRecord]) -> None:
    """Books, verdict, sealed split, artifact pointer and state: one transaction."""
    with place.store.begin() as work:
        for record in records:
            work.put_record(record)
        if leaf.verdict is not None:
            work.put_verdict(leaf.verdict)
        if leaf.split is not None:
            seal(work, leaf.topology, plan, leaf.key.date, leaf.split, _now())
        last = instances.complete(
            work,
            leaf.claim,
            artifact=leaf.folder,
            inputs=json.dumps(leaf.reads),
            built_with=json.dumps(leaf.built_with, sort_keys=True),
            now=time.time(),
        )
        if last:
            _finish_plan(work, plan.planid)


def _finish_plan(work: SqlUnitOfWork, planid: str) -> None:
    """Complete (and promote, if so asked) a plan whose every instance is done."""
    if instances.unfinished(work.connection, planid):
        return
    plan = instances.load_plan(work.connection, planid)
    if plan.state is not PlanState.OPEN:
        return
    now = _now()
    promoted = plan.promote_when_complete
    work.put_plan(
        plan.model_copy(
            update={
                "state": PlanState.PROMOTED if promoted else PlanState.COMPLETE,
                "completed_at": now,
                "promoted_at": now if promoted else None,
            }
        )
    )


def _fail(place: Place, leaf: LeafContext, error: Exception) -> None:
    final = isinstance(error, _FINAL)
    log = _log.warning if isinstance(error, FunnelgateError) else _log.exception
    log("attempt %d failed: %s", leaf.claim.attempt, error)
    backoff = min(60.0, 0.2 * 2**leaf.claim.attempt)
    now = time.time()
    try:
        with place.store.begin() as work:
            instances.give_up(
                work,
                leaf.claim,
                error=f"{type(error).__name__}: {error}",
                retry_at=None if final else now + backoff,
                now=now,
            )
            for record in leaf.close_books(error):
                work.put_record(record)
    except LeaseLost as lost:
        _log.warning("%s", lost)


@contextmanager
def _heartbeat(place: Place, claimed: Claim) -> Iterator[None]:
    """Extend the lease every third of its length from a thread, until the block ends."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(place.settings.lease_seconds / 3):
            try:
                with place.store.begin() as work:
                    held = instances.heartbeat(work.connection, claimed, time.time(), place.settings.lease_seconds)
            except FunnelgateError as error:
                # A missed beat is survivable: the lease covers three, and completion checks the token.
                _log.warning("heartbeat of %s failed: %s", claimed.key, error)
                continue
            if not held:
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _now() -> datetime:
    return datetime.now(UTC)

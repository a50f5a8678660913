"""Work off plans with supervised worker processes, until they are complete or stuck."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date as Date

from pipeline import instances
from pipeline.holds import held_work
from pipeline.instances import Progress
from pipeline.run_lock import RunLock
from pipeline.supervisor import Supervisor
from reporting import errors
from reporting.errors import EXIT_FAILED, EXIT_OK, FunnelgateError
from reporting.key import RunKey
from reporting.plans import Plan, PlanState
from reporting.stores.sql import SqlStore

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended."""

    plans: tuple[Plan, ...]
    failures: tuple[tuple[RunKey, str], ...]
    blocked_by: tuple[str, ...]
    seconds: float
    did_nothing: bool

    @property
    def exit_code(self) -> int:
        """0 when all asked-for work is done; else by the kind of the first failure."""
        if self.failures:
            return _exit_code(self.failures[0][1])
        return EXIT_FAILED if self.blocked_by else EXIT_OK


def _exit_code(error: str) -> int:
    """Return the exit code of a stored error, by its class."""
    found = getattr(errors, error.partition(":")[0], None)
    return found.exit_code if isinstance(found, type) and issubclass(found, FunnelgateError) else EXIT_FAILED


def run_plans(
    store: SqlStore,
    plans: Sequence[Plan],
    *,
    worker_command: Sequence[str],
    workers: int,
    tasks: Sequence[str] | None = None,
    on_progress: Callable[[list[Progress]], None] = lambda _: None,
) -> RunOutcome:
    """Run the open plans among `plans`; resumes what a killed run left, and retries what had failed.

    Args:
        store: the truth.
        plans: in the order of their days.
        worker_command: arguments of `python -m funnelgate` that start one worker for these plans.
        workers: processes.
        tasks: work only on these tasks now.
        on_progress: called about five times a second.

    Raises:
        UsageError: another run works on one of the plans.
    """
    started = time.monotonic()
    planids = [plan.planid for plan in plans if plan.state is PlanState.OPEN]
    if not planids:
        return RunOutcome(tuple(plans), (), (), 0.0, did_nothing=True)
    lock = RunLock(store, planids)
    try:
        with store.begin() as work:
            instances.requeue(work, planids)
        if _pending(store, planids, tasks):
            with Supervisor(store, worker_command, workers) as supervisor:
                while _pending(store, planids, tasks):
                    lock.renew()
                    supervisor.poll()
                    on_progress(_progress(store, planids))
                    time.sleep(_POLL_SECONDS)
        on_progress(_progress(store, planids))
    finally:
        lock.release()
    return _outcome(store, plans, planids, tasks, time.monotonic() - started)


def _pending(store: SqlStore, planids: Sequence[str], tasks: Sequence[str] | None) -> bool:
    with store.read() as connection:
        return instances.claimable(connection, planids, tasks)


def _progress(store: SqlStore, planids: Sequence[str]) -> list[Progress]:
    with store.read() as connection:
        return instances.progress(connection, planids)


def _outcome(
    store: SqlStore, plans: Sequence[Plan], planids: Sequence[str], tasks: Sequence[str] | None, seconds: float
) -> RunOutcome:
    with store.read() as connection:
        failures = instances.failures(connection, planids)
        blocked = [] if failures or tasks else instances.blockers(connection, planids)
        blocked += held_work(connection, planids)
    now = tuple(found for plan in plans if (found := store.get_plan(plan.planid)) is not None)
    return RunOutcome(now, tuple(failures), tuple(blocked), seconds, did_nothing=False)


def days_between(first: Date, last: Date) -> tuple[Date, ...]:
    """Return every day from first to last, both included.

    Raises:
        UsageError: last is before first.
    """
    if last < first:
        raise errors.UsageError(f"--to {last} is before --from {first}; swap them")
    return tuple(Date.fromordinal(number) for number in range(first.toordinal(), last.toordinal() + 1))

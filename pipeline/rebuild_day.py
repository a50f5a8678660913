"""The bad-day drill: build one day's shards again, release the newest day with them, show that nothing else changed.

Two plans: a re-run of the day from a task up to `index` and nothing behind it, then a re-run of the newest day from
`tail` on (`merge`, where the graph has no tail). What is in between stays as it is: tails and merges of the days
between are stale, and nothing reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date as Date
from functools import partial

from pydantic import BaseModel, ConfigDict

from pipeline.partitions import Partitions
from pipeline.place import Place
from pipeline.plans import PlanRequest, find_or_make_plans
from pipeline.progress import run_with_progress
from pipeline.release.diff import ReleaseDiff, day_ids, diff_releases
from pipeline.release.manifest import ReleaseManifest
from pipeline.release.pointer import current
from pipeline.run import RunOutcome
from pipeline.window.library import TAIL
from reporting.errors import EXIT_FAILED, EXIT_OK, UsageError
from reporting.plans import Plan, PlanKind
from reporting.topology import Topology

LAST = "index"
Work = Callable[[Place, Sequence[Plan]], RunOutcome]


class RebuildPlan(BaseModel):
    """What a rebuild would do.

    Attributes:
        day: Whose shards are built again.
        tasks: What is done again on that day, in order.
        categories: Of these categories; (): all.
        newest: Day that is merged, judged and released again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    day: Date
    tasks: tuple[str, ...]
    categories: tuple[str, ...]
    newest: Date


class RebuildReport(BaseModel):
    """What a rebuild has done.

    Attributes:
        planned: What was to be done.
        planids: The plans, as far as it came.
        failures: What failed, a line each.
        before: Release that was current before; None: none was.
        after: Release that is current now.
        diff: What differs between the two; None without both.
        only_that_day: Whether rows of no other day differ, by the hashes of each day's rows.
        exit_code: 0; 1 where another day changed; that of the first failure.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    planned: RebuildPlan
    planids: tuple[str, ...]
    failures: tuple[str, ...] = ()
    before: int | None = None
    after: int | None = None
    diff: ReleaseDiff | None = None
    only_that_day: bool = True
    exit_code: int = EXIT_OK


def rebuild_plan(place: Place, day: Date, *, categories: Sequence[str] = (), task: str = LAST) -> RebuildPlan:
    """Say what a rebuild would do; nothing is done.

    Args:
        place: The project.
        day: Whose shards shall be built again.
        categories: Of these; (): all.
        task: From which on: what went wrong there.

    Raises:
        UsageError: The day has no shard, the task carries what it did on to later days, or it does not split by
            category and some were named.
        ConfigError: There is no such task.
    """
    tasks = _until_index(place.topology, task)
    if categories and "category" not in place.topology.task(task).work_grain:
        raise UsageError(f"task {task!r} does its work for all categories at once; leave --categories out")
    shards = Partitions(place.store, place.topology, None)
    if not shards.of_task(LAST, day):
        raise UsageError(f"{day}: has no shard to build again; run that day first (`funnelgate run --date {day}`)")
    days = [one for plan in place.store.plans() for one in plan.dates]
    newest = next((one for one in sorted(set(days), reverse=True) if shards.of_task("merge", one)), day)
    return RebuildPlan(day=day, tasks=tasks, categories=tuple(categories), newest=newest)


def rebuild_day(
    place: Place,
    day: Date,
    *,
    categories: Sequence[str] = (),
    task: str = LAST,
    reason: str = "",
    workers: int | None = None,
    work: Work | None = None,
) -> RebuildReport:
    """Build one day's shards again and release the newest day with them.

    Args:
        place: The project.
        day: Whose shards.
        categories: Of these; (): all.
        task: From which on, `index` or one before it that no later day depends on.
        reason: Kept with the plans.
        workers: Processes; None: as configured.
        work: Works plans off; None: with worker processes, showing progress on standard error.

    Returns:
        What was done and what it changed; a release that was refused is among the failures.

    Raises:
        UsageError, ConfigError: As `rebuild_plan`.
    """
    planned = rebuild_plan(place, day, categories=categories, task=task)
    work = work or partial(run_with_progress, workers=workers)
    before = current(place.lake.folder())
    planids: list[str] = []
    release_from = TAIL if TAIL in place.topology.tasks else "merge"
    for request in _requests(planned, release_from, reason):
        plans = find_or_make_plans(place.store, place.topology, request)
        planids += [plan.planid for plan in plans]
        outcome = work(place, plans)
        if outcome.exit_code:
            failures = [*(f"{key}: {error}" for key, error in outcome.failures), *outcome.blocked_by]
            number = None if before is None else before.number
            return RebuildReport(
                planned=planned,
                planids=tuple(planids),
                failures=tuple(failures),
                before=number,
                after=number,
                exit_code=outcome.exit_code,
            )
    return _compared(place, planned, planids, before)


def _requests(planned: RebuildPlan, release_from: str, reason: str) -> tuple[PlanRequest, PlanRequest]:
    shards = PlanRequest(
        kind=PlanKind.RERUN,
        dates=(planned.day,),
        tasks=planned.tasks,
        categories=planned.categories,
        promote=True,
        alone=True,
        reason=reason or f"rebuild of {planned.day}",
    )
    release = PlanRequest(
        kind=PlanKind.RERUN,
        dates=(planned.newest,),
        tasks=(release_from,),
        categories=planned.categories,
        promote=True,
        reason=reason or f"release of {planned.newest} with {planned.day} rebuilt",
    )
    return shards, release


def _compared(
    place: Place, planned: RebuildPlan, planids: Sequence[str], before: ReleaseManifest | None
) -> RebuildReport:
    root = place.lake.folder()
    after = current(root)
    diff = None
    if before is not None and after is not None:
        diff = diff_releases(before, after, partial(day_ids, root))
    alone = diff is None or set(diff.days_changed) <= {planned.day}
    return RebuildReport(
        planned=planned,
        planids=tuple(planids),
        before=None if before is None else before.number,
        after=None if after is None else after.number,
        diff=diff,
        only_that_day=alone,
        exit_code=EXIT_OK if alone else EXIT_FAILED,
    )


def _until_index(topology: Topology, task: str) -> tuple[str, ...]:
    """Return the tasks from one on up to `index`.

    Raises:
        ConfigError: There is no such task.
        UsageError: It does not lead to `index`, or on its way a task hands on to later days.
    """
    topology.task(task)
    behind = set(topology.closure((task,)))
    found = tuple(name for name in topology.order if name in behind and LAST in topology.closure((name,)))
    if not found:
        raise UsageError(f"task {task!r} does not lead to a shard; name one that `index` comes after, or index itself")
    carrying = [name for name in found if topology.task(name).waits_for_previous_day]
    if carrying:
        after = topology.order[topology.order.index(carrying[0]) + 1]
        raise UsageError(
            f"task {task!r}: {carrying[0]} hands its state on to later days, so that more than one day would change; "
            f"start at {after!r} or later, or re-run every day from there (`funnelgate plan stale`)"
        )
    return found

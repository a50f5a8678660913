"""`run`, `worker`, `scheduler`, `backfill`."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated

import typer

from pipeline.cli_options import (
    CategoriesOption,
    DateOption,
    FromOption,
    JsonOption,
    SourceOption,
    SubinstancesOption,
    TasksOption,
    ToOption,
    days_of,
    names,
    source_of,
)


def run(
    context: typer.Context,
    date: DateOption = None,
    first: FromOption = None,
    last: ToOption = None,
    tasks: TasksOption = None,
    categories: CategoriesOption = None,
    subinstances: SubinstancesOption = None,
    kind: Annotated[str, typer.Option(help="daily, rerun, backfill, shadow or test.")] = "daily",
    promote: Annotated[bool, typer.Option("--promote", help="Let a re-run count as soon as it is complete.")] = False,
    source: SourceOption = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Run the pipeline for a day or several; a killed run goes on where it stood.

    A daily run makes the day's plan once: a second call does nothing and says so. A re-run is a new plan over
    the chosen tasks, categories or packages and everything downstream of them.

    Example: `funnelgate run --source arrivals.csv --date 2026-11-01`
    """
    from pipeline.plans import PlanRequest, find_or_make_plans
    from pipeline.progress import run_with_progress
    from pipeline.report import print_run
    from reporting.plans import PlanKind

    place = context.obj.place
    request = PlanRequest(
        kind=PlanKind(_kind(kind)),
        dates=days_of(date, first, last),
        source=source_of(place, source),
        tasks=names(tasks),
        categories=names(categories),
        subinstances=names(subinstances),
        promote=promote,
    )
    plans = find_or_make_plans(place.store, place.topology, request)
    only = names(tasks) if request.kind is PlanKind.DAILY else ()
    with place.shipping():
        outcome = run_with_progress(place, plans, tasks=only or None, workers=workers)
        print_run(place, outcome, as_json=as_json)
    return outcome.exit_code


def _kind(text: str) -> str:
    from reporting.errors import UsageError, nearest
    from reporting.plans import PlanKind

    known = [kind.value for kind in PlanKind]
    if text not in known:
        raise UsageError(f"--kind {text!r}: no such kind of plan; {nearest(text, known)}")
    return text


def worker(
    context: typer.Context,
    planids: Annotated[str | None, typer.Option(help="Only these plans, comma-separated; default any.")] = None,
    tasks: TasksOption = None,
    name: Annotated[str | None, typer.Option(help="Who this is; default host, process and a random part.")] = None,
    parent: Annotated[int | None, typer.Option(help="Stop when this process, the parent, is gone.")] = None,
    drain: Annotated[bool, typer.Option("--drain", help="Stop when nothing is left to claim.")] = False,
) -> None:
    """Work off instances, one after another, until told to stop (SIGTERM ends after the instance in hand).

    Any number may run anywhere that reaches the store: a lease gives each instance to one of them.

    Example: `funnelgate worker --tasks embed`
    """
    from pipeline.worker_process import serve

    place = context.obj.place
    with place.shipping() if parent is None else nullcontext():  # a parent ships for all its workers
        serve(place, planids=names(planids), tasks=names(tasks), name=name, parent=parent, drain=drain)


def scheduler(
    context: typer.Context,
    workers: Annotated[int | None, typer.Option(help="Worker processes; 0 leaves the work to others.")] = None,
    source: SourceOption = None,
    every: Annotated[float, typer.Option(help="Seconds between looks.")] = 10.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, print what was done, and stop.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make each day's plan when its source is there, and keep workers busy with it.

    Example: `funnelgate scheduler --source 'arrivals/{date}.csv'`
    """
    from pipeline.scheduler import run_scheduler

    place = context.obj.place
    with place.shipping():
        run_scheduler(
            place, source=source_of(place, source), workers=workers, every_seconds=every, once=once, as_json=as_json
        )


def backfill(
    context: typer.Context,
    first: FromOption = None,
    last: ToOption = None,
    date: DateOption = None,
    mode: Annotated[
        str, typer.Option(help="missing: days without a complete plan; failed: missing and failed; all: every day.")
    ] = "missing",
    tasks: TasksOption = None,
    categories: CategoriesOption = None,
    subinstances: SubinstancesOption = None,
    cap: Annotated[int, typer.Option(help="At most so many days in one call.")] = 7,
    backwards: Annotated[bool, typer.Option("--backwards", help="Newest day first.")] = False,
    promote: Annotated[bool, typer.Option(help="Let each day count as soon as it is complete.")] = True,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    source: SourceOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
    workers: Annotated[int | None, typer.Option(help="Worker processes.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Do past days again, or for the first time; a day that is being worked on is left alone.

    Example: `funnelgate backfill --from 2026-11-01 --to 2026-11-07 --mode failed --dry-run`
    """
    from pipeline.backfill import BackfillRequest, run_backfill

    place = context.obj.place
    request = BackfillRequest(
        dates=days_of(date, first, last),
        mode=mode,
        tasks=names(tasks),
        categories=names(categories),
        subinstances=names(subinstances),
        cap=cap,
        backwards=backwards,
        promote=promote,
        reason=reason,
        source=source_of(place, source),
    )
    with nullcontext() if dry_run else place.shipping():
        return run_backfill(place, request, dry_run=dry_run, workers=workers, as_json=as_json)

"""`funnelgate checks watch`, `alive` and `prune`: by the clock, whether somebody does, and what is old by now."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reporting.cli_store import StoreName, StoreOption, chosen_store
from reporting.errors import FunnelgateError, UsageError

if TYPE_CHECKING:
    from checks.retention import Prunable
    from checks.watch import Alive, Ran, Tick, Watcher

DaysOption = Annotated[int, typer.Option("--days", min=0, max=30, help="Business days before the present one.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs, one line a tick.")]


def add_to(app: typer.Typer) -> None:
    """Mount the commands on the group `checks`."""
    app.command("watch")(watch)
    app.command("alive")(alive)
    app.command("prune")(prune)


def watch(
    context: typer.Context,
    every: Annotated[str, typer.Option("--every", help="Between two looks: 5m, 30s, 1h.")] = "5m",
    days: DaysOption = 2,
    once: Annotated[bool, typer.Option("--once", help="Look once, and stop.")] = False,
    check: Annotated[list[str] | None, typer.Option("--check", help="Only the check of this id; repeatable.")] = None,
    rules: Annotated[Path | None, typer.Option("--rules", help="File of checks; default: checks.rules.")] = None,
    source: StoreOption = StoreName.SQL,
    as_json: JsonOption = False,
) -> None:
    """Run the checks of the last business days again and again, and deliver the notices, until SIGTERM or SIGINT.

    A day is judged from its plan on; one that nobody has planned, from its first deadline on; one of which nothing has
    changed, once an hour. Any number of watchers may run: one leads. What pages and nobody takes is told again after
    `checks.remind_after_hours`, evaluations older than `checks.keep_days` are deleted. `funnelgate checks alive` tells,
    from elsewhere, whether it still does its work.

    Example: `funnelgate checks watch --every 5m --days 2`
    """
    from checks.clock import tick_until_told
    from checks.moments import parse_span
    from checks.watch import Watcher

    span = parse_span(every, "--every")
    settings = context.obj.loaded.values.checks
    with chosen_store(context, source) as records:
        watcher = Watcher(
            context.obj.store,
            records,
            context.obj.topology,
            context.obj.checks(rules).only(check or ()),
            sinks=context.obj.sinks,
            opened=context.obj.open_sinks(),
            days=days,
            owner=f"{socket.gethostname()}:{os.getpid()}",
            lease_seconds=3 * span.total_seconds(),
            remind_after=settings.remind_after,
            keep=settings.keep,
        )

        if once:
            _tell(watcher.tick(datetime.now(UTC)), as_json=as_json)
        else:
            tick_until_told(partial(_look, watcher, as_json=as_json), span)
        watcher.resign()


def _look(watcher: Watcher, *, as_json: bool) -> None:
    try:
        _tell(watcher.tick(datetime.now(UTC)), as_json=as_json)
    except FunnelgateError as error:
        # The next tick tries again; standard error says meanwhile what went wrong.
        typer.secho(f"tick failed: {error}", fg=typer.colors.RED, err=True)


def _tell(tick: Tick, *, as_json: bool) -> None:
    if as_json:
        typer.echo(tick.model_dump_json())
        return
    if not tick.leader:
        typer.echo(f"{tick.at:%Y-%m-%d %H:%M:%S} another watcher leads")
        return
    runs = ", ".join(map(_told, tick.runs)) or "no day is due"
    notices = f"{tick.sent} sent" + (f", {tick.retried} to try again" if tick.retried else "")
    typer.echo(f"{tick.at:%Y-%m-%d %H:%M:%S} {runs}; notices: {notices}" + (f", {tick.dead} dead" if tick.dead else ""))
    for text in tick.errors:
        typer.secho(f"  {text}", fg=typer.colors.RED, err=True)


def _told(run: Ran) -> str:
    return f"{run.date} {run.status.replace('_', ' ')}" + ("" if run.judged else " (unchanged)")


def alive(
    context: typer.Context,
    within: Annotated[str, typer.Option("--within", help="How old the latest run of a day may be.")] = "15m",
    days: DaysOption = 2,
    source: StoreOption = StoreName.SQL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> int:
    """Tell whether the checks are still run: compare the runs that were done with those that should have been.

    For a cron job or a monitor of another machine. Exit code 1 when the checker is dead.

    Example: `funnelgate checks alive --within 15m`
    """
    from checks.moments import parse_span
    from checks.watch import ask_alive

    span = parse_span(within, "--within")
    with chosen_store(context, source) as records:
        found = ask_alive(context.obj.store, records, context.obj.topology, datetime.now(UTC), within=span, days=days)
    if as_json:
        typer.echo(json.dumps(found.to_document(), indent=1))
    else:
        _tell_alive(found, within)
    return found.exit_code


def _tell_alive(found: Alive, within: str) -> None:
    done = len(found.expected) - len(found.missing)
    last = "never" if found.last_run is None else f"{found.last_run:%Y-%m-%d %H:%M:%S} UTC"
    line = f"{done} of {len(found.expected)} days were judged within {within}; the last run was {last}"
    if found.alive:
        typer.echo(f"alive: {line}")
        return
    missing = ", ".join(map(str, found.missing))
    typer.secho(f"dead: {line}" + (f"; missing: {missing}" if missing else ""), fg=typer.colors.RED)
    typer.echo("start `funnelgate checks watch`, or look why it has stopped")


def prune(
    context: typer.Context,
    older_than: Annotated[
        int | None, typer.Option("--older-than", min=1, help="Days to keep; default: checks.keep_days.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it only what would be is shown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Delete runs of the checks and their evaluations that are older than some days; without --yes only show them.

    Those of business days with an open incident stay. Incidents, their history and notices are never deleted, and
    nothing is in Elasticsearch. `checks watch` does the same once a day, by `checks.keep_days`.

    Example: `funnelgate checks prune --older-than 90`
    """
    from checks.retention import Pruned, prunable
    from checks.retention import prune as delete_old

    days = context.obj.loaded.values.checks.keep_days if older_than is None else older_than
    if days is None:
        raise UsageError("checks.keep_days is null, which keeps all; say how much is to stay: --older-than DAYS")
    before = datetime.now(UTC) - timedelta(days=days)
    found = prunable(context.obj.store, before)
    done = delete_old(context.obj.store, before) if yes else Pruned(0, 0, is_done=False)
    if as_json:
        deleted = {"runs": done.runs, "evaluations": done.evaluations}
        typer.echo(json.dumps({**found.model_dump(mode="json"), "dry_run": not yes, "deleted": deleted}, indent=1))
        return
    _tell_prunable(found)
    if yes:
        typer.echo(f"deleted: {done.runs:,} runs with {done.evaluations:,} evaluations")
    elif found.runs:
        typer.echo("nothing was deleted; --yes deletes")


def _tell_prunable(found: Prunable) -> None:
    since = "" if found.oldest is None else f", the oldest of {found.oldest:%Y-%m-%d}"
    typer.echo(
        f"before {found.before:%Y-%m-%d %H:%M} UTC: {found.runs:,} runs, {found.evaluations:,} evaluations{since}"
    )
    if found.kept_days:
        days = ", ".join(map(str, found.kept_days))
        typer.echo(f"kept beside them, for an open incident: the runs of {days}")

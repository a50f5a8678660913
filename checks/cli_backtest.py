"""`funnelgate checks backtest`: what the checks would have said of past days."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reporting.cli_store import StoreName, StoreOption, chosen_store
from reporting.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from checks.backtest import Backtest, CheckReport, Progress


def add_to(app: typer.Typer) -> None:
    """Mount the command on the group `checks`."""
    app.command("backtest")(backtest)


def backtest(
    context: typer.Context,
    first: Annotated[str, typer.Option("--from", help="First business day, YYYY-MM-DD.")],
    last: Annotated[str, typer.Option("--to", help="Last business day, included.")],
    every: Annotated[str, typer.Option("--every", help="Between two looks at a day: 24h, 6h, 30m.")] = "24h",
    at: Annotated[
        str | None, typer.Option("--at", help="HH:MM of the morning after, of the first look; default: all deadlines.")
    ] = None,
    incidents: Annotated[
        Path | None, typer.Option("--incidents", help="CSV of what was wrong: date,task[,category,subinstance].")
    ] = None,
    check: Annotated[list[str] | None, typer.Option("--check", help="Only the check of this id; repeatable.")] = None,
    rules: Annotated[Path | None, typer.Option("--rules", help="File of checks; default: checks.rules.")] = None,
    source: StoreOption = StoreName.SQL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> int:
    """Judge past days again as of each moment, incidents included, and count the alerts.

    A day is looked at on the morning after, when its last deadline is 20 minutes over, and every so often until the
    next morning. Marked incidents are those of --incidents, and stored ones that a person has ended (and not called
    benign) or a re-run has mended. For drift checks with `max_false_per_week`: the smallest score that keeps it.
    Nothing is written. Exit code 1 when a check has more false alerts than its budget.

    Example: `funnelgate checks backtest --from 2026-10-01 --to 2026-10-31`
    """
    from checks.backtest import backtest as replay
    from checks.incident_store import list_incidents
    from checks.marks import benign_of, marks_of, read_marks
    from checks.moments import parse_clock, parse_span, replay_moments

    loaded, topology = context.obj.checks(rules).only(check or ()), context.obj.topology
    days, now = _days(first, last), datetime.now(UTC)
    step, clock = parse_span(every, "--every"), parse_clock(at, "--at")
    with context.obj.store.read() as connection:
        stored = list_incidents(connection, states=None, first=days[0], last=days[-1])
    marks = [*marks_of(stored), *([] if incidents is None else read_marks(incidents, topology))]

    def moments(day: Date) -> list[datetime]:
        return [moment for moment in replay_moments(topology, day, every=step, clock=clock) if moment <= now]

    with chosen_store(context, source) as store, _progress(silent=as_json) as progress:
        found = replay(store, topology, loaded, days, moments, marks=marks, benign=benign_of(stored), progress=progress)
    if as_json:
        typer.echo(json.dumps(found.to_document(), indent=1))
    else:
        _show(found)
    return found.exit_code


def _days(first: str, last: str) -> list[Date]:
    from reporting.days import parse_day

    begin, end = parse_day(first), parse_day(last)
    if end < begin:
        raise UsageError(f"--to {end} is before --from {begin}; swap them")
    return [begin + timedelta(days=number) for number in range((end - begin).days + 1)]


@contextmanager
def _progress(*, silent: bool) -> Iterator[Progress]:
    """Yield what shows how far the work is: a bar on a terminal's standard error, else nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=silent or not console.is_terminal) as bar:
        work = bar.add_task("reading")
        yield lambda day, done, total: bar.update(work, description=day.isoformat(), completed=done, total=total)


def _show(found: Backtest) -> None:
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"{found.first} to {found.last}, {found.weeks:.1f} weeks: {found.looks} looks, {found.marks} marked incidents"
    )
    console.print(_table(found))
    for check in found.checks:
        if not check.within_budget:
            hint = f"; a score of {check.threshold:g} keeps it" if check.threshold is not None else ""
            console.print(
                f"[red bold]noisy[/]  {check.id}: {check.false_per_week:.2f} false alerts a week, "
                f"budget {check.budget:g}{hint}"
            )
    if not found.marks:
        console.print("[dim]no incident of these days is marked: every alert counts as false; see --incidents[/]")


def _table(found: Backtest) -> Table:
    """Return a line a check: false alerts and the budget by the week, the score that would keep it."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))  # ten columns in eighty characters
    table.add_column("check", no_wrap=True)
    for heading in ("results", "failed", "alerts", "/week", "false", "precision", "recall", "budget", "score"):
        table.add_column(heading, justify="right")
    for check in found.checks:
        table.add_row(escape(check.id), *_cells(check))
    return table


def _cells(check: CheckReport) -> list[str]:
    def told(number: float | None, digits: int = 2) -> str:
        return "-" if number is None else f"{number:.{digits}f}"

    false = told(check.false_per_week)
    return [
        f"{check.evaluations:,}",
        f"{check.failed:,}",
        str(check.alerts),
        told(check.alerts_per_week),
        false if check.within_budget else f"[red bold]{false}[/]",
        told(check.precision),
        told(check.recall),
        told(check.budget),
        told(check.threshold, 1),
    ]

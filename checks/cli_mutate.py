"""`funnelgate checks mutate`: put faults into a day's records, and see which checks notice."""

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
from reporting.errors import UsageError, nearest

if TYPE_CHECKING:
    from rich.table import Table

    from checks.faults import Fault
    from checks.mutate import Mutation, Progress
    from checks.spec import LoadedChecks
    from checks.view import View
    from reporting.stores.base import RecordStore


def add_to(app: typer.Typer) -> None:
    """Mount the command on the group `checks`."""
    app.command("mutate")(mutate)


def mutate(
    context: typer.Context,
    date: Annotated[str | None, typer.Option("--date", help="Business day, YYYY-MM-DD; default the latest.")] = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="The day as it stood then (ISO 8601).")] = None,
    fault: Annotated[list[str] | None, typer.Option("--fault", help="Only this class; repeatable.")] = None,
    places: Annotated[int, typer.Option("--places", min=1, help="Places of each class, drawn at random.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds draw equal places.")] = 0,
    check: Annotated[list[str] | None, typer.Option("--check", help="Only the check of this id; repeatable.")] = None,
    rules: Annotated[Path | None, typer.Option("--rules", help="File of checks; default: checks.rules.")] = None,
    source: StoreOption = StoreName.SQL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> int:
    """Put faults into a day's real records, in memory, and judge it before and after each.

    Prints a matrix of faults and checks: at how many places each check noticed. `localised` is the F1 of the leaves
    that the alert names; `evaluations_to_detect` counts judgements with new data until somebody is told. A repair made
    twice is noticed if nothing is counted twice. Exit code 1 when a fault goes unnoticed anywhere, 3 when a class
    could be put in nowhere.

    Example: `funnelgate checks mutate --date 2026-11-01 --places 10`
    """
    from checks.mutate import mutate as measure
    from reporting.days import latest_day, parse_day, parse_moment

    loaded = context.obj.checks(rules).only(check or ())
    chosen = _faults(fault or ())
    with chosen_store(context, source) as store:
        day = latest_day(store) if date is None else parse_day(date)
        view = _view(context, store, loaded, day, parse_moment(as_of))
    with _progress(silent=as_json) as progress:
        found = measure(loaded, view, faults=chosen, places=places, seed=seed, progress=progress)
    if as_json:
        typer.echo(json.dumps(found.to_document(), indent=1))
    else:
        _show(found)
    return found.exit_code


def _view(context: typer.Context, store: RecordStore, loaded: LoadedChecks, day: Date, moment: datetime | None) -> View:
    """Read what a run of the checks would judge."""
    from checks.incident_store import incident_days
    from checks.scan import scan

    topology = context.obj.topology
    needs = [need for check in loaded.file.checks for need in check.needs(topology)]
    first = day - timedelta(days=max((need.days for need in needs), default=1))
    with context.obj.store.read() as connection:
        excluded = incident_days(connection, first, day - timedelta(days=1))
    return scan(
        store,
        topology,
        day,
        as_of=datetime.now(UTC) if moment is None else moment,
        needs=needs,
        with_as_of=moment is not None,
        excluded_days=excluded,
        holidays=loaded.file.holidays,
    )


def _faults(names: list[str] | tuple[str, ...]) -> tuple[Fault, ...]:
    """Return the classes of some names, all for none.

    Raises:
        UsageError: there is no such class; the nearest is named.
    """
    from checks.faults import FAULTS

    known = {fault.name: fault for fault in FAULTS}
    for name in names:
        if name not in known:
            raise UsageError(f"--fault {name!r}: no such class of faults; {nearest(name, known)}")
    return tuple(fault for fault in FAULTS if not names or fault.name in names)


@contextmanager
def _progress(*, silent: bool) -> Iterator[Progress]:
    """Yield what shows how far the work is: a bar on a terminal's standard error, else nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, console=console, transient=True, disable=silent or not console.is_terminal) as bar:
        work = bar.add_task("judging the day")
        yield lambda name, done, total: bar.update(work, description=name, completed=done, total=total)


def _show(found: Mutation) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(soft_wrap=True, highlight=False)
    console.print(f"{found.date}, as of {found.as_of:%Y-%m-%d %H:%M} UTC: at how many places each check noticed")
    console.width = max(console.width, 46 + 4 * len(found.checks))  # a number that is cut off is another number
    console.print(_matrix(found))
    console.print(", ".join(f"{number} {escape(name)}" for number, name in enumerate(_noticing(found), start=1)))
    blind = [name for name in found.checks if name not in _noticing(found)]
    if blind:
        console.print(f"[dim]noticed nothing: {escape(', '.join(blind))}[/]")
    for report in found.faults:
        if not report.injections:
            console.print(f"[yellow]not put in[/]  {report.fault.name}: the day has no place for it that is not broken")
        for spot in report.missed:
            what = "something was counted twice" if report.fault.harmless else "no check noticed"
            console.print(f"[red bold]missed[/]  {report.fault.name} at {escape(str(spot))}: {what}")
    recall = "-" if found.recall is None else f"{found.recall:.3f}"
    console.print(f"recall {recall} over {sum(len(report.injections) for report in found.faults)} faults put in")


def _matrix(found: Mutation) -> Table:
    """Return faults as lines and, by their numbers, those checks as columns that noticed any."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("fault", no_wrap=True)
    checks = _noticing(found)
    for heading in ("noticed", "F1", "evaluations", *(str(number) for number, _ in enumerate(checks, start=1))):
        table.add_column(heading, justify="right", no_wrap=True)
    for report in found.faults:
        places = len(report.injections)
        style = "dim" if not places else "red bold" if report.missed else "green"
        table.add_row(
            report.fault.name,
            f"[{style}]{report.noticed}/{places}[/]",
            "-" if report.localised is None else f"{report.localised:.2f}",
            "-" if report.evaluations is None else f"{report.evaluations:.1f}",
            *(str(report.noticed_by[check] or "[dim].[/]") for check in checks),
        )
    return table


def _noticing(found: Mutation) -> list[str]:
    return [check for check in found.checks if any(check in report.noticed_by for report in found.faults)]

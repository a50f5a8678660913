"""The command `dashboards page`: the page as a folder of files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from datetime import date as Date

    from dashboards.page.desk import Desk

OutOption = Annotated[Path, typer.Option("--out", help="Folder of the page; new, empty, or one with an earlier page.")]
FromOption = Annotated[
    str | None, typer.Option("--from", help="First day with a page of its own; default a week of planned days.")
]
ToOption = Annotated[str | None, typer.Option("--to", help="Last of them; default the newest that has a plan.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def add_to(group: typer.Typer) -> None:
    """Mount the command on the group."""
    group.command("page")(page)


def page(
    context: typer.Context,
    out: OutOption = Path("page"),
    first: FromOption = None,
    last: ToOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the page: funnel, task graph, incidents, galleries, gate and release, as files that open from disk.

    Nothing in them needs a network. A folder is written anew as often as wanted; pages of days that are no longer
    asked for are taken away.

    Example: `funnelgate dashboards page --out page`
    """
    from dashboards.page.static import write_site

    desk = make_desk(context, first, last)
    report = write_site(desk, out, project=context.obj.loaded.folder)
    if as_json:
        typer.echo(json.dumps(report._asdict(), indent=1))
        return
    size = f"{report.bytes / 1e6:.1f} MB; the largest is {report.largest}, {report.largest_bytes / 1e6:.1f} MB"
    typer.echo(f"{report.pages} pages in {report.seconds:.1f} s, {size}")
    typer.echo(f"open {out / 'index.html'}")


def make_desk(context: typer.Context, first: str | None, last: str | None) -> Desk:
    """Return the desk of a project.

    Raises:
        UsageError: a day is written wrongly, has no plan, or the last is before the first.
    """
    from dashboards.page.desk import Desk
    from reporting.days import parse_day
    from reporting.errors import UsageError

    begin: Date | None = None if first is None else parse_day(first)
    end: Date | None = None if last is None else parse_day(last)
    if begin is not None and end is not None and end < begin:
        raise UsageError(f"--to {end} is before --from {begin}; swap them")
    root = context.obj
    desk = Desk(root.store, root.topology, root.page_sources(), datetime.now(UTC), begin, end)
    if (begin is not None or end is not None) and not desk.shown_days:
        known = f"plans are of {desk.days[0]} to {desk.days[-1]}" if desk.days else "nothing has been run here yet"
        raise UsageError(f"no day from {begin or 'the first'} to {end or 'the newest'} has a plan; {known}")
    return desk

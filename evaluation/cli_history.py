"""`funnelgate evaluate history`: what the gate has said, day by day, and how a metric went."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reporting.cli_store import StoreName, StoreOption, chosen_store
from reporting.errors import UsageError, nearest

if TYPE_CHECKING:
    from evaluation.history import Judged


def register(app: typer.Typer) -> None:
    """Mount the command on the group `evaluate`."""
    app.command("history")(history)


def history(
    context: typer.Context,
    metric: Annotated[str, typer.Option(help="What to follow.")] = "hit@10",
    first: Annotated[str | None, typer.Option("--from", help="First day, YYYY-MM-DD; default the first known.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day; default the last known.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the trend as a page to this file.")] = None,
    source: StoreOption = StoreName.SQL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show the gate's verdicts, what does not pass, and the trend of a metric with its intervals.

    Example: `funnelgate evaluate history --metric recall@10 --plot trend.html`
    """
    from evaluation.history import known_metrics, trend, verdicts_of
    from evaluation.history_page import write_page
    from reporting.days import span

    with chosen_store(context, source) as store:
        begin, end = span(store, None, first, last)
        verdicts = verdicts_of(store, begin, end)
    known = known_metrics(verdicts)
    if verdicts and metric not in known:
        raise UsageError(f"no verdict from {begin} to {end} holds {metric!r}; {nearest(metric, known)}")
    points = trend(verdicts, metric)
    if plot is not None and points:
        write_page(points, metric, plot)
    if as_json:
        rows = [point.model_dump(mode="json") for point in points]
        typer.echo(json.dumps({"metric": metric, "verdicts": rows}, indent=1, ensure_ascii=False))
        return
    _show(points, metric, None if plot is None or not points else plot)


def _show(points: Sequence[Judged], metric: str, plot: Path | None) -> None:
    from rich.console import Console
    from rich.markup import escape  # names come from data: `floor[category=hats]` holds no markup
    from rich.table import Table

    from evaluation.history import brief, figure, sparkline

    console = Console(soft_wrap=True, highlight=False)
    if not points:
        console.print("no verdict was given in these days")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("day", "plan", "verdict", metric, "interval", "what does not pass"):
        table.add_column(escape(heading), overflow="fold")
    for point in points:
        bounds = (point.low, point.high)
        interval = " .. ".join(figure(bound) for bound in bounds if bound is not None)
        value = "" if point.value is None else figure(point.value)
        table.add_row(str(point.date), escape(point.planid), point.outcome, value, interval, escape(brief(point)))
    console.print(table)
    typer.echo(f"{metric} {sparkline([point.value for point in points])}")
    if plot is not None:
        typer.echo(f"written: {plot}")

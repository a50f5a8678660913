"""`items`: from a number of the funnel to the items behind it."""

from __future__ import annotations

import json
from itertools import islice
from typing import Annotated

import typer

from pipeline.cli_options import DateOption, JsonOption


def items(
    context: typer.Context,
    task: Annotated[str, typer.Option(help="Task that dropped them.")],
    date: DateOption = None,
    reason: Annotated[str | None, typer.Option(help="Only this reason.")] = None,
    plan: Annotated[str | None, typer.Option("--plan", help="Of this plan; default what counts.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many rows.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List the items a task dropped, each with its reason and where it came from.

    Without a day: the latest one.

    Example: `funnelgate items --task quality --reason blurred --date 2026-11-01`
    """
    from pipeline.item_rows import dropped_items
    from reporting.days import latest_day, parse_day
    from reporting.errors import UsageError

    place = context.obj.place
    chosen = None
    if plan is not None:
        chosen = place.store.get_plan(plan)
        if chosen is None:
            raise UsageError.unknown_plan(plan, [known.planid for known in place.store.plans()])
    day = parse_day(date) if date is not None else latest_day(place.store)
    rows = list(islice(dropped_items(place.store, place.lake, place.topology, chosen, task, day, reason), limit))
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        offer = f"{row.get('merchant', '-')}/{row.get('sku', '-')}"
        typer.echo(f"{row['item']}  {row['reason']:16} {offer:28} line {row.get('line', '-')}  {row['detail']}")
    if not rows:
        typer.echo(f"{task} dropped nothing{f' as {reason}' if reason else ''} on {day}")

"""The reporting commands: funnel, balance, records, config."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from reporting import cli_compare, cli_emit, cli_records
from reporting.cli_store import StoreName, StoreOption, chosen_store
from reporting.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date as Date
    from datetime import datetime

    from reporting.record import TaskRecord
    from reporting.stores.base import RecordStore

DateOption = Annotated[str | None, typer.Option("--date", help="One day, YYYY-MM-DD.")]
FromOption = Annotated[str | None, typer.Option("--from", help="First day.")]
ToOption = Annotated[str | None, typer.Option("--to", help="Last day, included.")]
PlanOption = Annotated[str | None, typer.Option("--plan", help="One plan over all its days.")]
AsOfOption = Annotated[str | None, typer.Option("--as-of", help="As it stood at this moment (ISO 8601, UTC if bare).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

records_app = typer.Typer(help="Look at records, book them, and bring them to Elasticsearch.", no_args_is_help=True)
config_app = typer.Typer(help="Look at the settings.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Mount the commands on the root's app."""
    app.command("funnel")(funnel)
    app.command("balance")(balance)
    records_app.command("emit")(cli_emit.emit)
    records_app.command("from-openlineage")(cli_emit.from_openlineage)
    cli_records.add_to(records_app)
    cli_compare.add_to(records_app)
    app.add_typer(records_app, name="records")
    app.add_typer(config_app, name="config")


def funnel(
    context: typer.Context,
    date: DateOption = None,
    first: FromOption = None,
    last: ToOption = None,
    plan: PlanOption = None,
    as_of: AsOfOption = None,
    source: StoreOption = StoreName.SQL,
    as_json: JsonOption = False,
) -> None:
    """Show per task what went in, what came out, how much was kept, and why the rest was not.

    Without a day: the latest one. Only effective plans count, unless --plan names one.

    Example: `funnelgate funnel --date 2026-11-01`
    """
    from rich.console import Console

    from reporting.funnel import funnel as sum_up
    from reporting.render import funnel_table

    with chosen_store(context, source) as store:
        records, title = _chosen(store, date, first, last, plan, as_of)
    rows = sum_up(context.obj.topology, records)
    if as_json:
        typer.echo(json.dumps([row.model_dump() for row in rows], indent=1))
    else:
        Console().print(funnel_table(rows, title))


def balance(
    context: typer.Context,
    date: DateOption = None,
    first: FromOption = None,
    last: ToOption = None,
    all_plans: Annotated[
        bool, typer.Option("--all-plans", help="Also plans that do not count, each on its own.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="List each place where the books do not close.")] = False,
    source: StoreOption = StoreName.SQL,
    as_json: JsonOption = False,
) -> int:
    """Close the books: every item booked, one line "unexplained".

    Exit code 1 when it is not 0, or when a complete plan owes a record.

    Without a day: all days.

    Example: `funnelgate balance --from 2026-11-01 --to 2026-11-07`
    """
    from rich.console import Console

    from reporting.balance import balance as close
    from reporting.days import span
    from reporting.ledger import gather_books
    from reporting.render import balance_table

    topology = context.obj.topology
    with chosen_store(context, source) as store:
        books = gather_books(store, topology, *span(store, date, first, last))
    found = close(topology, books, all_plans=all_plans)
    if as_json:
        typer.echo(json.dumps([row.model_dump(mode="json") for row in found.rows], indent=1))
    else:
        Console().print(balance_table(found))
    if explain:
        for one in found.residuals:
            typer.echo(
                f"{one.date} {one.planid}: {one.where}: handed on {one.handed_on}, taken {one.taken}: {one.residual}",
                err=as_json,
            )
    broken = any(row.unexplained or (row.missing_leaves and not row.provisional) for row in found.rows)
    return EXIT_FAILED if broken else EXIT_OK


@records_app.command("list")
def list_records(
    context: typer.Context,
    date: DateOption = None,
    first: FromOption = None,
    last: ToOption = None,
    plan: PlanOption = None,
    task: Annotated[str | None, typer.Option(help="Only this task.")] = None,
    as_of: AsOfOption = None,
    source: StoreOption = StoreName.SQL,
    as_json: JsonOption = False,
) -> None:
    """List records, one line a leaf.

    Example: `funnelgate records list --date 2026-11-01 --task dedup`
    """
    with chosen_store(context, source) as store:
        records, _ = _chosen(store, date, first, last, plan, as_of)
    chosen = [record for record in records if task is None or record.key.task == task]
    if as_json:
        typer.echo(json.dumps([record.to_document() for record in chosen], indent=1))
        return
    for record in chosen:
        drops = ", ".join(f"{reason} {count}" for reason, count in sorted(record.dropped.items()))
        counts = f"{record.input} -> {record.produced}  {drops}"
        typer.echo(f"{record.key}  attempt {record.attempt}  {record.state.value}  {counts}".rstrip())


@records_app.command("history")
def history(
    context: typer.Context,
    leaf: Annotated[str, typer.Argument(help="task/date/category/subinstance/planid, as `records list` prints it.")],
    source: StoreOption = StoreName.SQL,
    as_json: JsonOption = False,
) -> None:
    """Show every record ever put under one key, the oldest first.

    Example: `funnelgate records history dedup/2026-11-01/all/all/daily-20261101`
    """
    from reporting.days import parse_key

    key = parse_key(leaf)
    with chosen_store(context, source) as store:
        found = store.history(key)
    if as_json:
        typer.echo(json.dumps([record.to_document() for record in found], indent=1))
        return
    for record in found:
        error = f"  {record.error.error_class}: {record.error.message}" if record.error else ""
        typer.echo(
            f"{record.reported_at.isoformat()}  attempt {record.attempt}  {record.state.value}  {record.input}{error}"
        )


@config_app.command("show")
def config_show(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show every setting, its value and where it came from.

    Example: `funnelgate config show`
    """
    from reporting.logs import redact

    rows = [(key, redact(value), origin) for key, value, origin in context.obj.describe()]
    if as_json:
        typer.echo(json.dumps([dict(zip(("key", "value", "origin"), row, strict=True)) for row in rows], indent=1))
        return
    for key, value, origin in rows:
        typer.echo(f"{key:24} {value:40} {origin}")


def _chosen(
    store: RecordStore, date: str | None, first: str | None, last: str | None, plan: str | None, as_of: str | None
) -> tuple[Sequence[TaskRecord], str]:
    """Return the records that a command is about, and a title."""
    from reporting.days import latest_day, parse_moment, span
    from reporting.effective import effective_records
    from reporting.errors import UsageError
    from reporting.stores.base import RecordQuery

    moment: datetime | None = parse_moment(as_of)
    if plan is not None:
        if store.get_plan(plan) is None:
            raise UsageError.unknown_plan(plan, [known.planid for known in store.plans()])
        return store.records(RecordQuery(planids=(plan,), as_of=moment)), f"plan {plan}"
    days: tuple[Date, Date]
    days = span(store, date, first, last) if date or first or last else (latest_day(store),) * 2
    title = f"{days[0]}" if days[0] == days[1] else f"{days[0]} to {days[1]}"
    return effective_records(store, *days, as_of=moment), title

"""`funnelgate records verify|replay|export`: is the cluster what SQL says, making it so, and records as a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reporting.cli_records import FromOption, JsonOption, ToOption
from reporting.cli_store import StoreName, StoreOption, chosen_store
from reporting.errors import EXIT_FAILED, EXIT_OK, UsageError

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from reporting.elastic.compare import Comparison, Example
    from reporting.elastic.names import Kind
    from reporting.elastic.replay import ReplayReport
    from reporting.elastic.truth import Span

DateOption = Annotated[str | None, typer.Option("--date", help="One day, YYYY-MM-DD; default all days.")]


def add_to(app: typer.Typer) -> None:
    """Mount the commands on the group `records`."""
    app.command("verify")(verify)
    app.command("replay")(replay)
    app.command("export")(export)


def verify(
    context: typer.Context,
    date: DateOption = None,
    first: FromOption = None,
    last: ToOption = None,
    examples: Annotated[int, typer.Option("--examples", min=0, help="How many to show of what is wrong.")] = 10,
    as_json: JsonOption = False,
) -> int:
    """Compare Elasticsearch with the SQL store, document by document; exit code 1 when they differ.

    Missing: SQL has it, the cluster has not. Different: any field is another one. Extra: the cluster has a document
    that SQL does not know; where several SQL stores ship to one prefix, each finds the others' documents to be extra.

    Example: `funnelgate records verify --from 2026-11-01 --json`
    """
    import json

    from reporting.elastic.compare import compare
    from reporting.outbox_sql import SqlOutbox

    store, span = context.obj.store, _span(date, first, last)
    with _cluster(context) as (client, names), _progress("compared") as on_progress:
        prefix = context.obj.elastic.prefix
        found = compare(store, client, prefix, names, span, examples=examples, on_progress=on_progress)
    pending = SqlOutbox(store).status().pending
    if as_json:
        typer.echo(json.dumps({**found.model_dump(mode="json"), "pending": pending}, indent=1))
    else:
        _print_comparison(found)
        if pending:
            typer.echo(f"{pending} entries still wait to be shipped and may explain it: `funnelgate records ship`")
        elif not found.equal:
            typer.echo("`funnelgate records replay` makes the cluster equal to SQL")
    return EXIT_OK if found.equal else EXIT_FAILED


def replay(
    context: typer.Context,
    date: DateOption = None,
    first: FromOption = None,
    last: ToOption = None,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Also delete what SQL does not know; not where stores share a prefix."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, only say what would be.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Write to Elasticsearch what it lacks or has otherwise than the SQL store; fills an empty cluster, too.

    May run beside a shipper: what another writer changes meanwhile is left alone. Exit code 1 when the cluster
    refuses a document for good.

    Example: `funnelgate records replay --date 2026-11-01 --dry-run`
    """
    from reporting.elastic.replay import replay as write_again

    span = _span(date, first, last)
    with _cluster(context) as (client, names), _progress("looked at") as on_progress:
        done = write_again(
            context.obj.store,
            client,
            context.obj.elastic.prefix,
            names,
            span,
            prune=prune,
            dry_run=dry_run,
            on_progress=on_progress,
        )
    if as_json:
        typer.echo(done.model_dump_json(indent=1))
    else:
        _print_replay(done, prune=prune)
    return EXIT_FAILED if done.refused else EXIT_OK


def export(
    context: typer.Context,
    date: DateOption = None,
    first: FromOption = None,
    last: ToOption = None,
    form: Annotated[
        str | None, typer.Option("--format", help="jsonl, csv or parquet; default as --out is called, else jsonl.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="A file; .gz compresses it. Default the standard output.")
    ] = None,
    events: Annotated[
        bool, typer.Option("--events", help="Every version ever booked, not only the one that stands.")
    ] = False,
    source: StoreOption = StoreName.SQL,
) -> None:
    """Write records to a file, one a line, all plans included; the file appears when it is whole.

    Example: `funnelgate records export --from 2026-11-01 --out records.parquet`
    """
    from reporting.elastic.export import Format, format_of, stored_records
    from reporting.elastic.export import export as write

    try:
        chosen = format_of(out) if form is None else Format(form)
    except ValueError:
        raise UsageError(f"--format {form!r} is none; expected {', '.join(one.value for one in Format)}") from None
    span = _span(date, first, last)
    with chosen_store(context, source) as store:
        count = write(stored_records(store, span, events=events), out, chosen)  # type: ignore[arg-type]
    if out is not None:
        typer.echo(f"{count} records written to {out}", err=True)


def _span(date: str | None, first: str | None, last: str | None) -> Span:
    from reporting.days import parse_day
    from reporting.elastic.truth import Span

    if date is not None:
        if first is not None or last is not None:
            raise UsageError("give either --date, or --from and --to")
        return Span(parse_day(date), parse_day(date))
    days = Span(*(None if text is None else parse_day(text) for text in (first, last)))
    if days.first is not None and days.last is not None and days.last < days.first:
        raise UsageError(f"--to {days.last} is before --from {days.first}; swap them")
    return days


@contextmanager
def _cluster(context: typer.Context) -> Iterator[tuple[Elasticsearch, frozenset[str]]]:
    """Yield a client for the cluster of the settings, and the metrics that have a field there."""
    from reporting.elastic.client import check, connect
    from reporting.elastic.setup import require_setup

    settings = context.obj.elastic
    with connect(settings) as client:
        check(client)
        yield client, require_setup(client, settings.prefix)


@contextmanager
def _progress(doing: str) -> Iterator[Callable[[Kind, int, int | None], None]]:
    """Yield what to call after each chunk: on a terminal it shows how far it is."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        tasks: dict[str, Any] = {}

        def show(kind: Kind, done: int, total: int | None) -> None:
            if kind.value not in tasks:
                tasks[kind.value] = shown.add_task(f"{kind.value} {doing}", total=total)
            shown.update(tasks[kind.value], completed=done)

        yield show


def _print_comparison(found: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("")
    names = ("compared", "missing", "different", "extra")
    for heading in names:
        table.add_column(heading, justify="right")
    for kind, counts in found.kinds.items():
        table.add_row(kind, *(f"{getattr(counts, name):,}" for name in names))
    table.add_section()
    table.add_row("[bold]all[/]", *(f"{getattr(found, name):,}" for name in names))
    Console().print(table)
    for example in found.examples:
        typer.echo(_example_line(example))


def _example_line(example: Example) -> str:
    fields = f" ({', '.join(example.fields)})" if example.fields else ""
    return f"{example.what}: {example.kind} {example.key or example.id}{fields}"


def _print_replay(done: ReplayReport, *, prune: bool) -> None:
    would = "would be " if done.dry_run else ""
    found = f"{done.compared} compared: {done.missing} missing, {done.different} different, {done.extra} extra"
    typer.echo(f"{found}; {done.written} {would}written, {done.pruned} {would}deleted")
    if done.dry_run:
        for example in done.examples:
            typer.echo(_example_line(example))
    if done.extra and not prune:
        typer.echo(f"{done.extra} documents that SQL does not know stay; --prune deletes them")
    if done.conflicts:
        typer.echo(
            f"{done.conflicts} versions were booked with other content in the cluster: another writer uses the same"
            " keys and versions; SQL's content counts now",
            err=True,
        )
    if done.left:
        typer.echo(f"{done.left} were changed by another writer meanwhile and left alone; verify again", err=True)
    if done.refused:
        typer.echo(f"{done.refused} were refused for good: {done.errors[0]}", err=True)

"""`funnelgate records setup|ship|status|revive`: the way of records to a cluster, and what waits on it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date as Date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reporting.errors import EXIT_FAILED, EXIT_OK, FunnelgateError, StoreError, UsageError

if TYPE_CHECKING:
    from reporting.outbox import Outbox, Outcome
    from reporting.settings import ElasticSettings
    from reporting.shipper import Shipper, ShipReport, Step
    from reporting.stores.sql import SqlStore
    from reporting.topology import Topology

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
SpoolOption = Annotated[
    Path | None, typer.Option("--spool", help="A spool folder instead of the outbox of the SQL store.")
]
FromOption = Annotated[str | None, typer.Option("--from", help="First day, YYYY-MM-DD.")]
ToOption = Annotated[str | None, typer.Option("--to", help="Last day, included.")]

_SHOWN = 10
_ANSWER_SECONDS = 5.0
"""`status` waits no longer for a cluster: it is asked most when that is away."""
_LOOK_SECONDS = 1.0


def add_to(app: typer.Typer) -> None:
    """Mount the commands on the group `records`."""
    app.command("setup")(setup)
    app.command("ship")(ship)
    app.command("status")(status)
    app.command("revive")(revive)


def declared_metrics(topology: Topology) -> frozenset[str]:
    """Return the names of all metrics that the task graph declares: each gets a field of its own."""
    return frozenset(name for spec in topology.tasks.values() for name in spec.metrics)


def months_between(first: Date, last: Date) -> list[Date]:
    """Return the first day of every month that two days span.

    Example:
        >>> [f"{day:%Y-%m}" for day in months_between(Date(2026, 12, 30), Date(2027, 1, 2))]
        ['2026-12', '2027-01']
    """
    numbers = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    return [Date(number // 12, number % 12 + 1, 1) for number in numbers]


def setup(
    context: typer.Context,
    months: Annotated[
        int | None, typer.Option("--months", min=0, max=120, help="Months ahead to make indices for; default 3.")
    ] = None,
    first: Annotated[str | None, typer.Option("--from", help="First day with indices; default a month ago.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day with indices, instead of --months.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, only say what would be.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make or upgrade the templates and indices in Elasticsearch; a second call changes nothing.

    Every metric of the task graph gets a field. Needs an API key of the role setup. Months without an index get
    theirs from the template with their first record.

    Example: `funnelgate records setup --from 2026-01-01`
    """
    from reporting.elastic.client import check, connect
    from reporting.elastic.setup import setup as set_up

    wanted = months_between(*_setup_days(months, first, last))
    with connect(context.obj.elastic) as client:
        check(client)
        done = set_up(
            client, context.obj.elastic.prefix, declared_metrics(context.obj.topology), wanted, dry_run=dry_run
        )
    if as_json:
        typer.echo(done.model_dump_json(indent=1))
        return
    would = "would be " if dry_run else ""
    for change in ("created", "updated"):
        for name in getattr(done, change):
            typer.echo(f"{would}{change}  {name}")
    typer.echo(f"{len(done.created)} {would}created, {len(done.updated)} updated, {len(done.unchanged)} unchanged")


def _setup_days(months: int | None, first: str | None, last: str | None) -> tuple[Date, Date]:
    from datetime import UTC, datetime

    from reporting.days import parse_day

    if months is not None and last is not None:
        raise UsageError("give either --months or --to")
    today = datetime.now(UTC).date()
    number = today.year * 12 + today.month - 1
    begin, end = number - 1, number + (3 if months is None else months)
    days = (
        Date(begin // 12, begin % 12 + 1, 1) if first is None else parse_day(first),
        Date(end // 12, end % 12 + 1, 1) if last is None else parse_day(last),
    )
    if days[1] < days[0]:
        raise UsageError(f"the last day {days[1]} is before the first, {days[0]}; give --from and --to in order")
    return days


def ship(
    context: typer.Context,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=0, help="Give up after so long; without it, go on through any outage."),
    ] = None,
    spool: SpoolOption = None,
    as_json: JsonOption = False,
) -> int:
    """Ship what waits to Elasticsearch, and return when nothing waits any more.

    Exit code 0 when all was shipped, 1 when entries were refused for good and put aside in this call, 4 when
    something still waits: an operator must act first, or --seconds were over. Where another process is shipping
    already, this one waits for it, and goes on where that ends. From a spool, a planid that nobody registered counts
    as an open daily plan.

    Example: `funnelgate records ship --seconds 600`
    """
    from reporting.elastic.opening import open_sink, what_is_left
    from reporting.shipper import Did, Shipper

    settings = context.obj.elastic
    with opened_outbox(context, spool) as (outbox, store):
        shipper = Shipper(outbox, lambda: open_sink(settings, store))
        shipper.sink()  # a wrong address or key is one line at once, and not a wait
        try:
            with _progress(outbox, shipper) as on_step:
                last = _drain(shipper, outbox, seconds, on_step)
        finally:
            shipper.resign()
        put_aside = _print_shipped(shipper.report(), outbox, last, as_json=as_json)
        if last.did is not Did.IDLE:
            raise StoreError(what_is_left(outbox, last, settings.url) or last.error or "--seconds are over")
    return EXIT_FAILED if put_aside else EXIT_OK


def _print_shipped(report: ShipReport, outbox: Outbox, last: Step, *, as_json: bool) -> int:
    """Print what a call has done; return how many entries it put aside."""
    from reporting.shipper import Did

    left = outbox.status()
    put_aside = report.poison + report.conflicts
    if as_json:
        more = {"pending": left.pending, "quarantined": left.quarantined}
        typer.echo(json.dumps({**report.model_dump(), **more}, indent=1))
    else:
        waiting = 0 if last.did is Did.IDLE else left.pending
        typer.echo(f"{report.delivered + report.stale} shipped, {waiting} left")
    if put_aside:
        sorts = f"{report.poison} refused, {report.conflicts} in conflict"
        typer.echo(f"{put_aside} put aside ({sorts}); `funnelgate records status` tells why", err=True)
    return put_aside


@contextmanager
def opened_outbox(context: typer.Context, spool: Path | None) -> Iterator[tuple[Outbox, SqlStore | None]]:
    """Yield the outbox that a command is about, and the store it belongs to; a spool belongs to none."""
    if spool is None:
        from reporting.outbox_sql import SqlOutbox

        yield SqlOutbox(context.obj.store), context.obj.store
        return
    from reporting.spool import Spool

    if not spool.is_dir():
        raise UsageError(f"--spool {spool}: no such folder; a recorder or `funnelgate records emit --spool` makes it")
    with Spool(spool) as outbox:
        yield outbox, None


def _drain(shipper: Shipper, outbox: Outbox, seconds: float | None, on_step: Callable[[Step], None]) -> Step:
    """Ship, or wait for who ships, until nothing waits or the time is over."""
    from reporting.shipper import Did, Step

    until = None if seconds is None else time.monotonic() + seconds
    while True:
        left = None if until is None else max(0.0, until - time.monotonic())
        step = shipper.drain(seconds=left, on_step=on_step)
        if step.did is not Did.FOLLOWS:
            return step
        if not outbox.status().pending:
            return Step(Did.IDLE)
        if left == 0.0:
            return step
        time.sleep(_LOOK_SECONDS)


@contextmanager
def _progress(outbox: Outbox, shipper: Shipper) -> Iterator[Callable[[Step], None]]:
    """Yield what to call after each batch: it shows how many are left and how fast, and each new error once."""
    said = ""

    def tell(step: Step) -> None:
        nonlocal said
        if step.error and step.error != said:
            said = step.error
            typer.echo(f"waiting: {step.error}", err=True)

    if not sys.stderr.isatty():
        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    total = outbox.status().pending
    text = "{task.completed:,.0f} of {task.total:,.0f} entries shipped, {task.fields[rate]:,.0f} a second"
    columns = (BarColumn(), TextColumn(text))
    begun = time.monotonic()
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=total, rate=0.0)

        def show(step: Step) -> None:
            report = shipper.report()
            done = report.delivered + report.stale + report.poison + report.conflicts
            rate = done / max(time.monotonic() - begun, 0.001)
            shown.update(task, completed=done, total=max(total, done), rate=rate)
            tell(step)

        yield show


def status(context: typer.Context, spool: SpoolOption = None, as_json: JsonOption = False) -> None:
    """Show what waits to be shipped, since when, what was put aside and why, and how the cluster is.

    A cluster that does not answer is no error here: it is shown.

    Example: `funnelgate records status --json`
    """
    with opened_outbox(context, spool) as (outbox, _):
        found = outbox.status()
        dead = outbox.dead()[:_SHOWN] if found.quarantined else []
    cluster = _cluster(context.obj.elastic)
    if as_json:
        aside = [_aside(one) for one in dead]
        typer.echo(json.dumps({**found.model_dump(), "cluster": cluster, "put_aside": aside}, indent=1))
        return
    since = "" if found.oldest_seconds is None else f", the oldest for {_duration(found.oldest_seconds)}"
    typer.echo(f"{found.pending} waiting ({found.bytes:,} bytes){since}; {found.shipped} shipped")
    typer.echo(_cluster_line(cluster))
    if found.quarantined:
        typer.echo(f"{found.quarantined} put aside; `funnelgate records revive` queues them again once mended:")
        for one in dead:
            typer.echo(f"  {_aside_line(one)}")
        if found.quarantined > len(dead):
            typer.echo(f"  and {found.quarantined - len(dead)} more")


def _aside(one: Outcome) -> dict[str, Any]:
    entry = one.entry
    return {
        "topic": str(entry.topic),
        "document_id": entry.document_id,
        "version": entry.version,
        "fate": one.fate.value,
        "error": one.error,
    }


def _aside_line(one: Outcome) -> str:
    return f"{one.fate.value}: {one.entry.topic} {one.entry.document_id}: {' '.join(one.error.split())}"


def _cluster(settings: ElasticSettings) -> dict[str, Any] | None:
    """Return how the cluster of the settings is; None where there is none."""
    from reporting.elastic.client import check, cluster_errors, connect, url_of
    from reporting.elastic.names import Kind, pattern_of
    from reporting.logs import redact

    if settings.url is None:
        return None
    found: dict[str, Any] = {"reachable": False, "url": redact(settings.url)}
    found |= dict.fromkeys(("name", "version", "status", "error", "documents"))
    brief = settings.model_copy(update={"timeout_seconds": min(settings.timeout_seconds, _ANSWER_SECONDS)})
    try:
        with connect(brief) as client:
            info = check(client)
            found |= {"reachable": True, "name": info.name, "version": info.version, "status": info.status}
            with cluster_errors(url_of(client)):
                found["documents"] = {
                    kind.value: client.count(index=pattern_of(settings.prefix, kind), ignore_unavailable=True)["count"]
                    for kind in Kind
                }
    except FunnelgateError as error:  # the outbox is what matters here, most of all when the cluster is away
        found["error"] = str(error)
    return found


def _cluster_line(cluster: dict[str, Any] | None) -> str:
    if cluster is None:
        return "no cluster: elastic.url is not set"
    if not cluster["reachable"]:
        return f"cluster not reachable: {cluster['error']}"
    counts = ", ".join(f"{number} {kind}" for kind, number in (cluster["documents"] or {}).items())
    said = f"cluster {cluster['name']} at {cluster['url']}: {cluster['version']}, {cluster['status']}"
    return f"{said}; {counts or cluster['error']}"


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def revive(
    context: typer.Context,
    spool: SpoolOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what was put aside.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Queue again what was put aside, after its cause was mended; `records ship` tries it anew.

    Example: `funnelgate records revive --dry-run`
    """
    with opened_outbox(context, spool) as (outbox, _):
        dead = outbox.dead() if dry_run else []
        revived = 0 if dry_run else outbox.revive()
    if as_json:
        typer.echo(json.dumps({"revived": revived, "put_aside": [_aside(one) for one in dead]}, indent=1))
        return
    for one in dead:
        typer.echo(_aside_line(one))
    typer.echo(f"{len(dead)} would be queued again" if dry_run else f"{revived} queued again")

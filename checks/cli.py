"""The commands plan, run, explain and schema, and the groups `checks` and `incidents` that hold all of the folder's."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from checks import cli_backtest, cli_incidents, cli_localise, cli_mutate, cli_notices, cli_watch
from reporting.cli_store import StoreName, StoreOption, chosen_store
from reporting.errors import UsageError, nearest

if TYPE_CHECKING:
    from checks.run import Run
    from checks.spec import LoadedChecks

DateOption = Annotated[str | None, typer.Option("--date", help="Business day, YYYY-MM-DD; default the latest planned.")]
AsOfOption = Annotated[str | None, typer.Option("--as-of", help="As it stood at this moment (ISO 8601, UTC if bare).")]
RulesOption = Annotated[Path | None, typer.Option("--rules", help="File of checks; default: checks.rules.")]
CheckOption = Annotated[list[str] | None, typer.Option("--check", help="Only the check of this id; repeatable.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
NoActOption = Annotated[bool, typer.Option("--no-act", help="Open, change and announce no incident.")]
AllOption = Annotated[bool, typer.Option("--all", help="List also what has passed.")]
JunitOption = Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML to this file.")]
MarkdownOption = Annotated[Path | None, typer.Option("--markdown", help="Write Markdown to this file.")]
OpenMetricsOption = Annotated[Path | None, typer.Option("--openmetrics", help="Write OpenMetrics text to this file.")]

checks_app = typer.Typer(help="Judge a day's records, and explain what is wrong.", no_args_is_help=True)
incidents_app = typer.Typer(
    help="What the checks have found: open cases, and what became of them.", no_args_is_help=True
)


def add_to(app: typer.Typer) -> None:
    """Mount the commands on the root's app."""
    checks_app.command("plan")(plan)
    checks_app.command("run")(run)
    checks_app.command("explain")(explain)
    checks_app.command("schema")(schema)
    for part in (cli_backtest, cli_mutate, cli_watch, cli_notices, cli_localise):
        part.add_to(checks_app)
    cli_incidents.add_to(incidents_app)
    app.add_typer(checks_app, name="checks")
    app.add_typer(incidents_app, name="incidents")


def plan(
    context: typer.Context, rules: RulesOption = None, check: CheckOption = None, as_json: JsonOption = False
) -> None:
    """Show what the file of checks expands to over the task graph, before there is any record.

    Example: `funnelgate checks plan --check volume`
    """
    from rich.console import Console

    from checks.render import plan_table

    loaded = context.obj.checks(rules).only(check or ())
    instances = loaded.instances(context.obj.topology)
    if as_json:
        found = {
            "config_hash": loaded.config_hash,
            "rules": str(loaded.path),
            "instances": [one._asdict() for one in instances],
            "left_out": [one._asdict() for one in loaded.left_out],
        }
        typer.echo(json.dumps(found, indent=1))
        return
    Console().print(plan_table(instances))
    count = len(loaded.file.checks)
    typer.echo(f"{count} checks of {loaded.path}, {len(instances)} instances; configuration {loaded.config_hash}")
    for name, why in loaded.left_out:
        typer.echo(f"left out: {name}, for the task graph lacks what it is about: {why}")


def run(
    context: typer.Context,
    date: DateOption = None,
    as_of: AsOfOption = None,
    check: CheckOption = None,
    rules: RulesOption = None,
    source: StoreOption = StoreName.SQL,
    no_act: NoActOption = False,
    show_all: AllOption = False,
    junit: JunitOption = None,
    markdown: MarkdownOption = None,
    openmetrics: OpenMetricsOption = None,
    as_json: JsonOption = False,
) -> int:
    """Judge a day, write every result down, and open, change or resolve incidents.

    Exit code 1 when any check fails; else 3 when any could not be evaluated or met an error; else 0, warnings included.
    With --as-of it only judges: what was wrong then is no news.

    Example: `funnelgate checks run --date 2026-11-01 --junit checks.xml`
    """
    from checks.result import exit_code

    loaded = context.obj.checks(rules).only(check or ())
    acts = not no_act and as_of is None
    found = _judged(context, loaded, date, as_of, source, act=acts)
    _write(found, junit, markdown, openmetrics)
    if as_json:
        from checks.formats import to_document

        typer.echo(json.dumps(to_document(found), indent=1, ensure_ascii=False))
    else:
        _show(found, show_all=show_all)
    if acts:
        _deliver(context)
    return exit_code(found.results)


def _judged(
    context: typer.Context,
    loaded: LoadedChecks,
    date: str | None,
    as_of: str | None,
    source: StoreName,
    *,
    act: bool,
    keep: bool = True,
) -> Run:
    """Judge a day of a store; what comes of it goes into the SQL store, wherever the records were read."""
    from checks.run import judge_day, run_checks
    from reporting.days import latest_day, parse_day, parse_moment

    moment, topology, books = parse_moment(as_of), context.obj.topology, context.obj.store
    with chosen_store(context, source) as store:
        day = latest_day(store) if date is None else parse_day(date)
        now = datetime.now(UTC)
        if not keep:
            return judge_day(store, topology, loaded, day, moment, now, books=books)
        return run_checks(store, topology, loaded, day, moment, now, act=act, books=books, sinks=context.obj.sinks)


def _deliver(context: typer.Context) -> None:
    """Send what waits to be told; what cannot be sent now waits for the next run, and is said on standard error."""
    from checks.deliver import deliver
    from checks.reminders import remind

    if not context.obj.sinks:
        return
    now = datetime.now(UTC)
    remind(context.obj.store, context.obj.sinks, now, context.obj.loaded.values.checks.remind_after)
    done = deliver(context.obj.store, context.obj.open_sinks(), now)
    if done.sent or done.retried or done.dead:
        typer.echo(f"notices: {done.sent} sent, {done.retried} to be tried again, {done.dead} put aside", err=True)


def _show(found: Run, *, show_all: bool) -> None:
    from rich.console import Console

    from checks.render import run_lines, run_table
    from checks.result import Status

    console = Console(soft_wrap=True, highlight=False)
    console.print(run_table(found))
    listed = [one for one in found.results if show_all or (one.status is not Status.PASS and one.counts)]
    if listed:
        console.print()
    for line in run_lines(listed):
        console.print(line)
    for incident in found.incidents:
        console.print(f"incident {incident.episode}: {incident.state.value}", markup=False)


def _write(found: Run, junit: Path | None, markdown: Path | None, openmetrics: Path | None) -> None:
    from checks.formats import to_junit, to_markdown, to_openmetrics

    for path, option, write in (
        (junit, "--junit", to_junit),
        (markdown, "--markdown", to_markdown),
        (openmetrics, "--openmetrics", to_openmetrics),
    ):
        if path is None:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(write(found), encoding="utf-8", newline="\n")
        except OSError as error:
            raise UsageError(f"{option} {path}: cannot be written: {error.strerror}; name another file") from error


def explain(
    context: typer.Context,
    check: Annotated[str, typer.Argument(help="Id of a check, as `checks plan` lists it.")],
    instance: Annotated[str | None, typer.Option("--instance", help="Only this instance of it.")] = None,
    date: DateOption = None,
    as_of: AsOfOption = None,
    rules: RulesOption = None,
    source: StoreOption = StoreName.SQL,
    show_all: AllOption = False,
    as_json: JsonOption = False,
) -> int:
    """Judge a day by one check, and tell all about each result: numbers, where a break sits, owner, what mends it.

    Without --all and --instance only what is not a pass. Nothing is written. Exit codes as `checks run`.

    Example: `funnelgate checks explain edges-agree --date 2026-11-01`
    """
    from checks.formats import to_document
    from checks.result import exit_code

    loaded = context.obj.checks(rules).only((check,))
    found = _judged(context, loaded, date, as_of, source, act=False, keep=False)
    chosen = _of_instance(found, instance)
    if as_json:
        typer.echo(json.dumps(to_document(chosen), indent=1, ensure_ascii=False))
    else:
        _tell(chosen, loaded, show_all=show_all or instance is not None)
    return exit_code(chosen.results)


def _of_instance(found: Run, instance: str | None) -> Run:
    """Return a run with the results of one instance.

    Raises:
        UsageError: the day has no such instance; the nearest is named.
    """
    from checks.result import status_of

    if instance is None:
        return found
    kept = tuple(result for result in found.results if result.instance == instance)
    if not kept:
        known = [result.instance for result in found.results]
        raise UsageError(f"{found.date} has no instance {instance!r}; {nearest(instance, known)}")
    return replace(found, results=kept, status=status_of(kept))


def _tell(found: Run, loaded: LoadedChecks, *, show_all: bool) -> None:
    from rich.console import Console

    from checks.formats import worst_first
    from checks.render import explained
    from checks.result import Status

    console = Console(soft_wrap=True, highlight=False)
    listed = [result for result in worst_first(found.results) if show_all or result.status is not Status.PASS]
    for result in listed:
        for line in explained(result, loaded.check(result.id)):
            console.print(line)
        console.print()
    passed = len(found.results) - len(listed)
    console.print(f"{found.date}: {passed} of {len(found.results)} instances have passed")


def schema() -> None:
    """Print the JSON Schema of a file of checks, for the completion and the errors of an editor.

    Example: `funnelgate checks schema > checks.schema.json`
    """
    from checks.spec import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))

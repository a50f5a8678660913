"""`funnelgate dashboards build`, `check`, `deploy` and `diff`: Kibana dashboards as code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reporting.errors import EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_OK, UsageError

if TYPE_CHECKING:
    from dashboards.kibana.catalogue import Built
    from dashboards.kibana.deploy import DeployReport
    from dashboards.kibana.esql import Names
    from dashboards.kibana.settings import KibanaSettings

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
KibanaOption = Annotated[str | None, typer.Option("--kibana", help="Its URL; default kibana.url of the settings.")]
SpaceOption = Annotated[str | None, typer.Option("--space", help="The space; default kibana.space of the settings.")]


def add_to(group: typer.Typer) -> None:
    """Mount the commands on the group `dashboards`."""
    for command in (build, check, deploy, diff):
        group.command(command.__name__)(command)


def build(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help="Folder of the files; made where it is missing.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; say whether the folder is up to date.")
    ] = False,
    legacy: Annotated[
        Path | None, typer.Option(help="Write a saved-object export (NDJSON) for Kibana 8.19 to 9.3 to this file.")
    ] = None,
) -> None:
    """Write each dashboard as a file: exactly the body of its `PUT /api/dashboards/<id>` in Kibana 9.5.

    Tasks, stages and metrics are those of the project's task graph, indices those of elastic.prefix.

    Example: `funnelgate dashboards build --out kibana/`
    """
    from dashboards.kibana import build as files
    from dashboards.kibana.legacy import export_lines

    if out is None and legacy is None:
        raise UsageError("nothing to write; name a folder by --out, or a file by --legacy")
    if check and out is None:
        raise UsageError("--check compares the folder of --out; name it")
    _, boards = _boards(context)
    if check and out is not None:
        wrong = files.stale(boards, out)
        for line in wrong:
            typer.echo(f"{out / line}")
        raise typer.Exit(EXIT_FAILED if wrong else EXIT_OK)
    if out is not None:
        for path in files.write(boards, out):
            typer.echo(str(path))
    if legacy is not None:
        legacy.parent.mkdir(parents=True, exist_ok=True)
        legacy.write_text("".join(f"{line}\n" for line in export_lines(boards)), encoding="utf-8")
        typer.echo(str(legacy))


def check(
    context: typer.Context,
    elasticsearch: Annotated[
        str | None, typer.Option(help="Run every query on this cluster (8.19 or later); default: check the rest only.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one query may take.")] = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Check all dashboards without Kibana: their grids and links, that what is filtered on is a field, every query.

    With a cluster each query is run: it must be valid, use only fields that are mapped, and give every column that its
    panel names. An API key is that of the section `elastic`. Exit code 1: something is wrong; 3: nothing is, but not
    every query could be run, for an index is not there yet or the cluster has no ES|QL.

    Example: `funnelgate dashboards check --elasticsearch http://127.0.0.1:9200 --json`
    """
    from contextlib import closing

    from dashboards.kibana import check as checking
    from dashboards.kibana.engine import engine
    from reporting.elastic.client import connect

    names, boards = _boards(context)
    if elasticsearch is None:
        report = checking.check(boards, names)
    else:
        with closing(connect(context.obj.elastic.model_copy(update={"url": elasticsearch}))) as client:
            report = checking.check(boards, names, engine(client, seconds=timeout))
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
    else:
        for line in (*report.problems, *(f"not run: {one}" for one in report.not_run)):
            typer.echo(line)
        counts = f"{report.dashboards} dashboards, {report.panels} panels, {report.queries_run} queries run"
        left = f", {len(report.not_run)} not run" if report.not_run else ""
        typer.echo(f"{counts}{left}: {len(report.problems) or 'no'} problems")
    raise typer.Exit(EXIT_FAILED if report.problems else EXIT_INCONCLUSIVE if report.not_run else EXIT_OK)


def deploy(
    context: typer.Context,
    kibana: KibanaOption = None,
    space: SpaceOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; say what would change.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put all dashboards into Kibana 9.5 or later, read each again, and compare. What is the same is left alone.

    Ends with the first failure, and says what stands: 1 Kibana gives back something else, 2 it refuses a dashboard or
    the key, 4 it cannot be reached. The key: FUNNELGATE_KIBANA__API_KEY, or kibana.api_key_file.

    Example: `funnelgate dashboards deploy --kibana https://kibana.example:5601 --space default`
    """
    from dashboards.kibana import deploy as deploying
    from dashboards.kibana.client import Kibana

    _, boards = _boards(context)
    with Kibana(_settings(context, kibana, space)) as store:
        report = deploying.compare(boards, store) if dry_run else deploying.deploy(boards, store)
    _show(report, as_json)
    raise typer.Exit(EXIT_OK if dry_run else report.exit_code)


def diff(
    context: typer.Context, kibana: KibanaOption = None, space: SpaceOption = None, as_json: JsonOption = False
) -> None:
    """Show where Kibana's dashboards differ from those of the code, by panel and path. Exit code 1: they do.

    Example: `funnelgate dashboards diff --kibana https://kibana.example:5601`
    """
    from dashboards.kibana import deploy as deploying
    from dashboards.kibana.client import Kibana

    _, boards = _boards(context)
    with Kibana(_settings(context, kibana, space)) as store:
        report = deploying.compare(boards, store)
    _show(report, as_json)
    raise typer.Exit(report.exit_code)


def _boards(context: typer.Context) -> tuple[Names, list[Built]]:
    from dashboards.kibana.catalogue import build_all
    from dashboards.kibana.esql import Names

    names = Names(context.obj.elastic.prefix, context.obj.topology)
    return names, build_all(names)


def _settings(context: typer.Context, url: str | None, space: str | None) -> KibanaSettings:
    """Return the section `kibana` with what the command names instead, its files found from any folder."""
    settings: KibanaSettings = context.obj.loaded.values.kibana
    changes: dict[str, object] = {"url": url or settings.url, "space": space or settings.space}
    for name in ("api_key_file", "ca_certs"):
        path = getattr(settings, name)
        changes[name] = None if path is None else context.obj.loaded.folder / path
    return type(settings).model_validate({**dict(settings), **changes})


def _show(report: DeployReport, as_json: bool) -> None:
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
        return
    for one in report.dashboards:
        typer.echo(f"{one.outcome.value:10} {one.id}")
        for line in one.differences:
            typer.echo(f"           {line}")
    if report.error is not None:
        typer.secho(f"error: {report.error}", fg=typer.colors.RED, err=True)

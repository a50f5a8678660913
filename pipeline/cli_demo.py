"""`demo` and `init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli_options import JsonOption


def init(
    folder: Annotated[Path, typer.Argument(help="Where the project shall live.")] = Path(),
) -> None:
    """Write a settings file and a copy of the default task graph, ready to edit.

    Example: `funnelgate init my-pipeline`
    """
    from pipeline.project import write_project

    for path in write_project(folder):
        typer.echo(f"wrote {path}")
    typer.echo(f"next: cd {folder} && funnelgate run --source MANIFEST --date DAY")


def demo(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(help="Where the demo shall live; must be new or empty, or an earlier demo.")
    ] = Path("demo-run"),
    days: Annotated[int, typer.Option(min=1, max=7, help="Days to run.")] = 7,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes.")] = None,
    elasticsearch: Annotated[
        str | None, typer.Option(metavar="URL", help="Ship to this cluster too, and read the books back from it.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="With --elasticsearch: how its index names begin.")] = "funnelgate",
    story: Annotated[
        bool, typer.Option("--story", help="Then break the books of two days, and find out by checks.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Run a week of real pictures and one re-run, close the books, and search.

    With --elasticsearch it sets the cluster up, ships while it runs, and ends with 1 unless funnel and balance
    read from there equal SQL's. A key comes by FUNNELGATE_ELASTIC__API_KEY; it needs the roles setup and shipper.

    With --story a second act follows, in a copy, FOLDER-story: on the fifth day a package is lost, on the sixth a task
    drops 3 % of one category in silence. The checks find both, each with its place; the repair that the first alert
    names is done.

    Example: `funnelgate demo --elasticsearch http://127.0.0.1:9200`
    """
    from pipeline.demo.cluster import Elastic
    from pipeline.demo.show import run_demo

    elastic = None if elasticsearch is None else Elastic(elasticsearch, prefix)
    checks_at = context.obj.story_checks if story else None
    return run_demo(
        folder,
        context.obj.place_at,
        days=days,
        workers=workers,
        elastic=elastic,
        as_json=as_json,
        checks_at=checks_at,
        write_page=context.obj.write_page,
    )

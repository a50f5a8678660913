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
    as_json: JsonOption = False,
) -> int:
    """Run a week of real pictures and one re-run, close the books, and search.

    Example: `funnelgate demo`
    """
    from pipeline.demo.show import run_demo

    return run_demo(folder, context.obj.place_at, days=days, workers=workers, as_json=as_json)

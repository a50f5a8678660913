"""`funnelgate explain`: one query of a verdict: what it should find, what it found, and why it was lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def add_to(app: typer.Typer) -> None:
    """Mount the command on the root's app."""
    app.command("explain")(explain)


def explain(
    query: Annotated[str, typer.Argument(help="The query's id, as report.html names it.")],
    out: Annotated[Path, typer.Option("--out", help="Folder that `funnelgate gate` wrote.")] = Path("gate-verdict"),
    as_json: JsonOption = False,
) -> None:
    """Explain one query of a verdict: what it should find, the first products of each system, and why it was lost.

    Example: `funnelgate explain q0017 --out gate-verdict`
    """
    from evaluation.outputs.explained import to_document
    from evaluation.outputs.per_query import read_query

    document = to_document(*read_query(out / "per_query.parquet", query))
    if as_json:
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    from evaluation.outputs.explained import heading_lines, hits_table

    console = Console(soft_wrap=True, highlight=False)
    for line in heading_lines(document):
        console.print(line)
    Console(highlight=False).print(hits_table(document))

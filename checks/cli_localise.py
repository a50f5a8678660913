"""`funnelgate checks localise`: where does the difference of two columns sit? For any table of leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checks.result import Cause

_BAR = 20
"""Characters of a bar that is the whole break."""


def add_to(app: typer.Typer) -> None:
    """Mount the command on the group `checks`."""
    app.command("localise")(localise)


def localise(
    table: Annotated[Path, typer.Argument(help="CSV (with a header, may be .gz) or Parquet: one row a leaf.")],
    actual: Annotated[str, typer.Option("--actual", help="Column of what each leaf has.")],
    expected: Annotated[str, typer.Option("--expected", help="Column of what each leaf should have.")],
    dimensions: Annotated[
        str | None, typer.Option("--dimensions", help="Columns that name a leaf, comma-separated; default all others.")
    ] = None,
    exact: Annotated[
        bool | None,
        typer.Option("--exact/--forecast", help="Expected numbers are exact, or have noise; default: as they look."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many causes.")] = 20,
    unit: Annotated[str, typer.Option("--unit", help="What the numbers count, for the sentence.")] = "items",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Name the leaves of a table that explain why one column differs from another.

    `missing` is expected - actual over the leaves of a cause, below 0 where they have too much; `share` is its part of
    all that is missing (or too much); `seconds` is the time of the search, without that of reading the file. Leaves
    that are named twice are added up.

    Example: `funnelgate checks localise leaves.csv --actual taken --expected handed --dimensions category,subinstance`
    """
    import time

    from checks.localise import localise as causes_of
    from checks.sentence import sentence
    from checks.table_file import read_table

    names = tuple(part.strip() for part in (dimensions or "").split(",") if part.strip())
    leaves = read_table(table, actual, expected, names, exact=exact)
    began = time.perf_counter()
    causes = causes_of(leaves, limit=limit)
    seconds = time.perf_counter() - began
    words = sentence(causes, leaves, unit)
    if as_json:
        found = {
            "causes": [cause.model_dump(mode="json") for cause in causes],
            "sentence": words,
            "seconds": round(seconds, 6),
            "mode": "exact" if leaves.exact else "forecast",
            "leaves": len(leaves.values),
        }
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    typer.echo(words or "nothing differs")
    for line in cause_lines(causes):
        typer.echo(line)


def cause_lines(causes: Sequence[Cause]) -> list[str]:
    """Return a line a cause: a bar of its share, the share, how much is missing (+) or too much (-), and where."""
    from checks.sentence import number, percent, place

    lines = []
    for cause in causes:
        bar = "#" * max(1, round(_BAR * min(1.0, cause.share)))
        amount = f"{'+' if cause.missing > 0 else '-'}{number(abs(cause.missing))}"
        lines.append(f"  {bar:{_BAR}} {percent(cause.share):>15} {amount:>12}  {place(cause.where)}")
    return lines

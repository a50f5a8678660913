"""Options that the commands of `index` share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from reporting.errors import DataError

VectorsArgument = Annotated[Path, typer.Argument(help="Vectors: .npy, .fvecs, .tsv, .tsv.gz or .parquet.")]
NormaliseOption = Annotated[
    bool, typer.Option("--normalise", help="Divide each vector by its length; else other lengths than 1 are refused.")
]
FirstIdOption = Annotated[int, typer.Option(min=0, help="Id of the first row where the file names none.")]
IdColumnOption = Annotated[
    str | None, typer.Option(help="Column of the ids: a name (Parquet, default id), first or last (.tsv).")
]
VectorColumnOption = Annotated[str, typer.Option(help="Column of the vectors (Parquet).")]
CategoryOption = Annotated[str | None, typer.Option(help="Of what lies below a folder only this category.")]


def show_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """Print facts, one a line or as JSON."""
    if as_json:
        typer.echo(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
        typer.echo(f"{name:{width}}  {shown}")


def read_bytes(path: Path) -> bytes:
    """Read a file that the user has named.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}; write it by `index train`") from error

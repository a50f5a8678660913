"""`index study`: kinds of index side by side on one's own vectors."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli_index_options import IdColumnOption, NormaliseOption, VectorColumnOption, VectorsArgument
from pipeline.cli_options import JsonOption, names
from pipeline.cli_progress import steps

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.index.study import Contender, Study, StudySettings

    Ids = NDArray[np.int64]
    Vectors = NDArray[np.float32]


def study(
    vectors: VectorsArgument,
    queries: Annotated[Path | None, typer.Option(help="Vectors to ask with; default some of VECTORS.")] = None,
    held_out: Annotated[int, typer.Option(min=1, help="Without --queries: rows taken out and asked with.")] = 500,
    k: Annotated[int, typer.Option("-k", min=1, help="Neighbours wanted.")] = 10,
    target: Annotated[float, typer.Option(min=0.01, max=1, help="Recall at which speeds are compared.")] = 0.95,
    codecs: Annotated[str | None, typer.Option(help="Codecs, comma-separated; default flat, sq8, pq, opq.")] = None,
    nlist: Annotated[int | None, typer.Option(min=2, help="Inverted lists; default by the rows.")] = None,
    parts: Annotated[int, typer.Option(min=2, help="Days: built apart, merged, and one of them deleted.")] = 4,
    hnsw: Annotated[int, typer.Option(min=0, help="Links of an HNSW node; 0 leaves the graph out.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Of training and of the rows held out.")] = 1234,
    html: Annotated[Path | None, typer.Option(help="Also write a page with the plot to this file.")] = None,
    normalise: NormaliseOption = False,
    id_column: IdColumnOption = None,
    vector_column: VectorColumnOption = "vector",
    as_json: JsonOption = False,
) -> None:
    """Compare flat, inverted files and HNSW on the same vectors: recall, speed, bytes, build, merge, delete.

    Recall counts what exact search finds; queries are asked one by one on one thread. Merging is that of a release,
    its contract and hashes included. What an index cannot do, it is asked for, and its refusal is shown.

    Example: `funnelgate index study embeddings.parquet --html study.html`
    """
    from pipeline.index.study import StudySettings, default_codecs, hold_out
    from pipeline.index.study_page import write_page
    from pipeline.index.vector_file import read_vectors

    reading = partial(read_vectors, normalise=normalise, id_column=id_column, vector_column=vector_column)
    read = reading(vectors)
    ids, base = read.ids, read.vectors
    if queries is not None:
        asked = reading(queries).vectors
    else:
        ids, base, asked = hold_out(ids, base, held_out, seed)
    chosen = names(codecs) or default_codecs(base.shape[1])
    settings = StudySettings(k=k, target=target, parts=parts, codecs=chosen, nlist=nlist, hnsw_m=hnsw, seed=seed)
    found = _measured(ids, base, asked, settings, read.sha256)
    if html is not None:
        write_page(found, vectors.name, html)
    _tell(found, html, as_json)


def _measured(ids: Ids, base: Vectors, asked: Vectors, settings: StudySettings, sha256: str) -> Study:
    """Measure in a folder of its own, telling each step."""
    import tempfile

    from pipeline.index.study import run_study

    with tempfile.TemporaryDirectory(prefix="funnelgate-study-") as folder, steps("reading") as on_step:
        return run_study(ids, base, asked, settings, folder=Path(folder), vectors_sha256=sha256, on_step=on_step)


def _tell(found: Study, html: Path | None, as_json: bool) -> None:
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    _show(found)
    if html is not None:
        typer.echo(f"written: {html}")


def _show(found: Study) -> None:
    from rich.console import Console
    from rich.table import Table

    from pipeline.index.study import findings

    console = Console(soft_wrap=True, highlight=False)
    k, target = found.settings.k, found.settings.target
    console.print(
        f"{found.rows:,} vectors of {found.dim} dimensions, {found.queries:,} queries, in {found.settings.parts} parts"
    )
    table = Table(box=None, pad_edge=False, padding=(0, 1))  # fits 80 columns
    table.add_column("index", no_wrap=True)
    for heading in (f"recall@{k}", "q/s", "with", "bytes", "build s", "merge s", "delete s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found.contenders:
        if one.points:
            table.add_row(*_row(one, target))
    console.print(table)
    for line in findings(found):
        console.print(line, markup=False)


def _row(one: Contender, target: float) -> tuple[str, ...]:
    from pipeline.index.study import in_words, shown_point

    point = shown_point(one, target)
    return (
        one.name,
        f"{point.recall:.3f}{'' if point.recall >= target else ' !'}",
        f"{point.queries_per_second:,.0f}",
        in_words(one, point),
        f"{one.bytes_per_vector:,.0f}",
        f"{one.build_seconds:.2f}",
        "none" if one.merge_seconds is None else f"{one.merge_seconds:.3f}",
        "none" if one.delete_seconds is None else f"{one.delete_seconds:.3f}",
    )

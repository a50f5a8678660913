"""`index train|build|merge|...`: indexes of vectors of one's own, and the bad-day drill."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline import cli_index_look, cli_index_rebuild, cli_index_study
from pipeline.cli_index_options import (
    CategoryOption,
    FirstIdOption,
    IdColumnOption,
    NormaliseOption,
    VectorColumnOption,
    VectorsArgument,
    read_bytes,
    show_facts,
)
from pipeline.cli_options import JsonOption
from reporting.errors import ConfigError, StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.index.merge import MergedIndex
    from pipeline.index.shard_folder import ShardFolder

app = typer.Typer(help="Indexes: train, build day shards, merge, verify, compare.", no_args_is_help=True)


@app.command("train")
def train(
    vectors: VectorsArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="File of the empty trained index; must be new.")],
    codec: Annotated[str, typer.Option(help="How vectors are stored: flat, sq8, pq32, opq16_64, ...")] = "flat",
    nlist: Annotated[int | None, typer.Option(min=1, help="Inverted lists; default by the rows of the window.")] = None,
    window_days: Annotated[int, typer.Option(min=1, help="Days like this one that will be merged.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the training: equal input and seed give equal bytes.")] = 1234,
    normalise: NormaliseOption = False,
    id_column: IdColumnOption = None,
    vector_column: VectorColumnOption = "vector",
    as_json: JsonOption = False,
) -> None:
    """Train the lists and the codec that all day shards of a category will share; the file holds no rows.

    Example: `funnelgate index train day1.npy --codec sq8 --window-days 60 -o quantizer.faiss`
    """
    import time

    from pipeline.index.quantizer import choose_nlist, codec_of, fingerprint, to_bytes, train_quantizer
    from pipeline.index.vector_file import read_vectors

    read = read_vectors(vectors, normalise=normalise, id_column=id_column, vector_column=vector_column)
    lists = nlist or choose_nlist(len(read.ids), window_days)
    began = time.perf_counter()
    with _spinner(f"training {lists} lists, {codec}"):
        index = train_quantizer(read.vectors, nlist=lists, codec=codec, seed=seed)
    data = to_bytes(index)
    write_new(out, data)
    facts = {
        "out": str(out),
        "codec": codec_of(index),
        "nlist": lists,
        "dim": int(index.d),
        "trained_on": len(read.ids),
        "normalised": read.normalised,
        "vectors_sha256": read.sha256,
        "fingerprint": fingerprint(index),
        "bytes": len(data),
        "seconds": round(time.perf_counter() - began, 3),
    }
    show_facts(facts, as_json)


@app.command("build")
def build(
    quantizer: Annotated[Path, typer.Argument(help="The empty trained index, from `index train`.")],
    vectors: VectorsArgument,
    date: Annotated[str, typer.Option(help="Day of the rows, YYYY-MM-DD.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the shards; the new one lies below it.")],
    category: Annotated[str, typer.Option(help="Category of the rows.")] = "all",
    space: Annotated[str, typer.Option(help="Feature space: which model made the vectors.")] = "unknown",
    first_id: FirstIdOption = 0,
    normalise: NormaliseOption = False,
    id_column: IdColumnOption = None,
    vector_column: VectorColumnOption = "vector",
    as_json: JsonOption = False,
) -> None:
    """Build the shard of one day: immutable, named by its content, the same bytes for the same rows in any order.

    It is OUT/SPACE/CATEGORY/DATE/SHA16 with index.faiss and shard.json; one that is there already is left as it is.

    Example: `funnelgate index build quantizer.faiss day1.npy --date 2026-11-01 -o shards`
    """
    from pipeline.index.shard import build_shard, describe_shard
    from pipeline.index.shard_folder import write_shard
    from pipeline.index.vector_file import read_vectors
    from pipeline.version import code_version
    from reporting.days import parse_day

    day = parse_day(date)
    read = read_vectors(
        vectors, normalise=normalise, first_id=first_id, id_column=id_column, vector_column=vector_column
    )
    with _spinner(f"building {len(read.ids):,} rows"):
        data = build_shard(read_bytes(quantizer), read.ids, read.vectors)
        manifest = describe_shard(data, category=category, date=day, space_id=space, builder=code_version())
        shard = write_shard(out, data, manifest)
    facts = {"shard": str(shard.path), **shard.manifest.model_dump(mode="json", exclude={"source"})}
    show_facts(facts, as_json)


@app.command("merge")
def merge(
    shards: Annotated[list[Path], typer.Argument(help="Shards, or folders with shards below them.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File of the merged index; must be new.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the contract and compute the sha256 only.")] = False,
    quantizer: Annotated[Path | None, typer.Option(help="What all must be built on; default: what most are.")] = None,
    category: CategoryOption = None,
    last_days: Annotated[int | None, typer.Option(min=1, help="Only the newest days of those there are.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Merge day shards under a contract that faiss does not keep: same training, category and space, unique ids.

    A broken contract ends with 1 and names shard and field; nothing is written then. The file is canonical: equal
    rows give equal bytes, whatever their order and split. FILE.json beside it says what each day gave.

    Example: `funnelgate index merge shards/ --last-days 60 -o window.faiss --json`
    """
    import time

    from pipeline.index.merge import merge_digest, merge_to
    from pipeline.index.part import ShardPart
    from pipeline.index.shard_folder import find_shards
    from pipeline.index.verify import common_quantizer

    if (out is None) is not dry_run:
        raise UsageError("give either -o FILE or --dry-run")
    found = find_shards(shards, category=category, last_days=last_days)
    began = time.perf_counter()
    trained = common_quantizer(found) if quantizer is None else read_bytes(quantizer)
    parts = [ShardPart(one.manifest, one.index, None) for one in found]
    names = {"category": found[0].manifest.category, "space_id": found[0].manifest.space_id}
    with _bytes_bar("merging") as tell:
        if out is None:
            merged = merge_digest(trained, parts, **names, progress=tell)
        else:
            merged = merge_to(out, trained, parts, **names, progress=tell)
    facts = merged_facts(merged, found, time.perf_counter() - began, out)
    if out is not None:
        write_new(Path(f"{out}.json"), (json.dumps(_lasting(facts), indent=1, sort_keys=True) + "\n").encode())
    _show_merge(facts, as_json)


def merged_facts(merged: MergedIndex, found: Sequence[ShardFolder], seconds: float, out: Path | None) -> dict[str, Any]:
    """Return what `index merge --json` prints."""
    return {
        "out": None if out is None else str(out),
        "sha256": merged.sha256,
        "bytes": merged.bytes,
        "rows": merged.rows,
        "duplicates": 0,
        "fingerprint": merged.fingerprint,
        "codec": merged.codec,
        "category": merged.category,
        "space_id": merged.space_id,
        "dim": merged.dim,
        "nlist": merged.nlist,
        "days": {
            day.isoformat(): {"rows": one.rows, "rows_sha256": one.rows_sha256}
            for day, one in sorted(merged.days.items())
        },
        "shards": [str(one.path) for one in found],
        "seconds": round(seconds, 3),
        "rows_per_second": round(merged.rows / max(seconds, 1e-9)),
        "violations": [],
    }


def _lasting(facts: dict[str, Any]) -> dict[str, Any]:
    """Leave out what differs from run to run: equal content has an equal file."""
    return {name: value for name, value in facts.items() if name not in ("out", "shards", "seconds", "rows_per_second")}


def _show_merge(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    for day, one in facts["days"].items():
        typer.echo(f"{day}  {one['rows']:>12,} rows  {one['rows_sha256'][:16]}")
    done = "written: " + facts["out"] if facts["out"] else "nothing was written"
    typer.echo(
        f"{facts['rows']:,} rows of {facts['category']} in {facts['nlist']:,} lists, {facts['codec']}, "
        f"{facts['bytes']:,} bytes, sha256 {facts['sha256'][:16]}, {facts['seconds']:.1f} s; {done}"
    )


def write_new(path: Path, data: bytes) -> None:
    """Write a file under its name at once; one that is there must have this very content.

    Raises:
        ConfigError: It is there with other content.
        StoreError: The disk refuses.
    """
    from pipeline.release.durable import create_once, flush_folder, make_folder

    try:
        make_folder(path.parent)
        is_new = create_once(path, data)
        flush_folder(path.parent)
        is_same = is_new or path.read_bytes() == data
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}; free the disk, then repeat") from error
    if not is_same:
        raise ConfigError(f"{path}: is there already, with other content; name a new file, an index never changes")


@contextmanager
def _spinner(text: str) -> Iterator[None]:
    """Show on a terminal's standard error that work goes on."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield


@contextmanager
def _bytes_bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what shows bytes done of all, on a terminal's standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn(text), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        work = bar.add_task(text)
        yield lambda done, total: bar.update(work, completed=done, total=total)


app.command("verify")(cli_index_look.verify)
app.command("diff")(cli_index_look.diff)
app.command("inspect")(cli_index_look.inspect_index)
app.command("study")(cli_index_study.study)
app.command("rebuild-day")(cli_index_rebuild.rebuild_day)

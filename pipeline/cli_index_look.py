"""`index verify|diff|inspect`: what only looks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli_index_options import CategoryOption, read_bytes
from pipeline.cli_options import JsonOption
from reporting.errors import EXIT_FAILED, DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date as Date

    from pipeline.index.anatomy import Anatomy
    from pipeline.index.opened import OpenIndex
    from pipeline.index.row_changes import DayChanges
    from pipeline.index.verify import Verified

SideArgument = Annotated[Path, typer.Argument(help="Index file, shard, or folder with shards below it.")]


def verify(
    context: typer.Context,
    paths: Annotated[list[Path] | None, typer.Argument(help="Shards, folders with shards, or one index file.")] = None,
    release: Annotated[int | None, typer.Option(min=1, help="A release of the lake by its number instead.")] = None,
    quantizer: Annotated[Path | None, typer.Option(help="What all shards must be built on; default: most are.")] = None,
    category: CategoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify that indexes are what they say: bytes, training, counts, unique ids, and that shards may be merged.

    Of several shards sha256 is that of the index they would merge into. Ends with 1 on a violation, each named by
    shard and field. A release is verified by its manifest, each day's rows by their hash.

    Example: `funnelgate index verify shards/ --json`
    """
    if (release is None) is (not paths):
        raise UsageError("name what to verify: paths, or --release N")
    found = (
        _verify_release(context, release) if release is not None else _verify_paths(paths or [], quantizer, category)
    )
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    else:
        for one in found.violations:
            typer.secho(
                f"{one['shard']}: {one['field']} is {one['found']}, expected {one['expected']}", fg=typer.colors.RED
            )
        verdict = "sound" if not found.violations else f"{len(found.violations)} violations"
        named = "" if found.sha256 is None else f", sha256 {found.sha256}"
        typer.echo(f"{found.rows:,} rows, {found.duplicates:,} duplicates{named}: {verdict}")
    if found.violations:
        raise typer.Exit(EXIT_FAILED)


def _verify_paths(paths: list[Path], quantizer: Path | None, category: str | None) -> Verified:
    from pipeline.index.shard_folder import find_shards
    from pipeline.index.verify import verify_file, verify_shards

    files = [path for path in paths if path.is_file()]
    if files and len(paths) > 1:
        raise UsageError(f"{files[0]}: an index file is verified alone; shards are folders")
    if files:
        return verify_file(files[0], claims=_claims(files[0]))
    return verify_shards(find_shards(paths, category=category), None if quantizer is None else read_bytes(quantizer))


def _claims(path: Path) -> dict[str, Any]:
    """Return what FILE.json or the shard.json beside an index file says of it; {} where there is none."""
    beside = Path(f"{path}.json")
    if path.name == "index.faiss" and (path.parent / "shard.json").is_file():
        beside = path.parent / "shard.json"
    if not beside.is_file():
        return {}
    try:
        said = json.loads(beside.read_bytes())
    except ValueError as error:
        raise DataError(f"{beside}: is no JSON: {error}; restore it, or merge again") from error
    names = ("sha256", "rows", "fingerprint", "codec")
    return {name: said[name] for name in names if isinstance(said, dict) and name in said}


def _verify_release(context: typer.Context, number: int) -> Verified:
    from pipeline.verify_release import verify_release

    return verify_release(context.obj.place.lake.folder(), number)


def diff(
    first: SideArgument,
    second: SideArgument,
    category: CategoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which days and rows differ between two indexes, by ids and stored codes: proof that nothing else changed.

    A folder of shards is compared day by day, and days with equal hashes are not read. An index file has no days.

    Example: `funnelgate index diff shards-before/ shards-after/ --json`
    """
    from pipeline.index.row_changes import changes_by_day

    days = changes_by_day(*_differing(_side(first, category), _side(second, category)))
    changed = [day for day in days if day.any]
    facts = {
        "days_changed": [str(day.date) for day in changed if day.date is not None],
        "rows_added": sum(day.added for day in days),
        "rows_removed": sum(day.removed for day in days),
        "rows_changed": sum(day.changed for day in days),
        "days": [day.model_dump(mode="json") for day in changed],
    }
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    for day in changed:
        typer.echo(_told(day))
    if not changed:
        typer.echo("equal: the same ids with the same codes")


def _told(day: DayChanges) -> str:
    name = "all rows" if day.date is None else str(day.date)
    counts = f"+{day.added:,} -{day.removed:,} ~{day.changed:,}"
    return f"{name}  {day.before:,} -> {day.after:,} rows  {counts}"


def _side(path: Path, category: str | None) -> dict[Date | None, list[tuple[str, Path]]]:
    """Return the files of a side by day, each with the hash of its bytes as they are."""
    from pipeline.index.anatomy import file_sha256
    from pipeline.index.shard_folder import find_shards

    if path.is_file():
        return {None: [(file_sha256(path), path)]}
    files: dict[Date | None, list[tuple[str, Path]]] = {}
    for shard in find_shards([path], category=category):
        files.setdefault(shard.manifest.date, []).append((file_sha256(shard.index), shard.index))
    return files


def _differing(
    first: Mapping[Date | None, list[tuple[str, Path]]], second: Mapping[Date | None, list[tuple[str, Path]]]
) -> tuple[dict[Date | None, list[OpenIndex]], dict[Date | None, list[OpenIndex]]]:
    """Open what differs: a day whose files hash alike on both sides is left out."""
    from pipeline.index.opened import open_file

    if (None in first) is not (None in second):
        raise UsageError("an index file has no days: compare two files, or two folders of shards")
    days = [
        day
        for day in {**first, **second}
        if sorted(sha for sha, _ in first.get(day, [])) != sorted(sha for sha, _ in second.get(day, []))
    ]
    before = {day: [open_file(path) for _, path in first.get(day, [])] for day in days}
    return before, {day: [open_file(path) for _, path in second.get(day, [])] for day in days}


def inspect_index(
    path: Annotated[Path, typer.Argument(help="Index file, or a shard's folder.")],
    as_json: JsonOption = False,
) -> None:
    """Show what an index is made of: codec, lists and their imbalance, ids, and where its bytes go.

    Example: `funnelgate index inspect window.faiss`
    """
    from pipeline.index.anatomy import anatomy
    from pipeline.index.shard_folder import INDEX

    found = anatomy(path / INDEX if path.is_dir() else path)
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    for name, text in _lines(found):
        typer.echo(f"{name:12} {text}")


def _lines(found: Anatomy) -> list[tuple[str, str]]:
    lists = found.lists
    uneven = "" if lists.imbalance is None else f", imbalance {lists.imbalance:.2f}"
    blocks = ", ".join(f"{first}-{last}" for first, last in found.id_blocks)
    parts = ", ".join(f"{name} {size:,}" for name, size in found.bytes_by_part.items() if size)
    per_row = f" ({found.bytes / found.rows:,.1f} a row)" if found.rows else ""
    return [
        ("codec", f"{found.codec}, {found.dim} dimensions"),
        ("rows", f"{found.rows:,}{'' if found.is_canonical else ', not in canonical order'}"),
        (
            "lists",
            f"{found.nlist:,}: {lists.smallest:,} to {lists.largest:,} rows, median {lists.median:,.0f},"
            f" {lists.empty:,} empty{uneven}",
        ),
        ("ids", blocks or "none"),
        ("bytes", f"{found.bytes:,}{per_row}: {parts}"),
        ("sha256", found.sha256),
        ("fingerprint", found.fingerprint),
    ]

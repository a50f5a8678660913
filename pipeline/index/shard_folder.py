"""Shards as folders on a disk: `<space>/<category>/<date>/<sha16>/{index.faiss,shard.json}`, each written once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from pipeline.index.shard import ShardManifest
from pipeline.release.durable import flush_folder, make_folder
from reporting.errors import ConfigError, DataError, StoreError, UsageError

INDEX = "index.faiss"
MANIFEST = "shard.json"
_TEMPORARY = ".writing-"


@dataclass(frozen=True, slots=True)
class ShardFolder:
    """A shard on a disk.

    Attributes:
        path: Its folder.
        manifest: What `shard.json` says; not yet compared with the index.
    """

    path: Path
    manifest: ShardManifest

    @property
    def index(self) -> Path:
        """The file of the index."""
        return self.path / INDEX


def shard_path(manifest: ShardManifest) -> str:
    """Return where a shard lies below a folder of shards: `<space>/<category>/<date>/<first 16 of sha256>`.

    Raises:
        ConfigError: Space or category cannot be part of a path.
    """
    for name, value in (("space_id", manifest.space_id), ("category", manifest.category)):
        parts = value.split("/")
        if any(not part.strip() or part in (".", "..") or "\\" in part or "\0" in part for part in parts):
            raise ConfigError(f"{name} {value!r} cannot be a folder; take a name without empty parts, '..' and '\\'")
    day = manifest.date.isoformat()
    return PurePosixPath(manifest.space_id, manifest.category, day, manifest.sha256[:16]).as_posix()


def write_shard(root: Path, data: bytes, manifest: ShardManifest) -> ShardFolder:
    """Write a shard below `root`; one that is there already stays as it is, and the new bytes are not written.

    Both files are flushed, read-only and in place before the folder gets its name, by one rename.

    Raises:
        StoreError: The disk refuses, or the folder there is of another size (it was damaged: move it away).
        ConfigError: As `shard_path`.
    """
    folder = root / shard_path(manifest)
    try:
        make_folder(folder.parent)
        if not folder.is_dir():
            _write_folder(folder, {INDEX: data, MANIFEST: (manifest.model_dump_json(indent=1) + "\n").encode()})
    except OSError as error:
        raise StoreError(
            f"{folder}: cannot be written: {error.strerror or error}; free the disk and try again"
        ) from error
    found = read_shard(folder)
    size = found.index.stat().st_size if found.index.is_file() else 0
    if size != len(data):
        raise StoreError(
            f"{found.index}: holds {size} bytes, expected {len(data)}; shards never change: move this folder away and"
            " build again"
        )
    return found


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=folder.parent))
    try:
        for name, data in files.items():
            with (temporary / name).open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
                os.fchmod(stream.fileno(), 0o444)
        temporary.chmod(0o755)
        flush_folder(temporary)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # else: someone else has just written the same content
                raise
        flush_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_shard(folder: Path) -> ShardFolder:
    """Read the manifest of a shard's folder.

    Raises:
        DataError: There is none, or it is no manifest.
    """
    path = folder / MANIFEST
    try:
        return ShardFolder(folder, ShardManifest.model_validate_json(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{folder}: holds no {MANIFEST}; name a folder that `funnelgate index build` wrote") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise DataError(f"{path}: is no shard manifest: {where}: {first['msg']}; build the shard again") from error


def find_shards(
    paths: Sequence[Path], *, category: str | None = None, last_days: int | None = None
) -> list[ShardFolder]:
    """Return the shards that paths name: a shard's folder itself, or every shard somewhere below a folder.

    Args:
        paths: At least one.
        category: Of what is found below a folder only this category; a shard named itself always counts.
        last_days: Of all these only the newest so many days that are there.

    Returns:
        In rising order of (date, sha256), each once.

    Raises:
        DataError: A path holds no shard, or a manifest is broken.
        UsageError: Nothing is left.
    """
    found: dict[Path, ShardFolder] = {}
    for path in paths:
        if (path / MANIFEST).is_file():
            shards = [read_shard(path)]
        else:
            below = [read_shard(file.parent) for file in sorted(path.rglob(MANIFEST)) if not _unfinished(file)]
            if not below:
                raise DataError(f"{path}: holds no shard; name a folder that `funnelgate index build` wrote")
            shards = [one for one in below if category in (None, one.manifest.category)]
        found |= {one.path.resolve(): one for one in shards}
    ordered = sorted(found.values(), key=lambda one: (one.manifest.date, one.manifest.sha256))
    days = sorted({one.manifest.date for one in ordered})[-last_days:] if last_days else None
    kept = [one for one in ordered if days is None or one.manifest.date in days]
    if not kept:
        raise UsageError(f"no shard of category {category!r} is there; leave out --category or name other folders")
    return kept


def _unfinished(file: Path) -> bool:
    """Say whether a file lies in what a killed build has left."""
    return file.parent.name.startswith(_TEMPORARY)

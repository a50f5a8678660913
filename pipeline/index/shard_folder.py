"""Shards as folders on a disk: `<space>/<category>/<date>/<sha16>/{index.faiss,shard.json}`, each written once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from pipeline.index.anatomy import file_sha256
from pipeline.index.shard import ShardManifest
from pipeline.release.durable import flush_folder, make_folder
from reporting.errors import ConfigError, DataError, StoreError, UsageError
from reporting.logs import logger

INDEX = "index.faiss"
MANIFEST = "shard.json"
UNFINISHED = ".writing-"
_DAMAGED = ".damaged-"
_SWEPT = ".swept-"
"""As `pipeline.release.retention` names what it is about to delete."""
_log = logger("index")


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


def write_shard(root: Path, data: bytes | Path, manifest: ShardManifest) -> ShardFolder:
    """Write a shard below `root`; one that is there already, whole, stays as it is and counts as young for a sweep.

    The index is given as bytes, or as a file of this disk that is flushed and read-only: it is then linked, not copied.

    Both files are flushed, read-only and in place before the folder gets its name, by one rename. What is there is
    read: if it is damaged it is moved aside, under a name that starts with `.damaged-`, and the shard is written anew.

    Raises:
        StoreError: The disk refuses.
        ConfigError: As `shard_path`.
    """
    folder = root / shard_path(manifest)
    try:
        make_folder(folder.parent)
        if folder.is_dir():
            with suppress(FileNotFoundError):  # a sweep was faster: it is written below
                os.utime(folder)
                if not _holds(folder, manifest):
                    _move_aside(folder)
        if not folder.is_dir():
            _write_folder(folder, {INDEX: data, MANIFEST: (manifest.model_dump_json(indent=1) + "\n").encode()})
        flush_folder(folder.parent)  # also for one that was there: whoever renamed it may have died before its own
    except OSError as error:
        raise StoreError(
            f"{folder}: cannot be written: {error.strerror or error}; free the disk and try again"
        ) from error
    return read_shard(folder)


def _holds(folder: Path, manifest: ShardManifest) -> bool:
    """Tell whether a folder holds a shard's bytes and a manifest of them, whoever built it and when."""
    try:
        said = read_shard(folder).manifest
        sha256 = file_sha256(folder / INDEX)
    except DataError as error:
        _log.warning("%s: is damaged: %s", folder, error)
        return False
    own = {"source", "attempt", "builder", "since"}
    noted = {name: value for name, value in said if name not in own and value not in (None, ())}
    if sha256 == manifest.sha256 and noted.items() <= dict(manifest).items():
        return True
    _log.warning("%s: is damaged: sha256 %s, expected %s, or its %s", folder, sha256, manifest.sha256, MANIFEST)
    return False


def _move_aside(folder: Path) -> None:
    """Keep a damaged shard for whoever wants to look; a sweep takes it when the grace is over."""
    folder.rename(folder.with_name(f"{_DAMAGED}{folder.name}-{os.urandom(4).hex()}"))
    flush_folder(folder.parent)


def _write_folder(folder: Path, files: dict[str, bytes | Path]) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder.parent))
    try:
        for name, data in files.items():
            if isinstance(data, Path):
                os.link(data, temporary / name)
                continue
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
            # A tail holds again what the shards of its days hold; it is taken where it is named itself.
            of_days = [one for one in below if one.manifest.since is None]
            shards = [one for one in of_days if category in (None, one.manifest.category)]
        found |= {one.path.resolve(): one for one in shards}
    ordered = sorted(found.values(), key=lambda one: (one.manifest.date, one.manifest.sha256))
    days = sorted({one.manifest.date for one in ordered})[-last_days:] if last_days else None
    kept = [one for one in ordered if days is None or one.manifest.date in days]
    if not kept:
        raise UsageError(f"no shard of category {category!r} is there; leave out --category or name other folders")
    return kept


def _unfinished(file: Path) -> bool:
    """Say whether a file lies in what a killed build or sweep has left, or in what was moved aside."""
    return file.parent.name.startswith((UNFINISHED, _DAMAGED, _SWEPT))

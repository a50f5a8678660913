"""Files of a resource: described before it is published, given their names again where it is used."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from pipeline.release.durable import flush_folder, make_folder
from pipeline.release.objects import ObjectStore, inside, sha256_of
from pipeline.release.resources import Resource, ResourceFile
from reporting.errors import ContractViolation, DataError, StoreError

MATERIALISED = "resources"


def files_of(source: Path) -> dict[ResourceFile, Path]:
    """Describe a file, or every file of a folder, sorted by path.

    Raises:
        DataError: There is none, a name starts with a dot, something is neither file nor folder (links are not
            followed), or one cannot be read.
    """
    if source.is_file() and not source.is_symlink():
        found = {source.name: source}
    else:
        found = {
            path.relative_to(source).as_posix(): path for path in sorted(source.rglob("*")) if not _is_folder(path)
        }
    if not found:
        raise DataError(f"{source}: holds no file; expected a file, or a folder of files, to publish")
    described: dict[ResourceFile, Path] = {}
    for name, path in sorted(found.items()):
        if path.is_symlink() or not path.is_file():
            raise DataError(f"{path}: is no plain file; a resource holds files only, and links are not followed")
        if any(part.startswith(".") for part in name.split("/")) or "\\" in name:
            raise DataError(f"{path}: its name starts with a dot or has a backslash; move it away or rename it")
        described[_described(name, path)] = path
    return described


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _described(name: str, path: Path) -> ResourceFile:
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                sha256.update(block)
                md5.update(block)
                size += len(block)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return ResourceFile(path=name, bytes=size, sha256=sha256.hexdigest(), md5=md5.hexdigest())


def folder_of(resource: Resource) -> str:
    """Return where a resource is laid out, relative to the home."""
    label = f"{resource.number:06d}-{resource.sha256[:16]}"
    return f"{MATERIALISED}/{resource.business}/{resource.name}/{label}"


def stored_paths(resource: Resource) -> set[str]:
    """Return what a sweep must leave for a resource: its objects and its laid-out folder, relative to the root."""
    return {*resource.objects(), folder_of(resource)}


def materialise(root: Path, resource: Resource, home: Path) -> Path:
    """Return a folder with the resource's files under their names, every one read and verified by this call.

    `resources/<business>/<name>/<version>-<sha16>`: made beside and renamed, so that it is there whole or not at all;
    hard links to the content store where the file system allows. Processes may do it at once.

    Args:
        root: Where the content store lies.
        resource: What is wanted.
        home: Where the folder is made; the root itself will do.

    Raises:
        ContractViolation: A file of the store, or of a folder made before, is not the one the resource names.
        StoreError: One is missing, or the disk refused.
    """
    folder = home / folder_of(resource)
    try:
        if not folder.is_dir():
            _make(ObjectStore(root), resource, folder)
        elif os.access(folder, os.W_OK):
            os.utime(folder)  # a sweep's grace counts from the last who wanted it; a read-only home is not swept
    except OSError as error:
        raise StoreError(f"{folder}: {resource.label} cannot be laid out: {error}; free the disk or mend it") from error
    for one in resource.files:
        found = sha256_of(inside(folder, one.path))
        if found != one.sha256:
            raise ContractViolation(
                f"{folder}/{one.path}: has sha256 {found}, expected {one.sha256} for {resource.label}: it is damaged or"
                f" was exchanged; remove {folder}, restore the object and start again"
            )
    return folder


def _make(store: ObjectStore, resource: Resource, folder: Path) -> None:
    make_folder(folder.parent)
    beside = folder.with_name(f".{folder.name}-{os.urandom(4).hex()}")
    beside.mkdir()
    try:
        for one in resource.files:
            path = inside(beside, one.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            _place(store.path(one.sha256), path)
        flush_folder(beside)
        try:
            beside.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
        flush_folder(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _place(source: Path, path: Path) -> None:
    try:
        os.link(source, path)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, path)
        path.chmod(0o444)

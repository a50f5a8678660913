"""Publishing a release: an immutable manifest first, then one atomic rename.

Order of writes, each flushed to the disk before the next: `releases/NNNNNN.json` under a name that nobody else
can take (hard link of a finished file: it exists whole or not at all), then `CURRENT` by rename. Whatever
dies in between, `current` answers with the old or the new release. A lock serialises publishers of one
machine, so that the pointer never goes back; the kernel frees it when its holder dies.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.release.manifest import ReleaseDraft, ReleaseManifest, Sha256
from reporting.errors import StoreError

POINTER = "CURRENT"
_FOLDER = "releases"
_NUMBERED = re.compile(r"(\d{6,})\.json")


class Pointer(BaseModel):
    """Content of `CURRENT`.

    Attributes:
        number: The current release.
        sha256: Of the manifest's bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    sha256: Sha256


def publish(root: Path, draft: ReleaseDraft) -> ReleaseManifest:
    """Give a draft the next number, write its manifest and make it current.

    Idempotent: content that is current already (see `ReleaseManifest.has_content_of`) is answered with its
    release, and nothing is written. A manifest that an earlier attempt wrote without reaching the pointer is
    taken up again, so that a resumed task ends with the same number.

    Args:
        root: Folder of the releases, on a file system with hard links and atomic rename; made if missing.
        draft: The release without its number.

    Raises:
        StoreError: The disk refused a write (the pointer is then unchanged or already on the new release,
            never broken), or what is published there cannot be read.
    """
    try:
        folder = root / _FOLDER
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            _flush(root.parent)
        with _publishing(root):
            before = current(root)
            if before is not None and before.has_content_of(draft):
                _flush(root)  # whoever renamed may have died before its own flush
                return before
            manifest = _unfinished(root, draft, before) or _write_manifest(root, draft, before)
            _flush(folder)
            _point(root, manifest)
            return manifest
    except OSError as error:
        raise StoreError(
            f"{root}: publishing the release of plan {draft.planid} failed: {error}; what was current before"
            " still serves unless the new release is; free the disk or mend its rights and publish again"
        ) from error


def current(root: Path) -> ReleaseManifest | None:
    """Return the current release, or None if nothing was ever published under `root`.

    Raises:
        StoreError: Pointer or manifest are unreadable or do not match; the message names the file.
    """
    path = root / POINTER
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        pointer = Pointer.model_validate_json(text)
    except ValidationError as error:
        raise StoreError(f"{path}: is no release pointer; publish again or restore it") from error
    return _read_manifest(root, pointer.number, pointer.sha256)


def release_of(root: Path, number: int) -> ReleaseManifest:
    """Return one release by its number.

    Raises:
        StoreError: It is not there or unreadable; the message names the file.
    """
    return _read_manifest(root, number)


def _read_manifest(root: Path, number: int, sha256: str | None = None) -> ReleaseManifest:
    """Read one manifest, verifying its number and, if given, its bytes."""
    path = _manifest_path(root, number)
    try:
        data = path.read_bytes()
        manifest = ReleaseManifest.model_validate_json(data)
    except FileNotFoundError as error:
        raise StoreError(f"{path}: release {number} is not there; restore the file, or name another release") from error
    except ValidationError as error:
        raise StoreError(f"{path}: is no release manifest; restore it from a copy") from error
    found = hashlib.sha256(data).hexdigest()
    if manifest.number != number or sha256 not in (None, found):
        raise StoreError(
            f"{path}: holds release {manifest.number} with sha256 {found}, expected {number} with {sha256};"
            " manifests never change: restore it from a copy"
        )
    return manifest


def _manifest_path(root: Path, number: int) -> Path:
    return root / _FOLDER / f"{number:06d}.json"


@contextmanager
def _publishing(root: Path) -> Iterator[None]:
    """Hold the publishers' lock; released by the kernel when the process dies."""
    handle = os.open(root / ".publishing", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _last_number(root: Path) -> int:
    """Return the highest number taken, 0 for none."""
    names = (_NUMBERED.fullmatch(path.name) for path in (root / _FOLDER).iterdir())
    return max((int(name[1]) for name in names if name), default=0)


def _unfinished(root: Path, draft: ReleaseDraft, before: ReleaseManifest | None) -> ReleaseManifest | None:
    """Return the last manifest if it is newer than the pointer and this very draft, else None."""
    number = _last_number(root)
    served = before.number if before else 0
    if number <= served:
        return None
    last = _read_manifest(root, number)
    same_verdict = last.verdict_id == draft.verdict_id
    return last if same_verdict and last.parent == (served or None) and last.has_content_of(draft) else None


def _write_manifest(root: Path, draft: ReleaseDraft, before: ReleaseManifest | None) -> ReleaseManifest:
    """Write the manifest under the next free number."""
    number = _last_number(root) + 1
    while True:
        manifest = ReleaseManifest(**dict(draft), number=number, parent=before.number if before else None)
        written = _write_temporary(root / _FOLDER / f".{platform.node()}-{os.getpid()}.tmp", _bytes_of(manifest))
        try:
            os.link(written, _manifest_path(root, number))
        except FileExistsError:  # a publisher on another machine, where our lock does not reach
            number += 1
        else:
            return manifest
        finally:
            written.unlink()


def _point(root: Path, manifest: ReleaseManifest) -> None:
    """Make a manifest current by one rename."""
    sha256 = hashlib.sha256(_manifest_path(root, manifest.number).read_bytes()).hexdigest()
    pointer = Pointer(number=manifest.number, sha256=sha256)
    _write_temporary(root / f".{POINTER}.tmp", _bytes_of(pointer)).replace(root / POINTER)
    _flush(root)


def _bytes_of(model: BaseModel) -> bytes:
    return (model.model_dump_json(indent=1) + "\n").encode()


def _write_temporary(path: Path, data: bytes) -> Path:
    """Write and flush a file that nobody reads yet; the remains of a dead attempt are overwritten."""
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    return path


def _flush(folder: Path) -> None:
    """Flush a folder's entries, without which a rename may be lost in a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

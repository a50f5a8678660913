"""A store of immutable files named by their content: `objects/<sha256[:2]>/<sha256>`.

A file gets its name by a hard link when it is whole, flushed and read-only, so that it exists whole or not at all,
and is never written again: a server may map it. What is there already is not written a second time, but its time is
renewed, so that the sweep's grace counts from the last who wanted it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pipeline.release.durable import flush_folder, make_folder, temporary_beside
from reporting.errors import ContractViolation, DataError, StoreError

FOLDER = "objects"
_SHA256 = re.compile("[0-9a-f]{64}")
_BLOCK = 1 << 20
_OWN = ("releases", "registry", "resources")
"""Folders of manifests, and of what is laid out from the content store."""


class Incoming:
    """A file on its way into the store: write to it as to any binary file.

    Attributes:
        path: The unfinished file.
        bytes: Written so far.
        sha256: Of the content; empty until the block of `ObjectStore.create` has ended.
    """

    def __init__(self, path: Path, stream: IO[bytes]):
        self.path, self._stream = path, stream
        self.bytes = 0
        self.sha256 = ""
        self._hash = hashlib.sha256()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append bytes; return how many."""
        self._stream.write(data)
        self._hash.update(data)
        count = memoryview(data).nbytes
        self.bytes += count
        return count

    def finish(self) -> str:
        """Flush what was written to the disk, make it read-only and return its sha256."""
        self._stream.flush()
        os.fchmod(self._stream.fileno(), 0o444)
        os.fsync(self._stream.fileno())
        self.sha256 = self._hash.hexdigest()
        return self.sha256


class ObjectStore:
    """The content store under a root: a lake, or the home of a consumer."""

    def __init__(self, root: Path):
        self.root = root
        self.folder = root / FOLDER

    def relative(self, sha256: str) -> str:
        """Return where an object lies, relative to the root.

        Raises:
            DataError: It is no sha256 of 64 lower-case hexadecimal digits.

        Example:
            >>> ObjectStore(Path("/lake")).relative("ab" + "0" * 62)[:14]
            'objects/ab/ab0'
        """
        if not _SHA256.fullmatch(sha256):
            raise DataError(f"{self.folder}: {sha256!r} names no object; expected 64 lower-case hexadecimal digits")
        return f"{FOLDER}/{sha256[:2]}/{sha256}"

    def path(self, sha256: str) -> Path:
        """Return where an object lies, whether or not it is there; errors as `relative`."""
        return self.root / self.relative(sha256)

    def put_bytes(self, data: bytes) -> str:
        """Store bytes; return their sha256. Errors as `create`."""
        with self.create() as out:
            out.write(data)
        return out.sha256

    def put_file(self, path: Path) -> str:
        """Store a copy of a file; return its sha256.

        Raises:
            DataError: The file is not there or cannot be read.
            StoreError: As `create`.
        """
        try:
            source = path.open("rb", buffering=0)  # Python's buffer would take most of the time
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}; expected a file to store") from error
        with source, self.create() as out:
            while block := source.read(_BLOCK):
                out.write(block)
        return out.sha256

    @contextmanager
    def create(self, expected: str | None = None) -> Iterator[Incoming]:
        """Stream an object in; it is there when the block ends, and is not if it raises.

        Args:
            expected: The sha256 that the content must have; None: any.

        Yields:
            What to write to; its `sha256` is set when the block has ended.

        Raises:
            ContractViolation: The content is not the one expected; nothing was stored.
            StoreError: The disk refused, or the object that is there is damaged.
        """
        try:
            make_folder(self.folder)
            temporary = temporary_beside(self.folder / "object")
            temporary = temporary.with_name(f".{os.urandom(4).hex()}{temporary.name}")
            try:
                with temporary.open("xb") as stream:
                    out = Incoming(temporary, stream)
                    yield out
                    found = out.finish()
                if expected not in (None, found):
                    raise ContractViolation(
                        f"{self.folder}: content has sha256 {found}, expected {expected}; nothing was stored: build it"
                        " again from the parts that were judged"
                    )
                self._link(temporary, found, out.bytes)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"{self.folder}: an object was not stored: {error}; free the disk or mend its rights, then repeat"
            ) from error

    def _link(self, written: Path, sha256: str, size: int) -> None:
        """Give a finished file its name; what has it already is kept."""
        path = self.path(sha256)
        make_folder(path.parent)
        while True:
            try:
                os.link(written, path)
            except FileExistsError:
                if not self._keep(path, size):
                    continue
            break
        flush_folder(path.parent)  # also for one that was there: whoever linked it may have died before its own flush

    def _keep(self, path: Path, size: int) -> bool:
        """Renew the time of an object that is there; False: a sweep has just taken it."""
        try:
            os.utime(path)
            found = path.stat().st_size
        except FileNotFoundError:
            return False
        if found != size:
            raise StoreError(
                f"{path}: holds {found:,} bytes, expected {size:,}: the object is damaged and objects are never"
                " overwritten; move it away and repeat"
            )
        return True

    def renew(self, sha256: str) -> bool:
        """Let a sweep's grace of an object count from now; False: it is not there. Its content is not looked at.

        Raises:
            OSError: The time of an object that is there cannot be set.
        """
        try:
            os.utime(self.path(sha256))
        except FileNotFoundError:
            return False
        return True

    def holds(self, sha256: str) -> bool:
        """Tell whether an object is there; its content is not looked at."""
        return self.path(sha256).is_file()

    def verify(self, sha256: str) -> int:
        """Read an object whole and return its size in bytes.

        Raises:
            StoreError: It is not there or cannot be read.
            ContractViolation: Its content is not the one its name says.
        """
        path = self.path(sha256)
        require_content(path, sha256)
        return path.stat().st_size


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file.

    Raises:
        StoreError: It is not there or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}; restore it or publish it again") from error


def require_content(path: Path, sha256: str) -> None:
    """Read a file whole and make sure that it is the one expected.

    Raises:
        StoreError: It is not there or cannot be read.
        ContractViolation: It is another one.
    """
    found = sha256_of(path)
    if found != sha256:
        raise ContractViolation(
            f"{path}: has sha256 {found}, expected {sha256}: it is damaged or was exchanged; restore it from a copy"
        )


def inside(root: Path, path: str) -> Path:
    """Return the place of a path that a manifest names, which must lie inside the root.

    Raises:
        ContractViolation: It is absolute, leads out of the root, or through a name that starts with a dot.
    """
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or "\0" in path or any(not part or part.startswith(".") for part in parts):
        raise ContractViolation(f"{path!r}: is no path inside {root}; a manifest names files relative to its root")
    return root.joinpath(*parts)


def content_path(root: Path, path: str, sha256: str) -> Path:
    """Return the place of a file of a release that comes from elsewhere.

    Raises:
        ContractViolation: It lies outside the root or among what the mechanism itself keeps there (pointers, manifests,
            takedowns), or its name in the content store is not its sha256.
    """
    place = inside(root, path)
    first, _, rest = path.partition("/")
    if not rest or first in _OWN:
        raise ContractViolation(f"{path!r}: is no place for content in {root}; publish it again as a file of objects/")
    if first == FOLDER and path != ObjectStore(root).relative(sha256):
        raise ContractViolation(f"{path!r}: is not where an object with sha256 {sha256} lies; publish it again")
    return place

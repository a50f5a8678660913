"""Opening a source manifest and reading its bytes: regular files only, digested, decoded line by line."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from reporting.errors import DataError, StoreError, nearest

if TYPE_CHECKING:
    from typing_extensions import Buffer

# A physical line beyond 1 MiB is a missing line break or a foreign file, never a product.
MAX_LINE_BYTES = 1 << 20
# O_NONBLOCK: opening a FIFO without a writer would block before it could be looked at.
_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def open_manifest(path: Path) -> Iterator[io.FileIO]:
    """Open a manifest for reading; only regular files, so that a pipe cannot make a run wait for ever.

    Raises:
        DataError: It is missing, unreadable, empty, or not a regular file.
        StoreError: The file system failed.
    """
    try:
        stream = io.FileIO(path, "rb", opener=lambda name, _: os.open(name, _OPEN_FLAGS))
    except OSError as error:
        raise _open_error(path, error) from error
    with stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise _not_regular(path)
        if status.st_size == 0:
            raise DataError(
                f"{path}:1: the file is empty (0 bytes); expected a header; for a day without pictures write "
                "the header alone (in JSONL one blank line), else deliver the file again"
            )
        yield stream


def _open_error(path: Path, error: OSError) -> DataError | StoreError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        is_listable = path.parent.is_dir() and os.access(path.parent, os.R_OK)
        # 20 names make a readable remedy; a folder of pictures would not.
        siblings = [entry.name for entry in islice(path.parent.iterdir(), 21)] if is_listable else []
        hint = nearest(path.name, siblings) if 0 < len(siblings) <= 20 else "check the path"
        return DataError(f"{path}: no such file; expected a source manifest; {hint}")
    if error.errno in (errno.EACCES, errno.EPERM):
        return DataError(f"{path}: no permission to read it; expected a readable file; chmod +r {path.name}")
    if error.errno == errno.EISDIR:
        return _not_regular(path)
    if error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO):
        return DataError(f"{path}: {error.strerror}; expected a regular file; name the file itself")
    return StoreError(f"{path}: {error.strerror or error}; expected to open the manifest; check the disk")


def _not_regular(path: Path) -> DataError:
    return DataError(f"{path}: not a regular file; expected a CSV, JSONL or Parquet file; name the file")


class HashingReader(io.RawIOBase):
    """A raw stream that digests what passes through, so that the digest is of the bytes parsed."""

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        """Say yes: `io.BufferedReader` asks."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill the buffer from the file, digest what came, return its length (0 at the end)."""
        count = self._raw.readinto(buffer) or 0
        self.sha256.update(memoryview(buffer)[:count])
        return count


def text_lines(stream: io.BufferedReader[HashingReader], path: Path) -> Iterator[str]:
    """Yield the physical lines with their line ends, decoded from UTF-8 (a byte order mark is taken off).

    Raises:
        DataError: A line is longer than `MAX_LINE_BYTES` or not UTF-8.
    """
    for number, raw in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES + 1), b""), start=1):
        if len(raw) > MAX_LINE_BYTES:
            raise DataError(f"{path}:{number}: the line is longer than 1 MiB; expected one product; split the file")
        try:
            # utf-8-sig takes the byte order mark that Excel writes off the first line.
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}:{number}: byte 0x{raw[error.start]:02x} at position {error.start + 1} is not UTF-8; "
                "expected UTF-8; convert the file, for example by iconv -f LATIN1 -t UTF-8"
            ) from error

"""Downloads from a publisher's root: whole small files, and large ones that resume and must have their sha256."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec

from pipeline.release.durable import flush_folder, make_folder
from pipeline.release.objects import content_path
from reporting.errors import ConfigError, ContractViolation, StoreError, UsageError

INCOMING = ".incoming"
_BLOCK = 1 << 20
_SMALL = 64 << 20
"""Bytes that a manifest, a pointer or a list of takedowns may have."""


class Source:
    """A publisher's root: a folder or any fsspec URL.

    Raises:
        ConfigError: fsspec cannot open the URL.
    """

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        try:
            self._fs, self._base = fsspec.core.url_to_fs(self.url)
        except (ValueError, ImportError) as error:
            raise ConfigError(
                f"{url}: cannot be opened: {error}; expected a folder or a URL that fsspec reads"
            ) from error

    @property
    def _is_local(self) -> bool:
        return "file" in self._fs.protocol

    def require_elsewhere(self, home: Path) -> None:
        """Make sure that a home is not what is pulled from, where old releases would be dropped.

        Raises:
            UsageError: It is.
        """
        if self._is_local and Path(self._base).resolve() == home.resolve():
            raise UsageError(f"{home}: is what is pulled from; name a home of its own")

    def where(self, path: str) -> str:
        """Return a path as messages name it."""
        return f"{self.url}/{path}"

    def small(self, path: str) -> bytes | None:
        """Return a small file whole, None where there is none.

        Raises:
            StoreError: The source cannot be reached.
            ContractViolation: The file is larger than any that we write.
        """
        try:
            with self._fs.open(self._at(path), "rb") as stream:
                data: bytes = stream.read(_SMALL + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreachable(path, error) from error
        if len(data) > _SMALL:
            raise ContractViolation(f"{self.where(path)}: has more than {_SMALL:,} bytes; it is none of ours")
        return data

    def fetch(
        self,
        path: str,
        sha256: str,
        home: Path,
        *,
        size: int | None = None,
        got: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Bring a file to its place under a home, if it is not there already, and verify it either way.

        The bytes are gathered under `.incoming` by their sha256; a broken download goes on where it stopped. Only a
        whole, verified, flushed and read-only file gets its name, by a rename: what a server has mapped is not touched.

        Args:
            path: Relative to the source and to the home.
            sha256: That it must have.
            home: Of the consumer.
            size: Bytes that it must have; None: not known before.
            got: Told of bytes as they arrive.

        Returns:
            Bytes transferred, 0 where it was there.

        Raises:
            ContractViolation: It has another content or size, is not there, or its path leads out of the home.
            StoreError: The source cannot be reached, or the disk refused.
        """
        target = content_path(home, path, sha256)
        if target.is_file() and _sha256(target) == sha256:
            return 0
        part = home / INCOMING / sha256
        make_folder(part.parent)
        goes_on = part.is_file()
        transferred, found = self._gather(path, part, size, got)
        if found != sha256 and goes_on:  # perhaps what was there before is to blame
            part.unlink()
            again, found = self._gather(path, part, size, got)
            transferred += again
        if found != sha256:
            length = part.stat().st_size
            part.unlink()
            raise ContractViolation(
                f"{self.where(path)}: has sha256 {found} and {length:,} bytes, expected {sha256}: it is truncated,"
                " damaged or was exchanged; what was pulled before goes on serving; publish it again"
            )
        part.chmod(0o444)
        make_folder(target.parent)
        part.replace(target)
        flush_folder(target.parent)
        return transferred

    def _gather(self, path: str, part: Path, size: int | None, got: Callable[[int], None]) -> tuple[int, str]:
        """Append what is missing of a file to its part; return the bytes transferred, and the sha256 of the part."""
        try:
            with self._opened(path) as stream, part.open("a+b") as out:
                length = size if size is not None else _length(stream)
                if length is not None and out.tell() > length:
                    out.truncate(0)
                out.seek(0)
                digest = hashlib.file_digest(out, "sha256")
                have = before = out.seek(0, os.SEEK_END)
                if have:
                    stream.seek(have)
                while block := stream.read(_BLOCK):
                    digest.update(block)
                    have += out.write(block)
                    if length is not None and have > length:
                        break  # the rest cannot make it right
                    got(len(block))
                out.flush()
                os.fsync(out.fileno())
                return have - before, digest.hexdigest()
        except FileNotFoundError as error:
            raise ContractViolation(
                f"{self.where(path)}: is named by its manifest and is not there; publish it again"
            ) from error
        except OSError as error:
            raise self._unreachable(path, error) from error

    def _opened(self, path: str) -> Any:
        """Open a file to read; one of this machine without Python's buffer, which takes most of the time."""
        if self._is_local:
            return Path(self._at(path)).open("rb", buffering=0)
        return self._fs.open(self._at(path), "rb")

    def _at(self, path: str) -> str:
        return f"{self._base}/{path}"

    def _unreachable(self, path: str, error: OSError) -> StoreError:
        return StoreError(f"{self.where(path)}: cannot be read: {error}; what was pulled before goes on serving")


def drop_parts(home: Path) -> None:
    """Delete what broken downloads of earlier releases have left; the caller holds the home's lock."""
    for part in (home / INCOMING).glob("*"):
        part.unlink()


def _length(stream: Any) -> int | None:
    """Return the size that the source says an open file has, None where it does not say."""
    if isinstance(stream, io.FileIO):
        return os.fstat(stream.fileno()).st_size
    size = getattr(stream, "size", None)
    return size if isinstance(size, int) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

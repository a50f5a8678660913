"""Downloads from a publisher's root: whole small files, and large ones that resume and must have their sha256."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec

from pipeline.release.durable import flush_folder, make_folder
from pipeline.release.objects import content_path
from reporting.errors import ConfigError, ContractViolation, FunnelgateError, StoreError, UsageError

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
        except Exception as error:  # what a file system raises for its own options
            raise ConfigError(
                f"{url}: cannot be opened: {error}; expected a folder or a URL that fsspec reads"
            ) from error
        self._fs.invalidate_cache()  # file systems are shared, and remember what they listed
        self._proof: str | None = None  # what was read of it before, and must still be there

    @property
    def _is_local(self) -> bool:
        return "file" in _protocols(self._fs)

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
        """Return a small file whole, None where the source answers and has none.

        Raises:
            StoreError: The source cannot be reached, or is not there.
            ContractViolation: The file is larger than any that we write.
        """
        with self.reading(path) as stream:
            data = None if stream is None else read_up_to(stream, _SMALL + 1)
        if data is not None and len(data) > _SMALL:
            raise ContractViolation(f"{self.where(path)}: has more than {_SMALL:,} bytes; it is none of ours")
        return data

    @contextmanager
    def reading(self, path: str) -> Iterator[Any]:
        """Open a file for a block that reads it; None where the source answers and has none.

        Raises:
            StoreError: The source cannot be reached, is not there, or the block's own files cannot be used.
        """
        with self._errors_of(path):
            try:
                stream = self._opened(path)
            except FileNotFoundError as error:
                self._require_there(path, error)
                stream = None
            if stream is None:
                yield None
                return
            with stream:
                yield stream
            self._proof = path

    def require_filled(self, paths: Iterable[str]) -> None:
        """Make sure that a source which lost a file has another that was there with it: else it is down, not changed.

        Raises:
            StoreError: It has none of them, e.g. an empty mount point.
        """
        named = list(paths)
        if all(self.small(path) is None for path in named):
            raise StoreError(
                f"{self.url}: has none of {', '.join(named)}, which were there: it is not mounted, or was emptied; what"
                " was pulled before goes on serving"
            )

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
        with self.reading(path) as stream:
            if stream is None:
                raise ContractViolation(
                    f"{self.where(path)}: is named by its manifest and is not there; publish it again"
                )
            with part.open("a+b") as out:
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

    @contextmanager
    def _errors_of(self, path: str) -> Iterator[None]:
        """Turn whatever a file system raises into a source that cannot be reached: each has errors of its own."""
        try:
            yield
        except FunnelgateError:
            raise
        except Exception as error:  # aiohttp's, botocore's, ValueError of a server without ranges
            raise StoreError(
                f"{self.where(path)}: cannot be read: {type(error).__name__}: {error}; what was pulled before goes on"
                " serving"
            ) from error

    def _require_there(self, path: str, error: BaseException) -> None:
        """Tell a file that is not there from a source that is not there."""
        cause = error.__cause__
        if cause is not None and not isinstance(cause, FileNotFoundError):
            raise cause  # fsspec's HTTP calls any failure to look at a file "not found"
        if self._proof is not None:
            if self._proof != path:
                self._opened(self._proof).close()
        elif not {"http", "https"} & set(_protocols(self._fs)):  # a server that says 404 has answered
            self._fs.ls(self._base, detail=False)
            self._fs.invalidate_cache()

    def _opened(self, path: str) -> Any:
        """Open a file to read; one of this machine without Python's buffer, which takes most of the time."""
        if self._is_local:
            return Path(self._at(path)).open("rb", buffering=0)
        return self._fs.open(self._at(path), "rb")

    def _at(self, path: str) -> str:
        return f"{self._base}/{path}"


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


def read_up_to(stream: Any, limit: int) -> bytes:
    """Return the first bytes of a stream that may give fewer than it is asked for."""
    found = bytearray()
    while len(found) < limit and (block := stream.read(min(_BLOCK, limit - len(found)))):
        found += block
    return bytes(found)


def _protocols(files: Any) -> tuple[str, ...]:
    found = files.protocol
    return (found,) if isinstance(found, str) else tuple(found)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

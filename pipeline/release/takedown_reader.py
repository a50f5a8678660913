"""Reads a root's takedowns again and again: once for each change, only what was added, and never less than before.

A server that lost sight of the list must not show what it hid: a list that is gone, or does not go on from what was
read before, is an error for every query until it is back.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from pipeline.release.home import MARK, home_at
from pipeline.release.journal import E, lines_of
from reporting.errors import FunnelgateError, StoreError

_BLOCK = 1 << 20
T = TypeVar("T")
_Stat = tuple[int, int, int]
_Key = tuple[_Stat | None, bool, _Stat | None]
"""Of the file, whether its folder is there, of the home's mark."""


@dataclass
class _Read(Generic[E]):
    """What was read of the file so far: never less than before."""

    bytes: int = 0
    sha256: str = field(default_factory=lambda: hashlib.sha256().hexdigest())
    ends_whole: bool = True
    lines: list[E] = field(default_factory=list)


class GrowingList(Generic[E, T]):
    """One file of one root; any number of threads ask, one of them reads."""

    def __init__(self, path: Path, model: type[E], what: str, count: Callable[[list[E], bool], T]) -> None:
        """Take what it needs; nothing is read before `now`.

        Args:
            path: Of the file.
            model: Of a line.
            what: A line is, for messages.
            count: Makes the answer of the lines; told whether those that lift count.
        """
        self._path, self._model, self._what, self._count = path, model, what, count
        self._lock = threading.Lock()
        self._read: _Read[E] = _Read()
        self._folder_seen = False
        self._last: tuple[_Key, T | StoreError] | None = None

    def now(self) -> T:
        """Return the answer of now: the same object until the file changes.

        Raises:
            StoreError: The list is gone, damaged, cannot be read, or is not what was read before and more.
        """
        last = self._last
        if last is None or last[0] != self._key():
            with self._lock:
                key = self._key()
                last = self._last
                if last is None or last[0] != key:
                    self._last = last = self._look(key)
        if isinstance(last[1], StoreError):
            raise StoreError(str(last[1]))
        return last[1]

    def _key(self) -> _Key:
        try:
            file, mark = _stat(self._path), _stat(self._path.with_name(MARK))
            return file, file is not None or self._path.parent.is_dir(), mark
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be looked at: {error}; nothing is shown before it can") from error

    def _look(self, key: _Key) -> tuple[_Key, T | StoreError]:
        file, is_there, _ = key
        try:
            self._folder_seen |= is_there
            if file is None:
                self._require_never_there(is_there)
                return key, self._count([], True)
            home = home_at(self._path.parent)
            with_lifts = home is None or not home.signed
            with self._path.open("rb") as stream:
                opened = os.fstat(stream.fileno())
                self._read = self._extended(stream)
            key = ((opened.st_ino, opened.st_mtime_ns, opened.st_size), True, key[2])
            return key, self._count(self._read.lines, with_lifts)
        except FunnelgateError as error:
            return key, error if isinstance(error, StoreError) else StoreError(str(error))
        except OSError as error:  # of now: asked again with the next query
            raise StoreError(f"{self._path}: cannot be read: {error}; nothing is shown before it can") from error

    def _require_never_there(self, folder_is_there: bool) -> None:
        if self._read.bytes:
            raise StoreError(f"{self._path}: is gone, and was there; nothing is shown before it is restored")
        if self._folder_seen and not folder_is_there:
            raise StoreError(f"{self._path.parent}: is gone, and was there; nothing is shown before it is back")

    def _extended(self, stream: BinaryIO) -> _Read[E]:
        before = self._read
        digest = hashlib.sha256()
        left = before.bytes
        while left and (block := stream.read(min(_BLOCK, left))):
            digest.update(block)
            left -= len(block)
        if left or digest.hexdigest() != before.sha256:
            raise StoreError(
                f"{self._path}: does not go on from the {before.bytes:,} bytes read before; takedowns are lifted by a"
                " line of their own, never by taking lines away: nothing is shown before the file is restored"
            )
        where, found = str(self._path), list(before.lines)
        after = stream.read(1) if not before.ends_whole else b""
        if after not in (b"", b"\n"):
            raise StoreError(f"{where}:{len(found)}: is no {self._what}; restore the file")
        digest.update(after)
        size, ends_whole = before.bytes + len(after), before.ends_whole or bool(after)
        for entry, raw in lines_of(stream, self._model, self._what, where, len(found)):
            digest.update(raw)
            found.append(entry)
            size, ends_whole = size + len(raw), raw.endswith(b"\n")
        if not found:
            raise StoreError(f"{where}:1: is no {self._what}; restore the file")
        return _Read(size, digest.hexdigest(), ends_whole, found)


def _stat(path: Path) -> _Stat | None:
    try:
        seen = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return seen.st_ino, seen.st_mtime_ns, seen.st_size

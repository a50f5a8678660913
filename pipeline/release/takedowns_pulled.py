"""Brings a publisher's takedowns to a home: what is new of a list of any length that only ever grows."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.release.durable import flush_folder, make_folder
from pipeline.release.fetching import INCOMING, Source, read_up_to
from pipeline.release.following import accepted
from pipeline.release.journal import lines_of
from pipeline.release.pointer import POINTER
from pipeline.release.withheld import FILE, WHAT, Withheld
from reporting.errors import ContractViolation, StoreError

_BLOCK = 1 << 20
_MOST = 1 << 32
"""Bytes that a list may have."""


def take_withheld(source: Source, home: Path) -> None:
    """Bring the takedowns; a list that is shorter than the one here or another one is refused.

    Memory does not grow with the list: it is compared and copied by blocks, and only new lines are parsed.

    Raises:
        ContractViolation: The list is gone, does not go on from the one here, or has a line that is none.
        StoreError: The source cannot be reached, or the disk refused.
    """
    path, where = home / FILE, source.where(FILE)
    size = path.stat().st_size if path.is_file() else None
    with source.reading(FILE) as stream:
        if stream is not None:
            _go_on(stream, path, size or 0, where)
            return
    if size is not None:
        source.require_filled([POINTER])
        raise _other(where, size)


def _go_on(stream: Any, path: Path, size: int, where: str) -> None:
    lines, ends_whole = _require_same(stream, path, size, where)
    rest = read_up_to(stream, _BLOCK)
    if size and not rest:
        return
    part = path.parent / INCOMING / FILE
    make_folder(part.parent)
    with part.open("w+b") as out:
        if size:
            with path.open("rb") as ours:
                shutil.copyfileobj(ours, out, _BLOCK)
        while rest:
            out.write(rest)
            if out.tell() > _MOST:
                raise ContractViolation(f"{where}: has more than {_MOST:,} bytes; it is none of ours")
            rest = read_up_to(stream, _BLOCK)
        out.seek(size)
        _parse(out, lines, ends_whole, where)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)
    flush_folder(path.parent)


def _require_same(stream: Any, path: Path, size: int, where: str) -> tuple[int, bool]:
    """Read as much of a list as is here, which must be the same; return its lines, and whether the last one ends."""
    lines, ends_whole = 0, True
    if size:
        with path.open("rb") as ours:
            while mine := ours.read(_BLOCK):
                if read_up_to(stream, len(mine)) != mine:
                    raise _other(where, size)
                lines, ends_whole = lines + mine.count(b"\n"), mine.endswith(b"\n")
    return lines, ends_whole


def _parse(out: BinaryIO, lines: int, ends_whole: bool, where: str) -> None:
    if not ends_whole:
        lines += 1
        if out.read(1) != b"\n":
            raise ContractViolation(f"{where}:{lines}: is no {WHAT}; restore the file")
    try:
        if sum(1 for _ in lines_of(out, Withheld, WHAT, where, lines)) == lines == 0:
            raise ContractViolation(f"{where}:1: is no {WHAT}; restore the file")
    except StoreError as error:
        raise accepted(error) from error


def _other(where: str, size: int) -> ContractViolation:
    return ContractViolation(
        f"{where}: does not go on from the {size:,} bytes seen before; takedowns are lifted by a line of their own,"
        " never by taking lines away: restore the file"
    )

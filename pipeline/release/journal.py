"""A file of decisions by people, one JSON line each, that only grows: promotions, takedowns, pins.

A change is one rename: whatever dies in between, the file is as it was or has the new line whole.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.release.durable import make_folder, replace_by
from reporting.errors import StoreError

E = TypeVar("E", bound=BaseModel)
_LONGEST = 1 << 20
"""Bytes of a line that is one of ours, at most."""


def read_journal(path: Path, model: type[E], what: str) -> list[E]:
    """Return every line, oldest first; none where there is no file.

    Raises:
        StoreError: A line is not one of ours; the message names file and line.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    return parse_journal(data, model, what, str(path))


def parse_journal(data: bytes, model: type[E], what: str, where: str) -> list[E]:
    """Return the lines of a journal's bytes; errors as `read_journal`, also for no bytes at all."""
    found = [entry for entry, _ in lines_of(io.BytesIO(data), model, what, where)]
    if not found:
        raise StoreError(f"{where}:1: is no {what}; restore the file")
    return found


def lines_of(stream: BinaryIO, model: type[E], what: str, where: str, before: int = 0) -> Iterator[tuple[E, bytes]]:
    """Yield each line of an open journal with its bytes, one at a time; errors as `read_journal`.

    Args:
        stream: Stands where a line begins.
        model: Of a line.
        what: A line is, for messages.
        where: It is read, for messages.
        before: Lines that come before, for their numbers.
    """
    number = before
    while raw := stream.readline(_LONGEST):
        number += 1
        try:
            yield model.model_validate_json(raw.removesuffix(b"\n")), raw
        except ValidationError as error:
            raise StoreError(f"{where}:{number}: is no {what}; restore the file") from error


def append_journal(path: Path, entry: BaseModel, model: type[BaseModel], what: str, *, last_only: bool = False) -> None:
    """Append a line by one rename; of two at once neither is lost.

    Args:
        path: Of the file.
        entry: What is appended.
        model: Of a line.
        what: A line is, for messages.
        last_only: Look only at the last line of what is there, for long files: whoever reads them looks at all.

    Raises:
        StoreError: A line that is looked at is not one of ours, or the disk refused.
    """
    line = json.dumps(entry.model_dump(mode="json"), ensure_ascii=False, sort_keys=True) + "\n"
    try:
        make_folder(path.parent)
        with _alone(path.parent):
            before = _whole(path, model, what, last_only)
            replace_by(path, before + line.encode())
    except OSError as error:
        raise StoreError(f"{path}: the {what} was not written: {error}; mend the disk and repeat it") from error


def _whole(path: Path, model: type[BaseModel], what: str, last_only: bool) -> bytes:
    """Return what a journal holds, up to the end of its last line."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b""
    lines = data.removesuffix(b"\n")
    start = lines.rfind(b"\n") + 1 if last_only else 0
    for _ in lines_of(io.BytesIO(lines[start:] or b"\n"), model, what, str(path), data.count(b"\n", 0, start)):
        pass
    return lines + b"\n"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder, so that of two changes at once neither is lost."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

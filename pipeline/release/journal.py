"""A file of decisions by people, one JSON line each, that only grows: promotions, takedowns, pins.

A change is one rename: whatever dies in between, the file is as it was or has the new line whole.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.release.durable import make_folder, replace_by
from reporting.errors import StoreError

E = TypeVar("E", bound=BaseModel)


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
    """Return the lines of a journal's bytes; errors as `read_journal`."""
    found = []
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n"), start=1):
        try:
            found.append(model.model_validate_json(line))
        except ValidationError as error:
            raise StoreError(f"{where}:{number}: is no {what}; restore the file") from error
    return found


def append_journal(path: Path, entry: BaseModel, model: type[BaseModel], what: str) -> None:
    """Append a line by one rename; of two at once neither is lost.

    Raises:
        StoreError: The file holds a line that is not one of ours, or the disk refused.
    """
    line = json.dumps(entry.model_dump(mode="json"), ensure_ascii=False, sort_keys=True) + "\n"
    try:
        make_folder(path.parent)
        with _alone(path.parent):
            before = path.read_bytes().removesuffix(b"\n") + b"\n" if read_journal(path, model, what) else b""
            replace_by(path, before + line.encode())
    except OSError as error:
        raise StoreError(f"{path}: the {what} was not written: {error}; mend the disk and repeat it") from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder, so that of two changes at once neither is lost."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

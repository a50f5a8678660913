"""The sidecar of a file whose bytes were looked at: which of its rows have them, and what they were before.

`<file>.kept.json` says so in bits, one for each row of the file's table. It is written twice: before the file is
replaced, with `allocated` null (then nobody knows which of the two lies there), and after it. So a leaf that was killed
and does its work again books what it would have booked.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.lake import Lake
from pipeline.release.durable import replace_by
from reporting.errors import StoreError

Rows = NDArray[np.bool_]
SUFFIX: Final = ".kept.json"
_BLOCK = 512
"""Bytes of a block of `st_blocks`, on every file system (POSIX leaves it open; Linux, macOS and the BSDs have 512)."""
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Before(BaseModel):
    """What the leaf found.

    Attributes:
        count: Rows that had their bytes.
        rows: Which, see `Kept.rows`.
        allocated: Bytes of the disk that the file took.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(ge=0)
    rows: str
    allocated: int = Field(ge=0)


class Kept(BaseModel):
    """What of a file is there.

    Attributes:
        planid: Plan of the leaf that looked at it last.
        date: Day of that leaf.
        count: Rows that have their bytes.
        bytes: Sizes of these together.
        rows: Which: a bit for each row of the table, the first the highest of its byte, as hexadecimal digits.
        sha256: Of the names of their pictures, sorted, each once, a line each.
        wanted: The same of what the file's day needed: equal to now's, nothing is to be done.
        before: What the leaf found.
        allocated: Bytes of the disk that the file takes; None: it was about to be replaced.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    planid: str
    date: dt.date
    count: int = Field(ge=0)
    bytes: int = Field(ge=0)
    rows: str
    sha256: Sha256
    wanted: Sha256
    before: Before
    allocated: int | None = Field(ge=0)


def bits_of(rows: Rows) -> str:
    """Return rows as hexadecimal digits.

    Example:
        >>> bits_of(np.array([True, False, True])), bits_of(np.zeros(0, np.bool_))
        ('a0', '')
    """
    return np.packbits(rows).tobytes().hex()


def rows_of(bits: str, count: int, where: str) -> Rows:
    """Return `count` rows from hexadecimal digits.

    Raises:
        StoreError: there are more or fewer bits than rows: the sidecar belongs to another file.

    Example:
        >>> rows_of("a0", 3, "it").tolist()
        [True, False, True]
    """
    packed = np.frombuffer(bytes.fromhex(bits), np.uint8)
    if len(packed) != (count + 7) // 8:
        raise StoreError(
            f"{where}{SUFFIX}: has bits for {len(packed) * 8} rows, the table has {count}; the two do not belong "
            "together: remove the sidecar, and the file is looked at as if nothing of it had gone"
        )
    return np.unpackbits(packed, count=count).astype(np.bool_)


def read_kept(lake: Lake, file: str) -> Kept | None:
    """Return the sidecar of a file, None where nobody has looked at it yet.

    Raises:
        StoreError: it is damaged.
    """
    path = _path(lake, file)
    try:
        return Kept.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror or error
        raise StoreError(
            f"{path}: cannot be read: {why}; remove it, and the file is looked at as if nothing of it had gone"
        ) from error


def write_kept(lake: Lake, file: str, kept: Kept) -> None:
    """Put a sidecar beside a file, by one rename; whoever writes it holds the lock of `pipeline.storage.reclaim`.

    Raises:
        StoreError: the disk refuses.
    """
    path = _path(lake, file)
    try:
        replace_by(path, kept.model_dump_json(indent=1).encode())
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}; free or mount the disk") from error


def allocated(lake: Lake, file: str) -> int:
    """Return the bytes of the disk that a file takes: by its blocks, for the holes of a sparse file are in its length.

    Raises:
        StoreError: it is gone.
    """
    path = lake.folder() / file
    try:
        return path.stat().st_blocks * _BLOCK
    except OSError as error:
        raise StoreError(f"{path}: cannot be looked at: {error.strerror or error}; restore it") from error


def _path(lake: Lake, file: str) -> Path:
    path = lake.folder() / file
    return path.with_name(path.name + SUFFIX)

"""A lake with one pack of random bytes and its table, or one table of vectors; and what is in them, read plainly."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date as Date
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.lake import Lake
from pipeline.storage.holdings import Holding

DAY = Date(2026, 9, 1)
FOLDER = f"download/{DAY}/all/000/daily-20260901/attempt=001-abc"
DIM = 8


def picture(number: int, size: int) -> bytes:
    """Return picture `number`: random bytes, of which none begins with a zero."""
    return b"P" + np.random.default_rng(number).bytes(size - 1)


def name_of(data: bytes) -> str:
    """Return the sha256 of some bytes, as tables have it."""
    return hashlib.sha256(data).hexdigest()


def pack_in(root: Path, pictures: Sequence[bytes]) -> tuple[Lake, Holding]:
    """Write a pack of pictures with its table."""
    lake = Lake(str(root / "lake"))
    lake.write_bytes(f"{FOLDER}/pictures.bin", b"".join(pictures))
    sizes = [len(one) for one in pictures]
    offsets = [sum(sizes[:number]) for number in range(len(sizes))]
    table = pa.table(
        {
            "picture": pa.array([name_of(one) for one in pictures], pa.string()),
            "offset": pa.array(offsets, pa.int64()),
            "bytes": pa.array(sizes, pa.int64()),
        }
    )
    lake.write_table(f"{FOLDER}/items.parquet", table)
    return lake, Holding("pictures", DAY, f"{FOLDER}/pictures.bin", f"{FOLDER}/items.parquet")


def vectors_in(root: Path, names: Sequence[str]) -> tuple[Lake, Holding, pa.Table]:
    """Write a table as embed does, a vector for each name."""
    lake = Lake(str(root / "lake"))
    path = f"embed/{DAY}/red/000/daily-20260901/attempt=001-abc/items.parquet"
    values = np.random.default_rng(len(names)).random((len(names), DIM), np.float32)
    table = pa.table(
        {
            "object": pa.array([f"{name}#{number}" for number, name in enumerate(names)], pa.string()),
            "picture": pa.array(names, pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), DIM),
            "title": pa.array([f"thing {number}" for number in range(len(names))], pa.string()),
        }
    )
    lake.write_table(path, table)
    return lake, Holding("vectors", DAY, path, path), table


def intact(lake: Lake, holding: Holding, pictures: Sequence[bytes]) -> list[bool]:
    """Return which pictures of a pack are there, byte for byte; all else must be zeros, and the length the old one."""
    data = (lake.folder() / holding.file).read_bytes()
    assert len(data) == sum(len(one) for one in pictures)
    found, start = [], 0
    for one in pictures:
        part = data[start : start + len(one)]
        start += len(one)
        found.append(name_of(part) == name_of(one))
        assert found[-1] or not any(part), "neither the picture nor nothing"
    return found

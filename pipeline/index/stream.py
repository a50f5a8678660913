"""The merged index as a stream: its canonical bytes, list by list out of the shards, never held as a whole.

What comes out is to the bit what `faiss.write_index` would write of the canonical index in memory (`ilar` lists with
`full` or `sprs` sizes), so that the sha256 of an index is known before a byte of it is written. Codes are copied,
never encoded again.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.index.part import OpenPart, Piece, ShardPart, open_part, sorted_piece
from pipeline.index.quantizer import from_bytes, to_bytes
from pipeline.index.violations import Violation, differing, refuse
from pipeline.index.wrapped import ivf_of
from reporting.errors import DataError

Progress: TypeAlias = Callable[[int, int], None]
"""Is told the bytes done and the bytes in all."""

# How faiss ends an index whose lists are all empty.
_EMPTY_TAIL = struct.calcsize("<4sQQ4sQ")
# Bytes taken out of the shards at a time: enough that the threads seldom wait for each other.
_BATCH_BYTES = 16 << 20
_WRITE_BYTES = 1 << 20
_THREADS = min(4, os.cpu_count() or 1)


class DayPart(NamedTuple):
    """What one day gave: how many rows, and their `pipeline.index.lists.rows_sha256`."""

    rows: int
    rows_sha256: str


@dataclass(frozen=True, slots=True)
class Written:
    """An index that was written, or only hashed.

    Attributes:
        sha256: Of its bytes.
        bytes: Its size.
        rows: Rows it holds.
        nlist: Inverted lists.
        days: What each day of the parts gave; a day without a kept row is there with 0.
    """

    sha256: str
    bytes: int
    rows: int
    nlist: int
    days: dict[dt.date, DayPart]


@dataclass(slots=True)
class _Batch:
    """Some lists: the buffers in the index's order, and for each day those that its hash is made of."""

    out: list[memoryview] = field(default_factory=list)
    days: dict[dt.date, list[memoryview]] = field(default_factory=dict)
    bytes: int = 0


def write_canonical(
    quantizer_bytes: bytes,
    parts: Sequence[ShardPart | OpenPart],
    out: BinaryIO | None,
    *,
    progress: Progress | None = None,
) -> Written:
    """Write the canonical merged index, or only hash it.

    Depends on the set of kept rows only: neither on the order of `parts` nor on how the rows are split. It holds
    some 40 MB, or two lists of all parts where those are larger.

    Args:
        quantizer_bytes: The empty trained index that all parts were built on.
        parts: Shards that keep the contract (`require_contract`); those not yet open are opened, unverified.
        out: Where the bytes go; `write` must take all it is given, as buffered files and `io.BytesIO` do. None:
            nowhere.
        progress: Told after each batch, from this thread.

    Raises:
        ContractViolation: A shard is not as its manifest says; that its rows hash otherwise is found with the last one.
        DataError: The quantizer is not empty, or this version of faiss writes another format.
    """
    opened = [part if isinstance(part, OpenPart) else open_part(part, verify=False) for part in parts]
    quantizer = ivf_of(from_bytes(quantizer_bytes, where="quantizer"))
    counts = sum((part.scan.kept_sizes for part in opened), np.zeros(int(quantizer.nlist), np.int64))
    head = header(quantizer_bytes, counts)
    whole = hashlib.sha256()
    opened = sorted(opened, key=lambda part: part.part.manifest.date)
    rows = _rows_by_day(opened)
    digests = {day: hashlib.sha256() for day in rows}
    width = int(quantizer.code_size) + 8
    total = len(head) + int(counts.sum()) * width
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="merge") as pool:
        pending = _feed_all(pool, out, whole, digests, _Batch(out=[memoryview(head)]))
        done = len(head)
        for batch in _batches(opened, counts, width):
            _wait(pending)
            if progress is not None:
                progress(done, total)
            pending = _feed_all(pool, out, whole, digests, batch)
            done += batch.bytes
        _wait(pending)
    if done != total:
        raise DataError(f"{done} bytes were written of {total}: a shard changed while it was read; verify the shards")
    if progress is not None:
        progress(done, total)
    hashes = {day: digest.hexdigest() for day, digest in digests.items()}
    _require_noted(opened, hashes)
    return Written(
        sha256=whole.hexdigest(),
        bytes=total,
        rows=int(counts.sum()),
        nlist=len(counts),
        days={day: DayPart(rows=rows[day], rows_sha256=hashes[day]) for day in rows},
    )


def header(quantizer_bytes: bytes, counts: NDArray[np.int64]) -> bytes:
    """Return what faiss writes before the rows of the first list.

    Args:
        quantizer_bytes: Empty trained index.
        counts: Rows of each list, (nlist,) int64.

    Raises:
        DataError: The index is not empty, or this version of faiss writes another format.
    """
    index = from_bytes(quantizer_bytes, where="quantizer")
    ivf = ivf_of(index)
    if ivf.ntotal:
        raise DataError(f"quantizer: already holds {ivf.ntotal} rows; a merge starts from an empty trained index")
    index.ntotal = ivf.ntotal = int(counts.sum())
    data = to_bytes(index)
    lists = b"ilar" + struct.pack("<QQ", ivf.nlist, ivf.code_size)
    if data[-_EMPTY_TAIL:] != lists + b"sprs" + struct.pack("<Q", 0):
        raise DataError("this version of faiss ends an empty index in another way; use faiss 1.12 to 1.15")
    filled = np.flatnonzero(counts)
    if len(filled) > ivf.nlist // 2:
        sizes = b"full" + struct.pack("<Q", ivf.nlist) + counts.astype("<u8").tobytes()
    else:
        pairs = np.stack([filled, counts[filled]], axis=1)
        sizes = b"sprs" + struct.pack("<Q", pairs.size) + pairs.astype("<u8").tobytes()
    return data[:-_EMPTY_TAIL] + lists + sizes


def _rows_by_day(parts: Sequence[OpenPart]) -> dict[dt.date, int]:
    """Return how many rows each day gives, rising; a part without a kept row has its day there with 0."""
    rows: Counter[dt.date] = Counter()
    for part in parts:
        rows.update(part.part.rows_by_day(int(part.scan.kept_sizes.sum())))
    return dict(sorted(rows.items()))


def _require_noted(parts: Sequence[OpenPart], hashes: Mapping[dt.date, str]) -> None:
    """Raise if the rows of a day that is one whole shard do not hash to what its manifest notes of them."""
    shards_of_day = Counter(day for part in parts for day in part.part.rows_by_day(0))
    violations: list[Violation] = []
    for part in parts:
        manifest = part.part.manifest
        is_its_day = part.part.keep_days is None and shards_of_day[manifest.date] == 1
        if is_its_day and part.scan.whole and manifest.rows_sha256 is not None:
            violations += differing(part.name, {"rows_sha256": (hashes[manifest.date], manifest.rows_sha256)})
    refuse(violations, "its shard.json was changed or is another shard's: restore it, or build this shard again")


def _batches(parts: Sequence[OpenPart], counts: NDArray[np.int64], width: int) -> Iterator[_Batch]:
    """Yield the rows of all lists in the index's order, some lists at a time, and by day."""
    held = sum((np.diff(part.ends) for part in parts), np.zeros(len(counts), np.int64))
    rooms: list[dict[int, NDArray[np.uint8]]] = [{}, {}]  # in turn: one batch is read while the one before goes out
    for turn, (first, stop) in enumerate(_runs(held, max(1, _BATCH_BYTES // width))):
        read = [
            (part, part.pieces(first, stop, _room(rooms[turn % 2], place, part.room_for(first, stop))))
            for place, part in enumerate(parts)
            if part.ends[stop] > part.ends[first]
        ]
        batch = _Batch()
        for number in range(first, stop):
            by_day: dict[dt.date, list[Piece]] = {}
            for part, lists in read:
                piece = lists[number - first]
                if piece is not None:
                    for day, own in part.by_day(piece).items():
                        by_day.setdefault(day, []).append(own)
            pieces: list[Piece] = []
            for day, some in by_day.items():
                of_day = _rising(some)
                pieces += of_day
                batch.days.setdefault(day, []).extend(_hashed(number, of_day))
            taken = _rising(pieces)
            batch.out += [*(piece.codes for piece in taken), *(piece.ids for piece in taken)]
            batch.bytes += sum(piece.rows for piece in taken) * width
        yield batch


def _room(rooms: dict[int, NDArray[np.uint8]], place: int, size: int) -> NDArray[np.uint8]:
    """Return memory for a part's bytes: that of two batches before, for as long as it is large enough."""
    if place not in rooms or len(rooms[place]) < size:
        rooms[place] = np.empty(size + size // 4, np.uint8)
    return rooms[place]


def _runs(held: NDArray[np.int64], rows: int) -> Iterator[tuple[int, int]]:
    """Yield ranges [first, stop) of lists that hold at most so many rows, but at least one list."""
    ends = np.cumsum(held)
    first = 0
    while first < len(held):
        before = int(ends[first - 1]) if first else 0
        stop = max(first + 1, int(np.searchsorted(ends, before + rows, side="right")))
        yield first, stop
        first = stop


def _hashed(number: int, pieces: list[Piece]) -> list[memoryview]:
    """Return what `pipeline.index.lists.rows_sha256` takes of a list."""
    head = memoryview(struct.pack("<qq", number, sum(piece.rows for piece in pieces)))
    return [head, *(piece.ids for piece in pieces), *(piece.codes for piece in pieces)]


def _rising(pieces: list[Piece]) -> list[Piece]:
    """Return pieces whose ids rise from each to the next: the same ones in turn, or one that is sorted."""
    pieces = sorted(pieces, key=itemgetter(0))
    if all(left.last <= right.first for left, right in pairwise(pieces)):
        return pieces
    ids = np.concatenate([np.frombuffer(piece.ids, "<i8") for piece in pieces])
    codes = np.concatenate([np.frombuffer(piece.codes, np.uint8).reshape(piece.rows, -1) for piece in pieces])
    return [sorted_piece(ids, codes)]


def _feed_all(
    pool: ThreadPoolExecutor, out: BinaryIO | None, whole: Any, digests: dict[dt.date, Any], batch: _Batch
) -> list[Future[None]]:
    """Start hashing and writing a batch; the one before must be done, as every sink takes its bytes in turn."""
    lanes = [pool.submit(_feed, whole.update, batch.out)]
    if out is not None:
        lanes.append(pool.submit(_write, out, batch.out))
    return lanes + [pool.submit(_feed, digests[day].update, buffers) for day, buffers in batch.days.items()]


def _feed(sink: Callable[[memoryview], object], buffers: list[memoryview]) -> None:
    for buffer in buffers:
        sink(buffer)


def _write(out: BinaryIO, buffers: list[memoryview]) -> None:
    """Write buffers in turn through one megabyte of memory.

    Pieces of some KB by writev, or 16 MB by one write, cost the kernel three to five times as much (measured).
    """
    room = memoryview(bytearray(_WRITE_BYTES))
    filled = 0
    for buffer in buffers:
        done = 0
        while done < buffer.nbytes:
            count = min(buffer.nbytes - done, _WRITE_BYTES - filled)
            room[filled : filled + count] = buffer[done : done + count]
            filled, done = filled + count, done + count
            if filled == _WRITE_BYTES:
                out.write(room)
                filled = 0
    out.write(room[:filled])


def _wait(pending: list[Future[None]]) -> None:
    for future in pending:
        future.result()

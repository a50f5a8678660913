"""A shard's part in a merge, as it is asked for and as it is open for reading."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.index.lists import is_in
from pipeline.index.opened import OpenIndex
from pipeline.index.shard import ShardManifest, open_shard, stored_ids
from reporting.errors import ContractViolation


@dataclass(frozen=True, slots=True, eq=False)
class ShardPart:
    """A shard and the rows that the merge takes from it.

    Attributes:
        manifest: What the shard claims; each claim is verified.
        index: The index bytes, or the file that holds them (then read by memory map).
        keep_ids: Ids to take, (n,) int64, strictly rising; all must be in the shard. Empty takes none, None takes all.
        keep_days: The day of each of them, (n,) datetime64[D], for a shard that holds several days (a tail); None: all
            are of the manifest's date.
    """

    manifest: ShardManifest
    index: bytes | Path
    keep_ids: NDArray[np.int64] | None = None
    keep_days: NDArray[np.datetime64] | None = None

    def rows_by_day(self, kept: int) -> dict[dt.date, int]:
        """Return how many rows each day gives; `kept` in all."""
        if self.keep_days is None:
            return {self.manifest.date: kept}
        days, counts = np.unique(self.keep_days, return_counts=True)
        return dict(zip(days.tolist(), counts.tolist(), strict=True))


class Piece(NamedTuple):
    """Rows of one list in rising order of id, at least one, as the bytes an index file has of them."""

    first: int
    last: int
    rows: int
    ids: memoryview
    codes: memoryview


class Scan(NamedTuple):
    """What one look at a part's ids tells.

    Attributes:
        whole: Whether every row is taken.
        kept_sizes: Rows taken from each list, (nlist,) int64.
        firsts: First id of each list in stored order, 0 for an empty one; read only where `in_order`.
        lasts: Last id of each list likewise.
        in_order: Whether all rows are taken and rise by id in every list, so that lists go out as they lie.
    """

    whole: bool
    kept_sizes: NDArray[np.int64]
    firsts: list[int]
    lasts: list[int]
    in_order: bool


@dataclass(frozen=True, eq=False)
class OpenPart:
    """A part whose shard is open.

    Attributes:
        part: What was asked for.
        index: The open shard, for searching.
        ends: Rows held before each list, and at last all of them, nlist + 1 numbers.
        scan: What its ids tell.
        offset: Where the rows begin in the index' bytes.
    """

    part: ShardPart
    index: OpenIndex
    ends: list[int]
    scan: Scan
    offset: int

    @property
    def name(self) -> str:
        """Name the shard in messages."""
        return self.part.manifest.name

    @cached_property
    def code_size(self) -> int:
        """Bytes of a code."""
        return int(self.index.ivf.code_size)

    def kept_ids(self) -> NDArray[np.int64]:
        """Return the ids taken, (n,) int64, rising."""
        return np.sort(stored_ids(self.index)) if self.part.keep_ids is None else self.part.keep_ids

    def pieces(self, first: int, stop: int, room: NDArray[np.uint8] | None = None) -> list[Piece | None]:
        """Read the rows taken from some neighbouring lists, by one read of the file.

        A file is read and not mapped: copying out of fresh mappings cost 1.3 s a GB of page faults (measured).

        Args:
            first: First list.
            stop: The list after the last.
            room: Where a file's bytes go, if it has room for them; the pieces are views of it.

        Returns:
            For each list from `first` up to `stop`, not included, its rows; None where no row is taken.

        Raises:
            ContractViolation: The file is shorter than it was.
        """
        width = self.code_size + 8
        begin, end = self.ends[first] * width, self.ends[stop] * width
        data = read_bytes(self.part.index, self.offset + begin, end - begin, self.name, room)
        found: list[Piece | None] = []
        for number in range(first, stop):
            start, size = self.ends[number] * width - begin, self.ends[number + 1] - self.ends[number]
            middle = start + size * self.code_size
            found.append(self._piece(number, size, data[middle : start + size * width], data[start:middle]))
        return found

    def by_day(self, piece: Piece) -> dict[dt.date, Piece]:
        """Divide rows of a list by the day each is of, rising; views where all are of one day."""
        ids, days = self.part.keep_ids, self.part.keep_days
        if ids is None or days is None:
            return {self.part.manifest.date: piece}
        numbers = np.frombuffer(piece.ids, "<i8")
        of = days[np.searchsorted(ids, numbers)]
        codes = np.frombuffer(piece.codes, np.uint8).reshape(piece.rows, -1)
        return {day.item(): sorted_piece(numbers[of == day], codes[of == day]) for day in np.unique(of)}

    def room_for(self, first: int, stop: int) -> int:
        """Return how many bytes `pieces` reads."""
        return (self.ends[stop] - self.ends[first]) * (self.code_size + 8)

    def _piece(self, number: int, size: int, ids: memoryview, codes: memoryview) -> Piece | None:
        if not self.scan.kept_sizes[number]:
            return None
        if self.scan.in_order:
            return Piece(self.scan.firsts[number], self.scan.lasts[number], size, ids, codes)
        numbers, rows = np.frombuffer(ids, "<i8"), np.frombuffer(codes, np.uint8).reshape(size, -1)
        if self.part.keep_ids is not None:
            mask = is_in(numbers, self.part.keep_ids)
            numbers, rows = numbers[mask], rows[mask]
        return sorted_piece(numbers, rows)


def read_bytes(
    source: bytes | Path, offset: int, size: int, name: str, room: NDArray[np.uint8] | None = None
) -> memoryview:
    """Return bytes of an index: a view of them if they are in memory, else of `room` if they fit, or of new memory.

    Raises:
        ContractViolation: There are fewer; the message calls the index `name`.
    """
    if isinstance(source, bytes):
        return memoryview(source)[offset : offset + size]
    whole = room if room is not None and len(room) >= size else np.empty(size, np.uint8)
    data = memoryview(cast(bytes, whole))[:size]
    done = 0
    with source.open("rb", buffering=0) as stream:
        while done < size:
            count = os.preadv(stream.fileno(), [data[done:]], offset + done)
            if not count:
                raise ContractViolation(f"{name}: {source} ends {size - done} bytes early; a shard must never change")
            done += count
    return data


def sorted_piece(ids: NDArray[np.int64], codes: NDArray[np.uint8]) -> Piece:
    """Return rows, at least one, sorted by id; ids (n,) and codes (n, code_size) that rise already are not copied."""
    if np.any(ids[1:] < ids[:-1]):
        order = np.argsort(ids, kind="stable")
        ids, codes = ids[order], codes[order]
    return Piece(int(ids[0]), int(ids[-1]), len(ids), _raw(ids), _raw(codes))


def _raw(array: NDArray[Any]) -> memoryview:
    return memoryview(cast(bytes, array.reshape(-1))).cast("B")


def open_part(part: ShardPart, *, verify: bool = True) -> OpenPart:
    """Open a part's shard; errors as `open_shard`."""
    index = open_shard(part.manifest, part.index, verify=verify)
    return scanned_part(part, index, stored_ids(index))


def scanned_part(part: ShardPart, index: OpenIndex, ids: NDArray[np.int64]) -> OpenPart:
    """Look at all ids of an open shard, list by list in stored order, (n,) int64.

    Raises:
        ContractViolation: The index' bytes do not end in the rows of its lists, as faiss writes them into one file.
    """
    lists: Any = index.ivf.invlists
    sizes = np.array([lists.list_size(number) for number in range(index.nlist)], np.int64)
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    length = len(part.index) if isinstance(part.index, bytes) else part.index.stat().st_size
    opened = OpenPart(
        part=part,
        index=index,
        ends=bounds.tolist(),
        scan=_scan(part.keep_ids, ids, bounds),
        offset=length - len(ids) * (int(index.ivf.code_size) + 8),
    )
    for number in np.flatnonzero(sizes)[[0, -1]].tolist() if len(ids) else ():
        _require_place(opened, number, ids)
    return opened


def _require_place(opened: OpenPart, number: int, ids: NDArray[np.int64]) -> None:
    """Raise unless a list's ids lie where the format has them."""
    start, stop = opened.ends[number], opened.ends[number + 1]
    place = opened.offset + start * (opened.code_size + 8) + (stop - start) * opened.code_size
    found = read_bytes(opened.part.index, max(0, place), (stop - start) * 8, opened.name)
    if place < 0 or found != _raw(ids[start:stop].astype("<i8")):
        raise ContractViolation(
            f"{opened.name}: index holds list {number} elsewhere than faiss writes it, expected one file with all rows"
            " (`faiss.write_index` of lists in memory); build this shard again"
        )


def _scan(keep: NDArray[np.int64] | None, ids: NDArray[np.int64], bounds: NDArray[np.int64]) -> Scan:
    if keep is not None and len(keep) < len(ids):
        taken = np.concatenate([np.zeros(1, np.int64), np.cumsum(is_in(ids, keep))])
        return Scan(False, np.diff(taken[bounds]), [], [], in_order=False)
    sizes = np.diff(bounds)
    falls = ids[1:] < ids[:-1]
    falls[bounds[(bounds > 0) & (bounds < len(ids))] - 1] = False  # from one list to the next
    if falls.any():
        return Scan(True, sizes, [], [], in_order=False)
    padded = np.append(ids, 0)
    firsts = np.where(sizes > 0, padded[bounds[:-1]], 0)
    lasts = np.where(sizes > 0, padded[bounds[1:] - 1], 0)
    return Scan(True, sizes, firsts.tolist(), lasts.tolist(), in_order=True)

"""The files of a spool: segments of lines with checksums, what of a segment is settled, and what was put aside.

A line is one unit of work: `checksum total count moment json`, where `total` counts the segment's entries up to and
with this line, so that the number waiting needs no reading of them all, and `checksum` is the XXH64 of the rest.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import xxhash

from reporting.outbox import Entry, Fate, Outcome

_TAIL_BYTES = 1 << 16
"""How much of a segment's end is read to find its last line, at first."""


class Fact(NamedTuple):
    """What a unit of work appends; see `Entry`."""

    topic: str
    document_id: str
    version: int
    body: str


class Line(NamedTuple):
    """One whole line of a segment; without `content` it fails its checksum, and counts as one entry."""

    start: int
    end: int
    total: int
    entries: int
    created_at: str
    content: bytes | None
    raw: bytes

    @property
    def places(self) -> range:
        """Where its entries stand: the line's offset plus their place in it, unique as an entry has several bytes."""
        return range(self.start, self.start + self.entries)

    def facts(self) -> list[Fact]:
        """Return its entries; of a spoilt line, one without topic that holds what there is."""
        if self.content is None:
            return [Fact("", "", 0, self.raw.decode("utf-8", "replace"))]
        return [Fact(*fact) for fact in json.loads(self.content)]


def now() -> str:
    """Return the present moment in UTC, so written that text order is time order."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def lines(path: Path, offset: int) -> Iterator[Line]:
    """Yield the whole lines from an offset on; a last one without its newline is not there yet, or never will be.

    A segment that is gone has none.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        while (raw := file.readline()).endswith(b"\n"):
            yield _parse(raw, offset)
            offset += len(raw)


def _parse(raw: bytes, start: int) -> Line:
    checksum, _, rest = raw[:-1].partition(b" ")
    if checksum != b"%016x" % xxhash.xxh64_intdigest(rest):
        return Line(start, start + len(raw), 0, 1, "", None, raw)
    total, count, moment, content = rest.split(b" ", 3)
    return Line(start, start + len(raw), int(total), int(count), moment.decode(), content, raw)


def total_of(path: Path) -> int:
    """Return how many entries a segment has had, from its last line."""
    last = _last_line(path)
    if last is None or last.content is not None:
        return 0 if last is None else last.total
    return max((line.total for line in lines(path, 0)), default=0)


def _last_line(path: Path) -> Line | None:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        step = _TAIL_BYTES
        while True:
            start = file.seek(max(0, size - step))
            tail = file.read(size - start)
            end = tail.rfind(b"\n") + 1
            begin = tail.rfind(b"\n", 0, max(0, end - 1)) + 1
            if begin or not start:
                return _parse(tail[begin:end], start + begin) if end else None
            step *= 8


@dataclass
class Progress:
    """Everything before `offset` is settled (`before` entries), and what stands in the places `done` after it."""

    offset: int = 0
    before: int = 0
    done: set[int] = field(default_factory=set)

    @classmethod
    def load(cls, path: Path) -> Progress:
        """Read it; without a file, or after a power cut in one, nothing is settled: a delivery is repeated."""
        try:
            found = json.loads(path.read_bytes())
            return cls(found["offset"], found["before"], set(found["done"]))
        except (FileNotFoundError, ValueError):
            return cls()

    def save(self, path: Path) -> None:
        """Write it in one step."""
        text = json.dumps({"offset": self.offset, "before": self.before, "done": sorted(self.done)})
        replace(path, text)

    def is_done(self, place: int) -> bool:
        """Tell whether the entry in a place is settled."""
        return place < self.offset or place in self.done

    def advance(self, segment: Path) -> None:
        """Move the offset over the lines all of whose entries are done."""
        for line in lines(segment, self.offset):
            if not self.done.issuperset(line.places):
                return
            self.done.difference_update(line.places)
            self.offset = line.end
            self.before = max(self.before, line.total)


class Segment:
    """A segment this process appends to; it holds the segment's lock until it is closed or the process ends."""

    def __init__(self, fd: int, size: int, total: int):
        self.size = size
        self._fd = fd
        self._total = total

    @classmethod
    def create(cls, path: Path) -> Segment:
        """Make a segment, locked, its name on the disk."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        sync_folder(path.parent)
        return cls(fd, 0, 0)

    @classmethod
    def adopt(cls, path: Path, progress: Progress, below: int) -> Segment | None:
        """Go on with a segment nobody writes to, if it is whole and smaller than `below` bytes; else None."""
        fd = os.open(path, os.O_RDWR | os.O_APPEND)
        if locked(fd):
            size = os.fstat(fd).st_size
            whole = size == 0 or os.pread(fd, 1, size - 1) == b"\n"
            # Lines that were settled and then lost with the power: their places must never hold others.
            kept = progress.offset <= size and all(place < size for place in progress.done)
            if whole and kept and size < below:
                return cls(fd, size, total_of(path))
            unlock(fd)
        else:
            os.close(fd)
        return None

    def close(self) -> None:
        """Give the lock back and close."""
        unlock(self._fd)

    def abandon(self) -> None:
        """Close a forked child's copy; its parent keeps the lock."""
        os.close(self._fd)

    def write(self, facts: Sequence[Fact], sync: bool) -> None:
        """Append one line. After an error the segment must be closed and not be written to again.

        Raises:
            OSError: the line is not there, or (a failed fsync) may be.
        """
        rest = b"%d %d %s " % (self._total + len(facts), len(facts), now().encode()) + json.dumps(facts).encode()
        line = b"%016x %s\n" % (xxhash.xxh64_intdigest(rest), rest)
        left = memoryview(line)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
            if sync:
                os.fsync(self._fd)
        except BaseException:
            # A torn line has no newline, so that no reader took it for one: it can be cut off. A whole one may have
            # been delivered: its place must never hold another.
            if os.fstat(self._fd).st_size < self.size + len(line):
                os.ftruncate(self._fd, self.size)
            raise
        self.size += len(line)
        self._total += len(facts)


def locked(fd: int) -> bool:
    """Take the lock of an open file; False when another has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(fd: int) -> None:
    """Give the lock of an open file back and close it; closing alone would leave it to a child forked meanwhile."""
    fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def read_dead(path: Path) -> list[Outcome]:
    """Read what was put aside of one segment; nothing where there is no file.

    An entry without a topic is a line that cannot be read; its body is what there is of it.
    """
    try:
        rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    except FileNotFoundError:
        return []
    return [Outcome(Entry(*(row[name] for name in Entry._fields)), Fate(row["fate"]), row["error"]) for row in rows]


def write_dead(path: Path, dead: Iterable[Outcome]) -> None:
    """Write a file of what was put aside anew, in one step; one without a line goes."""
    rows = ({"fate": one.fate, "error": one.error, **one.entry._asdict()} for one in dead)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if text:
        replace(path, text)
    else:
        path.unlink(missing_ok=True)


def replace(path: Path, text: str) -> None:
    """Write a file in one step: the former content, or this."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

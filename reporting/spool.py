"""The spool: an outbox in a folder of append-only files, for pipelines that have no SQL store of ours.

    segments/N.jsonl   units of work, one a line          progress/N.json   what of a segment is settled
    dead/N.jsonl       what was put aside, with its error  shipped           how many entries were acknowledged
    lock               guards opening, settling, reviving  shipper.lock      held by the one that ships

A process appends to a segment of its own, and holds its lock meanwhile; all locks end with their process. A crash
repeats a delivery and never loses one. The folder lies on a local disk: flock and fsync must mean what they say.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from reporting.errors import StoreError
from reporting.outbox import Entry, Fate, OutboxStatus, Outcome
from reporting.segments import (
    Fact,
    Progress,
    Segment,
    lines,
    locked,
    read_dead,
    replace,
    total_of,
    unlock,
    write_dead,
)

SEGMENT_BYTES = 8 << 20
"""Where a writer goes on to a new segment; a segment is deleted when all of it is settled."""
MAX_BYTES = 4 << 30
"""How much may wait before an append is refused."""
_PLACE_BITS = 32
"""A seq is the segment's number, then the place in it in this many bits."""


class Spool:
    """An outbox over files. Any number of processes and threads append; one ships. For Linux and macOS.

    Args:
        folder: made when it is not there.
        segment_bytes: where a writer goes on to a new segment.
        max_bytes: of what waits; above it an append is refused. Each writer may go over it by one segment.
        fsync: False leaves it to the system when an append reaches the disk: for tests.

    Raises:
        StoreError: the folder cannot be made.

    Example:
        >>> import tempfile
        >>> with Spool(tempfile.mkdtemp()) as spool:
        ...     spool.append([Fact("record", "id", 1, "{}")])
        ...     spool.status().pending
        1
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        max_bytes: int = MAX_BYTES,
        fsync: bool = True,
    ):
        self.folder = Path(folder)
        self._segment_bytes = segment_bytes
        self._max_bytes = max_bytes
        self._fsync = fsync
        self._mutex = threading.Lock()
        self._segment: Segment | None = None
        self._lease: tuple[str, int] | None = None
        self._stamp = 0
        self._room = 0
        with self._errors("make it"):
            for name in ("segments", "progress", "dead"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        _spools().add(self)

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_lease"):
            self._let_go()

    def close(self) -> None:
        """Let go of the segment and of the lease; a later append takes a segment again."""
        with self._mutex:
            self._let_go()

    def stamp(self) -> int:
        """Return microseconds since 1970, greater than any before in this process: a version for plans and verdicts."""
        with self._mutex:
            self._stamp = max(self._stamp + 1, time.time_ns() // 1000)
            return self._stamp

    def append(self, facts: Sequence[Fact]) -> None:
        """Write one unit of work, all of it or nothing; it is on the disk when the call returns.

        Meant for units of up to some thousands of entries: a unit is read as a whole.

        Raises:
            StoreError: the disk or the spool is full, or the folder cannot be written; then nothing was recorded
                (after a failed fsync it may be delivered all the same: put it again, a repeat does no harm).
        """
        if not facts:
            return
        with self._mutex, self._errors("append to it (nothing was recorded)"):
            self._write(self._ready(sum(len(fact.body) for fact in facts)), facts)

    def _ready(self, need: int) -> Segment:
        """Return a segment to append to, when there is room for so many bytes."""
        if self._segment is not None and self._segment.size >= self._segment_bytes:
            self._release()
        if self._segment is None or self._room < need:  # others may have written, the shipper may have made room
            self._room = self._max_bytes - self._waiting_bytes()
        if self._room < need:
            raise StoreError(
                f"spool {self.folder}: {self._max_bytes - self._room} bytes wait and {need} more would exceed "
                f"max_bytes {self._max_bytes}; nothing was recorded; let the shipper reach Elasticsearch"
            )
        if self._segment is None:
            self._segment = self._take()
        return self._segment

    def _write(self, segment: Segment, facts: Sequence[Fact]) -> None:
        size = segment.size
        try:
            segment.write(facts, self._fsync)
        except BaseException:
            self._release()
            raise
        self._room -= segment.size - size

    def _take(self) -> Segment:
        """Go on with the newest segment if nobody writes there: short commands leave one file. Else make one."""
        with self._guard():
            numbers = self._numbers()
            if numbers:
                progress = Progress.load(self._progress(numbers[-1]))
                adopted = Segment.adopt(self._path(numbers[-1]), progress, self._segment_bytes)
                if adopted is not None:
                    return adopted
            used = [*numbers, *self._numbers("progress"), *self._numbers("dead"), 0]
            # Rising, also when the clock was put back: a number in use has progress of its own.
            return Segment.create(self._path(max(time.time_ns() // 1000, max(used) + 1)))

    def _release(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()

    def _let_go(self) -> None:
        self._release()
        lease, self._lease = self._lease, None
        if lease is not None:
            unlock(lease[1])

    def _forget(self) -> None:
        """In a forked child: leave the locks and the thread that may have held the mutex to the parent."""
        self._mutex = threading.Lock()
        segment, self._segment = self._segment, None
        lease, self._lease = self._lease, None
        if segment is not None:
            segment.abandon()
        if lease is not None:
            os.close(lease[1])

    def peek(self, limit: int, max_bytes: int) -> list[Entry]:
        """See `Outbox.peek`. Oldest segment first, then as appended: between writers in order of time only about.

        Lines that fail their checksum are put aside on the way, and finished segments deleted when nothing waits.
        """
        found: list[Entry] = []
        spoilt: list[Outcome] = []
        size = 0
        with self._errors("read it"):
            for entry in self._waiting():
                if not entry.topic:
                    spoilt.append(Outcome(entry, Fate.POISON, "the line fails its checksum: torn or changed"))
                    continue
                size += len(entry.body)
                if found and (len(found) >= limit or size > max_bytes):
                    break
                found.append(entry)
        if spoilt:
            self.settle(spoilt)
        if not found:
            with self._errors("tidy it"), self._guard():
                for number in self._numbers():
                    self._tidy(number, Progress.load(self._progress(number)))
        return found

    def _waiting(self) -> Iterator[Entry]:
        for number in self._numbers():
            progress = Progress.load(self._progress(number))
            for line in lines(self._path(number), progress.offset):
                if progress.done.issuperset(line.places):
                    continue
                for place, fact in zip(line.places, line.facts(), strict=True):
                    if place not in progress.done:
                        yield Entry(number << _PLACE_BITS | place, *fact, line.created_at)

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """See `Outbox.settle`. A crash in it repeats the delivery of some entries, and loses none."""
        parts: dict[int, list[Outcome]] = defaultdict(list)
        for outcome in outcomes:
            if outcome.fate not in (Fate.RETRY, Fate.BLOCKED):
                parts[outcome.entry.seq >> _PLACE_BITS].append(outcome)
        with self._errors("settle in it"), self._guard():
            shipped = sum(self._settle(number, part) for number, part in parts.items())
            if shipped:
                replace(self.folder / "shipped", str(self._shipped() + shipped))

    def _settle(self, number: int, outcomes: Sequence[Outcome]) -> int:
        """Settle in one segment; return how many entries were acknowledged that were not before."""
        path, progress = self._path(number), Progress.load(self._progress(number))
        if not path.exists():
            return 0  # all of it was settled before
        fresh = {_place(one): one for one in outcomes if not progress.is_done(_place(one))}
        dead = [one for one in fresh.values() if one.fate in (Fate.POISON, Fate.CONFLICT)]
        if dead:
            self._bury(number, dead)
        progress.done.update(fresh)
        progress.advance(path)
        progress.save(self._progress(number))
        self._tidy(number, progress)
        return len(fresh) - len(dead)

    def _tidy(self, number: int, progress: Progress) -> None:
        """Delete a segment that is settled and that nobody writes to; the torn end of a killed writer goes with it."""
        path = self._path(number)
        fd = os.open(path, os.O_RDONLY)
        if not locked(fd):
            os.close(fd)
            return
        try:
            if next(lines(path, progress.offset), None) is None:
                path.unlink()
                self._progress(number).unlink(missing_ok=True)
        finally:
            unlock(fd)

    def _bury(self, number: int, outcomes: Sequence[Outcome]) -> None:
        """Put entries aside; the file is written anew in one step, so that a repeat adds nothing."""
        path = self._dead(number)
        kept = {dead.entry.seq: dead for dead in read_dead(path)}
        kept |= {one.entry.seq: one for one in outcomes}
        write_dead(path, kept.values())

    def dead(self) -> list[Outcome]:
        """See `Outbox.dead`. One without a topic is a line that could not be read; it cannot be revived."""
        with self._errors("read it"):
            return [dead for number in self._numbers("dead") for dead in read_dead(self._dead(number))]

    def revive(self) -> int:
        """See `Outbox.revive`.

        Raises:
            StoreError: as `append`; what was not revived stays aside.
        """
        revived = 0
        for number in self._numbers("dead"):
            path = self._dead(number)
            with self._mutex, self._errors("revive in it"):
                segment = self._ready(sum(len(one.entry.body) for one in read_dead(path)))
                with self._guard():
                    dead = read_dead(path)
                    facts = [Fact(*one.entry[1:5]) for one in dead if one.entry.topic]
                    if facts:
                        self._write(segment, facts)
                        write_dead(path, (one for one in dead if not one.entry.topic))
                    revived += len(facts)
        return revived

    def status(self) -> OutboxStatus:
        """See `Outbox.status`: two short reads a segment. A shipper's crash may leave `shipped` short by one batch."""
        pending, moments = 0, []
        with self._errors("read it"):
            for number in self._numbers():
                progress, path = Progress.load(self._progress(number)), self._path(number)
                first = next(lines(path, progress.offset), None)
                if first is not None:
                    with suppress(FileNotFoundError):  # shipped and gone since it was listed
                        pending += max(0, total_of(path) - progress.before - len(progress.done))
                    moments.append(first.created_at)
            oldest, quarantined = min(filter(None, moments), default=None), 0
            for number in self._numbers("dead"):
                with suppress(FileNotFoundError):  # revived since it was listed
                    quarantined += self._dead(number).read_bytes().count(b"\n")
            return OutboxStatus(
                pending=pending,
                oldest_seconds=None if oldest is None else max(0.0, _age(oldest)),
                quarantined=quarantined,
                shipped=self._shipped(),
                bytes=self._waiting_bytes() if pending else 0,
            )

    def _shipped(self) -> int:
        path = self.folder / "shipped"
        return int(path.read_text()) if path.exists() else 0

    def lead(self, owner: str, seconds: float) -> bool:  # noqa: ARG002 - the lock ends with its process
        """See `Outbox.lead`. The lease is a lock on a file: it needs no renewal, and ends with its process."""
        with self._mutex, self._errors("lock it"):
            if self._lease is None:
                fd = os.open(self.folder / "shipper.lock", os.O_RDWR | os.O_CREAT, 0o666)
                if not locked(fd):
                    os.close(fd)
                    return False
                self._lease = (owner, fd)
            return self._lease[0] == owner

    def resign(self, owner: str) -> None:
        """See `Outbox.resign`; nothing happens when another has it."""
        with self._mutex:
            if self._lease is not None and self._lease[0] == owner:
                unlock(self._lease[1])
                self._lease = None

    def _numbers(self, kind: str = "segments") -> list[int]:
        return sorted(int(path.stem) for path in (self.folder / kind).iterdir() if path.suffix != ".tmp")

    def _path(self, number: int) -> Path:
        return self.folder / "segments" / f"{number}.jsonl"

    def _progress(self, number: int) -> Path:
        return self.folder / "progress" / f"{number}.json"

    def _dead(self, number: int) -> Path:
        return self.folder / "dead" / f"{number}.jsonl"

    def _waiting_bytes(self) -> int:
        waiting = 0
        for path in (self.folder / "segments").iterdir():
            with suppress(FileNotFoundError):  # shipped and gone since it was listed
                waiting += max(0, path.stat().st_size - Progress.load(self._progress(int(path.stem))).offset)
        return waiting

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Keep out other processes and threads. Never taken twice: it would wait for itself."""
        fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            unlock(fd)

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = error.strerror or type(error).__name__
            raise StoreError(
                f"spool {self.folder}: cannot {doing}: {what}; mend the folder or free its disk"
            ) from error


def _place(outcome: Outcome) -> int:
    return outcome.entry.seq & ((1 << _PLACE_BITS) - 1)


def _age(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()


@cache
def _spools() -> weakref.WeakSet[Spool]:
    """Return the spools of this process; from the first one on, a forked child lets go of theirs."""
    spools: weakref.WeakSet[Spool] = weakref.WeakSet()

    def forget() -> None:
        for spool in spools:
            spool._forget()

    os.register_at_fork(after_in_child=forget)
    return spools

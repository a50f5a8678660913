"""The recorder: `with recorder.task(key) as books:` always emits, also when the block raises.

The record is written last: it is the completion marker of the work inside the block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from reporting.booking import Booking
from reporting.key import RunKey
from reporting.logs import run_key
from reporting.stores.base import RecordStore
from reporting.topology import Topology

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the present moment, aware."""
    return datetime.now(UTC)


class Recorder:
    """Opens books for a key and emits their record to a store when the block ends.

    Example:
        >>> from reporting.stores.memory import MemoryStore
        >>> recorder = Recorder(MemoryStore())
        >>> with recorder.task(RunKey(task="filter", date="2026-11-01", planid="p1")) as books:
        ...     books.take(["a", "b"]); books.keep(["a"]); books.drop("blurred", ["b"])
    """

    def __init__(self, store: RecordStore, topology: Topology | None = None, clock: Clock = utc_now):
        self._store = store
        self._topology = topology
        self._clock = clock

    @contextmanager
    def task(self, key: RunKey, *, attempt: int = 1) -> Iterator[Booking]:
        """Yield the books of one attempt and emit their record, whatever happens inside.

        Raises:
            ConfigError: the topology does not know the task.
            RecordError: the books do not close; a failed record is emitted first.
            BaseException: whatever the block raised, after its failed record was emitted.
        """
        rules = None if self._topology is None else self._topology.task(key.task)
        books = Booking(key, started_at=self._clock(), rules=rules, attempt=attempt)
        with run_key(key):
            try:
                yield books
                record = books.close(finished_at=self._clock())
            except BaseException as error:
                self._emit_failure(books, error)
                raise
            with self._store.begin() as work:
                work.put_record(record)

    def _emit_failure(self, books: Booking, error: BaseException) -> None:
        record = books.close(finished_at=self._clock(), error=error)
        with self._store.begin() as work:
            work.put_record(record)

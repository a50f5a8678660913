"""The recorder: `with recorder.task(key) as books:` always emits, also when the block raises.

The record is written last: it is the completion marker of the work inside the block.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from datetime import date as Date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from pydantic import SecretStr, ValidationError

from reporting.booking import Booking
from reporting.errors import ConfigError, UsageError, nearest
from reporting.key import KEY_PARTS, RunKey
from reporting.logs import run_key
from reporting.record import TaskRecord
from reporting.stores.base import UnitOfWork
from reporting.topology import Topology

if TYPE_CHECKING:
    from reporting.outbox import Sink
    from reporting.spool_store import SpoolShipping

Clock = Callable[[], datetime]
P = ParamSpec("P")
R = TypeVar("R")

API_KEY_VARIABLE = "FUNNELGATE_ELASTIC__API_KEY"
FLUSH_SECONDS = 10.0
"""How long closing waits for what was recorded last to be shipped."""


class Writes(Protocol):
    """Where a recorder emits to: any `RecordStore`, or a `SpoolStore`."""

    def begin(self) -> AbstractContextManager[UnitOfWork]:
        """Open a unit of work; see `RecordStore.begin`."""


def utc_now() -> datetime:
    """Return the present moment, aware."""
    return datetime.now(UTC)


class Recorder:
    """Opens books for a key and emits their record when the block ends.

    Thread-safe where its store is; a spool is.

    Args:
        store: what records are put into.
        topology: refuses tasks, drop reasons and metrics that it does not declare; None accepts all.
        clock: aware moments.
        later_counts: number the emits of a task without attempts by the clock, see `task`.

    Example:
        >>> from reporting.stores.memory import MemoryStore
        >>> recorder = Recorder(MemoryStore())
        >>> with recorder.task(RunKey(task="filter", date="2026-11-01", planid="p1")) as books:
        ...     books.take(["a", "b"]); books.keep(["a"]); books.drop("blurred", ["b"])
    """

    def __init__(
        self,
        store: Writes,
        topology: Topology | None = None,
        clock: Clock = utc_now,
        *,
        later_counts: bool = False,
    ):
        self._store = store
        self._topology = topology
        self._clock = clock
        self._later_counts = later_counts
        self._spooled: SpoolShipping | None = None

    @classmethod
    def to_spool(cls, folder: Path | str, topology: Topology | None = None) -> Recorder:
        """Return a recorder that only writes to a spool folder; something else ships it.

        Raises:
            StoreError: the folder cannot be made.
        """
        return cls._spooling(folder, topology, None, "")

    @classmethod
    def to_sink(
        cls,
        open_sink: Callable[[], Sink],
        spool: Path | str,
        topology: Topology | None = None,
        *,
        name: str = "the sink",
    ) -> Recorder:
        """Return a recorder that writes to a spool folder, and ships it from a thread beside the work.

        Args:
            open_sink: connects; called in the thread, and again after an error.
            spool: the folder. Of all processes that share it, one ships.
            topology: see `Recorder`.
            name: what messages call the other side.

        Raises:
            StoreError: the folder cannot be made.
        """
        return cls._spooling(spool, topology, open_sink, name)

    @classmethod
    def to_elasticsearch(
        cls,
        url: str,
        spool: Path | str,
        *,
        topology: Topology | None = None,
        prefix: str = "funnelgate",
        api_key: str | None = None,
        api_key_file: Path | None = None,
        ca_certs: Path | None = None,
        ca_fingerprint: str | None = None,
    ) -> Recorder:
        """Return a recorder that writes to a spool folder, and ships it to Elasticsearch from a thread.

        A task never waits for the network: a cluster that is down makes the spool grow, nothing else. The indices
        must have been set up once (`funnelgate records setup`).

        Args:
            url: `https://host:9200`.
            spool: the folder; the same one again takes up what a killed process left.
            topology: see `Recorder`.
            prefix: begins the name of every index.
            api_key: the encoded key; without it and a file, FUNNELGATE_ELASTIC__API_KEY of the environment is used.
            api_key_file: a file that holds the key and nothing else.
            ca_certs: PEM file of the authority that signed the server's certificate.
            ca_fingerprint: SHA-256 of that authority's certificate, in hexadecimal.

        Raises:
            ConfigError: an argument cannot be used as it is. Whether the cluster takes them shows in the log later.
            StoreError: the folder cannot be made.
        """
        from reporting.elastic.client import connect
        from reporting.elastic.opening import open_sink
        from reporting.settings import ElasticSettings

        key = api_key if api_key is not None or api_key_file is not None else os.environ.get(API_KEY_VARIABLE)
        try:
            settings = ElasticSettings(
                url=url,
                prefix=prefix,
                api_key=None if key is None else SecretStr(key),
                api_key_file=api_key_file,
                ca_certs=ca_certs,
                ca_fingerprint=ca_fingerprint,
            )
        except ValidationError as error:
            faults = "; ".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors(include_input=False))
            raise ConfigError(f"Recorder.to_elasticsearch: {faults}") from None
        connect(settings).close()  # sends nothing: says at once what no cluster could take
        return cls._spooling(spool, topology, lambda: open_sink(settings), url)

    @classmethod
    def _spooling(
        cls, folder: Path | str, topology: Topology | None, open_sink: Callable[[], Sink] | None, name: str
    ) -> Recorder:
        from reporting.spool import Spool
        from reporting.spool_store import SpoolShipping, SpoolStore

        spool = Spool(folder)
        recorder = cls(SpoolStore(spool), topology, later_counts=True)
        recorder._spooled = SpoolShipping(spool, open_sink, name)
        return recorder

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, flush_seconds: float = FLUSH_SECONDS) -> None:
        """Ship what still waits, for at most about `flush_seconds`, and log what stays in the spool.

        Called when the process ends, too. A store that was handed in is left as it is.
        """
        if self._spooled is not None:
            self._spooled.close(flush_seconds)

    @contextmanager
    def task(self, key: RunKey, *, attempt: int | None = None) -> Iterator[Booking]:
        """Yield the books of one attempt and emit their record, whatever happens inside.

        Args:
            key: what is worked on.
            attempt: counted by whoever repeats the work, from 1; the greatest one counts. None is 1. The same attempt
                with other numbers is a conflict, which a store refuses and a shipper puts aside. A pipeline that does
                not count its attempts and records to a spool may leave it out: then the emit is numbered by the
                clock's seconds, so that the run that ended later counts (two hosts' clocks should agree, and runs of
                one key that end within a second conflict). Once attempts are counted for a key, keep counting.

        Raises:
            ConfigError: the topology does not know the task.
            RecordError: the books do not close; a failed record is emitted first.
            StoreError: the record cannot be kept.
            BaseException: whatever the block raised, after its failed record was emitted.
        """
        rules = None if self._topology is None else self._topology.task(key.task)
        books = Booking(key, started_at=self._clock(), rules=rules, attempt=1 if attempt is None else attempt)
        by_clock = self._later_counts and attempt is None
        with run_key(key):
            try:
                yield books
                record = self._closed(books, by_clock)
            except BaseException as error:
                self._put(self._closed(books, by_clock, error))
                raise
            self._put(record)

    def _closed(self, books: Booking, by_clock: bool, error: BaseException | None = None) -> TaskRecord:
        finished_at = max(
            self._clock(), books.started_at
        )  # a clock that was put back meanwhile must not cost the record
        emit = int(finished_at.timestamp()) if by_clock else 0
        return books.close(finished_at=finished_at, error=error, emit=emit)

    def _put(self, record: TaskRecord) -> None:
        with self._store.begin() as work:
            work.put_record(record)

    def booked(self, **parts: str | Date) -> Callable[[Callable[Concatenate[Booking, P], R]], Callable[P, R]]:
        """Decorate a function that keeps books: its first parameter; callers leave it out.

        Each part of the key is either given here, or taken from the call's argument of the same name; category and
        subinstance are `all` where there is neither (or None). An argument `attempt` is the attempt. The record is
        emitted when the function ends, also when it raises.

        Args:
            **parts: of the key: task, date, category, subinstance, planid.

        Raises:
            UsageError: when decorating: an unknown part, no way to know the task, date or planid, or a function
                that does not do its work when called (a coroutine or generator). When called: a bad key.

        Example:
            >>> from reporting.stores.memory import MemoryStore
            >>> recorder = Recorder(MemoryStore())
            >>> @recorder.booked(task="filter", planid="p1")
            ... def keep_even(books, numbers, *, date):
            ...     even = [n for n in numbers if n % 2 == 0]
            ...     books.take(len(numbers)); books.keep(len(even)); books.drop("odd", len(numbers) - len(even))
            ...     return even
            >>> keep_even([1, 2, 3], date="2026-11-01")
            [2]
        """

        def decorate(function: Callable[Concatenate[Booking, P], R]) -> Callable[P, R]:
            signature, from_call = _checked(function, parts)

            @functools.wraps(function)
            def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
                bound = signature.bind(*args, **kwargs)
                bound.apply_defaults()
                found = {name: bound.arguments[name] for name in from_call}
                attempt = found.pop("attempt", None)
                with self.task(_key(function, {**found, **parts}), attempt=attempt) as books:
                    return function(books, *args, **kwargs)

            wrapper.__signature__ = signature  # type: ignore[attr-defined]
            return wrapper

        return decorate


def _checked(function: Callable[..., Any], parts: Mapping[str, object]) -> tuple[inspect.Signature, list[str]]:
    """Return a booked function's signature as callers see it, and which parts of its key are in its calls."""
    where = f"booked function {function.__qualname__!r}"
    unknown = sorted(set(parts) - set(KEY_PARTS))
    if unknown:
        raise UsageError(f"{where}: unknown key part {unknown[0]!r}; {nearest(unknown[0], KEY_PARTS)}")
    lazy = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(is_lazy(function) for is_lazy in lazy):
        raise UsageError(f"{where} returns before its work is done; use `with recorder.task(key) as books:` inside it")
    _, *parameters = (signature := inspect.signature(function)).parameters.values()
    names = {parameter.name for parameter in parameters}
    for part in ("task", "date", "planid"):
        if part not in names and part not in parts:
            raise UsageError(f"{where}: nothing tells its {part}; give booked({part}=...), or it a parameter {part!r}")
    from_call = [name for name in (*KEY_PARTS, "attempt") if name in names and name not in parts]
    return signature.replace(parameters=parameters), from_call


def _key(function: Callable[..., Any], parts: Mapping[str, object]) -> RunKey:
    try:
        return RunKey.model_validate({name: value for name, value in parts.items() if value is not None})
    except ValidationError as error:
        faults = "; ".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors())
        raise UsageError(f"call of booked function {function.__qualname__!r}: {faults}") from None

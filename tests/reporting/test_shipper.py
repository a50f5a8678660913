"""The shipper's loop over an outbox and a sink in memory: what it waits for, when it ends, what it says."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import pytest

from reporting import shipper as module
from reporting.errors import ConfigError, StoreError
from reporting.outbox import Entry, Fate, OutboxStatus, Outcome
from reporting.outbox_sql import SqlOutbox
from reporting.shipper import Did, Shipper, ShipperThread, Step, backoff_seconds
from reporting.stores import open_store
from reporting.stores.sql import SqlStore
from reporting.testing import make_record

DEADLINE = 60.0


class MemoryOutbox:
    """An outbox in memory; `errors` are raised by the next calls of `peek`."""

    def __init__(self, number: int = 0) -> None:
        self.waiting = [Entry(n, "record", f"d{n}", 1, "{}", "") for n in range(number)]
        self.aside: list[Outcome] = []
        self.owner: str | None = None
        self.errors: list[Exception] = []
        self.leads = 0

    def peek(self, limit: int, max_bytes: int) -> list[Entry]:
        if self.errors:
            raise self.errors.pop(0)
        return self.waiting[:limit]

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        gone = {o.entry.seq for o in outcomes if o.fate not in (Fate.RETRY, Fate.BLOCKED)}
        self.aside += [o for o in outcomes if o.fate in (Fate.POISON, Fate.CONFLICT)]
        self.waiting = [entry for entry in self.waiting if entry.seq not in gone]

    def status(self) -> OutboxStatus:
        return OutboxStatus(pending=len(self.waiting), oldest_seconds=None, quarantined=0, shipped=0, bytes=0)

    def lead(self, owner: str, seconds: float) -> bool:
        self.leads += 1
        if self.owner in (None, owner):
            self.owner = owner
            return True
        return False

    def resign(self, owner: str) -> None:
        if self.owner == owner:
            self.owner = None

    def dead(self) -> list[Outcome]:
        return self.aside

    def revive(self) -> int:
        raise NotImplementedError


Judge = Callable[[Entry], Fate]


class Destination:
    """A sink in memory: `judge` says what becomes of an entry; `errors` are raised by the next deliveries."""

    def __init__(self, judge: Judge = lambda entry: Fate.DELIVERED) -> None:
        self.judge = judge
        self.errors: list[Exception] = []
        self.batches: list[list[str]] = []
        self.opened = 0
        self.delivered = threading.Event()

    def open(self) -> Destination:
        self.opened += 1
        return self

    def deliver(self, entries: Sequence[Entry]) -> list[Outcome]:
        self.batches.append([entry.document_id for entry in entries])
        self.delivered.set()
        if self.errors:
            raise self.errors.pop(0)
        return [Outcome(entry, self.judge(entry), f"error of {entry.document_id}") for entry in entries]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would be waited for between two failures, which is not."""
    seen: list[float] = []
    real = backoff_seconds

    def none(failures: int) -> float:
        seen.append(real(failures))
        return 0.0

    monkeypatch.setattr(module, "backoff_seconds", none)
    return seen


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def test_the_wait_doubles_up_to_a_cap_and_is_never_the_same_for_all():
    for failures in (*range(1, 30), 10_000):
        cap = min(module.MAX_BACKOFF_SECONDS, module.FIRST_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 99))
        drawn = [backoff_seconds(failures) for _ in range(300)]
        assert 0.1 * cap <= min(drawn) < 0.3 * cap  # full jitter: from almost nothing ...
        assert 0.8 * cap < max(drawn) <= cap  # ... to the cap; each bound is missed once in 10^13 runs


def test_everything_is_shipped_in_batches_and_then_it_is_idle():
    outbox, sink = MemoryOutbox(25), Destination()
    shipper = Shipper(outbox, sink.open, batch=10)
    assert shipper.drain().did is Did.IDLE
    assert [len(batch) for batch in sink.batches] == [10, 10, 5]
    assert outbox.waiting == []
    assert shipper.report().delivered == 25
    assert sink.opened == 1


def test_nothing_that_waits_opens_no_connection():
    sink = Destination()
    assert Shipper(MemoryOutbox(), sink.open).drain().did is Did.IDLE
    assert sink.opened == 0


def test_a_step_tells_how_many_left_and_the_report_adds_up(log):
    fates = [Fate.DELIVERED, Fate.STALE, Fate.POISON, Fate.CONFLICT, Fate.RETRY, Fate.BLOCKED]
    outbox, sink = MemoryOutbox(6), Destination(lambda entry: fates[entry.seq])
    shipper = Shipper(outbox, sink.open)
    assert shipper.step() == Step(Did.BLOCKED, "error of d5", 4)
    assert shipper.report().model_dump() == {"delivered": 1, "stale": 1, "poison": 1, "conflicts": 1, "retries": 2}
    assert [entry.seq for entry in outbox.waiting] == [4, 5]
    assert sum("put aside" in line for line in log.messages) == 2
    fates[5] = Fate.DELIVERED
    assert shipper.step() == Step(Did.RETRY, "error of d4", 1)


def test_a_drain_goes_through_an_outage_with_longer_and_longer_waits_and_connects_again(waits):
    outbox, sink = MemoryOutbox(5), Destination()
    sink.errors = [StoreError(f"away {n}") for n in range(9)]
    steps: list[Step] = []
    shipper = Shipper(outbox, sink.open)
    assert shipper.drain(on_step=steps.append).did is Did.IDLE
    assert [step.did for step in steps] == [Did.RETRY] * 9 + [Did.SHIPPED, Did.IDLE]
    assert sink.opened == 10
    assert len(waits) == 9
    assert max(waits[:2]) < max(waits[6:])
    assert shipper.report().retries == 45


def test_a_busy_cluster_that_takes_a_part_of_each_batch_is_not_left_alone_for_longer_and_longer(waits, monkeypatch):
    counted: list[int] = []
    real = module._failures_after

    def count(step: Step, failures: int) -> int:
        counted.append(real(step, failures))
        return counted[-1]

    monkeypatch.setattr(module, "_failures_after", count)
    outbox = MemoryOutbox(40)
    sink = Destination(lambda entry: Fate.DELIVERED if entry.seq == outbox.waiting[0].seq else Fate.RETRY)
    assert Shipper(outbox, sink.open).drain().did is Did.IDLE
    assert counted == [1] * 39 + [0]


@pytest.mark.parametrize(
    ("sink", "expected"),
    [
        (Destination(lambda entry: Fate.BLOCKED), Step(Did.BLOCKED, "error of d0")),
        (Destination(), Step(Did.FOLLOWS, "another shipper is at work")),
    ],
)
def test_a_drain_ends_where_only_somebody_else_can_go_on(sink, expected):
    outbox = MemoryOutbox(3)
    if expected.did is Did.FOLLOWS:
        outbox.owner = "another"
    assert Shipper(outbox, sink.open).drain() == expected
    assert len(outbox.waiting) == 3


def test_a_wrong_key_or_address_ends_a_drain_and_nothing_is_settled():
    outbox, sink = MemoryOutbox(3), Destination()
    sink.errors = [ConfigError("the API key was refused")]
    assert Shipper(outbox, sink.open).drain() == Step(Did.BLOCKED, "the API key was refused")

    def refuse() -> Destination:
        raise ConfigError("not set up")

    assert Shipper(outbox, refuse, owner=outbox.owner).drain() == Step(Did.BLOCKED, "not set up")
    assert len(outbox.waiting) == 3


def test_a_drain_ends_when_its_time_is_over(waits):
    outbox, sink = MemoryOutbox(3), Destination(lambda entry: Fate.RETRY)
    assert Shipper(outbox, sink.open).drain(seconds=0).did is Did.RETRY
    assert len(sink.batches) == 1
    assert Shipper(outbox, sink.open, owner=outbox.owner).drain(seconds=0.05).did is Did.RETRY


def test_a_drain_ends_when_it_is_told_to():
    outbox, sink = MemoryOutbox(30), Destination(lambda entry: Fate.RETRY)
    stop = threading.Event()
    seen: list[Step] = []

    def note(step: Step) -> None:
        seen.append(step)
        if len(seen) == 2:
            stop.set()

    assert Shipper(outbox, sink.open).drain(stop=stop, on_step=note).did is Did.RETRY
    assert len(seen) == 2


def test_an_error_of_the_outbox_ends_a_drain_and_not_the_endless_run(waits, log):
    outbox, sink = MemoryOutbox(3), Destination()
    outbox.errors = [StoreError("the database is busy")] * 3
    shipper = Shipper(outbox, sink.open)
    with pytest.raises(StoreError):
        shipper.drain()
    stop = threading.Event()
    thread = threading.Thread(target=shipper.run, args=(stop,))
    thread.start()
    assert sink.delivered.wait(DEADLINE)
    stop.set()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert outbox.waiting == []
    assert len(waits) == 2


def test_the_log_has_one_line_for_each_new_error_and_one_when_it_goes_on(waits, log, monkeypatch):
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.0)
    outbox, sink = MemoryOutbox(3), Destination()
    sink.errors = [*([StoreError("first")] * 4), *([StoreError("second")] * 3)]
    stop = threading.Event()
    thread = threading.Thread(target=Shipper(outbox, sink.open).run, args=(stop,))
    thread.start()
    poll(lambda: any("goes on" in line for line in log.messages))
    sink.errors = [StoreError("first")]
    outbox.waiting = MemoryOutbox(2).waiting
    poll(lambda: sum("goes on" in line for line in log.messages) == 2)
    stop.set()
    thread.join(DEADLINE)
    said = [line for line in log.messages if "shipping" in line]
    assert said == [
        "shipping waits: first",
        "shipping waits: second",
        "shipping goes on",
        "shipping waits: first",
        "shipping goes on",
    ]


def poll(true: Callable[[], bool]) -> None:
    for _ in range(int(DEADLINE / 0.01)):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come")


def test_who_follows_leads_as_soon_as_the_other_resigns(monkeypatch):
    outbox, sink = MemoryOutbox(1), Destination()
    first, second = Shipper(outbox, sink.open), Shipper(outbox, sink.open)
    assert first.owner != second.owner
    assert first.step().did is Did.SHIPPED
    assert second.step().did is Did.FOLLOWS
    second.resign()
    assert second.step().did is Did.FOLLOWS
    first.resign()
    assert second.step().did is Did.IDLE


def test_a_thread_ships_beside_other_work_and_flushes_at_its_end(waits):
    outbox, sink = MemoryOutbox(3), Destination()
    thread = ShipperThread(outbox, sink.open)
    thread.start()
    assert sink.delivered.wait(DEADLINE)
    poll(lambda: not outbox.waiting)
    outbox.waiting = MemoryOutbox(5).waiting
    assert thread.stop(flush_seconds=DEADLINE).did is Did.IDLE
    assert outbox.waiting == []
    assert outbox.owner is None


def test_a_thread_that_is_not_to_flush_leaves_what_waits_to_the_next(waits):
    outbox, sink = MemoryOutbox(0), Destination()
    thread = ShipperThread(outbox, sink.open)
    thread.start()
    poll(lambda: outbox.leads > 0)
    sink.judge = lambda entry: Fate.RETRY
    outbox.waiting = MemoryOutbox(5).waiting
    assert thread.stop().did is Did.IDLE
    assert len(outbox.waiting) == 5
    assert outbox.owner is None


@pytest.mark.parametrize("flush_seconds", [0.0, 0.2])
def test_the_end_of_a_thread_does_not_wait_for_a_cluster_that_hangs(flush_seconds):
    hanging, outbox = threading.Event(), MemoryOutbox(3)

    class Hangs(Destination):
        def deliver(self, entries):
            self.delivered.set()
            hanging.wait(600)
            return super().deliver(entries)

    sink = Hangs()
    thread = ShipperThread(outbox, sink.open)
    thread.start()
    assert sink.delivered.wait(DEADLINE)
    step = thread.stop(flush_seconds, grace_seconds=0.1)
    assert step.did is Did.RETRY
    assert "does not answer" in step.error
    assert thread._thread.is_alive()  # it returned before the request did
    assert len(outbox.waiting) == 3
    assert outbox.owner is not None  # so that no other one begins before this lease is over
    hanging.set()
    thread._thread.join(DEADLINE)
    assert outbox.waiting == []


def test_the_end_of_a_thread_does_not_wait_for_its_back_off(monkeypatch):
    monkeypatch.setattr(module, "backoff_seconds", lambda failures: 3600.0)
    outbox, sink = MemoryOutbox(3), Destination(lambda entry: Fate.RETRY)
    thread = ShipperThread(outbox, sink.open)
    thread.start()
    assert sink.delivered.wait(DEADLINE)
    assert thread.stop(0.1, grace_seconds=DEADLINE).did is Did.RETRY
    assert not thread._thread.is_alive()


def test_the_thread_says_what_ended_it_and_takes_nothing_down(log):
    outbox, sink = MemoryOutbox(3), Destination()
    sink.errors = [ZeroDivisionError("a bug")]
    thread = ShipperThread(outbox, sink.open)
    thread.start()
    poll(lambda: any("the shipper thread ended" in line for line in log.messages))
    step = thread.stop(1.0)
    assert step.did is Did.RETRY
    assert "log" in step.error
    assert len(outbox.waiting) == 3


class Killed(BaseException):
    """What a SIGKILL is to a test in one process."""


def test_a_crash_between_delivery_and_settlement_repeats_and_loses_nothing(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        assert isinstance(store, SqlStore)
        with store.begin() as work:
            for number in range(5):
                work.put_record(make_record(subinstance=f"{number}"))

        class Dies(SqlOutbox):
            def settle(self, outcomes):
                raise Killed

        sink = Destination()
        with pytest.raises(Killed):
            Shipper(Dies(store), sink.open, owner="me").step()
        outbox = SqlOutbox(store)
        assert outbox.status().pending == 5
        assert Shipper(outbox, sink.open, owner="me").drain().did is Did.IDLE
        assert sink.batches[0] == sink.batches[1]
        assert outbox.status().shipped == 5

"""Admission by itself: places, the time limit, and that a place is held as long as its thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from pipeline.serve.admission import Admission
from pipeline.serve.refusal import Refusal

LONG = 60.0


def held(gate: threading.Event) -> Callable[[], bool]:
    """Return work that lasts until the gate opens, or for as long as a test that failed may be waited for."""
    return lambda: gate.wait(20)


def test_what_work_returns_and_raises_comes_back():
    def fail() -> int:
        raise KeyError("mine")

    async def ask(admission: Admission) -> None:
        async with admission.admit() as place:
            assert await place.run(lambda: 7) == 7
        with pytest.raises(KeyError):
            async with admission.admit() as place:
                await place.run(fail)
        assert admission.taken == 0

    run(ask)


def test_work_is_never_done_in_the_event_loop():
    async def ask(admission: Admission) -> None:
        async with admission.admit() as place:
            assert await place.run(threading.get_ident) != threading.get_ident()

    run(ask)


def test_one_request_too_many_is_refused_with_when_to_come_back_and_the_others_are_answered():
    gate = threading.Event()

    async def ask(admission: Admission) -> None:
        waiting = [asyncio.create_task(_through(admission, held(gate))) for _ in range(3)]
        await _until(lambda: admission.taken == 3)
        with pytest.raises(Refusal) as refused:
            admission.admit()
        gate.set()
        assert await asyncio.gather(*waiting) == [True] * 3
        assert (refused.value.status, int(refused.value.headers["Retry-After"])) == (429, 1)
        assert await _through(admission, lambda: 1) == 1

    run(ask, threads=1, queue=2)


def test_no_more_than_the_threads_work_at_one_time():
    most, now, lock = 0, 0, threading.Lock()
    all_in = threading.Barrier(2)

    def work() -> None:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        all_in.wait(timeout=20)
        with lock:
            now -= 1

    async def ask(admission: Admission) -> None:
        await asyncio.gather(*(_through(admission, work) for _ in range(8)))

    run(ask, threads=2, queue=8)
    assert most == 2


def test_a_request_cut_off_while_it_waits_is_never_worked_on():
    gate, done, cut = threading.Event(), _nothing(), _nothing()

    async def ask(admission: Admission) -> None:
        first = asyncio.create_task(_through(admission, held(gate)))
        await _until(lambda: admission.running == 1)
        admission.time_limit_seconds = 0.01
        with pytest.raises(Refusal) as refused:
            await _through(admission, lambda: done.append(1))
        assert refused.value.status == 504
        await _until(lambda: admission.taken == 1)
        gate.set()
        await first

    run(ask, cut=cut)
    assert (done, cut) == ([], ["waiting"])


def test_a_request_cut_off_while_it_runs_holds_its_place_until_its_thread_is_free():
    gate, cut = threading.Event(), _nothing()

    async def ask(admission: Admission) -> None:
        with pytest.raises(Refusal):
            await _through(admission, held(gate))
        assert (admission.taken, admission.running) == (1, 1)
        with pytest.raises(Refusal) as refused:
            admission.admit()
        assert refused.value.status == 429
        gate.set()
        await _until(lambda: admission.taken == 0)

    run(ask, queue=0, limit=0.05, cut=cut)
    assert cut == ["running"]


def test_a_client_that_hangs_up_frees_the_queue_of_its_request():
    gate, done, cut = threading.Event(), _nothing(), _nothing()

    async def ask(admission: Admission) -> None:
        first = asyncio.create_task(_through(admission, held(gate)))
        await _until(lambda: admission.running == 1)
        hung_up = asyncio.Event()
        second = asyncio.create_task(_through(admission, lambda: done.append(1), hung_up.wait()))
        await _until(lambda: admission.taken == 2)
        hung_up.set()
        with pytest.raises(Refusal) as refused:
            await second
        assert (refused.value.status, refused.value.error) == (499, "client_gone")
        await _until(lambda: admission.taken == 1)
        gate.set()
        await first

    run(ask, cut=cut)
    assert (done, cut) == ([], ["client_gone"])


def test_a_server_that_stops_leaves_what_waits_undone():
    gate, done = threading.Event(), _nothing()

    async def ask(admission: Admission) -> None:
        first = asyncio.create_task(_through(admission, held(gate)))
        await _until(lambda: admission.running == 1)
        second = asyncio.create_task(_through(admission, lambda: done.append(1)))
        await _until(lambda: admission.taken == 2)
        admission.close()
        gate.set()
        await first
        with pytest.raises(asyncio.CancelledError):
            await second

    run(ask)
    assert done == []


def _nothing() -> list[Any]:
    return []


async def _through(admission: Admission, work: Callable[[], Any], gone: Awaitable[object] | None = None) -> Any:
    async with admission.admit() as place:
        return await place.run(work, gone)


async def _until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0)


def run(
    ask: Callable[[Admission], Awaitable[None]],
    *,
    threads: int = 1,
    queue: int = 4,
    limit: float = LONG,
    cut: list[Any] | None = None,
) -> None:
    async def inside() -> None:
        async with AsyncExitStack() as stack:
            admission = Admission(threads, queue, limit, cut_off=([] if cut is None else cut).append)
            stack.callback(admission.close)
            await ask(admission)

    asyncio.run(inside())

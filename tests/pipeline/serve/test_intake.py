"""Bodies on their way in, by themselves: their number, their bytes, and the time that they have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from pipeline.serve.admission import Admission
from pipeline.serve.intake import ClientGone, Intake
from pipeline.serve.refusal import Refusal

MINUTE = 60.0


async def _arriving(*parts: bytes, gone: bool = False, ever: bool = False) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if gone:
        raise ClientGone
    if ever:
        await asyncio.Event().wait()


def run(ask: Callable[[Intake], Awaitable[None]], most: int = 3, max_bytes: int = 10) -> list[str]:
    """Return where requests were cut off; nothing is held afterwards."""
    cut: list[str] = []

    async def inside() -> None:
        admission = Admission(1, 0, MINUTE, bodies=most, body_bytes=max_bytes, cut_off=cut.append)
        await ask(admission.intake)
        admission.close()
        assert (admission.intake.taken, admission.intake.held_bytes) == (0, 0)

    asyncio.run(inside())
    return cut


def test_one_body_too_many_is_refused_and_let_in_when_another_ended():
    async def ask(intake: Intake) -> None:
        with intake.open(MINUTE), intake.open(MINUTE), intake.open(MINUTE), pytest.raises(Refusal) as refused:
            intake.open(MINUTE)
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "1")
        with intake.open(MINUTE) as body:
            assert await body.read(_arriving(b"12", b"3"), None, 10) == b"123"

    assert run(ask) == []


def test_the_bytes_of_all_bodies_together_are_bounded_until_their_requests_end():
    async def ask(intake: Intake) -> None:
        with intake.open(MINUTE) as first:
            await first.read(_arriving(b"123456"), None, 10)
            with intake.open(MINUTE) as second, pytest.raises(Refusal) as refused:
                await second.read(_arriving(b"1234", b"5"), None, 10)
            assert (refused.value.status, refused.value.error) == (429, "bodies_full")
        with intake.open(MINUTE) as third:
            assert await third.read(_arriving(b"1234567890"), None, 10) == b"1234567890"

    assert run(ask) == []


def test_a_body_that_does_not_come_is_cut_off():
    async def ask(intake: Intake) -> None:
        with intake.open(0.01) as body, pytest.raises(Refusal) as refused:
            await body.read(_arriving(b"1", ever=True), None, 10)
        assert refused.value.status == 504

    assert run(ask) == ["reading"]


def test_a_client_that_hangs_up_is_told_apart_from_one_that_is_slow():
    async def ask(intake: Intake) -> None:
        with intake.open(MINUTE) as body, pytest.raises(Refusal) as refused:
            await body.read(_arriving(b"1", gone=True), None, 10)
        assert (refused.value.status, refused.value.error) == (499, "client_gone")

    assert run(ask) == ["client_gone"]

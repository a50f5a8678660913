"""What is remembered about hosts stays bounded, and one picture's end is not another's."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.fetch import resolve
from pipeline.fetch.resolve import CachingResolver
from pipeline.fetch.turns import HostTurns


@given(st.lists(st.sampled_from("abc"), max_size=20), st.integers(1, 3))
def test_turns_never_exceed_the_limit_and_no_host_is_remembered_after_its_last(hosts, limit):
    async def scenario():
        turns = HostTurns(limit)
        inside = dict.fromkeys("abc", 0)

        async def visit(host):
            async with turns.turn(host) as leave:
                inside[host] += 1
                try:
                    assert inside[host] <= limit
                    await asyncio.sleep(0)
                finally:
                    inside[host] -= 1
                    leave()

        visits = [asyncio.create_task(visit(host)) for host in hosts]
        await asyncio.sleep(0)
        for cancelled in visits[::3]:
            cancelled.cancel()
        outcomes = await asyncio.gather(*visits, return_exceptions=True)
        assert not [found for found in outcomes if isinstance(found, AssertionError)]
        assert len(turns) == 0

    asyncio.run(scenario())


def test_the_least_recently_asked_names_are_forgotten(monkeypatch):
    monkeypatch.setattr(resolve, "CACHED_HOSTS", 2)
    lookups = []

    async def note(host, port):
        lookups.append(host)
        return ["1.1.1.1"]

    async def scenario():
        names = CachingResolver(note, seconds=60)
        for host in "abacab":
            await names.addresses(host, 80)
        await names.aclose()

    asyncio.run(scenario())
    assert lookups == ["a", "b", "c", "b"]


def test_a_picture_that_gives_up_does_not_cancel_the_lookup_that_others_wait_for():
    async def scenario():
        answer = asyncio.Event()

        async def slow(host, port):
            await answer.wait()
            return ["1.1.1.1"]

        names = CachingResolver(slow, seconds=60)
        impatient, patient = (asyncio.create_task(names.addresses("a", 80)) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        answer.set()
        assert await patient == ["1.1.1.1"]
        await names.aclose()

    asyncio.run(scenario())

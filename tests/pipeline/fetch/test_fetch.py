"""Downloads over HTTP: what each kind of server brings, and that limits hold."""

from __future__ import annotations

import asyncio
import errno
import gzip
import socket
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fetch.fetch import LOOKAHEAD, FetchRequest, Surroundings, fetch_all
from reporting.errors import StoreError
from tests.pipeline.fetch.loopback import (
    FailingSockets,
    Naps,
    accept,
    bodied,
    bring,
    policy,
    said,
    serve,
    silence,
)


def ask(route, *, inspect=accept, around=None, **changes):
    """Fetch one picture from a server with one route; return the result and the server."""

    async def scenario():
        async with serve({"/a": route}) as server:
            results = await bring([server.url("/a")], policy(**changes), inspect=inspect, around=around)
        return results[server.url("/a")], server

    return asyncio.run(scenario())


def test_a_body_arrives_byte_for_byte_at_the_first_attempt():
    content = bytes(range(256)) * 4000
    result, _ = ask(bodied(content))
    assert (result.ok, result.reason, result.attempts) == (content, None, 1)


@pytest.mark.parametrize(
    ("status", "reason", "attempts"),
    [
        (400, "dead_link", 1),
        (401, "no_permission", 1),
        (403, "no_permission", 1),
        (404, "dead_link", 1),
        (408, "timeout", 3),
        (410, "dead_link", 1),
        (429, "server_error", 3),
        (500, "server_error", 3),
        (503, "server_error", 3),
        (304, "dead_link", 1),
    ],
)
def test_each_status_has_its_reason_and_only_passing_ones_are_asked_again(status, reason, attempts):
    result, server = ask(said(status), retries=2)
    assert (result.reason, result.attempts, len(server.asked)) == (reason, attempts, attempts)
    assert str(status) in result.detail


def test_an_empty_body_is_not_an_image_and_inspection_decides_on_the_rest():
    assert ask(bodied(b""))[0].reason == "not_an_image"
    assert ask(bodied(b"<html>"), inspect=lambda data: "not_an_image")[0].reason == "not_an_image"
    assert ask(bodied(b"II*"), inspect=lambda data: "too_many_pixels")[0].reason == "too_many_pixels"


def test_a_server_that_never_answers_times_out():
    result, _ = ask(silence, timeout_seconds=0.05)
    assert (result.reason, result.ok) == ("timeout", None)


def test_a_body_that_stalls_times_out():
    async def stall(exchange):
        await exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789")
        await silence(exchange)

    assert ask(stall, timeout_seconds=0.05)[0].reason == "timeout"


def test_a_body_that_drips_for_ever_times_out_though_no_single_read_waits_long():
    async def drip(exchange):
        await exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            await exchange.send(b"x")
            await asyncio.sleep(0)

    assert ask(drip, timeout_seconds=0.1, max_bytes=2_000_000_000)[0].reason == "timeout"


def test_an_announced_size_over_the_limit_is_refused_without_reading_the_body():
    async def announce(exchange):
        await exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n")
        await silence(exchange)

    assert ask(announce, max_bytes=100)[0].reason == "too_large"


def test_a_body_at_the_limit_passes():
    assert ask(bodied(b"x" * 100), max_bytes=100)[0].ok == b"x" * 100


def test_an_endless_body_is_cut_at_the_limit():
    async def flood(exchange):
        await exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await exchange.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")

    assert ask(flood, max_bytes=100_000)[0].reason == "too_large"


def test_more_bytes_than_announced_are_never_taken():
    async def overrun(exchange):
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + b"x" * 1000)
        exchange.writer.close()

    assert ask(overrun)[0].ok == b"x" * 10


def test_fewer_bytes_than_announced_are_asked_for_again():
    async def underrun(exchange):
        if exchange.number:
            await exchange.answer(200, b"whole")
        else:
            await exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            exchange.writer.close()

    result, _ = ask(underrun)
    assert (result.ok, result.attempts) == (b"whole", 2)


def test_a_connection_reset_in_the_body_is_asked_again_and_then_a_server_error():
    async def torn(exchange):
        await exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        exchange.reset()

    result, server = ask(torn, retries=2)
    assert (result.reason, result.attempts, len(server.asked)) == ("server_error", 3, 3)


def test_a_compression_bomb_is_not_unpacked_and_compression_was_declined():
    bomb = gzip.compress(bytes(50_000_000))

    async def explode(exchange):
        await exchange.answer(200, bomb, Content_Encoding="gzip")

    result, server = ask(explode, max_bytes=100_000)
    assert result.ok == bomb
    assert server.asked[0].headers["accept-encoding"] == "identity"


def test_retry_after_is_honoured_over_the_back_off():
    async def recover(exchange):
        if exchange.number:
            await exchange.answer(200, b"x")
        else:
            await exchange.answer(503, Retry_After="7")

    naps = Naps()
    result, _ = ask(recover, around=Surroundings(sleep=naps, uniform=lambda low, high: high))
    assert (result.ok, result.attempts, naps.seconds) == (b"x", 2, [7.0])


def test_a_retry_after_date_counts_from_the_given_clock():
    async def recover(exchange):
        date = {} if exchange.number else {"Retry_After": "Thu, 01 Jan 2026 12:00:09 GMT"}
        await exchange.answer(200 if exchange.number else 429, b"x", **date)

    naps = Naps()
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    ask(recover, around=Surroundings(sleep=naps, now=lambda: noon, uniform=lambda low, high: low))
    assert naps.seconds == [9.0]


def test_a_wait_beyond_the_deadline_is_not_begun():
    naps = Naps()
    result, server = ask(said(503, Retry_After="3600"), around=Surroundings(sleep=naps), timeout_seconds=30)
    assert (result.reason, len(server.asked), naps.seconds) == ("server_error", 1, [])


def test_back_off_doubles_between_attempts():
    naps = Naps()
    around = Surroundings(sleep=naps, uniform=lambda low, high: high)
    ask(said(500), around=around, retries=3, backoff_base_seconds=0.5)
    assert naps.seconds == [0.5, 1.0, 2.0]


def test_a_refused_connection_is_a_dead_link():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connecting is refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/a"
        result = asyncio.run(bring([url], policy()))[url]
    assert (result.reason, result.attempts) == ("dead_link", 1)


@pytest.mark.parametrize(
    ("number", "reason", "attempts"),
    [
        (errno.ECONNREFUSED, "dead_link", 1),
        (errno.ECONNRESET, "server_error", 3),
        (errno.ETIMEDOUT, "timeout", 3),
        (errno.EHOSTUNREACH, "dead_link", 3),
    ],
)
def test_each_way_a_connection_fails_has_its_reason(number, reason, attempts):
    around = Surroundings(sleep=Naps(), sockets=FailingSockets(number))
    result = asyncio.run(bring(["http://10.0.0.1/"], policy(retries=2), around=around))["http://10.0.0.1/"]
    assert (result.reason, result.attempts) == (reason, attempts)


def test_our_own_want_of_sockets_ends_the_download_and_blames_no_picture():
    around = Surroundings(sleep=Naps(), sockets=FailingSockets(errno.EMFILE))
    with pytest.raises(StoreError, match="ulimit"):
        asyncio.run(bring(["http://10.0.0.1/"], policy(), around=around))


def gathering(expected):
    """A route that answers only when `expected` requests are inside; notes the most ever inside."""
    inside: Counter[str] = Counter()
    peak: Counter[str] = Counter()
    full = asyncio.Condition()

    async def route(exchange):
        host = exchange.headers["host"]
        async with full:
            inside[host] += 1
            peak[host] = max(peak[host], inside[host])
            peak["all"] = max(peak["all"], sum(inside.values()))
            full.notify_all()
            await full.wait_for(lambda: sum(inside.values()) >= expected or exchange.path.endswith("last"))
        for _ in range(20):  # turns of the loop in which one request too many would show itself
            await asyncio.sleep(0)
        async with full:
            peak[host] = max(peak[host], inside[host])
        await exchange.answer(200, b"x")
        inside[host] -= 1

    return route, peak


def test_a_host_gets_as_many_requests_at_once_as_allowed_and_never_more():
    async def scenario():
        route, peak = gathering(3)
        async with serve({"/a": route}) as server:
            urls = [server.url(f"/a?{n}") for n in range(9)]
            results = await bring(urls, policy(per_host_connections=3, total_connections=20))
            assert all(result.ok for result in results.values())
            return peak[f"127.0.0.1:{server.port}"]

    assert asyncio.run(scenario()) == 3


def test_hosts_share_the_total():
    async def scenario():
        route, peak = gathering(4)
        async with serve({"/a": route}) as server:
            urls = [server.url(f"/a?{n}", f"127.0.0.{host}") for n in range(4) for host in (1, 2, 3)]

            async def resolve(host, port):
                return ["127.0.0.1"]

            around = Surroundings(sleep=Naps(), resolver=resolve)
            await bring(urls, policy(per_host_connections=2, total_connections=4), around=around)
            return peak["all"], max(count for host, count in peak.items() if host != "all")

    assert asyncio.run(scenario()) == (4, 2)


def test_a_receiver_that_stops_stops_the_downloads_and_the_reading_of_requests():
    taken = 0

    def endless(url):
        nonlocal taken
        while True:
            taken += 1
            yield FetchRequest(str(taken), url, "url")

    async def scenario():
        answered = asyncio.Semaphore(0)

        async def count(exchange):
            await exchange.answer(200, b"x")
            answered.release()

        async with serve({"/a": count}) as server:
            blocked = asyncio.Event()

            async def never(result):
                await blocked.wait()

            limits = policy(total_connections=3, per_host_connections=3)
            work = asyncio.create_task(fetch_all(endless(server.url("/a")), limits, on_result=never, inspect=accept))
            for _ in range(3):
                await answered.acquire()
            for _ in range(200):
                await asyncio.sleep(0)
            asked = len(server.asked)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            return asked

    assert asyncio.run(scenario()) == 3
    assert taken <= 3 * LOOKAHEAD + 1


def test_a_failing_receiver_ends_the_download_with_its_own_error():
    class FullError(Exception):
        pass

    async def scenario():
        async def refuse(result):
            raise FullError("no space left")

        async with serve({"/a": bodied(b"x"), "/b": silence}) as server:
            requests = [FetchRequest(path, server.url(path), "url") for path in ("/b", "/a")]
            await fetch_all(requests, policy(), on_result=refuse, inspect=accept)

    with pytest.raises(FullError, match="no space left"):
        asyncio.run(scenario())


def test_a_host_is_free_again_while_the_receiver_still_works_on_its_last_picture():
    async def scenario():
        second_asked = asyncio.Event()

        async def answer(exchange):
            if exchange.path.endswith("2"):
                second_asked.set()
            await exchange.answer(200, b"x")

        async def wait(result):
            await second_asked.wait()

        async with serve({"/a": answer}) as server:
            requests = [FetchRequest(n, server.url(f"/a?{n}"), "url") for n in "12"]
            limits = policy(per_host_connections=1, total_connections=2)
            await asyncio.wait_for(fetch_all(requests, limits, on_result=wait, inspect=accept), 10)

    asyncio.run(scenario())


def test_another_attempt_begins_at_the_start_of_the_redirects():
    async def scenario():
        async def sign(exchange):
            await exchange.answer(302, Location=f"/signed?{exchange.number}")

        async def expire(exchange):
            await exchange.answer(200 if exchange.path.endswith("1") else 503, b"x")

        async with serve({"/a": sign, "/signed": expire}) as server:
            result = (await bring([server.url("/a")], policy()))[server.url("/a")]
            assert (result.ok, result.attempts) == (b"x", 2)
            assert server.paths == ["/a", "/signed?0", "/a", "/signed?1"]

    asyncio.run(scenario())


ROUTES = {
    "/ok": (bodied(b"picture"), None),
    "/gone": (said(404), "dead_link"),
    "/broken": (said(500), "server_error"),
    "/login": (said(401), "no_permission"),
    "/large": (bodied(b"x" * 2000), "too_large"),
    "/moved": (said(302, Location="/ok"), None),
    "/circle": (said(302, Location="/circle"), "dead_link"),
}


@settings(max_examples=20, deadline=None)
@given(
    asked=st.lists(st.sampled_from(sorted(ROUTES)), max_size=40),
    per_host=st.integers(1, 4),
    total=st.integers(1, 6),
)
def test_every_request_gets_exactly_one_result_of_the_right_kind(asked, per_host, total):
    async def scenario():
        async with serve({path: route for path, (route, _) in ROUTES.items()}) as server:
            urls = [server.url(f"{path}?{n}") for n, path in enumerate(asked)]
            limits = policy(per_host_connections=per_host, total_connections=total, max_bytes=1000)
            results = await bring(urls, limits)
            return [results[url].reason for url in urls]

    assert asyncio.run(scenario()) == [ROUTES[path][1] for path in asked]

"""No URL, redirect, name or name server brings a download to an address inside."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import Any

import httpcore
import pytest

from pipeline.fetch.fetch import Surroundings
from tests.pipeline.fetch.loopback import (
    PUBLIC,
    Naps,
    RoutedSockets,
    bodied,
    bring,
    names,
    policy,
    said,
    serve,
)


def fetch_one(url, *, around=None, **changes):
    limits = policy(**{"allow_private": False, **changes})
    return asyncio.run(bring([url], limits, around=around))[url]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "127.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "10.1.2.3",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "user:password@127.0.0.1",
    ],
)
def test_inner_addresses_are_refused_however_they_are_written(host):
    assert fetch_one(f"http://{host}:9/").reason == "refused_address"


@pytest.mark.parametrize("url", ["ftp://a.example/x", "gopher://a.example", "data:,x", "unix:/run/x", "//a/b", "x"])
def test_other_schemes_are_refused(url):
    assert fetch_one(url).reason == "refused_address"


@pytest.mark.parametrize("url", ["http://", "http:///a", "http://[::1", "http://a:99999/", "http://0177.0.0.1/"])
def test_what_is_no_url_is_a_dead_link(url):
    assert fetch_one(url).reason == "dead_link"


def public(sockets, **known):
    return Surroundings(sleep=Naps(), sockets=sockets, resolver=names(**known))


def test_the_judged_address_is_dialled_and_the_host_header_keeps_the_name():
    async def scenario():
        sockets = RoutedSockets()
        async with serve({"/a": bodied(b"x")}) as server:
            url = server.url("/a", "shop.example")
            results = await bring([url], policy(allow_private=False), around=public(sockets, shop_example=[PUBLIC]))
            assert results[url].ok == b"x"
            assert server.asked[0].headers["host"] == f"shop.example:{server.port}"
        assert sockets.dialled == [PUBLIC]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:{port}/secret", "//inner.example:{port}/secret", "file:///etc/hostname"]
)
def test_a_redirect_inside_is_refused_though_the_start_was_public(target):
    async def scenario():
        sockets = RoutedSockets()

        async def lure(exchange):
            await exchange.answer(302, Location=target.format(port=server.port))

        async with serve({"/a": lure, "/secret": bodied(b"secret")}) as server:
            url = server.url("/a", "shop.example")
            around = public(sockets, shop_example=[PUBLIC], inner_example=["127.0.0.1"])
            results = await bring([url], policy(allow_private=False), around=around)
            assert results[url].reason == "refused_address"
            assert server.paths == ["/a"]
        assert sockets.dialled == [PUBLIC]

    asyncio.run(scenario())


def test_a_redirect_to_a_file_is_refused_even_under_an_allowed_root(tmp_path):
    (tmp_path / "a").write_bytes(b"ours")
    lure = said(302, Location=(tmp_path / "a").as_uri())

    async def scenario():
        async with serve({"/a": lure}) as server:
            limits = policy(allowed_file_roots=(tmp_path,))
            return (await bring([server.url("/a")], limits))[server.url("/a")]

    assert asyncio.run(scenario()).reason == "refused_address"


def test_redirects_are_followed_to_the_limit_and_a_circle_is_a_dead_link():
    async def scenario():
        async def step(exchange):
            await exchange.answer(301, Location=f"/step?{exchange.path.count('x') * 'x'}x")

        routes = {"/step": step, "/a": said(307, Location="b"), "/b": bodied(b"x")}
        async with serve(routes) as server:
            results = await bring([server.url("/step"), server.url("/a")], policy(max_redirects=4))
            assert results[server.url("/step")].reason == "dead_link"
            assert results[server.url("/a")].ok == b"x"
            assert sum(path.startswith("/step") for path in server.paths) == 5

    asyncio.run(scenario())


def test_a_name_server_that_changes_its_answer_is_judged_on_each_connection():
    async def scenario():
        answers = iter([[PUBLIC], ["127.0.0.1"]])
        sockets = RoutedSockets()

        async def rebind(host, port):
            return next(answers)

        async def close(exchange):
            await exchange.answer(503, Connection="close")
            exchange.writer.close()

        async with serve({"/a": close}) as server:
            url = server.url("/a", "shop.example")
            around = Surroundings(sleep=Naps(), sockets=sockets, resolver=rebind)
            limits = policy(allow_private=False, dns_cache_seconds=0)
            results = await bring([url], limits, around=around)
            assert (results[url].reason, results[url].attempts) == ("refused_address", 2)
        assert sockets.dialled == [PUBLIC]

    asyncio.run(scenario())


def test_of_mixed_addresses_only_the_public_ones_are_dialled():
    async def scenario():
        sockets = RoutedSockets()
        async with serve({"/a": bodied(b"x")}) as server:
            url = server.url("/a", "shop.example")
            around = public(sockets, shop_example=["127.0.0.1", PUBLIC, "10.0.0.1"])
            assert (await bring([url], policy(allow_private=False), around=around))[url].ok == b"x"
        assert sockets.dialled == [PUBLIC]

    asyncio.run(scenario())


def test_a_second_address_is_tried_when_the_first_does_not_answer():
    class FirstFails(RoutedSockets):
        async def connect_tcp(
            self, host: str, port: int, timeout: float | None = None, *args: Any, **options: Any
        ) -> httpcore.AsyncNetworkStream:
            assert timeout == 2.0  # half of what the policy allows: two addresses share it
            if not self.dialled:
                self.dialled.append(host)
                raise httpcore.ConnectTimeout
            return await super().connect_tcp(host, port, timeout, *args, **options)

    async def scenario():
        sockets = FirstFails()
        async with serve({"/a": bodied(b"x")}) as server:
            url = server.url("/a", "shop.example")
            around = public(sockets, shop_example=["1.1.1.1", PUBLIC])
            result = (await bring([url], policy(connect_timeout_seconds=4), around=around))[url]
        assert (result.ok, result.attempts) == (b"x", 1)
        assert sockets.dialled == ["1.1.1.1", PUBLIC]

    asyncio.run(scenario())


def test_tls_checks_the_name_though_the_address_is_dialled():
    asked_names = []

    class Stream(httpcore.AsyncNetworkStream):
        async def start_tls(
            self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
        ) -> httpcore.AsyncNetworkStream:
            asked_names.append((server_hostname, ssl_context.check_hostname))
            raise httpcore.ConnectError("enough seen")

    class Sockets(httpcore.AsyncNetworkBackend):
        async def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,
            local_address: str | None = None,
            socket_options: Iterable[Any] | None = None,
        ) -> httpcore.AsyncNetworkStream:
            assert host == PUBLIC
            return Stream()

    fetch_one("https://shop.example/a", around=public(Sockets(), shop_example=[PUBLIC]), retries=0)
    assert asked_names == [("shop.example", True)]


def test_an_unknown_name_is_a_dead_link_and_asked_for_once():
    lookups = []

    async def nothing(host, port):
        lookups.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    urls = [f"http://gone.example/{n}" for n in range(20)]
    results = asyncio.run(bring(urls, policy(), around=Surroundings(sleep=Naps(), resolver=nothing)))
    assert {(result.reason, result.attempts) for result in results.values()} == {("dead_link", 1)}
    assert lookups == ["gone.example"]


def test_a_name_server_that_does_not_answer_is_asked_again():
    answers = iter([socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), None])

    async def recover(host, port):
        error = next(answers)
        if error:
            raise error
        return ["127.0.0.1"]

    async def scenario():
        async with serve({"/a": bodied(b"x")}) as server:
            url = server.url("/a", "shop.example")
            around = Surroundings(sleep=Naps(), resolver=recover)
            result = (await bring([url], policy(), around=around))[url]
            assert (result.ok, result.attempts) == (b"x", 2)

    asyncio.run(scenario())


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"])
def test_a_host_that_is_no_name_is_a_dead_link(host):
    assert fetch_one(f"http://{host}/").reason == "dead_link"


def test_proxies_of_the_environment_credentials_and_cookies_are_not_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    async def scenario():
        async with serve({"/a": said(503, Set_Cookie="id=1")}) as server:
            url = server.url("/a", "name:word@127.0.0.1")
            await bring([url], policy(retries=1))
            assert len(server.asked) == 2
            for exchange in server.asked:
                assert not {"authorization", "cookie"} & set(exchange.headers)

    asyncio.run(scenario())

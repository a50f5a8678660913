"""A look at the beginning of a picture: cheap, within every rule of a download, and clear about what is gone."""

from __future__ import annotations

import asyncio
import socket

import pytest

from pipeline.fetch.fetch import FetchRequest, Surroundings, fetch_all
from tests.pipeline.fetch.loopback import Naps, RoutedSockets, accept, bodied, names, policy, said, serve, silence


async def look(location, limits, *, kind="url", around=None, inspect=accept, first_bytes=64):
    results = []

    async def keep(result):
        results.append(result)

    request = FetchRequest("i", str(location), kind, first_bytes=first_bytes)
    surroundings = around or Surroundings(sleep=Naps())
    await fetch_all([request], limits, on_result=keep, inspect=inspect, surroundings=surroundings)
    (result,) = results
    return result


def ask(route, **changes):
    """Look once at a server with one route; return the result and the server."""

    async def scenario():
        async with serve({"/a": route}) as server:
            return await look(server.url("/a"), policy(**changes)), server

    return asyncio.run(scenario())


def test_only_the_beginning_is_asked_for():
    result, server = ask(bodied(bytes(range(64))))
    assert server.asked[0].headers["range"] == "bytes=0-63"
    assert result.ok == bytes(range(64))


def test_a_server_that_sends_an_endless_body_all_the_same_is_left_with_the_beginning():
    async def flood(exchange):
        await exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await exchange.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")

    assert ask(flood)[0].ok == b"x" * 64


def test_a_picture_larger_than_a_download_may_be_still_shows_its_beginning():
    assert ask(bodied(b"x" * 1000), max_bytes=100)[0].ok == b"x" * 64


def test_a_download_of_the_whole_asks_for_no_range():
    async def scenario():
        async with serve({"/a": bodied(b"x" * 100)}) as server:
            result = await look(server.url("/a"), policy(), first_bytes=None)
            return result.ok, server.asked[0].headers

    body, headers = asyncio.run(scenario())
    assert (body, "range" in headers) == (b"x" * 100, False)


@pytest.mark.parametrize(
    ("status", "absence"),
    [(404, "gone"), (410, "gone"), *((status, None) for status in (400, 401, 403, 408, 416, 429, 500, 503))],
)
def test_only_not_found_and_gone_say_that_there_is_nothing(status, absence):
    result, _ = ask(said(status))
    assert (result.ok, result.absence) == (None, absence)


def test_an_empty_answer_or_none_says_nothing_about_absence():
    empty, silent = ask(bodied(b""))[0], ask(silence, timeout_seconds=0.05)[0]
    assert [(one.reason, one.absence) for one in (empty, silent)] == [("not_an_image", None), ("timeout", None)]


def test_passing_faults_are_tried_again_as_in_a_download():
    assert ask(said(503), retries=2)[0].attempts == 3


def test_a_refused_connection_and_an_unknown_name_are_unreachable():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connecting is refused
        refused = asyncio.run(look(f"http://127.0.0.1:{taken.getsockname()[1]}/a", policy()))
    around = Surroundings(sleep=Naps(), resolver=names())
    unknown = asyncio.run(look("http://no-such-shop.example/a", policy(), around=around))
    assert (refused.absence, unknown.absence) == ("unreachable", "unreachable")


def test_a_name_server_that_does_not_answer_says_nothing():
    async def busy(host, port):
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    result = asyncio.run(look("http://a.example/a", policy(), around=Surroundings(sleep=Naps(), resolver=busy)))
    assert (result.reason, result.absence) == ("dead_link", None)


def test_a_private_address_is_refused_and_never_dialled_also_after_a_redirect():
    async def scenario():
        sockets = RoutedSockets()
        around = Surroundings(sleep=Naps(), resolver=names(shop_example=["93.184.216.34"]), sockets=sockets)
        async with serve({"/a": said(302, Location="http://169.254.169.254/meta")}) as server:
            strict = policy(allow_private=False)
            inside = await look(server.url("/a"), strict, around=around)
            moved = await look(server.url("/a", "shop.example"), strict, around=around)
        return inside, moved, sockets.dialled

    inside, moved, dialled = asyncio.run(scenario())
    assert (inside.reason, moved.reason) == ("refused_address", "refused_address")
    assert (inside.absence, moved.absence, dialled) == (None, None, ["93.184.216.34"])


def test_of_a_file_only_the_beginning_is_read_and_one_that_is_missing_in_its_folder_is_gone(tmp_path):
    (tmp_path / "a.png").write_bytes(bytes(range(200)))
    there = asyncio.run(look(tmp_path / "a.png", policy(), kind="path"))
    gone = asyncio.run(look(tmp_path / "b.png", policy(), kind="path"))
    unmounted = asyncio.run(look(tmp_path / "disk" / "b.png", policy(), kind="path"))
    assert (there.ok, there.absence) == (bytes(range(64)), None)
    assert (gone.reason, gone.absence) == ("dead_link", "gone")
    assert (unmounted.reason, unmounted.absence) == ("dead_link", None)


def test_a_file_outside_the_allowed_folders_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    result = asyncio.run(look(tmp_path / "a.png", policy(allowed_file_roots=(tmp_path / "in",)), kind="path"))
    assert (result.reason, result.ok) == ("refused_address", None)

"""The process around the app: what it takes of a connection, and that it ends whatever its threads do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVER = """
import asyncio, sys, threading
from concurrent.futures import ThreadPoolExecutor
from reporting.http_server import listening, serve_until_asked, url_of

pool = ThreadPoolExecutor(1)

def stuck():
    print("stuck", flush=True)
    threading.Event().wait()

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/stuck":
        await asyncio.wrap_future(pool.submit(stuck))
    if scope["path"] == "/hold":  # the event loop itself
        stuck()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})

hook = {"ends": lambda _: True, "goes on": lambda _: False}
with listening("127.0.0.1", 0) as listener:
    print(url_of(listener).rpartition(":")[2], flush=True)
    given = {"stop": hook[sys.argv[1]]} if sys.argv[1] in hook else {}
    serve_until_asked(app, listener, grace=1, connections=256, **given)
print("returned", flush=True)
"""


@contextmanager
def server(hook: str = "ends") -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-c", SERVER, hook]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def ask(port: int, request: bytes) -> bytes:
    """Send bytes; return the first line of the answer, empty if the line was cut."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        try:
            line.sendall(request)
            return line.recv(4096).partition(b"\r\n")[0]
        except ConnectionError:
            return b""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "hook"),
    [
        ("/", "ends"), ("/stuck", "ends"), ("/hold", "ends"), ("/", "goes on"),
        ("/", "none"), ("/stuck", "none"), ("/hold", "none"),
    ],
)  # fmt: skip
def test_it_ends_when_asked_to_whatever_its_threads_do(path: str, hook: str) -> None:
    with server(hook) as (process, port), socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert process.stdout is not None
        if path == "/":
            assert line.recv(4096).startswith(b"HTTP/1.1 200")
        else:
            assert process.stdout.readline() == "stuck\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        in_peace = path == "/" and hook != "goes on"
        assert process.stdout.read() == ("returned\n" if in_peace else "")


def test_headers_and_connections_are_bounded() -> None:
    with server() as (_, port), ExitStack() as held:
        whole = b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n"
        assert ask(port, whole) == b"HTTP/1.1 200 OK"
        endless = b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 100_000
        assert ask(port, endless) in (b"HTTP/1.1 400 Bad Request", b"")
        for _ in range(256):
            held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        assert ask(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b"HTTP/1.1 503 Service Unavailable"

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

ROOT = Path(__file__).parents[3]
SERVER = """
import asyncio, socket, sys, threading
from concurrent.futures import ThreadPoolExecutor
from pipeline.serve.listening import serve_until_asked

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

listener = socket.create_server(("127.0.0.1", 0), backlog=512)
print(listener.getsockname()[1], flush=True)
serve_until_asked(app, listener, grace=1, places=0, stop=lambda _: sys.argv[1] == "ends")
"""


@contextmanager
def server(poller: str = "ends") -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-c", SERVER, poller]
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
@pytest.mark.parametrize(("path", "poller"), [("/stuck", "ends"), ("/hold", "ends"), ("/", "goes on")])
def test_it_ends_when_asked_to_whatever_its_threads_do(path: str, poller: str) -> None:
    with server(poller) as (process, port), socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        if path == "/":
            assert line.recv(4096).startswith(b"HTTP/1.1 200")
        else:
            assert process.stdout is not None
            assert process.stdout.readline() == "stuck\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


def test_headers_and_connections_are_bounded() -> None:
    with server() as (_, port), ExitStack() as held:
        whole = b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n"
        assert ask(port, whole) == b"HTTP/1.1 200 OK"
        endless = b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 100_000
        assert ask(port, endless) in (b"HTTP/1.1 400 Bad Request", b"")
        for _ in range(256):
            held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        assert ask(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b"HTTP/1.1 503 Service Unavailable"

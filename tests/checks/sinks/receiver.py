"""A server on the loopback that keeps what it is sent, and answers as it is told to: well, badly, late or never."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

_STEP_SECONDS = 0.02


class Request(NamedTuple):
    """What came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body, read as JSON."""
        return json.loads(self.body)


@dataclass
class Reply:
    """An answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: str = "plain"
    """plain; silent: nothing is ever sent; cut: the connection ends without an answer; dripping head: one byte now and
    then, for ever; hanging body: a whole head, and a body that never comes."""


Answering = Callable[[Request], Reply]


class Receiver:
    """Listens from the moment it is made until the end of the `with`.

    `requests` is what came in, `answer` decides what goes out.
    """

    def __init__(self, answer: Answering | Reply | None = None, *, tls: ssl.SSLContext | None = None):
        self.answer: Answering = answer if callable(answer) else (lambda _: answer or Reply())
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._listener = _Listener(self, tls)
        self.port = self._listener.server_address[1]
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(_STEP_SECONDS,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.closing.set()
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True

    def __init__(self, receiver: Receiver, tls: ssl.SSLContext | None):
        self.receiver = receiver
        self.tls = tls
        super().__init__(("127.0.0.1", 0), _Exchange)

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        connection.settimeout(10.0)
        if self.tls is not None:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that have gone; a fault of ours is raised."""
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handle_error(request, client_address)


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        names = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, names, self.rfile.read(length))
        receiver = self.server.receiver
        reply = receiver.answer(request)
        receiver.requests.append(request)
        self.close_connection = True
        if reply.manner == "silent":
            receiver.closing.wait()
        elif reply.manner == "dripping head":
            self._drip(b"HTTP/1.1 200 OK\r\n" + b"X-Slow: yes\r\n" * 100_000)
        elif reply.manner != "cut":
            self._send(reply)

    do_GET = do_POST  # noqa: N815  (the base class's name)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        hanging = reply.manner == "hanging body"
        for name, value in {**reply.headers, "Content-Length": str(len(reply.body) + hanging)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)
        if hanging:
            self.server.receiver.closing.wait()

    def _drip(self, everything: bytes) -> None:
        for byte in everything:
            if self.server.receiver.closing.wait(_STEP_SECONDS):
                return
            self.wfile.write(bytes([byte]))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def closed_port() -> int:
    """Return a port of this machine that nobody listens on."""
    from tests.servers.ports import free_port

    return free_port()


def local_socket() -> socket.socket:
    """Return a socket that accepts connections into its backlog and says nothing."""
    found = socket.socket()
    found.bind(("127.0.0.1", 0))
    found.listen(8)
    return found

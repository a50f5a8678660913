"""A threaded HTTP/1.1 relay on the loopback: what the fault proxy and the TLS proxy are made of.

Each connection of a client has one connection to the server behind, so that what happens to one happens to the other.
"""

from __future__ import annotations

import http.client
import select
import socket
import socketserver
import ssl
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

from tests.servers.ports import free_port

_CHUNK_BYTES = 65_536
_POLL_SECONDS = 0.02
_CONNECT_SECONDS = 10.0
# Between two hops, not between the ends (RFC 9110, 7.6.1), and the framing, which the relay writes anew.
_NOT_PASSED_ON = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection"}
JSON_HEADERS = {"Content-Type": "application/json", "X-Elastic-Product": "Elasticsearch"}


class Exchange(BaseHTTPRequestHandler):
    """One connection of a client: `command`, `path` and `headers` are those of the request being handled."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener
    _behind: http.client.HTTPConnection | None = None
    _unread = 0

    def setup(self) -> None:
        self.server.relay.track(self.request)
        super().setup()

    def handle(self) -> None:
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.do_handshake()  # here and not on accepting: a silent client must not block the others
        super().handle()

    def finish(self) -> None:
        self._leave_server()
        self.server.relay.untrack(self.request)
        super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _handle_request(self) -> None:
        assert "chunked" not in self.headers.get("transfer-encoding", ""), "no client of ours sends chunks"
        self._unread = int(self.headers.get("content-length", "0"))
        try:
            self.server.relay.handle(self)
        except (OSError, http.client.HTTPException):
            self.cut()  # as the server's own connection broke, or the client's

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = _handle_request  # noqa: N815  (the base class's names)

    @property
    def path_only(self) -> str:
        """The path without its query."""
        return urlsplit(self.path).path

    def body(self) -> bytes:
        """Read what is left of the request's body."""
        return b"".join(self._pieces())

    def forward(self, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> http.client.HTTPResponse:
        """Send the request on and return the answer, of which only the head is read.

        The client's body streams through, or `body` is sent in its place. `headers` replace those of the same name;
        an empty value leaves one out.
        """
        behind = self._server_connection()
        behind.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        replaced = {name.lower(): value for name, value in (headers or {}).items()}
        if body is not None:
            replaced["content-length"] = str(len(body))
        passed = {name.lower(): value for name, value in self.headers.items()}
        for name, value in {**passed, "host": f"{behind.host}:{behind.port}", **replaced}.items():
            if value and name not in _NOT_PASSED_ON:
                behind.putheader(name, value)
        behind.endheaders()
        for piece in self._pieces() if body is None else (body,):
            behind.send(piece)
        return behind.getresponse()

    def pass_back(self, answer: http.client.HTTPResponse) -> None:
        """Stream an answer of the server to the client."""
        chunked = answer.length is None and answer.chunked
        self._send_head(answer, {"Transfer-Encoding": "chunked"} if chunked else {})
        while piece := answer.read(_CHUNK_BYTES):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if answer.length:  # http.client calls an early end an end
            raise http.client.IncompleteRead(b"", answer.length)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def pass_back_half(self, answer: http.client.HTTPResponse) -> None:
        """Send the head of the server's answer and the first half of its body, and cut the connection."""
        body = answer.read()
        self._send_head(answer, {"Content-Length": str(len(body))})
        self.wfile.write(body[: len(body) // 2])
        self.cut()

    def reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Answer in the server's place."""
        self.body()  # whatever is unread would be taken for the next request
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def cut(self) -> None:
        """Cut the connection to the client and that to the server."""
        self.close_connection = True
        self._leave_server()
        _cut(self.connection)

    def wait(self, seconds: float) -> None:
        """Wait, or raise as soon as the relay is shut.

        Raises:
            ConnectionAbortedError: the relay was shut.
        """
        if self.server.relay.shutting.wait(seconds):
            raise ConnectionAbortedError("the relay is shut")

    def _pieces(self) -> Any:
        while self._unread:
            piece = self.rfile.read(min(self._unread, _CHUNK_BYTES))
            if not piece:
                raise ConnectionResetError("the client left in the middle of its request")
            self._unread -= len(piece)
            yield piece

    def _send_head(self, answer: http.client.HTTPResponse, instead: Mapping[str, str]) -> None:
        self.send_response_only(answer.status, answer.reason)
        replaced = {name.lower() for name in instead} | _NOT_PASSED_ON
        for name, value in (*answer.getheaders(), *instead.items()):
            if name.lower() not in replaced or name in instead:
                self.send_header(name, value)
        self.end_headers()

    def _server_connection(self) -> http.client.HTTPConnection:
        if self._behind is not None and self._behind.sock is not None:
            if not select.select([self._behind.sock], [], [], 0)[0]:
                return self._behind
            self._leave_server()  # readable before it was asked: the server has closed it
        self._behind = http.client.HTTPConnection(*self.server.relay.upstream, timeout=_CONNECT_SECONDS)
        self._behind.connect()
        self._behind.sock.settimeout(None)  # how long an answer may take is for the client to say
        self.server.relay.track(self._behind.sock)
        return self._behind

    def _leave_server(self) -> None:
        if self._behind is not None:
            if self._behind.sock is not None:
                self.server.relay.untrack(self._behind.sock)
            self._behind.close()
            self._behind = None


class _Listener(socketserver.ThreadingTCPServer):
    """Accepts connections; `server_close` waits for their threads."""

    allow_reuse_address = True
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, relay: Relay, port: int) -> None:
        self.relay = relay
        super().__init__(("127.0.0.1", port), Exchange)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.relay.tls is not None:
            connection = self.relay.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.relay.note_error()


class Relay:
    """Listens on a port of its own and has `handle` deal with each request; subclasses write that.

    Close it, or use it as a context manager: no thread or socket outlives it, and an error of its own code is raised
    then.
    """

    def __init__(self, upstream_url: str, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(upstream_url)
        self.upstream = (cast("str", parts.hostname), cast("int", parts.port))
        self.tls = tls
        self.shutting = threading.Event()
        self._port = free_port()
        self._sockets: set[socket.socket] = set()
        self._sockets_lock = threading.Lock()
        self._listener: _Listener | None = None
        self._errors: list[BaseException] = []
        self._open()

    def handle(self, exchange: Exchange) -> None:
        """Deal with one request."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Its address, the same for its whole life."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}"

    def close(self) -> None:
        """Cut all connections, wait for the threads, and raise what went wrong inside; again is harmless."""
        self._shut()
        errors, self._errors = self._errors, []
        if errors:
            raise errors[0]

    def track(self, one: socket.socket) -> None:
        """Remember a socket, to be cut when the relay is shut.

        Raises:
            ConnectionAbortedError: the relay is being shut.
        """
        with self._sockets_lock:
            self._sockets.add(one)
            if self.shutting.is_set():
                raise ConnectionAbortedError("the relay is shut")

    def untrack(self, one: socket.socket) -> None:
        """Forget a socket that its owner closes."""
        with self._sockets_lock:
            self._sockets.discard(one)

    def note_error(self) -> None:
        """Keep the exception being handled for `close`, unless it says that a connection broke."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self._errors.append(error)

    def _open(self) -> None:
        if self._listener is None:
            self.shutting.clear()
            self._listener = _Listener(self, self._port)
            self._accepting = threading.Thread(target=self._listener.serve_forever, args=(_POLL_SECONDS,))
            self._accepting.start()

    def _shut(self) -> None:
        listener, self._listener = self._listener, None
        if listener is None:
            return
        with self._sockets_lock:
            self.shutting.set()
        listener.shutdown()
        with self._sockets_lock:
            for one in self._sockets:
                _cut(one)
        listener.server_close()
        self._accepting.join()
        self._sockets.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _cut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was first

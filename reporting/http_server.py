"""An HTTP server as a process: it listens, answers until it is asked to end, and ends then, whatever its threads do."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from reporting.errors import StoreError
from reporting.logs import logger

if TYPE_CHECKING:
    from types import FrameType

_LOG = logger("http_server")
_BACKLOG = 2048
_HEADER_BYTES = 32_768
_LIMIT = 3.0  # seconds beyond the grace: for what uvicorn does around it, and then one each for `stop` and for threads


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that connections wait for the server from now on; close it, or use it in `with`.

    Args:
        host: Address of this machine; `0.0.0.0` is all of them.
        port: 0: a free one.

    Raises:
        StoreError: The address is taken or not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise StoreError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; take another --port, "
            "or --port 0 for a free one"
        ) from None


def url_of(listener: socket.socket) -> str:
    """Return the address that a listening socket is reached at, as `http://127.0.0.1:8080`."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve_until_asked(
    asgi: Any,
    listener: socket.socket,
    *,
    grace: int,
    connections: int,
    stop: Callable[[float], bool] = lambda _: True,
) -> None:
    """Answer until SIGINT or SIGTERM; what runs then may end within the grace, and is left behind after it.

    A request line and headers of more than 32 kB together are refused; beyond so many connections one is answered 503.

    Args:
        asgi: The app.
        listener: See `listening`.
        grace: Seconds, >= 1. Three seconds later at most the process is gone.
        connections: That are open at a time at most.
        stop: Ends the app's other threads within so many seconds; says whether they have ended.
    """
    import uvicorn

    config = uvicorn.Config(
        asgi, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=grace, http="h11",
        h11_max_incomplete_event_size=_HEADER_BYTES, limit_concurrency=connections,
    )  # fmt: skip
    server = uvicorn.Server(config)
    limit = threading.Timer(grace + _LIMIT, _leave_at_once, ("the server did not end within its grace",))
    limit.daemon = True
    asked = server.handle_exit

    def handle_exit(sig: int, frame: FrameType | None) -> None:
        if not server.should_exit:
            limit.start()
        asked(sig, frame)

    server.handle_exit = handle_exit  # type: ignore[method-assign]
    with _signals_taken():
        server.run(sockets=[listener])
        if not (stop(1.0) and _others_end(1.0)):
            _leave_at_once("threads still work")
    limit.cancel()


def _others_end(seconds: float) -> bool:
    """Tell whether the threads that the interpreter would wait for end in time."""
    deadline = time.monotonic() + seconds
    for one in threading.enumerate():
        if one is not threading.current_thread() and not one.daemon:
            one.join(max(0.0, deadline - time.monotonic()))
            if one.is_alive():
                return False
    return True


def _leave_at_once(why: str) -> None:
    """End the process without waiting for any thread; what was logged and printed is kept."""
    _LOG.warning("%s; the process ends without waiting", why)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


@contextmanager
def _signals_taken() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the server and no more: uvicorn raises them again when it has ended."""
    both = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(one, lambda *_: None) for one in both]
    try:
        yield
    finally:
        for one, handler in zip(both, before, strict=True):
            signal.signal(one, handler)

"""Runs uvicorn until it is asked to end, and ends then: within the grace, whatever threads of ours still do."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from types import FrameType

_LOG = logging.getLogger("funnelgate.serve")
_HEADER_BYTES = 32_768
_CONNECTIONS = 256
_LIMIT = 3.0  # seconds beyond the grace, for what uvicorn does around it


def serve_until_asked(
    asgi: Any, listener: socket.socket, *, grace: int, places: int, stop: Callable[[float], bool]
) -> None:
    """Answer until SIGINT or SIGTERM; what runs then may end within the grace, and is left behind after it.

    A request line and headers of more than 32 kB together are refused; beyond 256 connections and four for each request
    that is admitted a connection is answered 503.

    Args:
        asgi: The app.
        listener: Bound and listening.
        grace: Seconds, >= 1.
        places: Requests that are admitted at most.
        stop: Ends other threads within so many seconds; says whether they have ended.
    """
    import uvicorn

    config = uvicorn.Config(
        asgi, log_config=None, access_log=False, timeout_graceful_shutdown=grace,
        http="h11", h11_max_incomplete_event_size=_HEADER_BYTES, limit_concurrency=_CONNECTIONS + 4 * places,
    )  # fmt: skip
    server = uvicorn.Server(config)
    limit = threading.Timer(grace + _LIMIT, leave_at_once, ("the server did not end within its grace",))
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
            leave_at_once("threads still work")


def _others_end(seconds: float) -> bool:
    """Tell whether the threads that the interpreter would wait for end in time."""
    deadline = time.monotonic() + seconds
    for one in threading.enumerate():
        if one is not threading.current_thread() and not one.daemon:
            one.join(max(0.0, deadline - time.monotonic()))
            if one.is_alive():
                return False
    return True


def leave_at_once(why: str) -> None:
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

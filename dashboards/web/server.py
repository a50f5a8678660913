"""Listens and answers until it is asked to end."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dashboards.web.settings import WebSettings
from reporting.errors import StoreError

GRACE = 5
"""Seconds that what runs has to end, once asked to."""
_CONNECTIONS = 200
_HEADER_BYTES = 32_768
_LOG = logging.getLogger("funnelgate.web")


def listening(settings: WebSettings) -> socket.socket:
    """Return the socket that the server listens on.

    Raises:
        StoreError: the address is taken or not of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=256)
    except OSError as error:
        raise StoreError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}; take another --port, "
            "or --port 0 for a free one"
        ) from None


def serve_until_asked(asgi: Any, listener: socket.socket) -> None:
    """Answer until SIGINT or SIGTERM; what runs then may end within `GRACE`, and is left behind after it."""
    import uvicorn

    config = uvicorn.Config(
        asgi, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=GRACE, http="h11",
        h11_max_incomplete_event_size=_HEADER_BYTES, limit_concurrency=_CONNECTIONS,
    )  # fmt: skip
    server = uvicorn.Server(config)
    limit = threading.Timer(GRACE + 2.0, _leave_at_once)
    limit.daemon = True
    asked = server.handle_exit

    def handle_exit(sig: int, frame: Any) -> None:
        if not server.should_exit:
            limit.start()
        asked(sig, frame)

    server.handle_exit = handle_exit  # type: ignore[method-assign]
    with _signals_taken():
        server.run(sockets=[listener])
    limit.cancel()


def _leave_at_once() -> None:
    """End the process although a thread still makes a page: nothing here is written, so nothing is lost."""
    _LOG.warning("a request did not end within %s s of being asked to; the process ends without it", GRACE)
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

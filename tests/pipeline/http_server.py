"""A real uvicorn on a loopback port, and a client that speaks to it over a socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """Serve an app in a thread; yields its address. The kernel holds connections until the server takes them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=30)
            assert not thread.is_alive()


@contextmanager
def client_of(app: Any) -> Iterator[httpx.Client]:
    """Serve an app, and yield a client of it."""
    with listening(app) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client

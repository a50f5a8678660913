"""The world of the page's tests, served live over a socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from dashboards.page.sources import Sources
from dashboards.shelf import Books, Shelf
from dashboards.web.app import make_app
from dashboards.web.settings import WebSettings
from reporting.stores.sql import SqlStore
from tests.dashboards.page import world
from tests.dashboards.page.no_sources import NoSources
from tests.pipeline.http_server import client_of


def shelf_of(file: Path, sources: Sources | None = None, topology: Any = world.TOPOLOGY) -> Shelf:
    """Return a shelf over a store's file, at the time of the world."""

    def opened() -> Books:
        return Books(SqlStore.open(f"sqlite:///{file}", ships=False), topology, sources or NoSources())

    return Shelf(opened, lambda: world.NOW)


@contextmanager
def live(file: Path, sources: Sources | None = None, **settings: Any) -> Iterator[httpx.Client]:
    """Serve a store's file; yields a client."""
    with client_of(make_app(shelf_of(file, sources), WebSettings(**settings))) as client:
        yield client

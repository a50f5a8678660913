"""The open store and what is read beside it, and whether the file of the store is still the one that was opened."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dashboards.page.desk import Desk
from dashboards.page.kept import Kept
from dashboards.page.links import day_path, leaves_path
from dashboards.page.render import render
from dashboards.page.routes import page_at
from dashboards.page.sources import Sources
from reporting.errors import FunnelgateError, StoreError
from reporting.topology import Topology

if TYPE_CHECKING:
    from reporting.stores.sql import SqlStore

WARM_DAYS = 400
"""Days whose sums are read ahead: a year in one table. One of 9,000 leaves takes the database 75 ms."""
_LOG = logging.getLogger("funnelgate.web")


class Books(NamedTuple):
    """What pages and metrics are made from."""

    store: SqlStore
    topology: Topology
    sources: Sources


class Serving(NamedTuple):
    """What one request is answered from."""

    desk: Desk
    """Fresh: it reads each thing once."""
    store: SqlStore
    kept: Kept


class Shelf:
    """Holds the books; opens them anew where a file of SQLite was put in the place of the one that was opened.

    An open file goes on answering after it was deleted: what it says is no longer true.

    Args:
        opened: Opens everything.
        clock: The time, aware; pages say it, and what is late depends on it.
    """

    def __init__(self, opened: Callable[[], Books], clock: Callable[[], datetime] = lambda: datetime.now(UTC)):
        self._open = opened
        self._clock = clock
        self._lock = threading.Lock()
        self._books = opened()
        self._identity = _identity(self._books.store)
        self._kept = Kept(self._books.store, self._books.topology)

    def serving(self) -> Serving:
        """Return what one request is answered from.

        Raises:
            StoreError: the store's file is gone, or what lies there cannot be opened.
        """
        with self._lock:
            found = _identity(self._books.store)
            if found != self._identity:
                self._books.store.close()
                self._books, self._identity = self._open(), found
                self._kept = Kept(self._books.store, self._books.topology)
            books, kept = self._books, self._kept
        return Serving(Desk(*books, self._clock(), kept=kept), books.store, kept)

    def warm(self) -> threading.Thread:
        """Read in the background what requests will ask for, the newest first; return the thread, a daemon."""
        thread = threading.Thread(target=self._warm, name="warm", daemon=True)
        thread.start()
        return thread

    def _warm(self) -> None:
        try:
            desk = self.serving().desk
            if desk.newest is None:
                return
            for path in ("index.html", day_path(desk.newest), leaves_path(desk.newest)):
                page = page_at(desk, path)
                if page is not None:
                    render(page, desk.site(live=True))
            for day in list(reversed(desk.days))[:WARM_DAYS]:
                kept = self.serving().kept
                kept.sums(day, day)
                kept.reasons(day, day)
        except FunnelgateError as error:
            _LOG.warning("not all is read ahead: %s", error)


def _identity(store: SqlStore) -> tuple[int, int] | None:
    """Return which file it is; None for a server."""
    database = store.engine.url.database
    if store.dialect != "sqlite" or database is None:
        return None
    try:
        found = Path(database).stat()
    except OSError as error:
        raise StoreError(
            f"{database}: the store is not there: {error.strerror or error}; bring it back, or name "
            "another by store.url"
        ) from error
    return found.st_dev, found.st_ino

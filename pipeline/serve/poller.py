"""Looks for a new release every few seconds: pulls it where it comes from elsewhere, and lets the holder load it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from reporting.errors import FunnelgateError

if TYPE_CHECKING:
    from pipeline.serve.holder import Holder, Refreshed

T = TypeVar("T")
_LOG = logging.getLogger("funnelgate.serve")


class Poller:
    """One thread; whatever goes wrong is told, counted and tried again: what serves goes on."""

    def __init__(
        self,
        holder: Holder,
        *,
        seconds: float,
        pull: Callable[[], object] | None = None,
        told: Callable[[Refreshed], None] = lambda _: None,
        counted: Callable[[str], None] = lambda _: None,
        looked: Callable[[], None] = lambda: None,
    ) -> None:
        """Take what it needs; `start` begins.

        Args:
            holder: Whose `refresh` is called.
            seconds: From the end of one look to the next, > 0.
            pull: Brings in what is published elsewhere (`Consumer.poll`); None: it is published right here.
            told: Told of each look that changed something, or was refused for another reason than the last one.
            counted: Told of each look: its outcome, or `failed` for each step of it that failed.
            looked: Called at the end of each look, whatever it found.
        """
        self._holder, self._seconds, self._pull = holder, seconds, pull
        self._told, self._counted = told, counted
        self._looked = looked
        self._last: tuple[str, int | None, str] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poll", daemon=True)

    def start(self) -> None:
        """Look at once, and then again and again."""
        self._thread.start()

    def stop(self, seconds: float | None = None) -> bool:
        """Look no more; returns when the look that is under way is over, or after so many seconds.

        Returns:
            Whether it is over.
        """
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(self._seconds)

    def look(self) -> None:
        """Look once. A source that cannot be reached does not keep what was pulled before from being served."""
        if self._pull is not None:
            self._do("the source of releases", self._pull)
        found = self._do("the look for a release", self._holder.refresh)
        if found is not None:
            self._do("telling of a look", lambda: self._tell(found))
        self._do("noting a look", self._looked)

    def _do(self, what: str, act: Callable[[], T]) -> T | None:
        """Do one step; whatever it raises ends neither the thread nor the steps after it."""
        try:
            return act()
        except Exception as error:  # noqa: BLE001  one that nobody thought of must not end all polling
            known = isinstance(error, (FunnelgateError, OSError))
            _LOG.warning("%s: %s", what, error or type(error).__name__, exc_info=None if known else error)
            try:
                self._counted("failed")
            except Exception:  # noqa: BLE001
                _LOG.exception("a failed look was not counted")
            return None

    def _tell(self, found: Refreshed) -> None:
        self._counted(found.outcome)
        seen = (found.outcome, found.number, found.reason)
        is_news = found.outcome != "unchanged" and seen != self._last
        self._last = seen
        if found.outcome == "refused":
            _LOG.error("release %s is not served: %s", found.number, found.reason)
        if is_news:
            self._told(found)

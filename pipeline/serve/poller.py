"""Looks for a new release every few seconds: pulls it where it comes from elsewhere, and lets the holder load it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from reporting.errors import FunnelgateError

if TYPE_CHECKING:
    from pipeline.serve.holder import Holder, Refreshed

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
    ) -> None:
        """Take what it needs; `start` begins.

        Args:
            holder: Whose `refresh` is called.
            seconds: From the end of one look to the next, > 0.
            pull: Brings in what is published elsewhere (`Consumer.poll`); None: it is published right here.
            told: Told of each look that changed something, or was refused for another reason than the last one.
            counted: Told of each look: its outcome, or `failed`.
        """
        self._holder, self._seconds, self._pull = holder, seconds, pull
        self._told, self._counted = told, counted
        self._last: tuple[str, int | None, str] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poll", daemon=True)

    def start(self) -> None:
        """Look at once, and then again and again."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; returns when the look that is under way is over."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(self._seconds)

    def look(self) -> None:
        """Look once. A source that cannot be reached does not keep what was pulled before from being served."""
        try:
            if self._pull is not None:
                self._pull()
        except (FunnelgateError, OSError, ValueError, RuntimeError) as error:
            self._counted("failed")
            _LOG.warning("the source of releases: %s", error)
        found = self._holder.refresh()
        self._counted(found.outcome)
        seen = (found.outcome, found.number, found.reason)
        if found.outcome == "refused":
            _LOG.error("release %s is not served: %s", found.number, found.reason)
        if found.outcome != "unchanged" and seen != self._last:
            self._told(found)
        self._last = seen

"""The galleries of the days that were looked at last, for a server: they are read from every table of a day."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from datetime import date as Date
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pipeline.cards.galleries import day_galleries
from pipeline.release.withheld import withheld

if TYPE_CHECKING:
    from pipeline.place import Place

MOST_DAYS: Final = 4
"""Each holds up to `LIMIT_BYTES` of pictures."""


class _Made(NamedTuple):
    state: object
    galleries: Sequence[dict[str, Any]]


class KeptGalleries:
    """Answers as `day_galleries` does; what it made is kept while nothing is booked, of any day, nor taken down.

    Whatever writes or deletes files of the lake books it: a day's pictures go with what a later day books. Thread-safe.
    """

    def __init__(self, place: Place):
        self._place = place
        self._lock = threading.Lock()
        self._made: OrderedDict[Date, _Made] = OrderedDict()

    def of(self, day: Date) -> Sequence[dict[str, Any]]:
        """Return the galleries of a day."""
        with self._lock:
            state = self._state()  # before the files are read: what is booked meanwhile is not in it
            made = self._made.pop(day, None)
            if made is None or state is None or made.state != state:
                made = _Made(state, day_galleries(self._place, day))
            self._made[day] = made
            while len(self._made) > MOST_DAYS:
                self._made.popitem(last=False)
            return made.galleries

    def _state(self) -> object | None:
        """Return what differs after any change; None while others write and nobody can tell."""
        lake = self._place.lake
        mark = self._place.store.changed_days(None).mark
        return None if mark.seq is None else (mark, withheld(lake.folder()) if lake.is_local else None)

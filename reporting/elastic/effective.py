"""Keeps the lookup index `<prefix>-effective`: leaf to the plan that counts, so that a re-run never counts twice.

Lines are derived from the plan registry, and carry its revision for their day as version: whoever computed from an
older registry cannot overwrite what a newer one said, in whatever order the writes arrive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date as Date
from typing import NamedTuple, Protocol

from reporting.elastic.documents import Document, effective_document
from reporting.plans import Effective, Leaf, Plan, by_precedence, first_covering

_DAYS_KEPT = 64
"""Days whose plans are remembered; a shipper that replays years would otherwise grow without bound."""
_LEAVES_KEPT = 50_000
"""Leaves of all days whose line is remembered as written, some 15 MB; to write a line again is harmless."""


class Registry(Protocol):
    """What the effective plan is worked out from."""

    def plans(self, date_from: Date | None = None, date_to: Date | None = None) -> list[Plan]:
        """Return the plans that touch a span of days."""

    def revision(self, day: Date) -> int:
        """Return the sum of the revisions of a day's plans: it rises with every change, 0 when there are none."""

    def leaves(self, day: Date) -> Iterator[Leaf]:
        """Yield every leaf of a day that a plan expects or a record has, each once."""


class _Day(NamedTuple):
    revision: int
    ranked: list[tuple[Plan, Effective]]
    """From `plans.by_precedence`."""
    written: set[Leaf]


class EffectiveKeeper:
    """Says which lines must be written after plans, manifests or records have been delivered."""

    def __init__(self, registry: Registry, prefix: str):
        self._registry = registry
        self._prefix = prefix
        self._days: dict[Date, _Day] = {}
        self._noted = 0

    def lines(self, leaves: Iterable[Leaf]) -> list[Document]:
        """Return the lines of leaves that have none yet, or one from an older registry."""
        found: list[Document] = []
        revisions: dict[Date, int] = {}
        for leaf in leaves:
            if leaf.date not in revisions:  # asked anew in each call: another process may have changed a plan
                revisions[leaf.date] = self._registry.revision(leaf.date)
            day = self._day(leaf.date, revisions[leaf.date])
            if leaf not in day.written:
                self._note(leaf, day)
                found.append(self._line(leaf, day))
        return found

    def day_lines(self, date: Date) -> Iterator[Document]:
        """Yield the line of every leaf of a day that has none of this registry: for after a change of its plans."""
        day = self._day(date, self._registry.revision(date))
        for leaf in self._registry.leaves(date):
            if leaf not in day.written:
                self._note(leaf, day)
                yield self._line(leaf, day)

    def forget(self, leaf: Leaf) -> None:
        """Write a leaf's line again when it is next asked for: its delivery failed."""
        day = self._days.get(leaf.date)
        if day is not None:
            day.written.discard(leaf)

    def forget_all(self) -> None:
        """Write all lines again when they are next asked for: it is not known which were delivered."""
        self._days.clear()

    def _note(self, leaf: Leaf, day: _Day) -> None:
        if self._noted >= _LEAVES_KEPT:
            for one in (day, *self._days.values()):
                one.written.clear()
            self._noted = 0
        self._noted += 1
        day.written.add(leaf)

    def _day(self, date: Date, revision: int) -> _Day:
        known = self._days.get(date)
        if known is None or known.revision != revision:
            # The plans are read after their revision: lines may be newer than the revision they carry, and are then
            # written once more under the next one; never the other way round.
            known = _Day(revision, by_precedence(self._registry.plans(date, date)), set())
            self._days.pop(date, None)
            self._days[date] = known
            if len(self._days) > _DAYS_KEPT:
                del self._days[next(iter(self._days))]
        return known

    def _line(self, leaf: Leaf, day: _Day) -> Document:
        """Return a leaf's line; where no plan counts (it was abandoned), one that joins with no record."""
        found = first_covering(day.ranked, leaf)
        planid, provisional = ("", False) if found is None else found
        return effective_document(self._prefix, leaf, planid, provisional, day.revision)

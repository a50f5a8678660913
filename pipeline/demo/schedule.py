"""Which rows arrive on which day: a pure function of the list of items, the first day and a seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Final

import numpy as np

from pipeline.demo.rows import (
    DROPPED_BY,
    MERCHANTS,
    SPECIAL_ENCODINGS,
    Encoding,
    Fault,
    Item,
    Row,
    original,
    replayed,
    together,
    variant,
)

SPREAD_DAYS: Final = 7
"""The catalogue arrives over this many days (or all of them, when there are more): a demo of two days stays small."""

REACH_DAYS: Final = 3
"""A repetition follows its original by at most this many days, well inside a window of 5: the original is then
in the window whichever way its edges are counted, and the truth does not depend on them."""

EVERGREENS: Final = 4
"""Originals of the first day that are re-crawled every day: seven days later only `last_seen` keeps them young."""

SETS_A_DAY: Final = (8, 10)
"""Fewest and most pictures a day that show several items."""

# Rows a day, give or take one. With 72 originals (252 items, two looks, seven days) and the 26 offers of the sets
# they make about 150 rows, of which half are dropped: more than of a real crawl, so that every reason is there daily.
_DAILY: Final = {
    Fault.RECRAWLED: 5,
    Fault.MOVED: 3,
    Fault.COPIED: 4,
    Fault.RECOMPRESSED: 5,
    Fault.RESIZED: 4,
    Fault.OFF_SHELF: 6,
    Fault.TRUNCATED: 3,
    Fault.TOO_SMALL: 3,
    Fault.DEAD_LINK: 4,
    Fault.NOT_AN_IMAGE: 3,
    Fault.BLURRED: 3,
    Fault.LOW_CONTRAST: 3,
    Fault.BAD_ASPECT: 2,
    Fault.DUPLICATE_ROW: 2,
}
_NEAR: Final = (Fault.RECOMPRESSED, Fault.RESIZED)
_DEFECTS: Final = tuple(fault for fault in _DAILY if DROPPED_BY[fault][0] in ("download", "quality", "listing"))
_SET_SIZES: Final = (2, 3, 4)
_SET_SHARES: Final = (0.4, 0.35, 0.25)
_SET_ENCODINGS: Final = (Encoding.JPEG, Encoding.PNG, Encoding.WEBP, Encoding.TURNED_JPEG)
_SET_ENCODING_SHARES: Final = (0.6, 0.2, 0.1, 0.1)
_CRAWLS: Final = ("directed", "long-tail", "discovery")
_CRAWL_SHARES: Final = (0.5, 0.3, 0.2)


def schedule(items: Sequence[Item], *, first_day: date, days: int, seed: int) -> dict[date, tuple[Row, ...]]:
    """Return the rows of every day, in the order of its manifest.

    Every item arrives once in each catalogue look, over `SPREAD_DAYS` days or all of them, whichever are more.

    Args:
        items: The pack's items.
        first_day: Day of the first manifest.
        days: Manifests, at least 1.
        seed: Equal seeds give equal rows.
    """
    plan = _Schedule(items, np.random.default_rng([seed, 1]))
    offers = [(item, look) for look in MERCHANTS for item in items]
    order = plan.rng.permutation(len(offers))
    # No two days of a real crawl bring equally many: shares differ by up to 15 % from the mean.
    shares = plan.rng.uniform(0.85, 1.15, size=max(days, SPREAD_DAYS)).cumsum()
    cuts = [0, *(int(cut) for cut in (shares / shares[-1] * len(offers)).round())]
    rows: dict[date, tuple[Row, ...]] = {}
    for index in range(days):
        day = first_day + timedelta(days=index)
        arriving = [offers[at] for at in order[cuts[index] : cuts[index + 1]]]
        rows[day] = plan.day(day, arriving)
    return rows


class _Schedule:
    """Builds the days one after another and remembers what a later day may repeat."""

    def __init__(self, items: Sequence[Item], rng: np.random.Generator) -> None:
        self.items = items
        self.rng = rng
        self.seen: list[Row] = []
        self.evergreens: list[Row] = []
        self.near_bases: set[Row] = set()
        self.same_day_bases: set[Row] = set()
        self.views: Counter[Item] = Counter()

    def day(self, day: date, arriving: Iterable[tuple[Item, str]]) -> tuple[Row, ...]:
        """Return the rows of one day, shuffled."""
        fresh = [
            original(item, look, day, encoding=self._encoding(rank), strategy=self._crawl())
            for rank, (item, look) in enumerate(arriving)
        ]
        since = day - timedelta(days=REACH_DAYS)
        earlier = [row for row in self.seen if row.day >= since and row not in self.same_day_bases]
        self.seen += fresh
        rows = [*fresh, *self._sightings(day, earlier), *self._near(day, fresh, earlier)]
        copied = self._pick([row for row in fresh if row not in self.near_bases], Fault.COPIED)
        rows += [self._variant(row, day, Fault.COPIED, resold=at % 2 == 0) for at, row in enumerate(copied)]
        for fault in _DEFECTS:
            rows += [self._variant(row, day, fault) for row in self._pick(self.seen, fault)]
        repeated = self._pick(fresh, Fault.DUPLICATE_ROW)
        rows += [replace(row, fault=Fault.DUPLICATE_ROW, base=row) for row in repeated]
        rows += self._sets(day)
        return tuple(rows[at] for at in self.rng.permutation(len(rows)))

    def _sightings(self, day: date, earlier: Sequence[Row]) -> list[Row]:
        """Return the re-crawls of earlier originals, at their old or at a new address."""
        rows = [replayed(row, day, Fault.RECRAWLED, 0) for row in self.evergreens]
        rest = [row for row in earlier if row not in self.evergreens]
        rows += [replayed(row, day, Fault.RECRAWLED, 0) for row in self._pick(rest, Fault.RECRAWLED)]
        for row in self._pick(rest, Fault.MOVED):
            rows.append(replayed(row, day, Fault.MOVED, self._next_view(row.item)))
        if not self.evergreens:
            # Plainly encoded ones, so that nothing but the window decides about them.
            self.evergreens = [row for row in self.seen if row.day == day and _is_plain(row)][:EVERGREENS]
        return rows

    def _near(self, day: date, fresh: Sequence[Row], earlier: Sequence[Row]) -> list[Row]:
        """Return re-encoded pictures: of earlier originals, and on the first day of that day's own.

        No base serves twice, and one of the same day is never copied nor seen again: of base and repetition the
        lower id stays, so which of further equal ones is the exact and which the near duplicate would hang on ids.
        """
        rows: list[Row] = []
        for fault in _NEAR:
            pool = [row for row in earlier or fresh if _is_plain(row) and row not in self.near_bases]
            if not earlier:
                pool = [row for row in pool if row not in self.evergreens]
            for at, row in enumerate(self._pick(pool, fault)):
                self.near_bases.add(row)
                if row.day == day:
                    self.same_day_bases.add(row)
                if at % 2 and earlier:
                    rows.append(replayed(row, day, fault, self._next_view(row.item)))
                else:
                    rows.append(self._variant(row, day, fault, resold=True))
        return rows

    def _sets(self, day: date) -> list[Row]:
        """Return the offers of the pictures that show two to four items of one merchant, drawn from all items."""
        rows: list[Row] = []
        looks = list(MERCHANTS)
        for number in range(int(self.rng.integers(SETS_A_DAY[0], SETS_A_DAY[1] + 1))):
            size = min(int(self.rng.choice(_SET_SIZES, p=_SET_SHARES)), len(self.items))
            chosen = [self.items[int(at)] for at in self.rng.choice(len(self.items), size=size, replace=False)]
            encoding = _SET_ENCODINGS[int(self.rng.choice(len(_SET_ENCODINGS), p=_SET_ENCODING_SHARES))]
            look = looks[int(self.rng.integers(len(looks)))]
            offered = [(item, self._next_view(item)) for item in chosen]
            rows += together(offered, look, day, number + 1, encoding=encoding, strategy=self._crawl())
        return rows

    def _variant(self, base: Row, day: date, fault: Fault, *, resold: bool = False) -> Row:
        strategy = "discovery" if resold else self._crawl()
        return variant(base, day, fault, self._next_view(base.item), strategy=strategy, resold=resold)

    def _next_view(self, item: Item) -> int:
        """Return 2, 3, ...: the original is the first view of its item."""
        self.views[item] += 1
        return self.views[item] + 1

    def _pick(self, pool: Sequence[Row], fault: Fault) -> list[Row]:
        """Draw the day's rows for a fault without replacement: the usual number, give or take one."""
        wanted = max(1, _DAILY[fault] + int(self.rng.integers(-1, 2)))
        chosen = self.rng.choice(len(pool), size=min(wanted, len(pool)), replace=False) if pool else ()
        return [pool[int(at)] for at in chosen]

    def _crawl(self) -> str:
        return str(self.rng.choice(_CRAWLS, p=_CRAWL_SHARES))

    def _encoding(self, rank: int) -> Encoding:
        """Serve the day's first originals in each special encoding, the others as JPEG, one in four as PNG."""
        if rank < len(SPECIAL_ENCODINGS):
            return SPECIAL_ENCODINGS[rank]
        return Encoding.PNG if self.rng.random() < 0.25 else Encoding.JPEG


def _is_plain(row: Row) -> bool:
    return row.encoding in (Encoding.JPEG, Encoding.PNG)

"""Which offers to ask again today, and what their answers change: the state of every offer, carried from day to day.

An offer is alive when its merchant's manifest shows it or the place of its picture answers with a picture. It is gone
when the merchant says so (`OFF_SHELF`), when the place has said so on `dead_after` days (`DEAD_LINK`), or when nobody
has seen it alive for `expires_days` (`EXPIRED`). Whatever lies between is `UNKNOWN` and counts as alive: an outage
must never empty the library.

Source: issue 9 (recheck). Whom to ask first is a queue by the last look, as in the long tail of a crawler's replay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipeline.evict.stored import NEVER
from reporting.errors import DataError

UNCHECKED = np.int32(np.iinfo(np.int32).min)
"""Day of the last check of what was never checked."""
Rows = NDArray[np.int64]


class Verdict(IntEnum):
    """What is known of an offer; from 10 on it is gone. Printed and stored as `label`."""

    ALIVE = 0
    UNKNOWN = 1
    """Asked, without an answer that counts; it is as good as alive."""
    DEAD_LINK = 10
    OFF_SHELF = 11
    EXPIRED = 12

    @property
    def label(self) -> str:
        """As it is booked, stored and printed: lower case."""
        return self.name.lower()


class Answer(IntEnum):
    """What asking once has brought."""

    ALIVE = 0
    """A picture is there."""
    GONE = 1
    """404, 410, or no such file in a folder that is there."""
    UNREACHABLE = 2
    """The name has no address, or the connection was refused."""
    NOTHING = 3
    """Server errors, time-outs, refusals, a page instead of a picture: they say nothing about the offer."""


class RecheckRules(BaseModel):
    """How many offers are asked a day, and when one counts as gone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_day: int = Field(default=1000, ge=0)
    """Offers asked a day, the one with the oldest check first. Half of it at most goes to those that have said `gone`
    once and are asked whether they stand by it: else that would have to wait until all others had their turn."""
    dead_after: int = Field(default=2, ge=1)
    """Days in a row of answers on which the place must say that nothing is there; days without an answer count for
    neither side."""
    expires_days: int = Field(default=365, ge=1)
    """Neither seen in a manifest nor found alive for so many days: gone."""
    rest_days: int = Field(default=1, ge=1)
    """An offer is asked again so many days after it was last seen or asked, at the earliest."""


@dataclass(frozen=True, eq=False)
class Offers:
    """The state of n offers, sorted by (merchant, sku, picture), which settles all ties.

    Days are counted from 1970-01-01, int32.

    Attributes:
        last_confirmed: Day on which it was last seen in a manifest or found alive, (n,) int32.
        last_checked: Day on which it was last asked, (n,) int32; UNCHECKED where it never was.
        verdict: `Verdict`, (n,) int8.
        gone_since: Day since which it is gone, (n,) int32; NEVER where it is not.
        gone_answers: Days in a row of answers on which it was said to be gone, (n,) int16, >= 0.
        tries: Times it was asked since the last answer, (n,) int16, >= 0.
        askable: Whether it is known where to ask, (n,) bool.
    """

    last_confirmed: NDArray[np.int32]
    last_checked: NDArray[np.int32]
    verdict: NDArray[np.int8]
    gone_since: NDArray[np.int32]
    gone_answers: NDArray[np.int16]
    tries: NDArray[np.int16]
    askable: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Refuse columns of different lengths.

        Raises:
            DataError: with the column and both lengths.
        """
        for name, column in vars(self).items():
            if len(column) != len(self.verdict):
                raise DataError(f"offers.{name}: has {len(column)} rows, expected {len(self.verdict)} as `verdict` has")

    def __len__(self) -> int:
        """Return the number of offers."""
        return len(self.verdict)


def sight(offers: Offers, seen: NDArray[np.bool_], off_shelf: NDArray[np.bool_], day: int) -> Offers:
    """Return the offers after the day's manifest was read.

    What is seen is alive again at once, whatever was known of it; what is off the shelf is gone since that day. Seen
    goes before off the shelf.

    Args:
        offers: Before.
        seen: Whether the manifest lists the offer, (n,) bool.
        off_shelf: Whether it says that the offer is not on the shelf, (n,) bool.
        day: Of the manifest.
    """
    verdict = np.where(seen, Verdict.ALIVE, np.where(off_shelf, Verdict.OFF_SHELF, offers.verdict))
    gone_since = np.where(seen, NEVER, np.where(off_shelf, np.minimum(offers.gone_since, day), offers.gone_since))
    return replace(
        offers,
        last_confirmed=np.where(seen, np.int32(day), offers.last_confirmed),
        verdict=verdict.astype(np.int8),
        gone_since=gone_since.astype(np.int32),
        gone_answers=np.where(seen, np.int16(0), offers.gone_answers),
        tries=np.where(seen, np.int16(0), offers.tries),
    )


def turn(offers: Offers, rules: RecheckRules, day: int) -> Rows:
    """Return the rows to ask on a day, (k,) int64, k <= `per_day`, in the order of asking.

    The order: the oldest look first (the later of last asked and last confirmed); where that is equal, what was never
    asked first, then what was confirmed longest ago, then by row. Off-shelf ones are not asked (only their merchant
    can say that they are back), nor is what has no known place. What is gone is asked like any other.
    """
    looked, due = _due(offers, rules, day)
    suspects = due & (offers.gone_answers > 0) & (offers.verdict < Verdict.DEAD_LINK)
    first = _oldest(offers, looked, np.flatnonzero(suspects), rules.per_day // 2)
    due[first] = False
    return np.concatenate([first, _oldest(offers, looked, np.flatnonzero(due), rules.per_day - len(first))])


def waiting_days(offers: Offers, rules: RecheckRules, day: int) -> int:
    """Return for how many days the one that waits longest for its turn has not been seen or asked; 0: nobody waits.

    It grows where `per_day` is too small for the library.
    """
    looked, due = _due(offers, rules, day)
    return int(day - looked[due].min()) if due.any() else 0


def _due(offers: Offers, rules: RecheckRules, day: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the day on which each was last looked at, and whether it may be asked on `day`."""
    looked = np.maximum(offers.last_confirmed, offers.last_checked)
    may = offers.askable & (offers.verdict != Verdict.OFF_SHELF)
    return looked, may & (looked <= day - rules.rest_days)


def _oldest(offers: Offers, looked: NDArray[np.int32], rows: Rows, count: int) -> Rows:
    if count < len(rows):
        if not count:
            return rows[:0]
        rows = rows[looked[rows] <= np.partition(looked[rows], count - 1)[count - 1]]
    keys = (offers.last_confirmed[rows], offers.last_checked[rows] != UNCHECKED, looked[rows])
    return rows[np.lexsort(keys)][:count]


def settle(
    offers: Offers, rows: Rows, answers: Sequence[Answer], day: int, rules: RecheckRules, *, is_online: bool = True
) -> Offers:
    """Return the offers after some were asked; the same answers on the same day change nothing further.

    Args:
        offers: Before; every one of `rows` was asked on an earlier day than this one, or never.
        rows: Those asked, (k,) int64, no two alike.
        answers: Theirs, k.
        day: Of the answers.
        rules: `dead_after`.
        is_online: Whether anything on the network has answered that day. Where nothing has, unreachable places say
            something about our own line only.
    """
    said = np.asarray(answers, np.int8).reshape(-1)
    alive = rows[said == Answer.ALIVE]
    gone = rows[(said == Answer.GONE) | ((said == Answer.UNREACHABLE) & is_online)]
    silent = rows[(said == Answer.NOTHING) | ((said == Answer.UNREACHABLE) & (not is_online))]
    confirmed, checked = offers.last_confirmed.copy(), offers.last_checked.copy()
    verdict, since = offers.verdict.copy(), offers.gone_since.copy()
    answered, tries = offers.gone_answers.copy(), offers.tries.copy()
    checked[rows] = day
    confirmed[alive], verdict[alive], since[alive], answered[alive] = day, Verdict.ALIVE, NEVER, 0
    answered[gone] = np.minimum(answered[gone] + 1, np.iinfo(np.int16).max - 1)
    tries[silent] = np.minimum(tries[silent] + 1, np.iinfo(np.int16).max - 1)
    tries[alive] = tries[gone] = 0
    doubtful = np.concatenate([gone, silent])
    doubtful = doubtful[verdict[doubtful] == Verdict.ALIVE]
    verdict[doubtful] = Verdict.UNKNOWN
    dead = gone[answered[gone] >= rules.dead_after]
    verdict[dead], since[dead] = Verdict.DEAD_LINK, np.minimum(since[dead], day)
    return Offers(confirmed, checked, verdict, since, answered, tries, offers.askable)


def lapse(offers: Offers, rules: RecheckRules, day: int) -> Offers:
    """Return the offers with those expired that nobody has seen or found alive for `expires_days`."""
    over = (offers.verdict < Verdict.DEAD_LINK) & (day - offers.last_confirmed >= rules.expires_days)
    return replace(
        offers,
        verdict=np.where(over, np.int8(Verdict.EXPIRED), offers.verdict),
        gone_since=np.where(over, np.int32(day), offers.gone_since),
    )


def gone_since(rows: Rows, since: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """Return for each picture the day since which no offer of it is alive or unknown; NEVER where one is.

    Args:
        rows: Picture of each offer, (k,) int64 in [0, count).
        since: Day since which the offer is gone, (k,); NEVER while it is not.
        count: n, of pictures.

    Returns:
        (n,) int32: the day on which the last offer went. A picture without any offer is not gone.
    """
    gone = since != NEVER
    offers, dead = (np.bincount(some, minlength=count) for some in (rows, rows[gone]))
    latest = np.full(count, np.iinfo(np.int32).min, np.int32)
    np.maximum.at(latest, rows[gone], since[gone])
    return np.where((offers > 0) & (offers == dead), latest, NEVER)

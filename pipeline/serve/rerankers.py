"""Re-rankers: each is a function and a name in the table; a release names the ones it was judged with.

To add one: write the function below, add it to `RERANKERS` under a new name. A name means one behaviour for ever:
another threshold is another name, so that a release of last month still answers as it did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Final, Protocol

from reporting.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pipeline.serve.ranking import Ranked

_NEAR_TIE: Final = 0.005  # of 1 - cosine, which is an angle of 5.7 degrees


class ReRanker(Protocol):
    """Puts single items in another order, before they are grouped by product."""

    def __call__(self, shown: Sequence[Ranked]) -> Sequence[Ranked]:
        """Return the same items, none lost, none twice; the same order for the same input."""
        ...


def newer_among_near_ties(shown: Sequence[Ranked]) -> Sequence[Ranked]:
    """Among items that are as near as makes no difference show the one first that was seen on sale last.

    A run of near ties begins with the nearest item that is in none yet, and holds what lies within 0.005 of it; an
    item is moved within its run only. Ties in `last_seen` keep their order; an item without one is the oldest.
    """
    ordered: list[Ranked] = []
    run: list[Ranked] = []
    for one in shown:
        if run and one.hit.distance - run[0].hit.distance > _NEAR_TIE:
            ordered += sorted(run, key=_last_seen, reverse=True)
            run = []
        run.append(one)
    return ordered + sorted(run, key=_last_seen, reverse=True)


def _last_seen(one: Ranked) -> date:
    seen = one.row.get("last_seen")
    return date.min if seen is None else seen


RERANKERS: Final[Mapping[str, ReRanker]] = {"newer-among-near-ties": newer_among_near_ties}
"""None is on by default."""


def require_rerankers(names: Sequence[str], where: str = "ranking.rerankers") -> None:
    """Refuse names that nobody wrote, before a release is published or served.

    Raises:
        ConfigError: There is no re-ranker of a name; the message has the nearest one.
    """
    for name in names:
        if name not in RERANKERS:
            raise ConfigError.unknown_name("re-ranker", name, RERANKERS, where)


def reranked(shown: Sequence[Ranked], names: Sequence[str]) -> Sequence[Ranked]:
    """Apply re-rankers in order.

    Raises:
        ConfigError: There is no re-ranker of a name.
        DataError: One lost an item or showed one twice.
    """
    require_rerankers(names)
    for name in names:
        before, shown = shown, RERANKERS[name](shown)
        if sorted(one.hit.id for one in before) != sorted(one.hit.id for one in shown):
            raise DataError(
                f"re-ranker {name!r} returned {len(shown)} items for {len(before)}, not the same ones; "
                "it may only change their order: mend it"
            )
    return shown

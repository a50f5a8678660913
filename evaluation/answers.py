"""What a system answered: one row a hit, and one status a query. The one form that every Searcher ends in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Status(StrEnum):
    """What became of one query. Everything but ANSWERED scores 0 and is counted; nothing is ever dropped."""

    ANSWERED = "answered"
    """The system replied; the list may be empty."""
    MISSING = "missing"
    """The run has no row of it, or the searcher died before its turn."""
    TIMEOUT = "timeout"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Answers:
    """The raw answers of one system to a set's queries.

    Attributes:
        query_ids: n ids, in the order of the set.
        statuses: n.
        row: (h,) int64: for each hit the row of its query, any order.
        image_id: (h,) object (str): the catalogue's image_id, "" for what an index pads with (id -1). An id that the
            catalogue does not know is an orphan.
        distance: (h,) float64, lower is nearer (a TREC score negated; 1 - cosine for our index).
        group_id: (h,) object (str), the group that the system shows for the hit; None: the catalogue's.
        seconds: (n,) float64, time to answer; NaN unknown.
        errors: Message of each query with status error or timeout, by query_id.
        stands_for: image_id of the catalogue -> image_id under which this system returns it (a dropped duplicate is
            returned as its survivor). Applied to the catalogue before anything is counted.
    """

    query_ids: tuple[str, ...]
    statuses: tuple[Status, ...]
    row: NDArray[np.int64]
    image_id: NDArray[np.object_]
    distance: NDArray[np.float64]
    group_id: NDArray[np.object_] | None = None
    seconds: NDArray[np.float64] | None = None
    errors: Mapping[str, str] = field(default_factory=dict)
    stands_for: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hit:
    """One hit, for searchers that answer query by query; the fields are those of `Answers`."""

    image_id: str
    distance: float
    group_id: str | None = None


def answers_of(
    query_ids: Sequence[str],
    hits: Mapping[str, Sequence[Hit]],
    *,
    statuses: Mapping[str, Status] | None = None,
    seconds: Mapping[str, float] | None = None,
    errors: Mapping[str, str] | None = None,
    stands_for: Mapping[str, str] | None = None,
) -> Answers:
    """Build `Answers` from lists of hits; a query without an entry in `hits` is missing unless `statuses` says else.

    Example:
        >>> one = answers_of(["q1", "q2"], {"q1": [Hit("a", 0.1)]})
        >>> one.statuses, one.row.tolist(), one.image_id.tolist()
        ((<Status.ANSWERED: 'answered'>, <Status.MISSING: 'missing'>), [0], ['a'])
    """
    told = statuses or {}
    rows = [(row, hit) for row, query in enumerate(query_ids) for hit in hits.get(query, ())]
    shown = [hit.group_id for _, hit in rows]
    return Answers(
        query_ids=tuple(query_ids),
        statuses=tuple(told.get(query, Status.ANSWERED if query in hits else Status.MISSING) for query in query_ids),
        row=np.array([row for row, _ in rows], np.int64),
        image_id=np.array([hit.image_id for _, hit in rows], np.object_),
        distance=np.array([hit.distance for _, hit in rows], np.float64),
        group_id=None if all(group is None for group in shown) else np.array([g or "" for g in shown], np.object_),
        seconds=None if seconds is None else np.array([seconds.get(query, np.nan) for query in query_ids], np.float64),
        errors=dict(errors or {}),
        stands_for=dict(stands_for or {}),
    )

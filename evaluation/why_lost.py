"""Why a query found nothing among its first k products: what a person on call asks first, as far as the views tell.

The most certain cause comes first: no answer; a tie that its worst order loses; nothing of the product in the index;
an index or a routing that misses what a wider search finds; a rank beyond k; the model. Of a run file, which has one
view and no census, much must stay `not_returned`: no cause is made up (evaluation-index-eviction.md, 4.4).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date as Date
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.catalog import CatalogImage
from evaluation.evalset import EvalSet
from evaluation.measured import Floats, Measured
from evaluation.metrics import Lists, bounds_of, first_relevant_rank
from evaluation.slices import relevant_groups
from evaluation.system import View


class Why(StrEnum):
    """Why a query found nothing."""

    UNANSWERED = "unanswered"
    """Missing, timed out or failed."""
    TIE = "tie"
    """A relevant product is as near as the k-th: only the worst order of ties loses it."""
    EVICTED = "evicted"
    """The index holds no picture of it that could be found: they have left the window, or the baseline had them."""
    NOT_INDEXED = "not_indexed"
    """Likewise, though its pictures are of the window; or the catalogue itself has no live picture."""
    ANN_MISS = "ann_miss"
    """Exact search over the same rows has it among the first k."""
    WRONG_CATEGORY = "wrong_category"
    """In the labelled category it is among the first k."""
    RANKED_BEYOND_K = "ranked_beyond_k"
    """It is in the list, but too far down."""
    MODEL = "model"
    """Exact search does not bring it up either: its vector is far away."""
    NOT_RETURNED = "not_returned"
    """The list ends without it; there is no other view and no census that could say more."""


class Loss(NamedTuple):
    """What was found out about one query.

    Attributes:
        why: The cause.
        said: One sentence with the evidence.
    """

    why: Why
    said: str


def why_lost(
    evalset: EvalSet,
    measured: Measured,
    row: int,
    *,
    day: Date | None = None,
    k: int = 10,
    baseline: Measured | None = None,
) -> Loss | None:
    """Say why a query has no relevant product among its first k; see `LossReader` for many queries.

    Args:
        evalset: The set.
        measured: The system, of that set.
        row: The query's row in the set.
        day: Which pictures are live; None: the set's own day.
        k: The cut, >= 1.
        baseline: A system that may still hold what this one has lost.

    Returns:
        None where it has one, in the worst order of ties.
    """
    return LossReader(evalset, measured, day=day, k=k, baseline=baseline).of(row)


class LossReader:
    """`why_lost` for many queries of one system: what they share is worked out once."""

    def __init__(
        self,
        evalset: EvalSet,
        measured: Measured,
        *,
        day: Date | None = None,
        k: int = 10,
        baseline: Measured | None = None,
    ):
        self._set = evalset
        self._measured = measured
        self._day = day or evalset.gallery.as_of
        self._k = k
        self._baseline = baseline
        self._served = measured.views[View.SERVED]

    def of(self, row: int) -> Loss | None:
        """Say why a query is lost; None: it is not."""
        if not self._served.answered[row]:
            return self._unanswered(row)
        worst, best = self._bounds
        if worst[row] > 0:
            return None
        if best[row] > 0:
            return Loss(
                Why.TIE, f"a relevant product is as near as the {self._k}th: in the worst order it is beyond it"
            )
        live = self._live_pictures(row)
        if not live:
            return Loss(Why.NOT_INDEXED, "the catalogue itself has no live picture of it besides the query's own")
        gone = [image for image in live if self._is_gone(image)]
        if len(gone) == len(live):
            return self._lost_from_index(row, gone, live)
        return self._by_views(row) or self._lost_to_baseline(row, gone, live) or self._by_list(row)

    @cached_property
    def ranks(self) -> Mapping[View, NDArray[np.int64]]:
        """Rank, from 1, of the first relevant product of each query in the worst order of ties, 0 for none, by view."""
        return {
            view: first_relevant_rank(Lists(ranked).worst_groups > 0) for view, ranked in self._measured.views.items()
        }

    @cached_property
    def _bounds(self) -> tuple[Floats, Floats]:
        name = f"hit@{self._k}"
        found = self._measured.bounds.get(name) or bounds_of(name, self._served)
        return found[0], found[1]

    @cached_property
    def _relevant(self) -> Mapping[str, set[str]]:
        return relevant_groups(self._set)

    @cached_property
    def _pictures(self) -> Mapping[str, Sequence[CatalogImage]]:
        by: defaultdict[str, list[CatalogImage]] = defaultdict(list)
        for image in self._set.catalog:
            if image.is_live(self._day):
                by[image.group_id].append(image)
        return by

    @cached_property
    def _category_of(self) -> Mapping[str, str]:
        return {image.image_id: image.category for image in self._set.catalog}

    @cached_property
    def _empty_groups(self) -> frozenset[str]:
        """Groups of which a census has named no picture held; a census names the first twenty only."""
        facts = [fact for fact in self._measured.facts if fact.metric == "groups_with_zero_images"]
        return frozenset(name for fact in facts for name in fact.examples)

    def _live_pictures(self, row: int) -> list[CatalogImage]:
        query = self._set.queries[row]
        return [
            image
            for group in sorted(self._relevant[query.query_id])
            for image in self._pictures.get(group, ())
            if not query.sha256 or image.sha256 != query.sha256
        ]

    def _is_gone(self, image: CatalogImage) -> bool:
        if self._measured.absent is not None:
            return image.image_id in self._measured.absent
        return image.group_id in self._empty_groups

    def _unanswered(self, row: int) -> Loss:
        query_id = self._set.queries[row].query_id
        status = str(self._measured.statuses[row]) if self._measured.statuses else "no answer"
        message = self._measured.errors.get(query_id, "")
        return Loss(Why.UNANSWERED, f"{status}: {message}" if message else status)

    def _lost_from_index(self, row: int, gone: Sequence[CatalogImage], live: Sequence[CatalogImage]) -> Loss:
        """Tell what has left the window, or what the baseline still had, from what never came in."""
        held = f"the index holds {len(live) - len(gone) or 'none'} of its {len(live)} live pictures"
        window, as_of = self._set.gallery.window_days, self._day
        seen = [image.last_day for image in gone if image.last_day is not None]
        if window is not None and as_of is not None and len(seen) == len(gone):
            age = (as_of - max(seen)).days
            if age >= window:
                return Loss(
                    Why.EVICTED, f"{held}: last seen on {max(seen)}, {age} days ago, the window has {window} days"
                )
        if self._baseline is not None:
            names = {image.image_id for image in gone}
            returned = next((name for name in self._baseline_names(row) if name in names), None)
            if returned is not None:
                return Loss(Why.EVICTED, f"{held}: {self._baseline.system} still returns {returned}")
        return Loss(Why.NOT_INDEXED, held)

    def _baseline_names(self, row: int) -> list[str]:
        """Return the relevant pictures in the baseline's list, nearest first."""
        assert self._baseline is not None
        served = self._baseline.views[View.SERVED]
        names: list[str] = served.image_names[row][served.image_grades[row] > 0].tolist()
        return names

    def _by_views(self, row: int) -> Loss | None:
        """Compare with the views that search more widely than users are served."""
        found = {view: int(ranks[row]) for view, ranks in self.ranks.items() if 0 < ranks[row] <= self._k}
        category = self._set.queries[row].category
        if View.EXACT in found:
            rank = found[View.EXACT]
            return Loss(Why.ANN_MISS, f"exact search over the same rows has it at rank {rank}; the index missed it")
        if View.ORACLE in found:
            return Loss(Why.WRONG_CATEGORY, f"searched in its category {category} it is at rank {found[View.ORACLE]}")
        if View.EXACT_ORACLE in found:
            return Loss(
                Why.WRONG_CATEGORY,
                f"exact search in its category {category} has it at rank {found[View.EXACT_ORACLE]}; the index misses"
                " it there, too",
            )
        return None

    def _lost_to_baseline(self, row: int, gone: Sequence[CatalogImage], live: Sequence[CatalogImage]) -> Loss | None:
        """Say that what the baseline found by is no longer held, though other pictures of the product are."""
        if self._baseline is None or not gone:
            return None
        names = {image.image_id for image in gone}
        lost = [name for name in self._baseline_names(row)[: self._k] if name in names]
        return self._lost_from_index(row, [one for one in gone if one.image_id in lost], live) if lost else None

    def _by_list(self, row: int) -> Loss:
        """Look at the served list itself, and at how far down a wider search has it."""
        rank = int(self.ranks[View.SERVED][row])
        if rank:
            return Loss(Why.RANKED_BEYOND_K, f"it is at rank {rank}, the cut is {self._k}")
        category, views = self._set.queries[row].category, self._measured.views
        length = int((self._served.group_grades[row] >= 0).sum())
        best = next((view for view in (View.EXACT_ORACLE, View.EXACT) if view in views), None)
        if best is not None:
            at = int(self.ranks[best][row])
            where = f"in its category {category} " if best is View.EXACT_ORACLE else ""
            listed = f"has it at rank {at}" if at else f"does not list it among {views[best].group_names.shape[1]}"
            return Loss(Why.MODEL, f"exact search {where}{listed}")
        names = [name for name in self._served.image_names[row, : self._k].tolist() if name]
        seen = {self._category_of[name] for name in names if name in self._category_of}
        if seen and category not in seen and View.ORACLE not in views:
            return Loss(
                Why.WRONG_CATEGORY,
                f"none of its first {len(names)} pictures is of its category {category}; the nearest is of"
                f" {self._category_of.get(names[0], 'none that the catalogue knows')}",
            )
        ended = f"the list of {length} products ends without it" if length else "the list is empty"
        return Loss(Why.NOT_RETURNED, f"{ended}; only exact search or a census could say why")

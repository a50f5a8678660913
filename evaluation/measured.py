"""A system measured on a set: one value a query for each metric, and which queries make up which slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.answers import Status
from evaluation.system import Fact, View

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Ranked:
    """The canonical lists of n queries as padded arrays, which is what metrics take (see evaluation/ranking.py).

    Attributes:
        image_grades: (n, w) int8: grade of the r-th distinct picture, 0 irrelevant or unlabelled, -1 beyond the end.
        image_names: (n, w) object (str), "" beyond the end.
        image_distances: (n, w) float64, rising; NaN beyond the end.
        group_grades: (n, m) int8: the same for distinct groups, each at the place of its nearest picture.
        group_names: (n, m) object (str).
        group_distances: (n, m) float64.
        findable: (n,) int64: live pictures of the relevant groups, the query's own picture not counted.
        findable_groups: (n,) int64: relevant groups with at least one such picture.
        answered: (n,) bool: status answered.
        padded: (n,) int64: hits dropped because their id was empty (-1).
        self_matches: (n,) int64: hits dropped because they are the query's very picture (by hash).
        duplicates: (n,) int64: hits dropped because their id had come before.
        orphans: (n,) int64: kept ids that the catalogue does not know; they take their place, never relevant.
        findable_same: (n,) int64: of `findable`, the pictures of grade 2, for nDCG's ideal list; None: all of them.
    """

    image_grades: NDArray[np.int8]
    image_names: NDArray[np.object_]
    image_distances: Floats
    group_grades: NDArray[np.int8]
    group_names: NDArray[np.object_]
    group_distances: Floats
    findable: NDArray[np.int64]
    findable_groups: NDArray[np.int64]
    answered: Bools
    padded: NDArray[np.int64]
    self_matches: NDArray[np.int64]
    duplicates: NDArray[np.int64]
    orphans: NDArray[np.int64]
    findable_same: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """A system's values.

    Attributes:
        system: Its name.
        set_id: The set.
        query_ids: n, in the order of the set.
        clusters: n, the product of each query.
        values: Metric -> (n,) float64. Per-query metrics of the served view (`hit@10`, `recall@10`, ...) and the
            differences between views (`ann_loss@10`, `routing_loss@10`, `model_loss@10`, `label_loss@10`), where the
            views are there.
        bounds: For `hit@k`, `recall@k` and `capped_recall@k` with ties at the cut: (worst, best, expected), each (n,);
            `values` has the worst.
        slices: Slice -> (n,) bool; `all` always, then `category=...`, `freq=head|torso|tail`, `age=...`, ...
        views: The ranked lists of each view.
        facts: As the system's.
        inputs: As the system's.
        curve: As the system's.
        errors: Message by query_id of the unanswered.
        seconds: (n,) float64, NaN unknown.
        statuses: n, what became of each query; () where nobody told.
        absent: As the system's.
    """

    system: str
    set_id: str
    query_ids: tuple[str, ...]
    clusters: tuple[str, ...]
    values: Mapping[str, Floats]
    bounds: Mapping[str, tuple[Floats, Floats, Floats]]
    slices: Mapping[str, Bools]
    views: Mapping[View, Ranked]
    facts: tuple[Fact, ...]
    inputs: Mapping[str, str]
    curve: Mapping[int, float]
    errors: Mapping[str, str]
    seconds: Floats
    statuses: tuple[Status, ...] = ()
    absent: frozenset[str] | None = None

    def fact(self, metric: str, slice_name: str = "all") -> Fact | None:
        """Return a fact, None if it was not measured."""
        return next((one for one in self.facts if (one.metric, one.slice) == (metric, slice_name)), None)

"""A real index over drawn vectors of the small world, so that faults can be put into an index and not into answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from evaluation.answers import Answers, Status
from evaluation.census import census
from evaluation.evalset import EvalSet
from evaluation.system import Fact, System, View
from tests.evaluation.gate_world import AS_OF, FIRST

DIMENSION, CELLS, CODES, PROBES, WIDTH = 32, 16, 16, 8, 20
Vectors = NDArray[np.float32]


class Drawn:
    """Vectors of the pictures and queries: each product has a place, its pictures and queries lie around it."""

    def __init__(self, evalset: EvalSet):
        chance = np.random.default_rng(7)
        products = sorted({image.group_id for image in evalset.catalog})
        middle = dict(zip(products, chance.normal(size=(len(products), DIMENSION)), strict=True))

        def around(group: str) -> NDArray[np.float64]:
            return np.asarray(middle[group] + 0.25 * chance.normal(size=DIMENSION), np.float64)

        self.evalset = evalset
        self.pictures = self._unit([around(image.group_id) for image in evalset.catalog])
        self.queries = self._unit([around(query.cluster) for query in evalset.queries])
        self.days = np.array([(image.first_day or FIRST).toordinal() for image in evalset.catalog])

    @cached_property
    def empty(self) -> Any:
        """A trained index without rows."""
        return trained(self.pictures)

    @staticmethod
    def _unit(rows: list[NDArray[np.float64]]) -> Vectors:
        found = np.array(rows, np.float32)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def trained(on: Vectors, quantizer: Any = None) -> Any:
    """Return an empty index with codebooks of its own; by one quantizer faiss takes two for mergeable."""
    index = faiss.IndexIVFPQ(quantizer or faiss.IndexFlatL2(DIMENSION), DIMENSION, CELLS, CODES, 8)
    index.cp.seed = index.pq.cp.seed = 1
    index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1
    index.train(on)
    return index


def built(drawn: Drawn, ids: NDArray[np.int64], day_with_other_codes: int | None = None) -> Any:
    """Return the merged index of all days, each added as a shard; one may have been trained on other data."""
    index: Any = faiss.clone_index(drawn.empty)
    for day in np.unique(drawn.days):
        rows = np.flatnonzero(drawn.days == day)
        shard = faiss.clone_index(index)
        shard.reset()
        if day == day_with_other_codes:
            shard = trained(np.ascontiguousarray(drawn.pictures[:, ::-1] * 3), faiss.clone_index(index.quantizer))
        shard.add_with_ids(drawn.pictures[rows], ids[rows])
        index.merge_from(shard, 0)  # faiss compares the coarse centroids only (evaluation-index-eviction.md, 0)
    return index


def system(drawn: Drawn, index: Any, *, probes: int = PROBES) -> System:
    """Return the index as a system: served, exact over the same rows, census, and a self-probe of each day."""
    index.nprobe = probes
    names = [image.image_id for image in drawn.evalset.catalog]
    held = _ids(index)
    distances, found = index.search(drawn.queries, WIDTH)
    flat = faiss.IndexIDMap(faiss.IndexFlatL2(DIMENSION))
    flat.add_with_ids(drawn.pictures[held], held)
    exact = flat.search(drawn.queries, WIDTH)
    days = [(drawn.evalset.catalog[row].first_day or FIRST) for row in held]
    categories = [drawn.evalset.catalog[row].category for row in held]
    rows = [(names[row], category, day) for row, category, day in zip(held, categories, days, strict=True)]
    facts = (*census(drawn.evalset.catalog, rows, day=AS_OF), *_self_probe(drawn, index))
    named: Callable[[Any, Any], Answers] = lambda near, ids: _answers(drawn, names, near, ids)  # noqa: E731
    return System(
        "index", {View.SERVED: named(distances, found), View.EXACT: named(*exact)}, facts, {"index": "0" * 64}
    )


def _ids(index: Any) -> NDArray[np.int64]:
    lists = index.invlists
    parts = [
        faiss.rev_swig_ptr(lists.get_ids(cell), lists.list_size(cell)).copy()
        for cell in range(CELLS)
        if lists.list_size(cell)
    ]
    return np.sort(np.concatenate(parts)).astype(np.int64)


def _answers(drawn: Drawn, names: list[str], near: NDArray[Any], ids: NDArray[Any]) -> Answers:
    n = len(drawn.queries)
    return Answers(
        query_ids=tuple(query.query_id for query in drawn.evalset.queries),
        statuses=(Status.ANSWERED,) * n,
        row=np.repeat(np.arange(n), ids.shape[1]),
        image_id=np.array([names[one] if one >= 0 else "" for one in ids.ravel()], np.object_),
        distance=near.ravel().astype(np.float64),
    )


def _self_probe(drawn: Drawn, index: Any) -> list[Fact]:
    facts = []
    found = index.search(drawn.pictures, 5)[1]
    itself = (found == np.arange(len(drawn.pictures))[:, None]).any(axis=1)
    for day in np.unique(drawn.days):
        rows = drawn.days == day
        name = f"day={FIRST.fromordinal(int(day)).isoformat()}"
        facts.append(Fact(metric="self_recall@5", slice=name, value=float(itself[rows].mean()), n=int(rows.sum())))
    return facts

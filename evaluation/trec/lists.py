"""Qrels and a run joined: each query's results in trec_eval's order, with the grade that was judged.

trec_eval's order (form_res_rels.c): score descending, compared as float32, then document id descending by bytes; the
file's rank column and order of lines do not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.trec.files import Ints, TrecTable

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NOT_POOLED = -1
"""Grade of a result that the qrels do not name."""
NOT_JUDGED = -2
"""Grade of a result that the qrels name with a grade below 0: in the pool, but nobody looked."""


@dataclass(frozen=True, slots=True)
class Rows:
    """n lists of any length, laid end to end.

    Attributes:
        start: (n + 1,) int64: list i is [start[i], start[i + 1]).
        row: (h,) int64: the list of each element, rising.
        place: (h,) int64: its place in the list, from 1.
    """

    start: Ints
    row: Ints
    place: Ints

    @property
    def lengths(self) -> Ints:
        """Return (n,) int64."""
        return np.diff(self.start)

    def total(self, values: NDArray[np.generic]) -> Floats:
        """Return (n,) float64: the sum of (h,) values in each list, added in order; 0 for an empty list."""
        return np.bincount(self.row, values.astype(np.float64), len(self.start) - 1).astype(np.float64)

    def running(self, values: NDArray[np.generic]) -> Floats:
        """Return (h,) float64: the sum of a list's values up to and with each element."""
        sums = values.astype(np.float64)
        for first, last in zip(self.start[:-1].tolist(), self.start[1:].tolist(), strict=True):
            np.cumsum(sums[first:last], out=sums[first:last])
        return sums

    def counted(self, marked: Bools) -> Ints:
        """Return (h,) int64: how many of a list's elements are marked, up to and with each."""
        sums = np.concatenate([[0], np.cumsum(marked)])
        return np.asarray(sums[1:] - sums[self.start[self.row]], np.int64)


@dataclass(frozen=True, slots=True)
class Lists:
    """What measures take.

    Attributes:
        queries: n ids, rising by bytes.
        hits: The h results, in trec_eval's order.
        grade: (h,) int64: 0 and up as judged, or NOT_POOLED, NOT_JUDGED.
        level: Grade from which a document counts as relevant.
        is_relevant: (h,) bool.
        found: (h,) int64: relevant results up to and with each.
        relevant: (n,) int64: relevant documents that the qrels name (trec_eval's num_rel).
        nonrelevant: (n,) int64: documents judged below the level.
        ideal: The g judged documents of grade 1 and up, best first.
        ideal_gain: (g,) int64: their grades.
        run_id: The run's name.
    """

    queries: tuple[bytes, ...]
    hits: Rows
    grade: Ints
    level: int
    is_relevant: Bools
    found: Ints
    relevant: Ints
    nonrelevant: Ints
    ideal: Rows
    ideal_gain: Ints
    run_id: str

    @property
    def retrieved(self) -> Ints:
        """Return (n,) int64: results of each query."""
        return self.hits.lengths

    @property
    def relevant_retrieved(self) -> Floats:
        """Return (n,) float64, whole numbers."""
        return self.hits.total(self.is_relevant)


def rows_of(row: Ints, count: int) -> Rows:
    """Return the lists that rising row numbers in [0, count) make."""
    start = np.searchsorted(row, np.arange(count + 1)).astype(np.int64)
    return Rows(start, row, np.arange(len(row), dtype=np.int64) - start[row] + 1)


def join(
    qrels: TrecTable, run: TrecTable, *, complete: bool = False, level: int = 1, max_results: int | None = None
) -> Lists:
    """Rank a run and look its documents up in the qrels.

    Args:
        qrels: Judgements.
        run: Results; those of queries that the qrels do not name are left out.
        complete: Take every query of the qrels, one that the run does not answer as an empty list (trec_eval's -c);
            otherwise those that both files name.
        level: Grade from which a document counts as relevant, >= 1 (-l).
        max_results: Results kept of each query, >= 1; None: all (-M).
    """
    answered = frozenset(run.queries)
    queries = tuple(name for name in qrels.queries if complete or name in answered)
    row, place, grade = _hits(qrels, run, queries, max_results)
    hits = Rows(np.searchsorted(row, np.arange(len(queries) + 1)).astype(np.int64), row, place)
    judged_row = _places(queries, qrels.queries)[qrels.query]
    judged = qrels.value.astype(np.int64)
    gains = np.flatnonzero((judged > 0) & (judged_row >= 0))
    gains = gains[np.lexsort((-judged[gains], judged_row[gains]))]
    is_relevant = grade >= level
    return Lists(
        queries=queries,
        hits=hits,
        grade=grade,
        level=level,
        is_relevant=is_relevant,
        found=hits.counted(is_relevant),
        relevant=_count(judged_row[judged >= level], len(queries)),
        nonrelevant=_count(judged_row[(judged >= 0) & (judged < level)], len(queries)),
        ideal=rows_of(judged_row[gains], len(queries)),
        ideal_gain=judged[gains],
        run_id=run.run_id,
    )


def _hits(
    qrels: TrecTable, run: TrecTable, queries: tuple[bytes, ...], max_results: int | None
) -> tuple[Ints, Ints, Ints]:
    """Return row, place and grade of each result that counts, in order."""
    row = _places(queries, run.queries)[run.query]
    order = np.lexsort((-run.document, -run.value.astype(np.float32), row))
    order = order[row[order] >= 0]
    ranked = rows_of(row[order], len(queries))
    if max_results is not None:
        order = order[ranked.place <= max_results]
        ranked = rows_of(row[order], len(queries))
    # a pair (query, document) as one number, in the qrels' numbering; -1: the qrels know no such document
    document = _places(qrels.documents, run.documents)[run.document[order]]
    query = _places(qrels.queries, run.queries)[run.query[order]]
    wanted = np.where(document >= 0, query * len(qrels.documents) + document, -1)
    pairs = qrels.query * len(qrels.documents) + qrels.document
    by_pair = np.argsort(pairs)
    at = np.minimum(np.searchsorted(pairs, wanted, sorter=by_pair), len(pairs) - 1)
    judged = qrels.value.astype(np.int64)[by_pair[at]]
    known = pairs[by_pair[at]] == wanted
    grade = np.where(known, np.where(judged < 0, NOT_JUDGED, judged), NOT_POOLED)
    return ranked.row, ranked.place, grade


def _places(known: tuple[bytes, ...], names: tuple[bytes, ...]) -> Ints:
    """Return for each name its place among the known, -1 where it is none of them."""
    place = {name: number for number, name in enumerate(known)}
    return np.array([place.get(name, -1) for name in names], np.int64)


def _count(row: Ints, count: int) -> Ints:
    return np.bincount(row[row >= 0], minlength=count).astype(np.int64)

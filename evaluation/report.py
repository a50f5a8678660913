"""One evaluation run: search every query, rank canonically, measure all queries and each category."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.catalog import Catalog
from evaluation.evalset import EvalSet, LabelledQuery
from evaluation.metrics import (
    HitBounds,
    capped_recall_at_k,
    first_relevant_rank,
    hit_at_k,
    hit_bounds_at_k,
    recall_at_k,
)
from evaluation.ranking import RankedArrays, Ranking, as_arrays, rank
from evaluation.result import ALL, EvaluationResult, IntervalKind, MetricValue, QueryOutcome, Route, SliceResult
from evaluation.searcher import Hit, Searcher
from evaluation.stats import clustered_interval, wilson_interval
from reporting.errors import DataError

# Pictures given to the searcher at a time: bounds the memory, 64 photos of a few MB each.
_BATCH = 64


def evaluate(
    evalset: EvalSet,
    catalog: Catalog,
    searcher: Searcher,
    *,
    searcher_facts: Mapping[str, str],
    ks: Sequence[int] = (1, 5, 10),
    depth: int | None = None,
    route: Route = "labelled",
) -> EvaluationResult:
    """Search every query and measure the answers.

    Args:
        evalset: The labelled queries.
        catalog: The catalogue of record.
        searcher: What is judged.
        searcher_facts: What identifies it, for the result.
        ks: Cuts, each >= 1.
        depth: Raw hits asked for, > max(ks) so that collapsing cannot starve the list and ties at the
            cut are seen; default 10 x max(ks).
        route: Search the labelled category, or let the system route.

    Raises:
        DataError: The searcher broke its contract, a picture changed, or ks and depth do not fit.
    """
    hits_wanted = 10 * max(ks, default=1) if depth is None else depth
    if not ks or min(ks) < 1 or hits_wanted <= max(ks):
        raise DataError(f"evaluation: k {tuple(ks)} with depth {hits_wanted}; expected 1 <= k < depth")
    answers = _search_all(evalset, searcher, hits_wanted, route)
    return measure_answers(
        evalset, catalog, answers, searcher_facts=searcher_facts, ks=ks, depth=hits_wanted, route=route
    )


def measure_answers(
    evalset: EvalSet,
    catalog: Catalog,
    answers: Sequence[Sequence[Hit]],
    *,
    searcher_facts: Mapping[str, str],
    ks: Sequence[int],
    depth: int,
    route: Route,
) -> EvaluationResult:
    """Measure answers that were given already; one for each query, in order, empty if unanswered.

    The other arguments are those of `evaluate`.
    """
    queries, cuts = evalset.queries, tuple(sorted(set(ks)))
    rankings = [
        rank(hits, group=query.group, catalog=catalog, self_sha256=query.sha256)
        for query, hits in zip(queries, answers, strict=True)
    ]
    findable = [catalog.findable_count(query.group, without_sha256=query.sha256) for query in queries]
    arrays = as_arrays(rankings, findable)
    return EvaluationResult(
        evalset=evalset.name,
        evalset_sha256=evalset.sha256,
        searcher=dict(sorted(searcher_facts.items())),
        ks=cuts,
        depth=depth,
        route=route,
        query_count=len(queries),
        answered_count=int(arrays.answered.sum()),
        unfindable_count=int((arrays.findable == 0).sum()),
        duplicate_count=sum(ranking.duplicates for ranking in rankings),
        orphan_count=sum(ranking.orphans for ranking in rankings),
        slices=slice_metrics(queries, arrays, cuts),
        outcomes=_outcomes(queries, rankings, arrays),
    )


def _search_all(evalset: EvalSet, searcher: Searcher, depth: int, route: Route) -> list[list[Hit]]:
    """Search in batches of one category, and put the answers back in order of the set."""
    batches: defaultdict[str | None, list[int]] = defaultdict(list)
    for at, query in enumerate(evalset.queries):
        batches[query.category if route == "labelled" else None].append(at)
    answers: list[list[Hit]] = [[] for _ in evalset.queries]
    for category, members in batches.items():
        for start in range(0, len(members), _BATCH):
            batch = members[start : start + _BATCH]
            got = searcher.search([evalset.picture(evalset.queries[at]) for at in batch], depth, category)
            if len(got) != len(batch):
                raise DataError(
                    f"searcher: {len(got)} answers to {len(batch)} pictures of category {category or ALL};"
                    " expected one list for each, empty if unanswered"
                )
            for at, hits in zip(batch, got, strict=True):
                answers[at] = hits
    return answers


def slice_metrics(queries: Sequence[LabelledQuery], arrays: RankedArrays, ks: Sequence[int]) -> tuple[SliceResult, ...]:
    """Measure all queries, then each category by name."""
    columns: dict[str, tuple[NDArray[np.float64], IntervalKind]] = {}
    for k in ks:
        bounds: HitBounds = hit_bounds_at_k(arrays.groups_relevant, arrays.group_distances, k)
        columns |= {
            f"hit@{k}": (hit_at_k(arrays.groups_relevant, k), "wilson"),
            f"hit@{k}.worst": (bounds.worst, "wilson"),
            f"hit@{k}.best": (bounds.best, "wilson"),
            f"hit@{k}.expected": (bounds.expected, "wilson"),
            f"tied@{k}": (bounds.is_tied.astype(np.float64), "none"),
            f"recall@{k}": (recall_at_k(arrays.images_relevant, arrays.findable, k), "wilson_clustered"),
            f"capped_recall@{k}": (
                capped_recall_at_k(arrays.images_relevant, arrays.findable, k),
                "wilson_clustered",
            ),
            f"short_list@{k}": ((arrays.group_counts < k).astype(np.float64), "none"),
        }
    columns["answer_rate"] = (arrays.answered.astype(np.float64), "none")
    members: dict[str, list[int]] = {ALL: list(range(len(queries)))}
    for category in sorted({query.category for query in queries}):
        members[f"category={category}"] = [at for at, query in enumerate(queries) if query.category == category]
    return tuple(
        SliceResult(
            slice=name,
            metrics=tuple(
                _measured(metric, values[rows], [queries[at].group for at in rows], kind)
                for metric, (values, kind) in columns.items()
            ),
        )
        for name, rows in members.items()
    )


def _measured(name: str, values: NDArray[np.float64], clusters: list[str], kind: IntervalKind) -> MetricValue:
    """Average one metric over a slice and give it its interval."""
    mean = min(1.0, float(values.mean())) if len(values) else 0.0
    low, high = mean, mean
    if kind == "wilson":
        low, high = wilson_interval(min(float(values.sum()), len(values)), len(values))
    elif kind == "wilson_clustered":
        low, high = clustered_interval(values.tolist(), clusters)
    return MetricValue(name=name, value=mean, n=len(values), ci_low=low, ci_high=high, interval=kind)


def _outcomes(
    queries: Sequence[LabelledQuery], rankings: Sequence[Ranking], arrays: RankedArrays
) -> tuple[QueryOutcome, ...]:
    """Write down what became of each query."""
    ranks = first_relevant_rank(arrays.groups_relevant)
    return tuple(
        QueryOutcome(
            path=query.path,
            group=query.group,
            category=query.category,
            is_answered=ranking.is_answered,
            first_rank=int(ranks[row]),
            found=sum(ranking.are_relevant),
            findable=int(arrays.findable[row]),
            duplicates=ranking.duplicates,
            self_matches=ranking.self_matches,
            orphans=ranking.orphans,
        )
        for row, (query, ranking) in enumerate(zip(queries, rankings, strict=True))
    )

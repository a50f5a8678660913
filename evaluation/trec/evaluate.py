"""A run measured against judgements: values of each query, and what trec_eval says over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evaluation.trec.files import TrecTable
from evaluation.trec.lists import Lists, join
from evaluation.trec.table import Asked, Summary
from reporting.errors import DataError, UsageError

Value: TypeAlias = float | int | str
_NOT_OF_ONE_QUERY = (Summary.GEOMETRIC, Summary.QUERIES, Summary.RUN_ID)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came out.

    Attributes:
        asked: The measures, in the order asked.
        queries: Number of queries averaged over.
        measures: Measure -> what it says over all queries: a float, an int for counts, the run id.
        per_query: Query -> measure -> value, queries rising by bytes.
        unanswered: Queries of the qrels that the run does not name. They count as 0 if the evaluation is complete;
            else, as in trec_eval, they are left out of every mean.
        unjudged: Queries of the run that the qrels do not name; always left out.
    """

    asked: tuple[Asked, ...]
    queries: int
    measures: Mapping[str, Value]
    per_query: Mapping[str, Mapping[str, Value]]
    unanswered: tuple[str, ...]
    unjudged: tuple[str, ...]


def evaluate_run(
    qrels: TrecTable,
    run: TrecTable,
    asked: Sequence[Asked],
    *,
    complete: bool = False,
    level: int = 1,
    max_results: int | None = None,
) -> Evaluation:
    """Measure a run.

    Args:
        qrels: Judgements.
        run: Results.
        asked: Measures, see `asked_for`.
        complete: Average over every query of the qrels (-c): one without results has 0, 1e-5 in a geometric mean.
        level: Grade from which a document counts as relevant, >= 1 (-l).
        max_results: Results looked at of each query, >= 1; None: all (-M).

    Raises:
        UsageError: level or max_results below 1. DataError: the files have no query in common.
    """
    if level < 1 or (max_results is not None and max_results < 1):
        raise UsageError(f"level {level} and max-results {max_results}: both must be 1 or more")
    answered, judged = frozenset(run.queries), frozenset(qrels.queries)
    if not answered & judged:
        raise DataError(
            f"{run.source} and {qrels.source} have no query in common (first of each: {_text(run.queries[0])!r}, "
            f"{_text(qrels.queries[0])!r}); give the qrels that the run was made for"
        )
    lists = join(qrels, run, complete=complete, level=level, max_results=max_results)
    measures, per_query = _values(lists, asked)
    return Evaluation(
        asked=tuple(asked),
        queries=len(lists.queries),
        measures=measures,
        per_query=per_query,
        unanswered=tuple(_text(query) for query in qrels.queries if query not in answered),
        unjudged=tuple(_text(query) for query in run.queries if query not in judged),
    )


def trec_eval_text(found: Evaluation, *, per_query: bool = False) -> str:
    """Return trec_eval's own output: a line `measure<TAB>query<TAB>value` each, of `all` last."""
    blocks = [*(found.per_query.items() if per_query else ()), ("all", found.measures)]
    lines = [
        f"{one.name:<22}\t{query}\t{_printed(values[one.name], quoted=one.measure.summary is Summary.NOTHING)}\n"
        for query, values in blocks
        for one in found.asked
        if one.name in values
    ]
    return "".join(lines)


def _values(lists: Lists, asked: Sequence[Asked]) -> tuple[dict[str, Value], dict[str, dict[str, Value]]]:
    """Return what the measures say over all queries, and of each."""
    measures: dict[str, Value] = {}
    per_query: dict[str, dict[str, Value]] = {_text(query): {} for query in lists.queries}
    for one in asked:
        kind, values = one.measure.summary, one.measure.values(lists, one.parameter)
        said = _summary(kind, values, lists)
        if said is not None:
            measures[one.name] = said
        if kind not in _NOT_OF_ONE_QUERY:
            column = (values.astype(np.int64) if kind is Summary.SUM else values).tolist()
            for row, value in zip(per_query.values(), column, strict=True):
                row[one.name] = value
    return measures, per_query


def _summary(kind: Summary, values: NDArray[Any], lists: Lists) -> Value | None:
    count = len(lists.queries)
    match kind:
        case Summary.MEAN:
            return float(_sum(values) / count)
        case Summary.SUM:
            return int(values.sum())
        case Summary.GEOMETRIC:
            return float(np.exp(_sum(values) / count))
        case Summary.QUERIES:
            return count
        case Summary.RUN_ID:
            return lists.run_id
        case Summary.NOTHING:
            return None


def _sum(values: NDArray[Any]) -> float:
    """Add one after the other, as trec_eval does: numpy's own sum adds in pairs, and the last digit may differ."""
    return float(sum(values.tolist()))


def _printed(value: Value, *, quoted: bool) -> str:
    if isinstance(value, float):
        return f"{value:6.4f}"
    return f"'{value}'" if quoted else str(value)


def _text(name: bytes) -> str:
    return name.decode()

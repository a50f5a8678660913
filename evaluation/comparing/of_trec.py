"""TREC runs and the judgements they are measured by, as columns to compare.

Always complete: a query of the qrels that a run does not answer counts as 0, or the runs would be compared over
different queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluation.comparing.columns import Columns, SystemColumns, chosen, unique_names
from evaluation.trec.evaluate import Evaluation, evaluate_run
from evaluation.trec.files import read_qrels, read_run
from evaluation.trec.table import Asked, Summary, asked_for
from reporting.errors import UsageError

MEASURES = ("map", "ndcg_cut_10", "recip_rank", "P_10", "recall_100", "success_10")
"""What is tested unless somebody says otherwise; the first is the headline."""
_SHARE = "success"


def columns_of_trec(
    qrels: Path, runs: Sequence[Path], *, measures: Sequence[str] = MEASURES, level: int = 1
) -> Columns:
    """Measure runs on the same judgements.

    Args:
        qrels: The judgements.
        runs: At least two.
        measures: trec_eval's names; the first is the headline. Each must have a mean and lie in [0, 1].
        level: Grade from which a document is relevant, >= 1.

    Raises:
        UsageError: Fewer than two runs, or a measure that is unknown or no mean of values in [0, 1].
        DataError: A file cannot be read, or has no query in common with the judgements.
    """
    if len(runs) < 2:
        raise UsageError(f"{len(runs)} runs; expected two or more to compare")
    asked = asked_for(measures)
    judged = read_qrels(qrels)
    results = [read_run(path) for path in runs]
    found = [evaluate_run(judged, one, asked, complete=True, level=level) for one in results]
    questions = tuple(found[0].per_query)
    names = unique_names([path.name for path in runs], [str(path) for path in runs])
    systems = tuple(_system(one, asked, name) for one, name in zip(found, names, strict=True))
    return Columns(
        about=qrels.name,
        questions=questions,
        clusters=questions,
        slices={"all": np.ones(len(questions), np.bool_)},
        shares=frozenset(one.name for one in asked if one.measure.name == _SHARE),
        systems=systems,
        tested=chosen([one.name for one in asked], [one.name for one in asked]),
    )


def _system(found: Evaluation, asked: Sequence[Asked], name: str) -> SystemColumns:
    values = {}
    for one in asked:
        column = [row.get(one.name) for row in found.per_query.values()]
        numbers = [value for value in column if isinstance(value, float)]
        is_mean = one.measure.summary is Summary.MEAN and len(numbers) == len(column)
        if not is_mean or not all(0 <= value <= 1 for value in numbers):
            raise UsageError(
                f"measure {one.name} is no mean of values from 0 to 1, so runs cannot be tested on it; "
                f"choose others, e.g. {','.join(MEASURES)}"
            )
        values[one.name] = np.array(numbers, np.float64)
    unanswered = frozenset(found.unanswered)
    counts = {"unanswered": len(unanswered), "unjudged": len(found.unjudged)}
    return SystemColumns(
        name=name,
        values=values,
        answered=np.array([query not in unanswered for query in found.per_query], np.bool_),
        notes={what: count for what, count in counts.items() if count},
    )

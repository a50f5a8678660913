"""Systems measured on an evaluation set, as columns to compare."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from evaluation.comparing.columns import Columns, SystemColumns, chosen, unique_names
from evaluation.evalset import EvalSet
from evaluation.measured import Measured
from evaluation.metrics import METRICS, first_relevant_rank, is_share, split_name
from evaluation.system import View
from reporting.errors import DataError, UsageError

TESTED = ("hit", "recall", "mrr", "map_at_r", "ndcg", "answer_rate")
"""What is tested unless somebody says otherwise, at the greatest cut that was measured; the first is the headline."""
_NOTED = ("padded", "self_matches", "duplicates", "orphans")


def columns_of_set(
    evalset: EvalSet, measured: Sequence[Measured], given: Sequence[str], *, tested: Sequence[str] | None = None
) -> Columns:
    """Put systems measured on one set side by side.

    Args:
        evalset: The set.
        measured: At least two, on this set, at the same cuts.
        given: How the user named each.
        tested: Metrics to test; the first is the headline. None: `default_tested`.

    Raises:
        UsageError: Fewer than two systems, or a metric that is not known or not measured.
        DataError: A system was measured on another set, or at other cuts.
    """
    if len(measured) < 2:
        raise UsageError(f"{len(measured)} systems; expected two or more to compare")
    ids = tuple(query.query_id for query in evalset.queries)
    for one in measured:
        if (one.set_id, one.query_ids) != (evalset.set_id, ids):
            raise DataError(f"{one.system}: was measured on {one.set_id}, not on {evalset.set_id}; measure it again")
        if one.values.keys() & _testable(measured[0]) != _testable(measured[0]):
            raise DataError(f"{one.system} and {measured[0].system} were measured at different cuts; measure both anew")
    known = sorted(_testable(measured[0]))
    names = unique_names([one.system for one in measured], given)
    return Columns(
        about=evalset.set_id,
        questions=ids,
        clusters=measured[0].clusters,
        slices=measured[0].slices,
        shares=frozenset(name for one in measured for name in one.values if is_share(name)),
        systems=tuple(_system(one, name) for one, name in zip(measured, names, strict=True)),
        tested=chosen(default_tested(known) if tested is None else tested, known),
        domains=(evalset.gallery.query_domain, evalset.gallery.gallery_domain),
    )


def default_tested(known: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics that are tested unless somebody says otherwise, hit@k of the greatest cut first.

    Example:
        >>> default_tested(["hit@1", "hit@10", "mrr", "recall@1", "recall@10", "short_list@1"])
        ('hit@10', 'recall@10', 'mrr')
    """
    deepest = max((split_name(name)[1] for name in known), default=0)
    wanted = [f"{base}@{deepest}" if METRICS[base].has_k else base for base in TESTED]
    return tuple(name for name in wanted if name in known)


def _testable(measured: Measured) -> set[str]:
    """Return the metrics of a single list; a difference between views may be negative and is not tested."""
    return {name for name in measured.values if split_name(name)[0] in METRICS}


def _system(measured: Measured, name: str) -> SystemColumns:
    served = measured.views[View.SERVED]
    unanswered = int((~served.answered).sum())
    counts = {"unanswered": unanswered, **{noted: int(getattr(served, noted).sum()) for noted in _NOTED}}
    return SystemColumns(
        name=name,
        values=measured.values,
        answered=served.answered,
        lists=_digest(measured),
        seconds=measured.seconds,
        ranks=first_relevant_rank(served.group_grades > 0),
        inputs=measured.inputs,
        notes={what: count for what, count in counts.items() if count},
    )


def _digest(measured: Measured) -> str:
    """Return a hash of every list and value: equal for two systems only if their answers are the same."""
    served = measured.views[View.SERVED]
    digest = hashlib.sha256(np.packbits(served.answered).tobytes())
    for row in served.image_names:
        digest.update("\n".join(name for name in row if name).encode("utf-8") + b"\0")
    for metric in sorted(_testable(measured)):
        digest.update(metric.encode() + measured.values[metric].tobytes())
    return digest.hexdigest()

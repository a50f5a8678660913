"""A thin verdict: absolute floors under an evaluation's metrics.

A floor on a sampled metric is judged by its 95 % interval, not by the point: above the floor as a whole passes, below
it as a whole fails, anything else is not evidence enough. A floor on hit@k is judged on hit@k.worst, so that
no lucky order of ties passes a release.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from evaluation.result import ALL, EvaluationResult, MetricValue
from reporting.errors import ConfigError

Decision: TypeAlias = Literal["PASS", "FAIL", "INCONCLUSIVE"]

_SHAPE = re.compile(r"(hit|recall|capped_recall)@[1-9]\d*|answer_rate")


class Floor(BaseModel):
    """The least value that a metric may have.

    Attributes:
        metric: `hit@k`, `recall@k`, `capped_recall@k` or `answer_rate`.
        minimum: In [0, 1].
        slice: `all` or `category=NAME`.
        min_n: With fewer queries in the slice, nothing is decided.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str = Field(pattern=f"^({_SHAPE.pattern})$")
    minimum: float = Field(ge=0, le=1)
    slice: str = Field(default=ALL, pattern="^(all|category=.+)$")
    min_n: int = Field(default=1, ge=1)


class EvidenceRow(BaseModel):
    """One floor with what was found.

    Attributes:
        metric: As in the floor.
        slice: As in the floor.
        judged: The metric that was looked at: `hit@k.worst` for `hit@k`.
        decision: Of this floor alone.
        value: Point value, None if it was not measured.
        threshold: The floor.
        n: Queries.
        ci_low: Lower 95 % bound; the value itself where the metric is a fact about all queries (answer_rate).
        ci_high: Upper 95 % bound.
        reason: One sentence with the numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    slice: str
    judged: str
    decision: Decision
    value: float | None
    threshold: float
    n: int
    ci_low: float | None
    ci_high: float | None
    reason: str


class FloorVerdict(BaseModel):
    """The decision over all floors.

    Attributes:
        decision: FAIL if any floor fails; else INCONCLUSIVE if any is, or none was given, or no query at all was
            answered; else PASS.
        reason: Why, in one sentence.
        is_error: No query was answered: the system did not run, which is no measurement of its quality.
        evaluation_sha256: Content hash of the evaluation set.
        evidence: One row for each floor, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision: Decision
    reason: str
    is_error: bool
    evaluation_sha256: str
    evidence: tuple[EvidenceRow, ...]


def judge_floors(result: EvaluationResult, floors: Sequence[Floor]) -> FloorVerdict:
    """Judge an evaluation by its floors.

    A system that answered nothing is an error, not a score of 0: the verdict is then INCONCLUSIVE with
    `is_error`, and so is each floor, because a release must be blocked without its quality being called bad.

    Raises:
        ConfigError: A floor names a cut that was not measured.
    """
    if result.answered_count == 0:
        reason = f"none of {result.query_count} queries was answered: the searched system did not work"
        rows = tuple(_undecided(floor, None, reason) for floor in floors)
        return _verdict(result, "INCONCLUSIVE", reason, rows, is_error=True)
    rows = tuple(_judge(result, floor) for floor in floors)
    decisions = [row.decision for row in rows]
    if not rows:
        return _verdict(result, "INCONCLUSIVE", "no floor was given, so nothing was judged", rows)
    if "FAIL" in decisions:
        return _verdict(result, "FAIL", f"{decisions.count('FAIL')} of {len(rows)} floors fail", rows)
    if "INCONCLUSIVE" in decisions:
        undecided = decisions.count("INCONCLUSIVE")
        return _verdict(result, "INCONCLUSIVE", f"{undecided} of {len(rows)} floors are not decided", rows)
    return _verdict(result, "PASS", f"all {len(rows)} floors hold", rows)


def _verdict(
    result: EvaluationResult,
    decision: Decision,
    reason: str,
    rows: tuple[EvidenceRow, ...],
    *,
    is_error: bool = False,
) -> FloorVerdict:
    return FloorVerdict(
        decision=decision,
        reason=reason,
        is_error=is_error,
        evaluation_sha256=result.evalset_sha256,
        evidence=rows,
    )


def _judged_name(floor: Floor) -> str:
    return f"{floor.metric}.worst" if floor.metric.startswith("hit@") else floor.metric


def _judge(result: EvaluationResult, floor: Floor) -> EvidenceRow:
    """Judge one floor by the interval of its metric."""
    part = result.slice_of(floor.slice)
    if part is None:
        return _undecided(floor, None, f"no query is in {floor.slice}, so {floor.metric} was not measured")
    metric = part.metric(_judged_name(floor))
    if metric is None:
        known = [name for name in (entry.name for entry in part.metrics) if _SHAPE.fullmatch(name)]
        raise ConfigError.unknown_name("metric", floor.metric, known, f"floor on {floor.slice}")
    if metric.n < floor.min_n:
        return _undecided(floor, metric, f"{metric.n} queries are fewer than the {floor.min_n} asked for")
    if metric.ci_low >= floor.minimum:
        decision: Decision = "PASS"
    elif metric.ci_high < floor.minimum:
        decision = "FAIL"
    else:
        decision = "INCONCLUSIVE"
    reason = (
        f"{metric.name} of {floor.slice} is {metric.value:.4f} [{metric.ci_low:.4f}, {metric.ci_high:.4f}]"
        f" over {metric.n} queries, floor {floor.minimum:g}"
    )
    return _row(floor, metric, decision, reason)


def _undecided(floor: Floor, metric: MetricValue | None, reason: str) -> EvidenceRow:
    return _row(floor, metric, "INCONCLUSIVE", reason)


def _row(floor: Floor, metric: MetricValue | None, decision: Decision, reason: str) -> EvidenceRow:
    return EvidenceRow(
        metric=floor.metric,
        slice=floor.slice,
        judged=_judged_name(floor),
        decision=decision,
        value=metric.value if metric else None,
        threshold=floor.minimum,
        n=metric.n if metric else 0,
        ci_low=metric.ci_low if metric else None,
        ci_high=metric.ci_high if metric else None,
        reason=reason,
    )

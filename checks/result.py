"""What a check answers: one object for the command line, the store, the incidents and every format of report."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date as Date
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from reporting.errors import EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_OK
from reporting.key import Name
from reporting.record import UtcTime

EVALUATOR_VERSION = 1
"""Of the rules of judging: raised when equal records can be judged otherwise than before."""


class Status(StrEnum):
    """What a check came to. Missing data is `not_evaluated` or a failed `complete`, never a pass."""

    PASS = "pass"  # noqa: S105 - the word of a check, not a password
    WARN = "warn"
    FAIL = "fail"
    NOT_EVALUATED = "not_evaluated"
    ERROR = "error"


class Cause(BaseModel):
    """Leaves that explain a part of a break: all whose dimensions have one of the named values.

    Attributes:
        where: Dimension to values, sorted; a dimension that is not named is not restricted.
        missing: What these leaves lack of what was expected of them, in the check's unit; below 0: too many.
        share: Of the whole break, 0..1 where all of it has one sign.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    where: dict[str, tuple[str, ...]]
    missing: FiniteFloat
    share: FiniteFloat


class Place(BaseModel):
    """What a result is about.

    Attributes:
        task: The task that is at fault if the check fails: of an edge its target, which is what has not taken all.
        source: The edge's (or path's) other end; None where the check is about one task.
        date: The business day.
        planid: The plan whose records were judged; None where several were or none is known.
        group: Dimension to value, for the dimensions the check groups by; {} where it judges the task as a whole.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Name
    source: Name | None = None
    date: Date
    planid: Name | None = None
    group: dict[str, str] = Field(default_factory=dict)


class Result(BaseModel):
    """One instance of a check, judged.

    Attributes:
        id: The check's, from checks.yaml; the only identity of its history.
        kind: The check's.
        instance: Names the instance within the check: `dedup->listing subinstance=0003`. Equal over days and plans.
        key: What it is about.
        status: The verdict; within a declared warm-up `not_evaluated` with `counts` False.
        counts: Whether the exit code hears of it.
        value: What was found; None where nothing could be.
        expected: What it was compared with.
        tolerance: By how much the value may differ before it fails, in the value's unit, >= 0.
        numerator: Of a share or ratio, in items.
        denominator: The same's other part.
        history: Days in the baseline.
        reason: One sentence: what was found and what was expected.
        explain: Where a break sits, the largest part first.
        sentence: The localisation in words: `93 % of 41,207 missing items: subinstance=17, category in {bags, shoes}`.
        repair: The command that mends it; "" where there is none.
        details: Further facts for people: times, versions, digests.
        as_of: The moment the records are of.
        config_hash: Of the checks that were run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    kind: str
    instance: str
    key: Place
    status: Status
    counts: bool = True
    value: FiniteFloat | None = None
    expected: FiniteFloat | None = None
    tolerance: FiniteFloat | None = None
    numerator: FiniteFloat | None = None
    denominator: FiniteFloat | None = None
    history: int | None = None
    reason: str
    explain: tuple[Cause, ...] = ()
    sentence: str = ""
    repair: str = ""
    details: dict[str, Any] = Field(default_factory=dict)
    as_of: UtcTime
    config_hash: str
    evaluator_version: int = EVALUATOR_VERSION

    def fingerprint(self) -> tuple[str, str, str]:
        """Return what an incident is found again by: check, instance, day. Not the plan: a re-run is the same break."""
        return self.id, self.instance, self.key.date.isoformat()


def status_of(results: Iterable[Result]) -> Status:
    """Return the status of a whole run: the worst of those that count.

    Any fail is a fail; else any error an error, any not_evaluated not_evaluated, any warn a warn. No result that
    counts is `not_evaluated`: a run that judged nothing has not passed.
    """
    found = {result.status for result in results if result.counts}
    for status in (Status.FAIL, Status.ERROR, Status.NOT_EVALUATED, Status.WARN):
        if status in found:
            return status
    return Status.PASS if found else Status.NOT_EVALUATED


def exit_code(results: Iterable[Result]) -> int:
    """Return the exit code of a run: any fail 1; else any error or not_evaluated 3; else 0, warnings included."""
    status = status_of(results)
    if status is Status.FAIL:
        return EXIT_FAILED
    return EXIT_INCONCLUSIVE if status in (Status.ERROR, Status.NOT_EVALUATED) else EXIT_OK

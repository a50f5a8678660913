"""The gate's verdict: may this index be released, and on what evidence."""

from __future__ import annotations

from datetime import date as Date
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from reporting.key import Name
from reporting.record import UtcTime


class Outcome(StrEnum):
    """PASS releases; FAIL and INCONCLUSIVE do not."""

    PASS = "PASS"  # noqa: S105 - the word of the gate, not a password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


class Verdict(BaseModel):
    """One decision about one set of indexes.

    `inputs` maps each judged thing (an index, a model, the eval set, the settings) to its sha256:
    a release may only use a verdict whose inputs are exactly what it publishes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict_id: Name
    date: Date
    planid: Name
    outcome: Outcome
    inputs: dict[str, str]
    evidence: list[dict[str, Any]] = Field(default_factory=list)
    metrics: dict[str, float] = Field(default_factory=dict)
    decided_at: UtcTime

"""What every kind of check has: its common keys, what it expands to, and how it judges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from checks.history import Need
from checks.result import Place, Status
from checks.view import View
from reporting.key import Name
from reporting.topology import Topology


class Tolerance(BaseModel):
    """How far a value may be off; a breach exceeds both parts."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    abs: float = Field(default=0, ge=0)
    """In the value's unit."""
    rel: float = Field(default=0, ge=0)
    """Of what is expected."""

    def around(self, expected: float) -> float:
        """Return the greatest allowed difference: the larger of both parts, since a breach needs both."""
        return max(self.abs, self.rel * abs(expected))


class Levels(BaseModel):
    """From which share of what is expected a breach warns, and from which it fails (and pages)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    warn: float = Field(default=0, ge=0)
    page: float = Field(default=0, ge=0)

    def of(self, difference: float, expected: float, tolerance: float) -> Status:
        """Return pass, warn or fail for a difference.

        Within the tolerance it passes. Beyond it, a share of more than `page` fails, of more than `warn` warns; where
        nothing was expected any breach is a whole one.
        """
        if abs(difference) <= tolerance:
            return Status.PASS
        share = abs(difference) / abs(expected) if expected else float("inf")
        if share > self.page:
            return Status.FAIL
        return Status.WARN if share > self.warn else Status.PASS


@dataclass(frozen=True)
class Table:
    """Leaves behind a break, for the localisation: what each has and what it should have."""

    dimensions: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    """A row a leaf: its value of each dimension."""
    actual: NDArray[np.float64]
    expected: NDArray[np.float64]
    """Both (leaves,) and finite, >= 0."""
    exact: bool
    """Whether the expectation is exact (the books) or a forecast (drift)."""


@dataclass(frozen=True)
class Finding:
    """What a check says of one instance; the engine makes a `Result` of it. Fields as there."""

    instance: str
    place: Place
    status: Status
    reason: str
    value: float | None = None
    expected: float | None = None
    tolerance: float | None = None
    numerator: float | None = None
    denominator: float | None = None
    history: int | None = None
    counts: bool = True
    unit: str = "items"
    """What the value counts, for sentences."""
    table: Table | None = None
    """Given with a warn or fail where a place can be named."""
    details: Mapping[str, Any] = field(default_factory=dict)


class Instance(NamedTuple):
    """What a check of the file expands to, known before there is any record: `checks plan` shows it."""

    check: str
    kind: str
    instance: str
    task: str
    source: str | None
    by: tuple[str, ...]


class Check(BaseModel, ABC):
    """One entry of checks.yaml. `kind` tells which subclass it is.

    Attributes:
        id: The only identity of its history; never give an old id a new meaning.
        description: For people.
        owner: Who is told; default the task's owner in the topology.
        runbook: Where to read on.
        block: A failure holds the downstream tasks of the leaves concerned until resolved or waived.
        max_false_per_week: Noise budget that the backtest holds the check to; None: no budget.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: Name
    description: str = ""
    owner: str | None = None
    runbook: str | None = None
    block: bool = False
    max_false_per_week: float | None = Field(default=None, ge=0)

    @abstractmethod
    def expand(self, topology: Topology) -> list[Instance]:
        """Return what it will judge, in topology order.

        Raises:
            ConfigError: it names a task, edge, reason or metric that the topology does not have, with the nearest.
        """

    def needs(self, topology: Topology) -> Sequence[Need]:
        """Return what it wants to know of the days before."""
        del topology
        return ()

    @abstractmethod
    def judge(self, view: View) -> Iterator[Finding]:
        """Judge a day: one finding for each instance and group, `not_evaluated` where data are missing."""

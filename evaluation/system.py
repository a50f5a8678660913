"""A system under test: what it answered, seen from several sides, and the facts that no query shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from evaluation.answers import Answers

CONTRACT = "merge_contract_violations"
"""Fact of an index: rows, ids and item table that do not belong together. One is a FAIL, whatever it answers."""


class View(StrEnum):
    """How the queries were asked."""

    SERVED = "served"
    """As a user is answered: the predicted category, the index at its release settings. This one is gated."""
    ORACLE = "oracle"
    """In the labelled category: what is lost against it is routing loss."""
    EXACT = "exact"
    """As served, but by exact search over the same rows: what is lost against it is ANN loss."""
    EXACT_ORACLE = "exact_oracle"
    """Exact search in the labelled category: what it still misses is the model's."""


class Fact(BaseModel):
    """Something measured about a system as a whole, or about one slice of it.

    Attributes:
        metric: e.g. `groups_with_zero_images`, `self_recall@1`, `latency_p99_ms`, `index_bytes_per_row`.
        slice: `all`, or e.g. `day=2026-01-05`, `category=shoes`.
        value: The measured value.
        n: What it rests on (groups, probes, queries); None where it is a plain fact.
        samples: Repeated measurements (latency: one a run), where a rule takes a statistic of them.
        examples: Up to 20 names of what is wrong (lost groups, orphans), for the report.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str = Field(min_length=1)
    slice: str = "all"
    value: float
    n: int | None = Field(default=None, ge=0)
    samples: tuple[float, ...] = ()
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class System:
    """What is judged or compared with.

    Attributes:
        name: For reports, e.g. `release 7` or the run file's name.
        views: `View.SERVED` always; the others where the searcher can tell (a run file cannot).
        facts: By (metric, slice), each at most once.
        inputs: Name -> sha256 of everything that makes the answers (index, model, nprobe, ranking, filter; a run file).
        curve: recall of the index against exact search by nprobe, for the report: nprobe -> ann_recall@10.
        absent: Pictures of the catalogue (its own names) that are live and that the system does not hold, so that a
            report can tell an evicted product from a badly ranked one; None: it cannot tell (a run file).
    """

    name: str
    views: Mapping[View, Answers]
    facts: tuple[Fact, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    curve: Mapping[int, float] = field(default_factory=dict)
    absent: frozenset[str] | None = None

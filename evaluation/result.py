"""What an evaluation run found, as frozen models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

ALL = "all"
IntervalKind: TypeAlias = Literal["wilson", "wilson_clustered", "none"]
Route: TypeAlias = Literal["labelled", "all"]


class MetricValue(BaseModel):
    """A metric with what it rests on.

    Attributes:
        name: `hit@k` (canonical order), `hit@k.worst`, `.best`, `.expected` (over ties at the cut), `tied@k`
            (share of queries with such a tie), `recall@k`, `capped_recall@k`, `short_list@k`, `answer_rate`.
        value: Mean over the n queries, in [0, 1]; unanswered ones count 0.
        n: Queries.
        ci_low: Lower 95 % bound.
        ci_high: Upper 95 % bound.
        interval: `wilson` over queries for shares; `wilson_clustered` over product groups for recall, whose
            queries of one product are not independent; `none` for facts about this run, whose bounds
            are the value itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float = Field(ge=0, le=1)
    n: int = Field(ge=0)
    ci_low: float = Field(ge=0, le=1)
    ci_high: float = Field(ge=0, le=1)
    interval: IntervalKind


class SliceResult(BaseModel):
    """The metrics of a slice.

    Attributes:
        slice: `all` or `category=NAME`.
        metrics: In a fixed order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    slice: str
    metrics: tuple[MetricValue, ...]

    def metric(self, name: str) -> MetricValue | None:
        """Return a metric by name, None if it was not measured."""
        return next((metric for metric in self.metrics if metric.name == name), None)


class QueryOutcome(BaseModel):
    """What became of one query.

    Attributes:
        path: The picture, as in the evaluation set.
        group: Labelled group.
        category: True category.
        is_answered: Whether any hit came back.
        first_rank: Rank of the labelled group among distinct groups, from 1; 0 if it is not in the list.
        found: Relevant pictures in the whole list.
        findable: Relevant pictures in the catalogue.
        duplicates: Hits whose id had come before.
        self_matches: Hits on the query's very picture.
        orphans: Ids unknown to the catalogue.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    group: str
    category: str
    is_answered: bool
    first_rank: int = Field(ge=0)
    found: int = Field(ge=0)
    findable: int = Field(ge=0)
    duplicates: int = Field(ge=0)
    self_matches: int = Field(ge=0)
    orphans: int = Field(ge=0)


class EvaluationResult(BaseModel):
    """The whole run, reproducible from its inputs.

    Attributes:
        evalset: Name of the set.
        evalset_sha256: Its content hash.
        searcher: What was judged, as the caller names it (release, index hash, nprobe, ...).
        ks: Cuts measured, rising.
        depth: Raw hits asked for.
        route: `labelled` searched the true category (no routing loss), `all` let the system route.
        query_count: Queries.
        answered_count: Queries with an answer.
        unfindable_count: Queries whose group has no findable picture; they score 0.
        duplicate_count: Duplicate ids collapsed; a sound index gives 0.
        orphan_count: Returned ids that the catalogue does not know; a sound index gives 0.
        slices: `all` first, then categories by name.
        outcomes: One for each query, in order of the set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    evalset: str
    evalset_sha256: str
    searcher: Mapping[str, str]
    ks: tuple[int, ...]
    depth: int
    route: Route
    query_count: int
    answered_count: int
    unfindable_count: int
    duplicate_count: int
    orphan_count: int
    slices: tuple[SliceResult, ...]
    outcomes: tuple[QueryOutcome, ...]

    def slice_of(self, name: str) -> SliceResult | None:
        """Return a slice by name, None if no query is in it."""
        return next((entry for entry in self.slices if entry.slice == name), None)

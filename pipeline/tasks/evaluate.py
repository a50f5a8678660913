"""evaluate: judge the merged indexes by labelled queries, before anyone may release them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.tasks.candidate import candidate_of
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, write_drops


class Settings(BaseModel):
    """The labelled set and the floors; the evaluation folder reads and checks the floors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    queries: Path | None = None
    """CSV with path, group, category. None: a sample of the indexed pictures must find themselves."""
    root: Path | None = None
    """Folder that the queries' paths start from, and that none may leave; None: the CSV's own."""
    route: Literal["all", "labelled"] = "all"
    """`all`: as a query without a category goes, its category predicted; `labelled`: told the labelled category."""
    ks: tuple[int, ...] = (1, 5, 10)
    """The k of hit@k and recall@k."""
    floors: tuple[dict[str, Any], ...] = ()
    """What a release must reach; none: nothing is judged, and the verdict is INCONCLUSIVE."""
    probes: int = Field(default=200, ge=1)
    """Pictures of the self-probe, where there is no labelled set."""


def run(leaf: LeafContext, settings: Settings) -> None:
    """Ask every query, book the unanswered ones as dropped, and keep the verdict with the evidence."""
    candidate = candidate_of(leaf)
    judgement = leaf.services.judge(candidate, settings)
    leaf.books.take(judgement.queries)
    drops: list[Drop] = [(query, "unanswered", "no result") for query in judgement.unanswered]
    write_drops(leaf, drops)
    unanswered = set(judgement.unanswered)
    leaf.books.keep([query for query in judgement.queries if query not in unanswered])
    for name, value in judgement.verdict.metrics.items():
        leaf.books.measure(name.replace("@", "_at_"), value)
    with leaf.create("verdict.json") as file:
        file.write(judgement.verdict.model_dump_json(indent=1).encode())
    with leaf.create("evaluation.json") as file:
        file.write(judgement.details.encode())
    leaf.verdict = judgement.verdict

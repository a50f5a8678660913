"""evaluate: judge the merged indexes by the release gate, before anyone may release them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.tasks.candidate import candidate_of
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, write_drops
from reporting.booking import is_declared
from reporting.errors import ConfigError


class Settings(BaseModel):
    """The labelled set and the gate; the evaluation folder reads and checks them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    set: Path | None = None
    """Folder of an evaluation set (`funnelgate evaluate build-set`), with its own catalogue of record."""
    queries: Path | None = None
    """CSV or Parquet with path, group, category, where there is no set: the catalogue is what was collected so far.
    Neither: a sample of the indexed pictures must find themselves."""
    root: Path | None = None
    """Folder that the queries' paths start from, and that none may leave; None: the table's own."""
    route: Literal["all", "labelled"] = "all"
    """`all`: as a query without a category goes, its category predicted; `labelled`: told the labelled category."""
    ks: tuple[int, ...] = (1, 5, 10)
    """The k of hit@k and recall@k in the books, declared as metrics hit_at_K and recall_at_K in pipeline.yaml; the
    gate's own are measured too."""
    gate: Path | None = None
    """gate.yaml: what a release must reach; None: the one that comes with funnelgate."""
    latency_queries: int = Field(default=0, ge=0)
    """Queries of the five latency runs, alone, one after another; 0: latency is not measured."""
    probes: int = Field(default=200, ge=1)
    """Pictures of the self-probe, where there is no labelled set."""


def run(leaf: LeafContext, settings: Settings) -> None:
    """Ask every query, book the unanswered ones as dropped, and keep the verdict with the gate's five files.

    Raises:
        ConfigError: A cut whose metrics the task graph does not declare: found out now, not after an hour of asking.
    """
    declared = leaf.topology.task(leaf.key.task).metrics
    for name in (f"{kind}_at_{k}" for k in settings.ks for kind in ("hit", "recall")):
        if not is_declared(name, declared):
            raise ConfigError(
                f"{leaf.key}: ks {settings.ks}: declare the metric {name} of task evaluate in pipeline.yaml"
            )
    candidate = candidate_of(leaf)
    judgement = leaf.services.judge(candidate, settings, leaf.lake.local(leaf.folder))
    leaf.books.take(judgement.queries)
    drops: list[Drop] = [(query, "unanswered", "no result") for query in judgement.unanswered]
    write_drops(leaf, drops)
    unanswered = set(judgement.unanswered)
    leaf.books.keep([query for query in judgement.queries if query not in unanswered])
    for name, value in judgement.verdict.metrics.items():
        leaf.books.measure(name.replace("@", "_at_"), value)
    with leaf.create("record.json") as file:
        file.write(judgement.verdict.model_dump_json(indent=1).encode())
    for name, content in judgement.files.items():
        with leaf.create(name) as file:
            file.write(content)
    leaf.verdict = judgement.verdict

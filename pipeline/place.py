"""Everything the pipeline works with, put together by the composition root."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.lake import Lake
from pipeline.settings import RunSettings
from pipeline.tasks.context import Services
from reporting.settings import ElasticSettings
from reporting.stores.sql import SqlStore
from reporting.topology import Topology


@dataclass(frozen=True)
class Place:
    """Store, lake, task graph, services of other folders, settings, and where relative paths start.

    `shipping` makes a block beside which records go to the cluster of `elastic`, where there is one.
    """

    store: SqlStore
    lake: Lake
    topology: Topology
    services: Services
    settings: RunSettings
    folder: Path
    config: Path | None
    elastic: ElasticSettings = field(default_factory=ElasticSettings)
    shipping: Callable[[], AbstractContextManager[None]] = nullcontext

    def worker_command(self, *options: str) -> list[str]:
        """Return the arguments of `python -m funnelgate` that start a worker with these settings."""
        config = [] if self.config is None else ["--config", str(self.config.resolve())]
        return [*config, "worker", *options]

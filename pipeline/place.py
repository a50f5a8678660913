"""Everything the pipeline works with, put together by the composition root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.lake import Lake
from pipeline.settings import RunSettings
from pipeline.tasks.context import Services
from reporting.stores.sql import SqlStore
from reporting.topology import Topology


@dataclass(frozen=True)
class Place:
    """Store, lake, task graph, services of other folders, settings, and where relative paths start."""

    store: SqlStore
    lake: Lake
    topology: Topology
    services: Services
    settings: RunSettings
    folder: Path
    config: Path | None

    def worker_command(self, *options: str) -> list[str]:
        """Return the arguments of `python -m funnelgate` that start a worker with these settings."""
        config = [] if self.config is None else ["--config", str(self.config.resolve())]
        return [*config, "worker", *options]

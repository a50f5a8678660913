"""A cluster for a project of these tests: its indices, and its place in the settings."""

from __future__ import annotations

from typing import Any

import yaml

from reporting.elastic.client import connect
from reporting.elastic.setup import setup
from reporting.settings import ElasticSettings
from tests.pipeline.arrivals import DAYS
from tests.pipeline.project import Project

METRICS = ("hit_at_1", "generation")


def set_up(url: str, prefix: str) -> None:
    """Make the indices of the days, as `records setup` does."""
    with connect(ElasticSettings(url=url)) as client:
        setup(client, prefix, METRICS, DAYS)


def name_cluster(project: Project, url: str, prefix: str, **more: Any) -> None:
    """Write the section `elastic` of a project anew."""
    path = project.folder / "funnelgate.yaml"
    settings = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(settings | {"elastic": {"url": url, "prefix": prefix} | more}))


def settings(url: str, prefix: str, **more: Any) -> ElasticSettings:
    """Return the section `elastic` as commands get it."""
    return ElasticSettings(url=url, prefix=prefix, **more)

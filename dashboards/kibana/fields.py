"""Which fields the indices have, by the mappings that `reporting` writes: what a control filters on must be one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from dashboards.kibana.esql import LOGS, Names
from reporting.elastic.mappings import index_mapping
from reporting.elastic.names import Kind, pattern_of

LOG_FIELDS = frozenset(
    {
        "@timestamp",
        "message",
        "log.level",
        "log.logger",
        "error.type",
        "error.message",
        *(f"funnelgate.{part}" for part in ("task", "date", "category", "subinstance", "planid")),
    }
)
"""Of `elk/logs-template.json` what the boards use; a test holds the two together."""


def mapped(names: Names) -> dict[str, Collection[str]]:
    """Return the fields of every index pattern that a query may read."""
    metrics = {metric for spec in names.topology.tasks.values() for metric in spec.metrics}
    found: dict[str, Collection[str]] = {LOGS: LOG_FIELDS}
    for kind in Kind:
        found[pattern_of(names.prefix, kind)] = frozenset(_paths(index_mapping(kind, metrics)["properties"]))
    return found


def _paths(properties: Mapping[str, Any], path: str = "") -> list[str]:
    paths = []
    for name, mapping in properties.items():
        if "properties" in mapping:
            paths += _paths(mapping["properties"], f"{path}{name}.")
        elif mapping.get("enabled", True) and mapping.get("type") != "flattened":
            paths.append(path + name)
    return paths

"""The section `checks` of funnelgate.yaml."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from checks.sinks.settings import Link, Sinks


class CheckSettings(BaseModel):
    """What is judged, and who hears of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: Path | None = None
    """The file of checks, relative to the settings file; null: those that come with funnelgate, for its task graph."""
    sinks: Sinks = ()
    """Where notices of incidents go: a list, each with a `kind` and a `name` of its own."""
    links: dict[str, Link] = Field(default_factory=dict)
    """Addresses in every notice, by name, with places in braces: `{Kibana: "https://kibana.example/app?task={task}"}`."""

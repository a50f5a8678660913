"""The section `checks` of funnelgate.yaml."""

from __future__ import annotations

from datetime import timedelta
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
    remind_after_hours: float | None = Field(default=4, gt=0, le=720, allow_inf_nan=False)
    """What pages, fires, and nobody has acknowledged or snoozed is told again after so many hours, and so on, by each
    sink but Alertmanager, which repeats by itself; null: it is told once."""
    keep_days: int | None = Field(default=90, ge=1)
    """How long `checks watch` keeps runs and their evaluations; those of days with an open incident, and incidents and
    notices always. null: for ever."""
    links: dict[str, Link] = Field(default_factory=dict)
    """Addresses in every notice, by name, with places in braces: `{Kibana: "https://kibana.example/app?task={task}"}`."""

    @property
    def remind_after(self) -> timedelta | None:
        """For how long what pages may be left alone; None: for ever."""
        return None if self.remind_after_hours is None else timedelta(hours=self.remind_after_hours)

    @property
    def keep(self) -> timedelta | None:
        """How long runs and evaluations are kept; None: for ever."""
        return None if self.keep_days is None else timedelta(days=self.keep_days)

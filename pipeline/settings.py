"""Settings of the pipeline: where the lake lies and how work is done."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class LakeSettings(BaseModel):
    """Where partitions are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: str = "lake"
    """A folder (relative to the settings file) or an fsspec URL. Releases need a local or mounted folder."""


class RunSettings(BaseModel):
    """How instances are worked off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: int = Field(default=2, ge=1, le=256)
    """Worker processes that `run` and `scheduler` start, one per core."""
    lease_seconds: float = Field(default=60.0, ge=1.0)
    """How long a silent worker keeps its instance; the heartbeat comes every third of it."""
    source: str | None = None
    """The day's manifest, with {date} for the day: what `run` and `scheduler` read without --source."""

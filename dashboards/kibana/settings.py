"""The section `kibana` of the settings."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class KibanaSettings(BaseModel):
    """The Kibana that dashboards are put into."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = None
    """`https://host:5601`, with the base path where it has one; null: --kibana must name it."""
    space: str = Field(default="default", pattern=r"^[a-z0-9_-]+$")
    """The space that they go into."""
    api_key: SecretStr | None = None
    """The encoded API key; only by FUNNELGATE_KIBANA__API_KEY, never in a file of settings."""
    api_key_file: Path | None = None
    """A file that holds the encoded API key and nothing else."""
    ca_certs: Path | None = None
    """PEM file of the authority that signed Kibana's certificate."""
    timeout_seconds: float = Field(default=30.0, gt=0)
    """How long one request may take."""

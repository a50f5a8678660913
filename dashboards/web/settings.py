"""The section `web` of the settings."""

from __future__ import annotations

import ipaddress

from pydantic import BaseModel, ConfigDict, Field


class WebSettings(BaseModel):
    """How `funnelgate web` answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    """Address to listen on; one that other machines reach needs `allow_remote`."""
    port: int = Field(default=8081, ge=0, le=65_535)
    """0: one that is free; it is printed."""
    allow_remote: bool = False
    """Let other machines in, under any name. Nobody is asked for a key: put a proxy that asks in front."""
    metrics_days: int = Field(default=7, ge=1, le=60)
    """Days of which `/metrics` tells each task's figures: each is one series more a figure and task."""


def is_loopback(host: str) -> bool:
    """Tell whether an address or name is of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"

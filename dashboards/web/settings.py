"""The section `web` of the settings."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _checked_address(text: str) -> str:
    if "://" in text and not text.startswith(("https://", "http://")):
        raise ValueError(f"{text!r} must begin with https:// or http://, or be a folder")
    if any(one in text for one in "{}?#"):
        raise ValueError(f"{text!r} is to be the address of all pages, without any of {{}}?#")
    return text


class WebSettings(BaseModel):
    """How `funnelgate web` answers, and where people open its pages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    """Address to listen on; one that other machines reach needs `allow_remote`."""
    port: int = Field(default=8081, ge=0, le=65_535)
    """0: one that is free; it is printed."""
    allow_remote: bool = False
    """Let other machines in, under any name. Nobody is asked for a key: put a proxy that asks in front."""
    address: Annotated[str, AfterValidator(_checked_address)] | None = None
    """Where people open the pages: `https://pages.example/funnelgate`, or the folder of `dashboards page --out`,
    relative to the settings file. The gate's report leads there, and with an address notices of incidents; null:
    nothing does."""
    metrics_days: int = Field(default=7, ge=1, le=60)
    """Days of which `/metrics` tells each task's figures: each is one series more a figure and task."""

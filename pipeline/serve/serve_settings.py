"""Settings of the server: where it listens, how much it takes on, what a request may be."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from reporting.errors import ConfigError

_LEAST_KEY = 16  # characters; shorter ones can be tried


class ServeSettings(BaseModel):
    """How `funnelgate serve` answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is every one of this machine."""
    port: int = Field(default=8080, ge=0, le=65_535)
    """0: one that is free; it is printed."""
    source: str | None = None
    """Where releases are polled from, any fsspec URL; null: the project's own lake is served in place."""
    home: Path = Path("serve")
    """Folder that polled releases are kept in, relative to the settings file; unused without a source."""
    public_key: Path | None = None
    """PEM file: only releases signed by its other half are pulled (extra `sign`)."""
    allow_without_golden: bool = False
    """Serve a release without golden queries, which nobody can check; one of before there were any is served anyway."""
    poll_seconds: float = Field(default=2.0, gt=0)
    """How often it is looked for a new release."""
    threads: int = Field(default=2, ge=1, le=256)
    """Requests that are worked on at one time; the cores are a good number."""
    queue: int = Field(default=32, ge=0, le=10_000)
    """Requests that may wait for a thread; one more is answered 429."""
    time_limit_seconds: float = Field(default=10.0, gt=0)
    """From the first byte of a request to its answer, waiting included; later is answered 504."""
    bodies: int = Field(default=512, ge=1, le=100_000)
    """Requests whose body may be on its way at one time; one more is answered 429."""
    body_bytes: int = Field(default=256_000_000, ge=1)
    """Bytes of all bodies held at one time; at least twice `max_bytes` are allowed."""
    max_bytes: int = Field(default=16_000_000, ge=1)
    """Bytes of a request's body."""
    max_pixels: int = Field(default=50_000_000, gt=0, le=50_000_000)
    """Width times height of a query picture; more than 50 million are never decoded for a query."""
    max_k: int = Field(default=200, ge=1, le=1000)
    """Results that one query may ask for."""
    api_key: SecretStr | None = None
    """A key that every request must bring; only by FUNNELGATE_SERVE__API_KEY, never in a file of settings."""
    api_key_file: Path | None = None
    """A file with one key a line, each at least 16 characters: more than one while a key is changed."""
    feedback: Path | None = Path("feedback")
    """Folder of what users said about results, relative to the settings file; null: /feedback is off."""
    feedback_max_bytes: int = Field(default=1_000_000_000, ge=0)
    """What that folder may grow to; when it is full /feedback is answered 507."""


def api_keys(settings: ServeSettings, environ: Mapping[str, str] | None = None) -> frozenset[str]:
    """Return the keys of which a request must bring one; none: every request is let in.

    Args:
        settings: Its file is read here.
        environ: Default the process's own; `FUNNELGATE_SERVE__API_KEY` counts where the settings have no key.

    Raises:
        ConfigError: The file cannot be read or holds no key, or a key is too short.
    """
    environ = os.environ if environ is None else environ
    keys: list[str] = []
    given = settings.api_key.get_secret_value() if settings.api_key else environ.get("FUNNELGATE_SERVE__API_KEY", "")
    if given:
        keys.append(given)
    if settings.api_key_file is not None:
        keys += _keys_of(settings.api_key_file)
    for key in keys:
        if len(key) < _LEAST_KEY or not key.isascii() or not key.isprintable():
            raise ConfigError(
                f"an API key has {len(key)} characters; expected at least {_LEAST_KEY}, printable ASCII: make one with "
                "`openssl rand -hex 24`"
            )
    return frozenset(keys)


def _keys_of(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the file of API keys cannot be read: {error}") from None
    keys = [line.strip() for line in lines if line.strip()]
    if not keys:
        raise ConfigError(f"{path}: holds no API key; expected one a line")
    return keys

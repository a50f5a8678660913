"""Fixtures every test may use: shared data, and what turns a skip into a failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# On a loaded machine examples are slow without being wrong: neither their time nor that of drawing them decides.
settings.register_profile("funnelgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("funnelgate")

REPOSITORY = Path(__file__).parent.parent


def required(name: str) -> bool:
    """Tell whether FUNNELGATE_REQUIRE forbids skipping for want of `name`."""
    return name in os.environ.get("FUNNELGATE_REQUIRE", "").split(",")


def skip_for_want_of(name: str, why: str) -> None:
    """Skip, or fail where FUNNELGATE_REQUIRE names it."""
    if required(name):
        pytest.fail(f"FUNNELGATE_REQUIRE={name}: {why}")
    pytest.skip(why)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings in the developer's environment must not decide a test."""
    for name in list(os.environ):
        if name.startswith("FUNNELGATE_") and name not in ("FUNNELGATE_SHARED", "FUNNELGATE_REQUIRE"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The shared data folder; skips where it is absent."""
    folder = Path(os.environ.get("FUNNELGATE_SHARED", REPOSITORY.parent / "shared")) / "data"
    if not folder.is_dir():
        skip_for_want_of("data", f"no shared data at {folder} (set FUNNELGATE_SHARED)")
    return folder

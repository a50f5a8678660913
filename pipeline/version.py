"""Which code is running."""

from __future__ import annotations

import functools
from importlib import metadata


@functools.cache
def code_version() -> str:
    """Return the installed version of funnelgate, or `unknown` when it runs uninstalled."""
    try:
        return metadata.version("funnelgate")
    except metadata.PackageNotFoundError:
        return "unknown"

"""Every error funnelgate raises on purpose, each with the exit code it ends a command with.

A message has fact, place and remedy: what was found, what was expected, where, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INCONCLUSIVE = 3
EXIT_INFRASTRUCTURE = 4


class FunnelgateError(Exception):
    """Root of our own errors; the command line prints it without a traceback."""

    exit_code: int = EXIT_USAGE


class ConfigError(FunnelgateError):
    """A configuration file, option or environment variable is wrong (exit 2)."""

    @classmethod
    def unknown_name(cls, what: str, found: str, known: Iterable[str], where: str) -> ConfigError:
        """Build the message for a name nobody declared, with the nearest valid one."""
        return cls(f"{where}: unknown {what} {found!r}; {nearest(found, known)}")


class DataError(FunnelgateError):
    """Input data (a manifest, a picture list, an eval set) cannot be used as it is (exit 2)."""


class UsageError(FunnelgateError):
    """The command was asked for something that makes no sense now (exit 2)."""

    @classmethod
    def unknown_plan(cls, found: str, known: Iterable[str]) -> UsageError:
        """Build the message for a plan that is not there."""
        return cls(f"there is no plan {found!r}; {nearest(found, known)}")


class RecordError(FunnelgateError):
    """A task tried to book something its topology or the law of conservation forbids (exit 2)."""


class GateRefused(FunnelgateError):
    """A gate said no, or a release was asked for without a PASS (exit 1)."""

    exit_code = EXIT_FAILED


class ContractViolation(FunnelgateError):
    """Parts that must not be put together: shards, an index or a release that breaks its contract (exit 1)."""

    exit_code = EXIT_FAILED


class Inconclusive(FunnelgateError):
    """There was not enough evidence to say yes or no (exit 3)."""

    exit_code = EXIT_INCONCLUSIVE


class StoreError(FunnelgateError):
    """The store, the lake or the network did not do what it must (exit 4)."""

    exit_code = EXIT_INFRASTRUCTURE


class VersionConflict(StoreError):
    """The same record version arrived twice with different content."""


def nearest(found: str, known: Iterable[str]) -> str:
    """Return a remedy that names the nearest valid names, or all of them when none is near.

    Example:
        >>> nearest("downlaod", ["collect", "download"])
        'did you mean download?'
        >>> nearest("x", ["b", "a"])
        'expected one of: a, b'
        >>> nearest("x", [])
        'none are declared'
    """
    names = sorted(set(known))
    if not names:
        return "none are declared"
    close = difflib.get_close_matches(found, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"expected one of: {', '.join(names)}"

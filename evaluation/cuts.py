"""The k of `hit@k` and its kin, as written on a command line."""

from __future__ import annotations

from typing import Final

from reporting.errors import UsageError

DEFAULT: Final = "1,5,10"
MOST: Final = 10**6
"""Below it: nobody looks further down a list."""


def read_cuts(text: str) -> tuple[int, ...]:
    """Return the cuts of an option `--k`, rising, each once.

    Raises:
        UsageError: A part is no whole number from 1 to 999,999.

    Example:
        >>> read_cuts("10, 1,5,10")
        (1, 5, 10)
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and 0 < int(part) < MOST for part in parts):
        raise UsageError(f"--k {text!r}: write whole numbers >= 1 with commas, as in {DEFAULT}")
    return tuple(sorted({int(part) for part in parts}))

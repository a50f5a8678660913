"""When to try again: exponential back-off with full jitter, and the server's own wish.

Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015; RFC 9110 section 10.2.3.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pipeline.fetch.policy import FetchPolicy


def retry_after_seconds(value: str | None, now: datetime) -> float:
    """Return the wait a Retry-After header asks for, at least 0; 0 when absent or not understood.

    Args:
        value: Seconds in decimal digits, or an HTTP date.
        now: Aware time to count a date from.

    Example:
        >>> from datetime import UTC, datetime
        >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
        >>> retry_after_seconds("120", noon)
        120.0
        >>> retry_after_seconds("Thu, 01 Jan 2026 12:00:30 GMT", noon)
        30.0
    """
    if value is None:
        return 0.0
    text = value.strip()
    # At most 9 digits: more are no wait but an attack on float and int.
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= 9 else float("inf")
    try:
        wanted = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    aware = wanted if wanted.tzinfo else wanted.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())


def backoff_seconds(attempt: int, policy: FetchPolicy, uniform: Callable[[float, float], float]) -> float:
    """Return a random wait after the failed attempt `attempt` (1-based), in [0, min(cap, base * 2^(n-1))].

    Args:
        attempt: Number of attempts made so far.
        policy: Base and cap.
        uniform: A random number between its two arguments.
    """
    return uniform(0.0, min(policy.backoff_cap_seconds, policy.backoff_base_seconds * 2.0 ** (attempt - 1)))

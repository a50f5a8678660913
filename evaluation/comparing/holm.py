"""Several tests at once: p values that stay honest whichever of them is looked at."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p values corrected for their number, so that the chance of any false finding among them is bounded.

    Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 1979: sorted, the i-th
    smallest of m is multiplied by m - i + 1, and never falls below the one before. Needs no independence.

    Args:
        p_values: m, each in [0, 1].

    Returns:
        m, in the same order, each in [0, 1] and not below its p.

    Raises:
        ValueError: A value is outside [0, 1] or NaN.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        (0.03, 0.06, 0.06)
    """
    if bad := [p for p in p_values if not 0 <= p <= 1]:
        raise ValueError(f"{bad[0]} is no p value")
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, reached = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = reached
    return tuple(corrected)

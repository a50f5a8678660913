"""Student's t with any positive degrees of freedom; scipy has it too, but is no dependency of the product."""

from __future__ import annotations

import math
from statistics import NormalDist

NEARLY_NORMAL = 1e7
"""Degrees of freedom from which two terms of the expansion about the normal are exact to 1e-12."""
_LARGE = 200.0
_TINY = 1e-300


def t_tail(t: float, df: float) -> float:
    """Return P(T > t).

    By the incomplete beta function, I_x(df/2, 1/2)/2 with x = df/(df + t^2) (Abramowitz and Stegun, 26.5.27).

    Args:
        t: Any number.
        df: Degrees of freedom, > 0; infinity is the normal.

    Raises:
        ValueError: df is not positive, or either is NaN.

    Example:
        >>> round(t_tail(2.228, 10), 4)
        0.025
    """
    if not df > 0 or math.isnan(t):
        raise ValueError(f"no tail of Student's t beyond {t} with {df} degrees of freedom")
    if df >= NEARLY_NORMAL:
        z = t if math.isinf(df) else t * (1 - 1 / (4 * df)) / math.sqrt(1 + t * t / (2 * df))
        return math.erfc(z / math.sqrt(2)) / 2
    square = t * t
    half = _incomplete_beta(df / (df + square), square / (df + square), df / 2) / 2
    return half if t >= 0 else 1 - half


def t_quantile(p: float, df: float) -> float:
    """Return the t with P(T <= t) = p.

    Args:
        p: In (0, 1).
        df: Degrees of freedom, > 0; infinity is the normal. Beyond 1e154 the quantile is cut there.

    Raises:
        ValueError: p or df is outside its range.

    Example:
        >>> round(t_quantile(0.975, 10), 3), round(t_quantile(0.05, 1), 3)
        (2.228, -6.314)
    """
    if not (0 < p < 1 and df > 0):
        raise ValueError(f"no quantile {p} of Student's t with {df} degrees of freedom")
    tail = min(p, 1 - p)
    if tail == 0.5:
        return 0.0
    z = -NormalDist().inv_cdf(tail)
    t = z if math.isinf(df) else z + (z**3 + z) / (4 * df)
    if df < NEARLY_NORMAL:
        t = _solved(tail, df, t)
    return t if p > 0.5 else -t


def _solved(tail: float, df: float, start: float) -> float:
    """Find t > 0 with P(T > t) = tail: Newton's steps, halved into the bracket wherever they leave it."""
    low, high = 0.0, start
    while t_tail(high, df) > tail:
        low, high = high, high * 2
        if math.isinf(high):
            return high
    t, log_scale = high, _log_gamma_step(df / 2) - math.log(df * math.pi) / 2
    for _ in range(200):
        excess = t_tail(t, df) - tail
        low, high = (t, high) if excess > 0 else (low, t)
        density = math.exp(log_scale - (df + 1) / 2 * math.log1p(t * t / df))
        step = t + excess / density if density > 0 else math.inf
        following = step if low < step < high else (low + high) / 2
        if abs(following - t) <= 1e-14 * t:
            return following
        t = following
    return t


def _log_gamma_step(a: float) -> float:
    """Return log(G(a + 1/2) / G(a)), whose difference of logarithms would lose digits for large a (DLMF 5.11.13)."""
    if a < _LARGE:
        return math.lgamma(a + 0.5) - math.lgamma(a)
    return math.log(a) / 2 - 1 / (8 * a) + 1 / (192 * a**3)


def _incomplete_beta(x: float, rest: float, a: float) -> float:
    """Return I_x(a, 1/2); `rest` is 1 - x, given apart since the difference would lose digits near x = 1."""
    b = 0.5
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    log_x, log_rest = (math.log1p(-rest) if rest < x else math.log(x)), (math.log1p(-x) if x < rest else math.log(rest))
    front = math.exp(_log_gamma_step(a) - math.lgamma(b) + a * log_x + b * log_rest)
    # The fraction converges fast only on this side of the mean; the other side is its mirror.
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(rest, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Sum the continued fraction of the incomplete beta function by Lentz's method (DLMF 8.17.22)."""
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > _TINY else _TINY)
    value = d
    for m in range(1, 10_000):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 + factor * d, 1 + factor / c
            d, c = 1 / (d if abs(d) > _TINY else _TINY), (c if abs(c) > _TINY else _TINY)
            value *= d * c
        if abs(d * c - 1) < 1e-15:
            return value
    return value

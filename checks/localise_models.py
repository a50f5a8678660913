"""What speaks for a place, and what against it: exact books, and forecasts with noise.

Both give every leaf an exposure x and an amount y; y / x is the share of the leaf that is missing (or too much), and
sums of both over any leaves make the share of a place. They differ in how much a share that differs proves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

MISSING, EXTRA = 0, 1
"""Directions: less than expected, and more."""

ROUNDING = 1e-9
"""A difference within this share of a leaf is the rounding of sums, not a break."""

_ALL_BUT = 1e-6
"""A share of 1 is taken for this much less: what is impossible would have no logarithm."""
_SURE = 5.0
"""Nats from which an unbroken leaf counts in full against a place."""
_STRAY = 0.05
"""Share of the leaves of a place that may be unbroken all the same."""
_STRAY_NOISY = 0.10
_ITEMS = 1e6
"""Items that the mean leaf is taken for where numbers are no counts: every share is then certain."""
_LEAST_NOISE = 0.01
_UNEVEN = 0.25
"""Leaves of one place are forecast to be hit alike within this share of it (the ripple effect, Squeeze 2019)."""
_ALIKE = 1.25
"""Where both sides are so much alike, what is broken is too little to matter, and all leaves show the noise."""
_TAIL = 1.1
"""Tails that are so many times as wide as the middle says are no normal ones."""
_BINS = 10
_BIN_LEAVES = 100
_ONE_SIZE = 0.2
"""Difference of logarithms below which sizes are one."""
_SIDE_LEAVES = 8
_HALF_NORMAL_MEDIAN = 0.6745
_HALF_NORMAL_QUARTILE = 0.3186
_HALF_NORMAL_99 = 2.576
"""Where 99 % of the sizes of normal noise lie below."""


class Model(Protocol):
    """What the search asks; arrays are over leaves, cells (sums over leaves) or children of one place."""

    exposure: Floats
    """(leaves,) > 0."""
    amounts: tuple[Floats, Floats]
    """By direction: (leaves,)."""
    low: float
    """A child with less than this share of its siblings' share is not hit at all."""
    climbs: bool
    """Whether the largest pure place is meant, and not the one with the most evidence."""
    signed: bool
    """Whether amounts of one direction are those of the other below 0, and not apart from them."""

    def evidence(self, amount: Floats, exposure: Floats, background: float) -> Floats:
        """Return nats by which a cell's own share explains it better than the background's; 0 where that is higher."""

    def floor(self, cells: int, cuboids: int) -> float:
        """Return the evidence that chance alone gives the best of so many cells."""

    def gap(self, amount: Floats, exposure: Floats, leaves: Floats, share: float) -> Floats:
        """Return nats by which children differ from a share."""

    def unlike(self, exposure: Floats, share: float) -> Floats:
        """Return the share below which a child of such an exposure is not hit, its siblings having `share`."""

    def is_pure(self, rows: Rows, direction: int, share: float) -> bool:
        """Tell whether (nearly) all of these leaves are hit, if the place has this share."""


def are_counts(*numbers: Floats) -> bool:
    """Tell whether all numbers are whole."""
    return all(bool(np.all(column == np.rint(column))) for column in numbers)


class Exact:
    """The expectation is exact: every leaf that differs is broken, every other is not.

    Counts are drawn one by one (binomial): an unbroken leaf speaks against a place by how many items it should have
    lost. `certain` takes every unbroken leaf for a proof: for what is left over when chance could explain it, too.
    """

    low = 0.05
    climbs = True
    signed = False

    def __init__(self, missing: Floats, size: Floats, *, counts: bool, certain: bool) -> None:
        """Take the leaves.

        Args:
            missing: (leaves,) expected - actual.
            size: (leaves,) the larger of both, > 0.
            counts: Whether the numbers are items; else any share is certain.
            certain: Whether an unbroken leaf is a proof however small it is.
        """
        if not counts:
            mean = float(size.mean())
            missing, size = _ITEMS * (missing / mean), _ITEMS * (size / mean)
        self.exposure = size
        self.amounts = (np.maximum(missing, 0), np.maximum(-missing, 0))
        self._certain = certain

    def evidence(self, amount: Floats, exposure: Floats, background: float) -> Floats:
        """See `Model.evidence`: the binomial scan statistic of Kulldorff (1997), rates above the background's only."""
        found = np.zeros(len(amount))
        above = np.flatnonzero(amount > background * exposure)
        found[above] = _divergence(amount[above], exposure[above], background)
        return found

    def floor(self, cells: int, cuboids: int) -> float:
        """See `Model.floor`."""
        del cuboids
        return 0.0 if self._certain else float(np.log(cells)) + 3.0

    def gap(self, amount: Floats, exposure: Floats, leaves: Floats, share: float) -> Floats:
        """See `Model.gap`."""
        del leaves
        return _divergence(amount, exposure, share)

    def unlike(self, exposure: Floats, share: float) -> Floats:
        """See `Model.unlike`."""
        return np.full(len(exposure), self.low * share)

    def is_pure(self, rows: Rows, direction: int, share: float) -> bool:
        """See `Model.is_pure`: no more unbroken leaves than a loss of this share leaves by chance."""
        exposure = self.exposure[rows]
        unbroken = self.amounts[direction][rows] < self.low * share * exposure
        if self._certain:
            return float(unbroken.mean()) <= _STRAY
        surprise = -exposure * np.log1p(-min(share, 1 - _ALL_BUT))
        weight, chance = np.minimum(1.0, surprise / _SURE), np.exp(-surprise)
        excess = float(weight @ unbroken - weight @ chance)
        spread = float(np.sqrt((weight**2 * chance * (1 - chance)).sum()))
        return excess <= _STRAY * float(weight.sum()) + 3 * spread


def _divergence(amount: Floats, exposure: Floats, share: float) -> Floats:
    """Return exposure x KL(own share || share) of binomials, in nats."""
    share = min(max(share, _ALL_BUT**2), 1 - _ALL_BUT)
    rest = np.maximum(exposure - amount, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        hit = np.where(amount > 0, amount * np.log(amount / (share * exposure)), 0.0)
        kept = np.where(rest > 0, rest * np.log(rest / ((1 - share) * exposure)), 0.0)
    return np.asarray(np.maximum(hit + kept, 0.0))


class Forecast:
    """The expectation is a forecast: shares have noise, which is measured where nothing can be broken.

    A break goes one way, noise both ways: the leaves that are off the other way show how large it is. It may depend
    on the size of a leaf. After RiskLoc (arXiv 2205.10004), which cuts at the other side's extreme; the deviation is
    taken of the larger of both numbers, which keeps the tails of relative noise within 1.
    """

    low = 0.2
    climbs = False
    signed = True

    def __init__(self, missing: Floats, size: Floats, expected: Floats, *, counts: bool) -> None:
        """Take the leaves.

        Args:
            missing: (leaves,) expected - actual.
            size: (leaves,) the larger of both, > 0.
            expected: (leaves,) by which the noise may differ.
            counts: Whether the numbers are items, which scatter by their root at least.
        """
        self._share = np.clip(missing / size, -1.0, 1.0)
        self._weigh(noise_of(self._share, expected, counts=counts))

    def _weigh(self, noise: Floats) -> None:
        self._noise, self.exposure = noise, noise**-2.0
        amount = self._share * self.exposure
        self.amounts = (amount, -amount)

    def widen(self, normal: NDArray[np.bool_]) -> bool:
        """Raise the noise to what single leaves show that are far off, where the middle of them shows less.

        Args:
            normal: (leaves,) those that no place of several leaves explains.

        Returns:
            Whether it was raised.
        """
        clean = normal & (self._share * _clean_side(self._share) >= 0)
        score = np.abs(self._share[clean] / self._noise[clean])
        if len(score) < _SIDE_LEAVES:
            return False
        factor = float(max(np.sqrt((score**2).mean()), np.quantile(score, 0.99) / _HALF_NORMAL_99))
        if factor <= _TAIL:
            return False
        self._weigh(self._noise * factor)
        return True

    def evidence(self, amount: Floats, exposure: Floats, background: float) -> Floats:
        """See `Model.evidence`."""
        excess = amount - background * exposure
        above = excess > 0
        return np.asarray(np.where(above, excess**2 / np.where(above, 2 * exposure, 1.0), 0.0))

    def floor(self, cells: int, cuboids: int) -> float:
        """See `Model.floor`."""
        return float(np.log(cells) + np.log(cuboids)) + 3.0

    def gap(self, amount: Floats, exposure: Floats, leaves: Floats, share: float) -> Floats:
        """See `Model.gap`."""
        variance = 1 / exposure + (_UNEVEN * share) ** 2 / leaves
        return np.asarray((amount / exposure - share) ** 2 / (2 * variance))

    def unlike(self, exposure: Floats, share: float) -> Floats:
        """See `Model.unlike`: as far from the noise as can be, and at most half of what its siblings have."""
        return np.asarray(np.maximum(self.low * share, np.minimum(share / 2, 3 / np.sqrt(exposure))))

    def is_pure(self, rows: Rows, direction: int, share: float) -> bool:
        """See `Model.is_pure`: as many leaves stand out as the noise lets stand out."""
        sign = 1.0 if direction == MISSING else -1.0
        noise = self._noise[rows]
        cut = self.unlike(self.exposure[rows], share)
        chance = _above((share - cut) / np.sqrt(noise**2 + (_UNEVEN * share) ** 2))
        lacking = float((chance - (sign * self._share[rows] > cut)).sum())
        return lacking <= _STRAY_NOISY * len(rows) + 3 * float(np.sqrt((chance * (1 - chance)).sum()))


def _above(score: Floats) -> Floats:
    """Return the normal distribution function, within 0.01 (the logistic approximation)."""
    return np.asarray(1 / (1 + np.exp(-1.702 * score)))


def noise_of(share: Floats, expected: Floats, *, counts: bool) -> Floats:
    """Return the standard deviation of each leaf's share where nothing is broken.

    Measured in up to ten classes of size, never rising with it, and interpolated over its logarithm; at least 1 %, and
    for counts at least 1 / sqrt(size) (reference section 3.1).

    Args:
        share: (leaves,) in [-1, 1]. Some of them may be broken, most of these in one direction.
        expected: (leaves,) >= 0; not the larger of both numbers, in whose classes the noise would sort itself.
        counts: Whether these are numbers of items.
    """
    missing, extra = _sides(share)
    alike = max(missing, extra) < _ALIKE * min(missing, extra)
    side = 0.0 if alike else _clean_side(share)
    size = np.maximum(np.abs(expected), np.finfo(np.float64).tiny)
    bins = _classes(size)
    centres = [_centre(size, rows) for rows in bins]
    scales = _never_rising([_scale(share[rows], side) for rows in bins], [len(rows) for rows in bins])
    noise = np.interp(np.log(size), centres, scales)
    least = np.maximum(_LEAST_NOISE, np.maximum(size, 1.0) ** -0.5) if counts else _LEAST_NOISE
    return np.asarray(np.maximum(noise, least))


def _classes(size: Floats) -> list[Rows]:
    """Return leaves by size, ascending: equally many in each class, and classes of about one size put together."""
    order = np.argsort(size, kind="stable")
    found: list[Rows] = []
    for rows in np.array_split(order, max(1, min(_BINS, len(order) // _BIN_LEAVES))):
        if found and _centre(size, rows) - _centre(size, found[-1]) < _ONE_SIZE:
            found[-1] = np.concatenate([found[-1], rows])
        else:
            found.append(rows)
    return found


def _centre(size: Floats, rows: Rows) -> float:
    return float(np.log(np.median(size[rows])))


def _sides(share: Floats) -> tuple[float, float]:
    """Return the median of what is missing, and of what is too much; infinite where there is none."""
    sides = np.abs(share[share >= 0]), np.abs(share[share <= 0])
    missing, extra = (float(np.median(side)) if len(side) else np.inf for side in sides)
    return missing, extra


def _clean_side(share: Floats) -> float:
    """Return the sign of the shares that are nearer to 0: a break has made the others large."""
    missing, extra = _sides(share)
    return 1.0 if missing < extra else -1.0


def _scale(share: Floats, side: float) -> float:
    clean = np.abs(share[share * side >= 0])
    if len(clean) >= _SIDE_LEAVES:
        return float(np.median(clean)) / _HALF_NORMAL_MEDIAN
    return float(np.quantile(np.abs(share), 0.25)) / _HALF_NORMAL_QUARTILE


def _never_rising(scales: Sequence[float], weights: Sequence[int]) -> Floats:
    """Return the nearest values that never rise (pool adjacent violators): larger leaves are not noisier."""
    pools: list[tuple[float, int, int]] = []
    for scale, weight in zip(scales, weights, strict=True):
        pools.append((scale, weight, 1))
        while len(pools) > 1 and pools[-1][0] > pools[-2][0]:
            (one, one_weight, one_count), (other, other_weight, other_count) = pools.pop(), pools.pop()
            total = one_weight + other_weight
            pools.append(((one * one_weight + other * other_weight) / total, total, one_count + other_count))
    return np.repeat([scale for scale, _, _ in pools], [count for _, _, count in pools])

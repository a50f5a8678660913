"""Do two systems differ? Sign flips and Student's t over products, for reports; a gate asks noninferiority.py.

Of the tests of paired retrieval scores these agree, while Wilcoxon's and the sign test do not (Smucker et al. 2007).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from evaluation.clusters import Clusters, Values, checked, codes_of, spread_of, sums_of
from evaluation.student import t_tail

_CELLS = 1 << 21
"""Signs held at a time."""
_ROUNDING = 1e-12


def sign_flip_p(
    differences: Values,
    clusters: Clusters,
    *,
    seed: int = 0,
    resamples: int = 10_000,
) -> float:
    """Return the two-sided p of the mean difference if each product's sign had been tossed (Fisher 1935).

    Exact over all 2^(G-1) tosses of the G products that differ at all where they are at most `resamples`; else
    (1 + as extreme) / (1 + resamples), which is never 0 (Phipson and Smyth 2010). Byte-reproducible: signs are the
    raw stream of PCG64, which numpy keeps for ever, and products count in order of appearance.

    Args:
        differences: (n,), in [-1, 1].
        clusters: (n,), the product of each query, whose differences are flipped together.
        seed: >= 0.
        resamples: >= 1.

    Returns:
        In (0, 1]; 1 where nothing differs, or for nothing.

    Raises:
        DataError: A difference is NaN or outside its range, or there is not one cluster for each.
        ValueError: resamples is below 1.

    Example:
        >>> sign_flip_p([1.0] * 6, list("abcdef"))
        0.03125
    """
    if resamples < 1:
        raise ValueError(f"{resamples} resamples; expected at least 1")
    values = checked(differences, "differences", -1.0, 1.0)
    sums = sums_of(values, codes_of(clusters, len(values)))
    # The order of addition differs between machines, so what is equal up to rounding counts as equal.
    slack = _ROUNDING * float(np.abs(sums).sum())
    sums = sums[np.abs(sums) > slack]
    if not len(sums):
        return 1.0
    observed = abs(float(sums.sum())) - slack
    if len(sums) - 1 <= math.log2(resamples):
        tosses = 1 << (len(sums) - 1)  # the other half mirrors these
        bits = (np.arange(tosses)[:, None] >> np.arange(len(sums))) & 1
        return int(np.count_nonzero(np.abs(_flipped(bits, sums)) >= observed)) / tosses
    extreme = sum(
        int(np.count_nonzero(np.abs(_flipped(bits, sums)) >= observed)) for bits in _tosses(len(sums), resamples, seed)
    )
    return (1 + extreme) / (1 + resamples)


def paired_t_p(differences: Values, clusters: Clusters) -> float:
    """Return the two-sided p of the mean difference by Student's t, robust to clusters (clusters.py).

    The paired t-test where each query is its own cluster.

    Returns:
        In [0, 1]; 1 where nothing differs or one product is all there is; 0 where all differ by the same amount.

    Raises:
        DataError: As `sign_flip_p`.

    Example:
        >>> round(paired_t_p([0.2, 0.1, 0.3, -0.1], list("abcd")), 4)
        0.2394
    """
    values = checked(differences, "differences", -1.0, 1.0)
    codes = codes_of(clusters, len(values))
    if not len(values) or not values.any():
        return 1.0
    spread = spread_of(values, codes)
    if spread.variance is None:
        return 0.0 if spread.clusters > 1 else 1.0
    return min(1.0, 2 * t_tail(abs(spread.mean) / math.sqrt(spread.variance), spread.df))


def _flipped(bits: NDArray[np.generic], sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of each row with the signs of its bits."""
    return np.asarray(sums.sum() - 2 * (bits.astype(np.float64) @ sums), np.float64)


def _tosses(coins: int, rows: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    """Yield rows of fair bits, a block at a time; the same bits whatever the size of a block."""
    stream = np.random.PCG64(seed)
    words = -(-coins // 64)
    block = max(1, _CELLS // (64 * words))
    for start in range(0, rows, block):
        here = min(block, rows - start)
        raw = np.asarray(stream.random_raw(here * words), "<u8").view(np.uint8).reshape(here, words * 8)
        yield np.unpackbits(raw, axis=1, count=coins)

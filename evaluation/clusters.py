"""How much a mean can vary when queries come in clusters: the queries of one product are not independent.

The variance is the greatest of three, each right where another fails:
  - cluster-robust with the correction CR2 (Bell and McCaffrey 2002), which assumes nothing about what is within a
    cluster, but rests on few clusters where what counts is rare;
  - of clusters whose queries correlate alike, whatever their size (Fleiss' rho), steadier than the first;
  - of independent queries: no cluster makes us surer than none.
Degrees of freedom are Bell and McCaffrey's under the second model (Imbens and Kolesar 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from reporting.errors import DataError

Values: TypeAlias = Sequence[float] | NDArray[np.float64]
Clusters: TypeAlias = Sequence[str] | Sequence[int] | NDArray[np.int64]

CAUTION = 3.0
"""Clusters that hold something rare (a miss) at which the data and the worst case weigh alike.

A product lost as a whole is what an evaluation is for, and where 1 of 50 clusters is, a sample may well hold none and
look as if queries were independent. By simulation: without it a 95 % interval of a share of 0.98 over 65 products
covers 77 %, with it 97 % (tests/evaluation/coverage.py prints the tables)."""
CAUTION_OF_CHANGE = 4.0
"""The same for flips between two systems, on which a release depends: without it a candidate that is worse by just the
margin is passed in up to 26 % of samples, with it in 5 %."""
NOTHING = 1e-12
"""What is smaller is rounding."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The mean of clustered values and how it varies.

    Attributes:
        mean: Of all values.
        n: Values.
        clusters: Clusters.
        variance: Of the mean; None where the data cannot tell: one cluster, or all values equal.
        df: Degrees of freedom of the variance, >= 1; infinite where variance is None.
        worst: Design effect if all values of a cluster were equal, sum m^2 / n over sizes m (Kish 1965); >= 1.
        touched: Clusters with a value other than the usual one, which is what the variance rests on.
    """

    mean: float
    n: int
    clusters: int
    variance: float | None
    df: float
    worst: float
    touched: int

    def design_effect(self, reference: float, rare: float, caution: float) -> float:
        """Return how many queries weigh as one: the variance over that of independent queries, cautiously.

        Args:
            reference: Greatest variance that one value of this mean can have (p(1-p) for shares), > 0. For means
                the ratio may be below 1, since their values vary less than those of a share.
            rare: Share of queries that are other than the usual, in [0, 1].
            caution: Touched clusters at which the data and the worst case weigh alike.

        Returns:
            The ratio, drawn towards `worst` by 1 / (1 + (touched / caution)^2), but by no more than the chance that
            all clusters are as usual if each is so as a whole; `worst` where nothing is known.
        """
        if self.variance is None or reference <= NOTHING:
            return self.worst
        ratio = self.variance * self.n / reference
        doubt = min(1 / (1 + (self.touched / caution) ** 2), (1 - rare) ** self.clusters)
        return (1 - doubt) * ratio + doubt * max(self.worst, ratio)


def checked(values: Values, what: str, low: float, high: float) -> NDArray[np.float64]:
    """Return values as float64.

    Raises:
        DataError: One is NaN, infinite or outside [low, high], or they are not a list.
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 1:
        raise DataError(f"{what}: shape {array.shape}; expected one number for each query")
    bad = np.flatnonzero(~((array >= low) & (array <= high)))
    if len(bad):
        raise DataError(
            f"{what}: {len(bad)} of {len(array)} values are not in [{low:g}, {high:g}], first {array[bad[0]]} at row"
            f" {bad[0]}; an unanswered query scores 0, never NaN"
        )
    return array


def codes_of(clusters: Clusters, n: int) -> NDArray[np.int64]:
    """Number clusters by first appearance, 0 to G-1.

    Args:
        clusters: One name (or whole number) for each query.
        n: Queries.

    Raises:
        DataError: Not one for each query.
    """
    if len(clusters) != n:
        raise DataError(f"{len(clusters)} clusters for {n} values; expected the product of each query")
    names: Sequence[object] = clusters.tolist() if isinstance(clusters, np.ndarray) else clusters
    numbers = {name: at for at, name in enumerate(dict.fromkeys(names))}
    return np.fromiter((numbers[name] for name in names), np.int64, n)


def sums_of(values: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sum of each cluster's values, (G,) float64, by code."""
    return np.asarray(np.bincount(codes, values), np.float64)


def spread_of(values: NDArray[np.float64], codes: NDArray[np.int64], *rare: NDArray[np.bool_]) -> Spread:
    """Measure the mean of clustered values.

    Args:
        values: (n,), n >= 1.
        codes: (n,), as `codes_of` gives them.
        rare: (n,) each: which values count towards `touched`; of several (not 0, not 1) the rarest counts.
    """
    sizes = np.bincount(codes).astype(np.float64)
    n, mean = len(values), float(values.mean())
    worst = _dot(sizes, sizes) / n
    touched = min((len(np.unique(codes[mask])) for mask in rare), default=len(sizes))
    errors = values - mean
    single = _dot(errors, errors) / n
    if len(sizes) == 1 or single <= NOTHING:
        return Spread(mean, n, len(sizes), None, np.inf, worst, touched)
    sums = sums_of(errors, codes)
    rho = _rho(sums, sums_of(errors * errors, codes), sizes, single)
    correction = 1 / (1 - sizes / n)
    alike = sizes * (1 + (sizes - 1) * rho)
    variance = max(_dot(correction, sums**2), single * float(alike.sum()), single * n) / n**2
    return Spread(mean, n, len(sizes), variance, _degrees(correction, sizes / n, alike), worst, touched)


def _dot(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the scalar product by numpy's own summation: that of BLAS depends on the number of threads."""
    return float((one * other).sum())


def _rho(sums: NDArray[np.float64], squares: NDArray[np.float64], sizes: NDArray[np.float64], single: float) -> float:
    """Return the correlation within clusters in [0, 1], each query weighing alike (Fleiss and Cuzick 1979)."""
    many = sizes > 1
    if not many.any():
        return 0.0
    shared = float(((sums**2 - squares)[many] / (sizes[many] - 1)).sum())
    return min(1.0, max(0.0, shared / (float(sizes[many].sum()) * single)))


def _degrees(correction: NDArray[np.float64], shares: NDArray[np.float64], alike: NDArray[np.float64]) -> float:
    """Return tr(AB)^2 / tr(ABAB), A the correction, B the covariance of the clusters' sums of errors.

    B = (I - h1')W(I - 1h') for shares h of the queries and W = diag(alike) is diagonal plus rank two, so the traces
    cost O(clusters) instead of the square.
    """
    whole = float(alike.sum())
    cross = whole * shares**2 - 2 * shares * alike
    hh, ww, hw = (_dot(correction, pair) for pair in (shares**2, alike**2, shares * alike))
    trace = _dot(correction, alike + cross)
    square = 2 * hh * ww + whole**2 * hh**2 + 2 * hw**2 - 4 * whole * hh * hw
    square += _dot(correction**2, 2 * alike * cross + alike**2)
    return max(1.0, trace**2 / square)

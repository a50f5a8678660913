"""How often intervals hold the truth, by simulation. `python -m tests.evaluation.coverage 1000` prints the tables.

Queries come in clusters of 1 to 30, by two laws of size (`even`: each size alike; `skewed`: P(m) as 1/m), and are
correlated within a cluster by two laws: `mixed` draws each query's value anew or, with probability sqrt(rho), takes
its cluster's one value (a product lost as a whole beside losses at random: the hard case); `beta` gives each cluster
a share of its own from a beta distribution (shares only).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evaluation.noninferiority import difference_interval
from evaluation.stats import mean_interval

Floats: TypeAlias = NDArray[np.float64]
Draw: TypeAlias = Callable[[np.random.Generator, int], Floats]
Sizes: TypeAlias = Literal["alone", "even", "skewed"]
LARGEST = 30
_SKEWED = (1 / np.arange(1, LARGEST + 1)) / (1 / np.arange(1, LARGEST + 1)).sum()


def clusters_of(rng: np.random.Generator, n: int, sizes: Sizes) -> NDArray[np.int64]:
    """Draw clusters until they hold n queries, the last cut short; returns the cluster of each query."""
    if sizes == "alone":
        return np.arange(n)
    drawn = rng.integers(1, LARGEST + 1, n) if sizes == "even" else rng.choice(LARGEST, n, p=_SKEWED) + 1
    return np.repeat(np.arange(n), drawn)[:n]


def share(p: float) -> Draw:
    """Hits of a share p."""
    return lambda rng, n: (rng.random(n) < p).astype(np.float64)


def recall(mean: float) -> Draw:
    """Recalls j/R over R = 1 to 8 relevant pictures, each query with a chance of its own from a beta distribution."""

    def draw(rng: np.random.Generator, n: int) -> Floats:
        relevant = rng.integers(1, 9, n)
        return np.asarray(rng.binomial(relevant, rng.beta(3 * mean, 3 * (1 - mean), n)) / relevant, np.float64)

    return draw


def flips(churn: float, truth: float) -> Draw:
    """Differences -1, 0, 1 of which `churn` are not 0, of mean `truth`."""
    churn = max(churn, abs(truth))

    def draw(rng: np.random.Generator, n: int) -> Floats:
        at = rng.random(n)
        return np.where(at < (churn + truth) / 2, 1.0, np.where(at < churn, -1.0, 0.0))

    return draw


def shifts(churn: float, truth: float) -> Draw:
    """Differences of recalls: a flip times j/8, j = 1 to 8 alike, whose mean is 9/16."""
    flip = flips(churn, truth * 16 / 9)
    return lambda rng, n: flip(rng, n) * rng.integers(1, 9, n) / 8


def mixed(rng: np.random.Generator, clusters: NDArray[np.int64], rho: float, draw: Draw) -> Floats:
    """Draw values whose correlation within a cluster is rho, whatever their distribution."""
    shared = draw(rng, int(clusters[-1]) + 1)[clusters]
    return np.where(rng.random(len(clusters)) < np.sqrt(rho), shared, draw(rng, len(clusters)))


def beta(rng: np.random.Generator, clusters: NDArray[np.int64], rho: float, p: float) -> Floats:
    """Draw hits of a share p whose correlation within a cluster is rho."""
    groups, strength = int(clusters[-1]) + 1, 1 / max(rho, 1e-9) - 1
    own = rng.beta(p * strength, (1 - p) * strength, groups) if rho else np.full(groups, p)
    return (rng.random(len(clusters)) < own[clusters]).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Case:
    """One cell of the coverage table."""

    n: int
    sizes: Sizes
    rho: float
    law: Literal["beta", "mixed", "recall"]
    truth: float

    def sample(self, rng: np.random.Generator) -> tuple[Floats, NDArray[np.int64]]:
        """Draw values and clusters."""
        clusters = clusters_of(rng, self.n, self.sizes)
        if self.law == "beta":
            return beta(rng, clusters, self.rho, self.truth), clusters
        return mixed(rng, clusters, self.rho, (recall if self.law == "recall" else share)(self.truth)), clusters


@dataclass(frozen=True, slots=True)
class Rate:
    """Shares of samples: the interval holds the truth, lies above it, lies below it; and the mean of clusters."""

    covered: float
    above: float
    below: float
    clusters: float


def coverage(case: Case, samples: int, seed: int = 0) -> Rate:
    """Return how often a 95 % interval holds the truth."""
    rng = np.random.default_rng(seed)
    above = below = groups = 0
    for _ in range(samples):
        values, clusters = case.sample(rng)
        one = mean_interval(values, clusters, alpha_two_sided=0.05, share=case.law != "recall")
        above, below, groups = above + (one.low > case.truth), below + (one.high < case.truth), groups + one.clusters
    return Rate(1 - (above + below) / samples, above / samples, below / samples, groups / samples)


@dataclass(frozen=True, slots=True)
class Contest:
    """One cell of the table of errors of the gate's rule: a candidate worse by just the margin."""

    n: int
    margin: float
    sizes: Sizes
    rho: float
    churn: float
    is_share: bool = True

    def verdicts(self, truth: float, samples: int, seed: int = 0, alpha: float = 0.05) -> tuple[float, float]:
        """Return how often it is proven not inferior, and how often proven inferior."""
        rng = np.random.default_rng(seed)
        proven = refuted = 0
        for _ in range(samples):
            clusters = clusters_of(rng, self.n, self.sizes)
            change = mixed(rng, clusters, self.rho, (flips if self.is_share else shifts)(self.churn, truth))
            one = difference_interval(
                np.maximum(change, 0), np.maximum(-change, 0), clusters, alpha=alpha, share=self.is_share
            )
            proven, refuted = proven + (one.low > -self.margin), refuted + (one.high < -self.margin)
        return proven / samples, refuted / samples


def cases() -> Iterator[Case]:
    """Every cell of the coverage table."""
    for n in (100, 300, 1000, 5000):
        for sizes in ("even", "skewed"):
            for rho in (0.0, 0.3, 0.8):
                for law, truths in (("beta", (0.5, 0.9, 0.98)), ("mixed", (0.5, 0.9, 0.98)), ("recall", (0.5, 0.9))):
                    for truth in truths:
                        yield Case(n, sizes, rho, law, truth)  # type: ignore[arg-type]


def contests() -> Iterator[Contest]:
    """Every cell of the table of errors."""
    for is_share in (True, False):
        for n, margin in ((300, 0.02), (1000, 0.01), (5000, 0.005)):
            for sizes, rhos in (("alone", (0.0,)), ("skewed", (0.0, 0.3, 0.8)), ("even", (0.0, 0.3, 0.8))):
                for rho in rhos:
                    for churn in (0.01, 0.04, 0.15):
                        yield Contest(n, margin, sizes, rho, churn, is_share)  # type: ignore[arg-type]


def main(samples: int) -> None:
    """Print both tables in Markdown."""
    print("| n | clusters | sizes | rho | law | truth | covered % | above % | below % |\n|" + "---|" * 9)
    for case in cases():
        rate = coverage(case, samples)
        shown = f"{100 * rate.covered:.1f} | {100 * rate.above:.1f} | {100 * rate.below:.1f}"
        print(f"| {case.n} | {rate.clusters:.0f} | {case.sizes} | {case.rho} | {case.law} | {case.truth} | {shown} |")
    print("\n| of | n | margin | sizes | rho | churn | wrongly proven % | wrongly refuted % | proven if equal % |")
    print("|" + "---|" * 9)
    for one in contests():
        proven, refuted = one.verdicts(-one.margin, samples)
        equal, _ = one.verdicts(0.0, samples)
        shown = f"{100 * proven:.1f} | {100 * refuted:.1f} | {100 * equal:.0f}"
        kind = "share" if one.is_share else "mean"
        print(f"| {kind} | {one.n} | {one.margin} | {one.sizes} | {one.rho} | {one.churn} | {shown} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))

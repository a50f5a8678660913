"""Systems side by side: how good each is, whether they differ, where most, and on which questions. Pure.

Of every metric an interval that knows of clusters (stats.py). Of every pair and tested metric the difference with its
interval, and the p of tossed signs over products (Fisher 1935; paired.py), of Student's t beside it, and for metrics of
yes and no McNemar's exact one, which takes questions for independent and is then too small. Wilcoxon's and the sign
test are left out: they test something else than the mean (evaluation-index-eviction.md, 2.5, finding 10).

Looking at many p values finds something by luck, so each has Holm's correction beside it: over all pairs and tested
metrics, and for slices over all pairs and slices of the headline metric. Who knows beforehand which metric counts names
it and pays for no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from evaluation.comparing.columns import Columns, SystemColumns
from evaluation.comparing.holm import holm
from evaluation.mcnemar import exact_p
from evaluation.measured import Bools
from evaluation.noninferiority import difference_interval
from evaluation.paired import paired_t_p, sign_flip_p
from evaluation.run_report import Estimate
from evaluation.stats import mean_interval

CONFIDENCE = 0.95
ALL = "all"
MOST_FLIPS = 50
_ROUNDING = 1e-12
_TOSSES_A_TEST, _MOST_TOSSES = 200, 20_000
_Codes = NDArray[np.int64]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Latency(_Model):
    """How long a system took, over the questions whose time is known.

    Attributes:
        n: Such questions, >= 1.
        mean_seconds: Their mean.
        p50_seconds: Median.
        p99_seconds: 99th percentile (linear between neighbours); with n below 100 near the maximum.
    """

    n: int
    mean_seconds: float
    p50_seconds: float
    p99_seconds: float


class Side(_Model):
    """One system.

    Attributes:
        name: Unique in the comparison.
        answered: Questions that it answered; the others score 0.
        metrics: Metric -> estimate over all questions.
        slices: Slice -> tested metric -> estimate; empty slices are left out.
        latency: None where it is not known of any question.
        notes: Counts of what is odd about its answers.
        inputs: Name -> sha256 of what makes the answers.
    """

    name: str
    answered: int
    metrics: Mapping[str, Estimate]
    slices: Mapping[str, Mapping[str, Estimate]]
    latency: Latency | None
    notes: Mapping[str, int]
    inputs: Mapping[str, str]


class PairTest(_Model):
    """Two systems on one metric and slice.

    Attributes:
        first: A system.
        second: A later one.
        metric: A tested metric.
        slice: `all`, or the slice.
        value: Mean of the first less mean of the second, in [-1, 1].
        low: Lower end of the 95 % interval.
        high: Upper end.
        n: Questions.
        clusters: Products among them.
        won: Questions on which the first is better.
        lost: Questions on which the second is.
        p_value: Of tossed signs over products, two-sided; 1 where nothing differs.
        p_holm: The same corrected by Holm for every test of `family`.
        family: Number of tests corrected for.
        p_student: Of Student's t over products.
        p_mcnemar: McNemar's exact p for metrics of yes and no, else None. Takes questions for independent.
    """

    first: str
    second: str
    metric: str
    slice: str
    value: float
    low: float
    high: float
    n: int
    clusters: int
    won: int
    lost: int
    p_value: float
    p_holm: float
    family: int
    p_student: float
    p_mcnemar: float | None


class Flip(_Model):
    """A question on which two systems differ.

    Attributes:
        question: Its id.
        cluster: Its product.
        values: (the first's, the second's) headline metric.
        ranks: (the first's, the second's) rank of the first relevant answer, 0 for none; None where unknown.
    """

    question: str
    cluster: str
    values: tuple[float, float]
    ranks: tuple[int, int] | None


class Flips(_Model):
    """The questions on which two systems differ in the headline metric.

    Attributes:
        first: A system.
        second: A later one.
        won: Number on which the first is better.
        lost: Number on which the second is.
        shown: At most 50 of each kind, the lost first, the greatest difference first, then in the set's order. The
            Parquet file has every question.
    """

    first: str
    second: str
    won: int
    lost: int
    shown: tuple[Flip, ...]


class Comparison(_Model):
    """The whole comparison.

    Attributes:
        about: What was answered.
        domains: (query domain, gallery domain), ("", "") unknown.
        questions: Number of questions.
        clusters: Number of products.
        confidence: Of each interval, two-sided.
        headline: The first of the tested metrics, which slices and flips are about.
        tested: Metrics on which pairs were tested.
        systems: In the order given.
        pairs: Each system with each later one, by metric, over all questions.
        slices: The same on the headline metric by slice, smallest p first.
        flips: For each pair.
    """

    about: str
    domains: tuple[str, str]
    questions: int
    clusters: int
    confidence: float
    headline: str
    tested: tuple[str, ...]
    systems: tuple[Side, ...]
    pairs: tuple[PairTest, ...]
    slices: tuple[PairTest, ...]
    flips: tuple[Flips, ...]

    def pair(self, first: str, second: str, metric: str) -> PairTest | None:
        """Return the test of two systems, in this order, on a metric over all questions; None if there was none."""
        return next((one for one in self.pairs if (one.first, one.second, one.metric) == (first, second, metric)), None)


def compare(columns: Columns, *, seed: int = 0, resamples: int = 10_000) -> Comparison:
    """Compare systems that answered the same questions.

    Args:
        columns: Their values. A question that a system did not answer has 0 there and is never left out.
        seed: Of the tosses; equal arguments give an equal comparison.
        resamples: Tosses where not all can be tried, >= 1; no p is below 1 / (1 + resamples) then. Where more than
            1 / 200 of them tests are corrected for, as many as that asks for, up to 20,000.

    Raises:
        DataError: A tested value is NaN or outside [0, 1].
    """
    codes = np.unique(np.array(columns.clusters, np.str_), return_inverse=True)[1].astype(np.int64)
    headline = columns.tested[0]
    duels = list(combinations(columns.systems, 2))
    names = [name for name, mask in columns.slices.items() if name != ALL and mask.any() and not mask.all()]
    tossed = (seed, _enough(resamples, len(duels) * len(columns.tested)))
    overall = [_test(columns, codes, duel, metric, ALL, tossed) for duel in duels for metric in columns.tested]
    tossed = (seed, _enough(resamples, len(duels) * len(names)))
    sliced = [_test(columns, codes, duel, headline, name, tossed) for duel in duels for name in names]
    by_slice = sorted(
        _corrected(sliced), key=lambda one: (one.p_value, -abs(one.value), one.slice, one.first, one.second)
    )
    return Comparison(
        about=columns.about,
        domains=columns.domains,
        questions=len(columns.questions),
        clusters=len(set(columns.clusters)),
        confidence=CONFIDENCE,
        headline=headline,
        tested=columns.tested,
        systems=tuple(_side(columns, codes, system) for system in columns.systems),
        pairs=tuple(_corrected(overall)),
        slices=tuple(by_slice),
        flips=tuple(_flips(columns, duel, headline) for duel in duels),
    )


def _enough(resamples: int, tests: int) -> int:
    """Return tosses with which the least p, corrected for so many tests, is still small."""
    return max(resamples, min(_MOST_TOSSES, _TOSSES_A_TEST * tests))


def latency_of(seconds: Sequence[float] | NDArray[np.float64] | None) -> Latency | None:
    """Sum up times in seconds, NaN for unknown; None where none is known."""
    known = np.array([] if seconds is None else seconds, np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return None
    p50, p99 = (float(np.quantile(known, share)) for share in (0.5, 0.99))
    return Latency(n=len(known), mean_seconds=float(known.mean()), p50_seconds=p50, p99_seconds=p99)


def _side(columns: Columns, codes: _Codes, system: SystemColumns) -> Side:
    def estimates(metrics: Sequence[str], mask: Bools) -> dict[str, Estimate]:
        return {name: _estimate(system, name, mask, codes, share=name in columns.shares) for name in metrics}

    return Side(
        name=system.name,
        answered=int(system.answered.sum()),
        metrics=estimates(tuple(system.values), np.ones(len(codes), np.bool_)),
        slices={
            name: estimates(columns.tested, mask) for name, mask in columns.slices.items() if name != ALL and mask.any()
        },
        latency=latency_of(system.seconds),
        notes=dict(system.notes),
        inputs=dict(system.inputs),
    )


def _estimate(system: SystemColumns, metric: str, mask: Bools, codes: _Codes, *, share: bool) -> Estimate:
    one = mean_interval(system.values[metric][mask], codes[mask], alpha_two_sided=1 - CONFIDENCE, share=share)
    return Estimate(value=one.value, low=one.low, high=one.high, n=one.n, clusters=one.clusters)


def _test(
    columns: Columns,
    codes: _Codes,
    duel: tuple[SystemColumns, SystemColumns],
    metric: str,
    slice_name: str,
    tossed: tuple[int, int],
) -> PairTest:
    """Test a pair; p_holm is filled in once all tests of the family are known."""
    mask, share = columns.slices[slice_name], metric in columns.shares
    one, other = (system.values[metric][mask] for system in duel)
    found = difference_interval(
        one, other, codes[mask], alpha=(1 - CONFIDENCE) / 2, share=share, identical=_identical(duel)
    )
    differences = one - other
    won, lost = int((differences > _ROUNDING).sum()), int((differences < -_ROUNDING).sum())
    p_value = sign_flip_p(differences, codes[mask], seed=tossed[0], resamples=tossed[1])
    return PairTest(
        first=duel[0].name,
        second=duel[1].name,
        metric=metric,
        slice=slice_name,
        value=found.value,
        low=found.low,
        high=found.high,
        n=found.n,
        clusters=found.clusters,
        won=won,
        lost=lost,
        p_value=p_value,
        p_holm=p_value,
        family=1,
        p_student=paired_t_p(differences, codes[mask]),
        p_mcnemar=exact_p(won, lost) if share else None,
    )


def _identical(duel: tuple[SystemColumns, SystemColumns]) -> bool:
    return bool(duel[0].lists) and duel[0].lists == duel[1].lists


def _corrected(tests: Sequence[PairTest]) -> list[PairTest]:
    corrected = holm([one.p_value for one in tests])
    return [one.model_copy(update={"p_holm": p, "family": len(tests)}) for one, p in zip(tests, corrected, strict=True)]


def _flips(columns: Columns, duel: tuple[SystemColumns, SystemColumns], metric: str) -> Flips:
    one, other = (system.values[metric] for system in duel)
    differences = one - other
    rows = [
        (side, sorted(np.flatnonzero(side * differences > _ROUNDING), key=lambda at: (-abs(differences[at]), at)))
        for side in (-1, 1)
    ]
    return Flips(
        first=duel[0].name,
        second=duel[1].name,
        won=len(rows[1][1]),
        lost=len(rows[0][1]),
        shown=tuple(_flip(columns, duel, metric, int(at)) for _, places in rows for at in places[:MOST_FLIPS]),
    )


def _flip(columns: Columns, duel: tuple[SystemColumns, SystemColumns], metric: str, at: int) -> Flip:
    ranks = [system.ranks for system in duel]
    return Flip(
        question=columns.questions[at],
        cluster=columns.clusters[at],
        values=(float(duel[0].values[metric][at]), float(duel[1].values[metric][at])),
        ranks=None if ranks[0] is None or ranks[1] is None else (int(ranks[0][at]), int(ranks[1][at])),
    )

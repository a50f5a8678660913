"""Tables with known causes, after the description of the synthetic sets of RiskLoc (arXiv 2205.10004, section 5).

Every combination of the dimensions' values is a leaf. Real values are Weibull, some leaves are zero. Forecasts are the
real values with relative noise, on a random half of the leaves the other way round. Then some anomalies are put in:
each takes one cuboid (no two the same one, save that of all dimensions) and one or more elements of it; values of a
dimension that an earlier anomaly has used are left alone. The elements of an anomaly share a severity: each of their
leaves loses about that share of its forecast, or of its real value where the noise has made the real values larger on
the whole. Unlike there, both columns are cut at 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from checks.kinds.base import Table
from checks.result import Cause

Element = frozenset[tuple[str, str]]
"""(dimension, value) of each dimension it names."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Setting:
    """What the cases of a set are drawn from; ranges are uniform, both ends included."""

    sizes: tuple[int, ...]
    noise: Range
    severity: Range
    deviation: Range
    anomalies: tuple[int, int]
    elements: tuple[int, int]
    only_last_layer: bool = False
    alpha: Range = (0.5, 1.0)
    zeros: Range = (0.0, 0.25)


S = Setting((10, 12, 10, 8, 5), (0.0, 0.25), (0.2, 1.0), (0.0, 0.1), (1, 3), (1, 3))
"""48,000 leaves, causes of any layer."""

L = Setting((10, 24, 10, 15), (0.0, 0.1), (0.5, 1.0), (0.0, 0.0), (1, 5), (1, 1), only_last_layer=True)
"""36,000 leaves, causes that are single leaves."""


_TRIES_OF_LAYER = 200
_TRIES = 20 * _TRIES_OF_LAYER


class Case(NamedTuple):
    """A table, and what is wrong in it."""

    table: Table
    truth: frozenset[Element]


class _Anomaly(NamedTuple):
    dimensions: tuple[int, ...]
    codes: NDArray[np.int64]
    """(elements, dimensions)."""
    severity: float
    deviation: float


def case_of(setting: Setting, seed: int, *, exact: bool) -> Case:
    """Return one case.

    Args:
        setting: Of the set.
        seed: Equal seeds give equal cases.
        exact: Without noise: the expectation is what the books say.
    """
    rng = np.random.default_rng(seed)
    codes = _codes(setting.sizes)
    noise = 0.0 if exact else rng.uniform(*setting.noise)
    zero_share = rng.uniform(*setting.zeros)
    real = 100 * rng.weibull(rng.uniform(*setting.alpha), len(codes)) * (rng.random(len(codes)) > zero_share)
    noisy = np.maximum(real * (1 + rng.normal(0, noise, len(codes))), 0.0)
    swapped = rng.random(len(codes)) < 0.5
    actual, expected = np.where(swapped, noisy, real), np.where(swapped, real, noisy)
    lowered, other = (expected, actual) if actual.sum() > expected.sum() else (actual, expected)
    anomalies: list[_Anomaly] = []
    for _ in range(rng.integers(*setting.anomalies, endpoint=True)):
        severity = rng.uniform(*setting.severity) + noise
        anomalies.append(_placed(setting, rng, anomalies, codes, real, severity, rng.uniform(*setting.deviation)))
    for anomaly in anomalies:
        hit = _hit(codes, anomaly)
        lost = rng.normal(anomaly.severity, anomaly.deviation, int(hit.sum()))
        lowered[hit] = np.maximum(other[hit] * (1 - lost), 0.0)
    dimensions = tuple("abcdefgh"[: len(setting.sizes)])
    table = Table(dimensions, _values(setting.sizes), actual, expected, exact)
    return Case(table, frozenset(element for anomaly in anomalies for element in _elements(dimensions, anomaly)))


def _placed(
    setting: Setting,
    rng: np.random.Generator,
    earlier: Sequence[_Anomaly],
    codes: NDArray[np.int64],
    real: NDArray[np.float64],
    severity: float,
    deviation: float,
) -> _Anomaly:
    """Draw places until one is allowed; where the values of a layer's dimensions have run out, of another layer."""
    count = len(setting.sizes)
    for attempt in range(_TRIES):
        if attempt % _TRIES_OF_LAYER == 0:
            layer = count if setting.only_last_layer else int(rng.integers(1, count, endpoint=True))
            elements = int(rng.integers(*setting.elements, endpoint=True))
        dimensions = tuple(sorted(rng.choice(count, layer, replace=False).tolist()))
        if layer < count and any(one.dimensions == dimensions for one in earlier):
            continue
        free = [_free(setting, earlier, dimension) for dimension in dimensions]
        if not all(free):
            continue
        chosen = np.column_stack([rng.choice(values, elements) for values in free])
        anomaly = _Anomaly(dimensions, chosen, severity, deviation)
        if len(np.unique(chosen, axis=0)) == elements and not (
            layer == count and any((real[_hit(codes, anomaly)] == 0).tolist())
        ):
            return anomaly
    raise AssertionError(f"{setting} leaves no place for another anomaly beside {earlier}")


def _free(setting: Setting, earlier: Iterable[_Anomaly], dimension: int) -> list[int]:
    used: set[int] = set()
    for anomaly in earlier:
        if dimension in anomaly.dimensions:
            used |= set(anomaly.codes[:, anomaly.dimensions.index(dimension)].tolist())
    return sorted(set(range(setting.sizes[dimension])) - used)


def _hit(codes: NDArray[np.int64], anomaly: _Anomaly) -> NDArray[np.bool_]:
    own = codes[:, anomaly.dimensions]
    return np.asarray(np.logical_or.reduce([(own == element).all(axis=1) for element in anomaly.codes]))


def _elements(dimensions: Sequence[str], anomaly: _Anomaly) -> list[Element]:
    names = [dimensions[dimension] for dimension in anomaly.dimensions]
    return [
        frozenset((name, f"{name}{code + 1}") for name, code in zip(names, one, strict=True)) for one in anomaly.codes
    ]


@lru_cache(maxsize=4)
def _codes(sizes: tuple[int, ...]) -> NDArray[np.int64]:
    return np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1)


@lru_cache(maxsize=4)
def _values(sizes: tuple[int, ...]) -> tuple[tuple[str, ...], ...]:
    names = [
        [f"{name}{number}" for number in range(1, size + 1)] for name, size in zip("abcdefgh", sizes, strict=False)
    ]
    return tuple(product(*names))


def elements_of(causes: Iterable[Cause]) -> set[Element]:
    """Return what causes name, one element for each combination of their values."""
    found: set[Element] = set()
    for cause in causes:
        named = [[(dimension, value) for value in values] for dimension, values in cause.where.items()]
        found |= {frozenset(one) for one in product(*named)}
    return found


@dataclass(frozen=True)
class Score:
    """Elements found, found wrongly and not found, over several cases."""

    right: int = 0
    wrong: int = 0
    lost: int = 0

    def with_case(self, found: set[Element], truth: frozenset[Element]) -> Score:
        """Add one case: an element counts only if it is named exactly."""
        right = len(found & truth)
        return replace(
            self, right=self.right + right, wrong=self.wrong + len(found) - right, lost=self.lost + len(truth) - right
        )

    @property
    def precision(self) -> float:
        """Right of all found, 0..1; 1 where nothing was."""
        return self.right / max(self.right + self.wrong, 1) if self.right + self.wrong else 1.0

    @property
    def recall(self) -> float:
        """Right of all there are, 0..1."""
        return self.right / (self.right + self.lost)

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        return 2 * self.right / (2 * self.right + self.wrong + self.lost)

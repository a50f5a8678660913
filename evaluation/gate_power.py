"""Can the set's number of queries carry what the gate asks? To be asked before a release, not after it. Pure.

A margin that no number of right answers can prove at this n makes each release INCONCLUSIVE, and people then learn to
wave it through (evaluation-index-eviction.md, 2.6).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from types import MappingProxyType
from typing import Literal

import numpy as np

from evaluation.case import fits
from evaluation.gate_file import is_query_metric
from evaluation.gate_spec import Ceiling, Floor, GateSpec, NonInferior
from evaluation.measured import Bools
from evaluation.verdict import PowerNote

FLIPPED = 0.02
"""Share of queries whose answer a new index is taken to change: between its parts of 2.6, 0.5 and 5 %."""
POWER = 0.9
NEVER = 2**31
"""No number of queries is enough."""


def power_notes(
    spec: GateSpec,
    sizes: Mapping[str, int],
    *,
    effects: Mapping[str, float] = MappingProxyType({}),
    flipped: float = FLIPPED,
) -> tuple[PowerNote, ...]:
    """Say of each rule about queries, on each of its slices, whether the number of queries can carry it.

    Facts carry their own n and have no note, nor have slices that the set does not have.

    Args:
        spec: The gate.
        sizes: Queries of each slice.
        effects: Queries of each slice that weigh as one because they show one product (`design_effects`); 1 where it
            is not named. It is what an interval takes where nothing is amiss that could tell how alike they are.
        flipped: Share of queries whose value is taken to change between two releases, in (0, 1].

    Returns:
        Notes by place of the rule, slices by name.
    """
    notes = []
    for rule in spec.rules:
        if not isinstance(rule, Floor | NonInferior | Ceiling) or not is_query_metric(rule.metric):
            continue
        if not isinstance(rule, NonInferior) and rule.bound == "point":
            continue
        for name in sorted(name for name in sizes if fits(rule.slice, name) and sizes[name]):
            effect = effects.get(name, 1.0) if getattr(rule, "cluster", "product") == "product" else 1.0
            notes.append(_note(rule, name, sizes[name], effect, spec.alpha, flipped))
    return tuple(notes)


def design_effects(clusters: Sequence[str], slices: Mapping[str, Bools]) -> dict[str, float]:
    """Return how many queries of each slice weigh as one, if those of a product are wholly alike: sum m^2 / n.

    Args:
        clusters: (n,), the product of each query.
        slices: Slice -> (n,) bool.

    Example:
        >>> design_effects(["a", "a", "b"], {"all": np.array([True, True, True])})
        {'all': 1.6666666666666667}
    """
    codes = np.unique(np.array(clusters, np.str_), return_inverse=True)[1]
    counts = {name: np.bincount(codes[mask]) for name, mask in slices.items() if mask.any()}
    return {name: float((count**2).sum() / count.sum()) for name, count in counts.items()}


def faultless_queries(room: float, alpha: float, effect: float = 1.0) -> int:
    """Return from how many right answers on Wilson's lower bound lies less than `room` below 1.

    The bound of n right answers of n is n / (n + z^2) (Wilson 1927), so that n >= z^2 (1 - room) / room.

    Args:
        room: 1 - floor, or a ceiling, in [0, 1]; 0 can never be met.
        alpha: One-sided.
        effect: Queries that weigh as one.

    Example:
        >>> faultless_queries(0.1, 0.05), faultless_queries(0.001, 0.05)
        (25, 2703)
    """
    if room <= 0:
        return NEVER
    z = NormalDist().inv_cdf(1 - alpha)
    return max(1, math.ceil(effect * z * z * (1 - room) / room - 1e-9))


def _note(
    rule: Floor | NonInferior | Ceiling, name: str, n: int, effect: float, alpha: float, flipped: float
) -> PowerNote:
    from evaluation.power import least_queries, needed_queries

    needed = None
    if isinstance(rule, NonInferior):
        margin = rule.margin_pp / 100
        least = least_queries(margin, alpha=alpha, design_effect=effect)
        needed = needed_queries(flipped, margin, alpha=alpha, power=POWER)
        asked = f"margin of {rule.margin_pp:g} pp"
    else:
        room, asked = (1 - rule.min, "floor") if isinstance(rule, Floor) else (rule.limit, "ceiling")
        least = faultless_queries(room, alpha, effect)
    carries: Literal["no", "weak", "yes"] = "no" if n < max(least, rule.min_n) else "yes"
    reason = f"{n:,} queries of {name}; without a fault this {asked} is met from {least:,} on"
    if least == NEVER:
        reason = f"{n:,} queries of {name}; no number of them proves this {asked}: take bound point"
    if needed is not None:
        reason += f", with {100 * flipped:g} % of answers changed from {needed:,} on in 9 of 10 cases"
        if carries == "yes" and n < needed:
            carries = "weak"
    if n < rule.min_n:
        reason += f"; fewer than min_n {rule.min_n:,}: {rule.on_underpowered}"
    return PowerNote(
        id=rule.id, metric=rule.metric, slice=name, carries=carries, n=n, least=least, needed=needed, reason=reason
    )

"""Judge one rule on each of its slices: figures of queries here, facts of a system in judging_facts.py. Pure.

A rule is judged by an interval, never by a point, where it rests on a sample: wholly on the good side of its limit
it passes, wholly on the bad side it fails, else it is inconclusive (evaluation-index-eviction.md, 4.3 and 2.6).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from evaluation.case import Case, at_least, at_most, model_changed, told, underpowered, values_of
from evaluation.gate_spec import Baseline, Ceiling, CeilingRel, Floor, Invariant, NonInferior, RuleBase, Superior
from evaluation.judging_facts import judge_fact, judge_ratio
from evaluation.measured import Bools, Floats, Measured
from evaluation.system import View
from evaluation.verdict import RuleResult, RuleStatus
from reporting.errors import ConfigError

if TYPE_CHECKING:
    from evaluation.noninferiority import Difference

POWER = 0.9
"""Of `needed`: how often a system that is no worse would be proven so."""


def judge_rule(rule: RuleBase, case: Case) -> list[RuleResult]:
    """Judge a rule on each slice that it names, against each of its baselines."""
    slices = case.expand(rule)
    if isinstance(rule, NonInferior | Superior):
        return [_against(rule, case, name, vs) for name in slices for vs in rule.vs]
    if isinstance(rule, CeilingRel):
        return [
            _no_baseline(rule, case, name, vs) or judge_ratio(rule, case, name, vs) for name in slices for vs in rule.vs
        ]
    values = values_of(case.candidate, rule.metric)
    if values is None or isinstance(rule, Invariant):
        return [judge_fact(rule, case, name) for name in slices]
    assert isinstance(rule, Floor | Ceiling)
    return [_absolute(rule, case, name, values) for name in slices]


def limit_of(rule: RuleBase) -> float:
    """Return what a rule compares with, in the metric's own unit: the floor, minus the margin, the ratio, ..."""
    if isinstance(rule, Floor):
        return rule.min
    if isinstance(rule, NonInferior):
        return -rule.margin_pp / 100
    if isinstance(rule, Superior):
        return rule.by_pp / 100
    if isinstance(rule, Ceiling):
        return rule.limit
    if isinstance(rule, CeilingRel):
        return rule.max_ratio
    return rule.equals if isinstance(rule, Invariant) else 0.0


def _absolute(rule: Floor | Ceiling, case: Case, name: str, values: Floats) -> RuleResult:
    """Judge a floor or a ceiling under a metric of queries."""
    from evaluation.stats import mean_interval

    limit, mask = limit_of(rule), case.candidate.slices.get(name)
    if mask is None or not mask.any():
        return told(rule, name, rule.on_missing, f"no query is in {name}", limit=limit)
    here, is_floor = values[mask], isinstance(rule, Floor)
    share = rule.bound in ("auto", "wilson_lower") and is_share(rule.metric)
    found = mean_interval(here, case.clusters(mask), alpha_two_sided=2 * case.spec.alpha, share=share)
    low, high = (found.value, found.value) if rule.bound == "point" else (found.low, found.high)
    status = (at_least if is_floor else at_most)(low, high, limit)
    said = "" if rule.bound == "point" else f" [{found.low:.4f}, {found.high:.4f}]"
    word = "floor" if is_floor else "ceiling"
    reason = (
        f"{rule.metric} of {name} is {found.value:.4f}{said} over {found.n} queries of {found.clusters} products,"
        f" {word} {limit:g}"
    )
    if found.n < rule.min_n:
        status, reason = underpowered(rule, status), f"{_too_few(found.n, rule)}; {reason}"
    return told(
        rule,
        name,
        status,
        reason,
        limit=limit,
        value=found.value,
        interval=None if rule.bound == "point" else (found.low, found.high),
        n=found.n,
        clusters=found.clusters,
        worst=_worst(case.candidate, mask, values if is_floor else -values, 1.0 if is_floor else 0.0),
    )


def _against(rule: NonInferior | Superior, case: Case, name: str, vs: Baseline) -> RuleResult:
    """Judge the difference to a baseline."""
    limit = limit_of(rule)
    absent = _no_baseline(rule, case, name, vs)
    if absent is not None:
        return absent
    baseline = case.baselines[vs]
    if isinstance(rule, Superior) and rule.required_for == "model_change_only":
        changed = model_changed(case.candidate.inputs, baseline.inputs)
        if not changed:
            why = "names no model among its inputs" if changed is None else "has the models of the baseline"
            return told(
                rule, name, "not_applicable", f"asked of a new model only: the candidate {why}", limit=limit, vs=vs
            )
    ours, theirs = values_of(case.candidate, rule.metric), values_of(baseline, rule.metric)
    mask = case.candidate.slices.get(name)
    if ours is None or theirs is None:
        missing = case.not_measured(rule) if ours is None else f"{rule.metric} was not measured of {baseline.system}"
        return told(rule, name, rule.on_missing, missing, limit=limit, vs=vs)
    if mask is None or not mask.any():
        return told(rule, name, rule.on_missing, f"no query is in {name}", limit=limit, vs=vs)
    return _difference(rule, case, name, vs, (ours, theirs, mask))


def _difference(
    rule: NonInferior | Superior, case: Case, name: str, vs: Baseline, rows: tuple[Floats, Floats, Bools]
) -> RuleResult:
    from evaluation.noninferiority import difference_interval

    (ours, theirs, mask), limit, identical = rows, limit_of(rule), case.identical[vs]
    found = difference_interval(
        ours[mask],
        theirs[mask],
        case.clusters(mask, rule.cluster),
        alpha=case.spec.alpha,
        share=is_share(rule.metric),
        identical=identical,
    )
    # Not better than asked for is no superiority, hence the strict comparison.
    status = (at_least if isinstance(rule, NonInferior) else _exceeds)(found.low, found.high, limit)
    reason = _said(rule, name, vs, found)
    if identical:
        reason += "; the answers are the same, query by query"
    elif found.n < rule.min_n:
        status, reason = underpowered(rule, status), f"{_too_few(found.n, rule)}; {reason}"
    needed = None
    if status == "inconclusive" and isinstance(rule, NonInferior):
        needed = queries_needed(found.n, (found.high - found.low) / 2, -limit, alpha=case.spec.alpha)
        reason += f"; about {needed:,} queries like these would tell" if needed > found.n else ""
    return told(
        rule,
        name,
        status,
        reason,
        limit=limit,
        vs=vs,
        value=found.value,
        interval=(found.low, found.high),
        n=found.n,
        clusters=found.clusters,
        flipped=found.flipped,
        needed=needed,
        worst=_worst(case.candidate, mask, ours - theirs, 0.0),
    )


def _said(rule: NonInferior | Superior, name: str, vs: Baseline, found: Difference) -> str:
    """Return a difference in words."""
    asked = (
        f"margin {rule.margin_pp:g} pp" if isinstance(rule, NonInferior) else f"asked for more than {rule.by_pp:g} pp"
    )
    units = "products" if rule.cluster == "product" else "units"
    return (
        f"{rule.metric} of {name} differs by {100 * found.value:+.3f} pp"
        f" [{100 * found.low:+.3f}, {100 * found.high:+.3f}] from {vs} over {found.n} queries of {found.clusters}"
        f" {units}, {100 * found.flipped:.2f} % flipped, {asked}"
    )


def queries_needed(n: int, half_width: float, margin: float, *, alpha: float, power: float = POWER) -> int:
    """Return how many queries like the n at hand would prove non-inferiority of a system that is no worse.

    The interval's half width shrinks by the square root of n: n ((z_alpha + z_power) / z_alpha)^2 (width / margin)^2,
    which for shares without clusters is `needed_queries`' 8.57 p_d / margin^2 (evaluation-index-eviction.md, 2.6), and
    holds for means and for queries that come in products.

    Example:
        >>> queries_needed(1000, 1.6449 * (0.02 / 1000) ** 0.5, 0.005, alpha=0.05)
        6852
    """
    z_alpha, z_power = (NormalDist().inv_cdf(share) for share in (1 - alpha, power))
    return math.ceil(n * ((z_alpha + z_power) / z_alpha * half_width / margin) ** 2)


def is_share(metric: str) -> bool:
    """Say whether a metric is 0 or 1 of each query; of one that nobody declared: no."""
    from evaluation import metrics

    try:
        return metrics.is_share(metric)
    except ConfigError:
        return False


def _exceeds(low: float, high: float, limit: float) -> RuleStatus:
    if low > limit:
        return "pass"
    return "fail" if high <= limit else "inconclusive"


def _no_baseline(rule: NonInferior | Superior | CeilingRel, case: Case, name: str, vs: Baseline) -> RuleResult | None:
    """Return the result of a rule whose baseline is not there, or did not work; None: it is there."""
    limit, given = limit_of(rule), case.baselines
    if vs in given:
        if given[vs].views[View.SERVED].answered.any():
            return None
        return told(rule, name, "error", f"the {vs} answered no query at all: it is no baseline", limit=limit, vs=vs)
    if vs == "champion" and vs in case.spec.baselines:
        named = case.spec.baselines[vs]
        reason = f"the gate names {named} as champion, but none was given: add --champion"
        return told(rule, name, "inconclusive", reason, limit=limit, vs=vs)
    if vs == "release" and "champion" in given:
        reason = "a champion was given but no release: add --release (what was once released is no first release)"
        return told(rule, name, "inconclusive", reason, limit=limit, vs=vs)
    reason = "no champion is pinned" if given else f"first release: there is no {vs} to compare with"
    return told(rule, name, "not_applicable", reason, limit=limit, vs=vs)


def _worst(measured: Measured, mask: Bools, gain: Floats, harmless: float) -> tuple[str, ...]:
    """Return the queries of a slice that lose most, worst first, equal ones in the set's order."""
    rows = np.flatnonzero(mask & (gain < harmless))
    return tuple(measured.query_ids[row] for row in rows[np.argsort(gain[rows], kind="stable")][:20])


def _too_few(n: int, rule: RuleBase) -> str:
    return f"{n} queries are fewer than the {rule.min_n} asked for"

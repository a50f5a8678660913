"""Judge rules about facts: what a census, a self-probe or a clock has measured of a system as a whole. Pure."""

from __future__ import annotations

from math import isfinite
from statistics import median

from evaluation.case import TOLERANCE, Case, at_least, at_most, told, underpowered, values_of
from evaluation.gate_spec import Baseline, Ceiling, CeilingRel, Floor, Invariant, RuleBase
from evaluation.measured import Measured
from evaluation.system import Fact
from evaluation.verdict import RuleResult, RuleStatus


def judge_fact(rule: RuleBase, case: Case, name: str) -> RuleResult:
    """Judge a floor, a ceiling or an invariant on a fact."""
    fact = case.fact(case.candidate, rule.metric, name)
    limit = _limit(rule)
    if fact is None:
        return told(rule, name, rule.on_missing, case.not_measured(rule), limit=limit)
    if not isfinite(fact.value):
        return told(rule, name, "error", f"{rule.metric} of {name} is {fact.value}: it was not measured", limit=limit)
    interval = _interval(rule, case, fact)
    status, reason = _compared(rule, fact, interval)
    if status != "error" and fact.n is not None and fact.n < rule.min_n and not isinstance(rule, Invariant):
        status = underpowered(rule, status)
        reason = f"it rests on {fact.n}, fewer than the {rule.min_n} asked for; {reason}"
    return told(
        rule, name, status, reason, limit=limit, value=fact.value, interval=interval, n=fact.n, worst=fact.examples
    )


def _limit(rule: RuleBase) -> float:
    if isinstance(rule, Floor):
        return rule.min
    if isinstance(rule, Ceiling):
        return rule.limit
    return rule.equals if isinstance(rule, Invariant) else 0.0


def _interval(rule: RuleBase, case: Case, fact: Fact) -> tuple[float, float] | None:
    """Return Wilson's interval of a share that says what it rests on, where the rule asks for it."""
    from evaluation.stats import wilson_interval

    if not isinstance(rule, Floor) or rule.bound != "wilson_lower" or not fact.n or not 0 <= fact.value <= 1:
        return None
    return wilson_interval(fact.value * fact.n, fact.n, confidence=1 - 2 * case.spec.alpha)


def _compared(rule: RuleBase, fact: Fact, interval: tuple[float, float] | None) -> tuple[RuleStatus, str]:
    bound, limit = getattr(rule, "bound", "point"), _limit(rule)
    said = f"{rule.metric} of {fact.slice} is {fact.value:g}"
    if isinstance(rule, Invariant):
        return ("pass" if fact.value == rule.equals else "fail"), f"{said}, must be {rule.equals:g}"
    if bound not in ("auto", "point") and interval is None:
        return "error", f"{said}: bound {bound} asks for single queries, or for a share of a known n; take point"
    low, high = interval or (fact.value, fact.value)
    if interval is not None:
        said += f" [{low:.4f}, {high:.4f}] over {fact.n}"
    elif fact.n is not None:
        said += f" over {fact.n}"
    if isinstance(rule, Floor):
        return at_least(low, high, limit), f"{said}, floor {limit:g}"
    return at_most(low, high, limit), f"{said}, ceiling {limit:g}"


def judge_ratio(rule: CeilingRel, case: Case, name: str, vs: Baseline) -> RuleResult:
    """Judge a metric by its ratio to a baseline's."""
    baseline, limit = case.baselines[vs], rule.max_ratio
    ours, theirs = (_amount(case, measured, rule, name) for measured in (case.candidate, baseline))
    if ours is None or theirs is None:
        missing = case.not_measured(rule) if ours is None else f"{rule.metric} was not measured of {baseline.system}"
        return told(rule, name, rule.on_missing, missing, limit=limit, vs=vs)
    (one, runs), (other, other_runs) = ours, theirs
    samples = min(runs, other_runs)
    ratio = one / other if other else (1.0 if one == other else float("inf"))
    status: RuleStatus = "pass" if ratio <= limit + TOLERANCE else "fail"
    reason = (
        f"{rule.metric} of {name} is {one:g}, {ratio:.4f} times the {vs}'s {other:g}, at most {limit:g} times allowed"
    )
    if samples < rule.samples and not (case.identical[vs] and one == other):
        status, reason = underpowered(rule, status), f"{samples} measurements, {rule.samples} asked for; {reason}"
    return told(rule, name, status, reason, limit=limit, vs=vs, value=ratio, n=samples)


def _amount(case: Case, measured: Measured, rule: CeilingRel, name: str) -> tuple[float, int] | None:
    """Return what is compared of a system, and from how many measurements it was taken."""
    values, mask = values_of(measured, rule.metric), measured.slices.get(name)
    if values is not None and mask is not None and mask.any():
        return float(values[mask].mean()), 1
    fact = case.fact(measured, rule.metric, name)
    if fact is None:
        return None
    if rule.statistic == "value" or not fact.samples:
        return fact.value, max(1, len(fact.samples))
    taken = median(fact.samples) if rule.statistic == "median_of_runs" else min(fact.samples)
    return float(taken), len(fact.samples)

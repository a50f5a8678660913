"""The gate: rules, a candidate and its baselines in, one verdict with all its evidence out. Pure.

The lattice (evaluation-index-eviction.md, 4.3): a rule that fails or cannot be judged at all is FAIL; else one that is
neither proven nor refuted is INCONCLUSIVE; else PASS. Nothing that was not measured passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date as Date

import numpy as np

from evaluation.case import Case, fits, told
from evaluation.evalset import EvalSet
from evaluation.gate_power import design_effects, power_notes
from evaluation.gate_spec import AnyRule, Baseline, GateSpec, Waiver
from evaluation.judging import judge_rule, limit_of
from evaluation.measured import Measured
from evaluation.system import View
from evaluation.verdict import Decision, GateVerdict, PowerNote, RuleResult
from reporting.errors import DataError


def judge(
    spec: GateSpec,
    evalset: EvalSet,
    candidate: Measured,
    *,
    release: Measured | None = None,
    champion: Measured | None = None,
    as_of: Date,
    tool: str,
    config_sha256: str,
    warn_inconclusive: bool = False,
) -> GateVerdict:
    """Judge a candidate.

    Args:
        spec: The gate.
        evalset: The set on which all were measured.
        candidate: What is judged. Answered it no query at all, every rule is in error and the verdict FAIL.
        release: The current release; None with `champion` None: a first release, which floors and invariants decide.
        champion: The pinned champion.
        as_of: Day for which waivers count.
        tool: `funnelgate VERSION`.
        config_sha256: Of the gate file.
        warn_inconclusive: Let INCONCLUSIVE only warn on the slices that the spec names in `inconclusive_warns`.

    Returns:
        The verdict; equal arguments give an equal one.

    Raises:
        DataError: The set is not the one that the gate pins, or the systems were measured on different sets.
    """
    both: dict[Baseline, Measured | None] = {"release": release, "champion": champion}
    given = {name: measured for name, measured in both.items() if measured is not None}
    _refuse_mixed(spec, evalset, [candidate, *given.values()])
    case = Case(spec, candidate, given, counts_of(candidate))
    judged = [result for rule in spec.rules for result in _judged(rule, case)]
    active = [waiver for waiver in spec.waivers if as_of <= waiver.expires]
    results = [_waived(result, active) for result in judged]
    if warn_inconclusive:
        results = [_warning(result, spec) for result in results]
    verdict, reason = _decide(results)
    return GateVerdict(
        verdict=verdict,
        reason=reason,
        as_of=as_of,
        tool=tool,
        set_id=evalset.set_id,
        domains=(evalset.gallery.query_domain, evalset.gallery.gallery_domain),
        candidate=candidate.system,
        baselines={str(name): measured.system for name, measured in given.items()},
        alpha=spec.alpha,
        counts=case.counts,
        rules=tuple(results),
        waivers_expired=tuple(waiver for waiver in spec.waivers if waiver not in active),
        power=_power(spec, candidate),
        inputs=_inputs(evalset, config_sha256, [("candidate", candidate), *given.items()]),
    )


def counts_of(measured: Measured) -> Mapping[str, float]:
    """Return what became of a system's queries and hits, as the verdict tells it and rules may name it."""
    served = measured.views[View.SERVED]
    n = len(measured.query_ids)
    answered = int(served.answered.sum())
    counts: dict[str, float] = {"queries": n, "answered": answered, "unanswered": n - answered}
    statuses = [str(status) for status in measured.statuses]
    counts |= {name: statuses.count(name) for name in ("missing", "timeout", "error") if statuses}
    for name in ("padded", "self_matches", "duplicates", "orphans"):
        counts[name] = int(getattr(served, name).sum())
    counts["unfindable"] = int((served.findable == 0).sum())
    if "hit@10" in measured.bounds:
        worst, best, _ = measured.bounds["hit@10"]
        counts["tied@10"] = int((worst != best).sum())
    if "short_list@10" in measured.values:
        counts["short_list@10"] = int(np.rint(measured.values["short_list@10"].sum()))
    return counts


def _refuse_mixed(spec: GateSpec, evalset: EvalSet, systems: list[Measured]) -> None:
    if not spec.pins(evalset.set_id):
        raise DataError(
            f"the gate is meant for the set {spec.evalset}, and {evalset.set_id} was given: give the pinned set, or "
            "pin the new one in a reviewed change of the gate file"
        )
    ids = tuple(query.query_id for query in evalset.queries)
    for measured in systems:
        if measured.set_id != evalset.set_id:
            raise DataError(
                f"{measured.system} was measured on {measured.set_id}, the gate runs on {evalset.set_id}: figures of "
                "two sets cannot be compared; measure it again"
            )
        if measured.query_ids != ids:
            raise DataError(f"{measured.system}: its queries are not those of {evalset.set_id}, in their order")


def _judged(rule: AnyRule, case: Case) -> list[RuleResult]:
    """Judge a rule; of a system that answered nothing there is nothing to judge, which is no score of 0."""
    if case.counts["answered"]:
        return judge_rule(rule, case)
    reason = f"none of {case.counts['queries']:.0f} queries was answered: the system did not work"
    return [told(rule, name, "error", reason, limit=limit_of(rule)) for name in case.expand(rule)]


def _waived(result: RuleResult, active: list[Waiver]) -> RuleResult:
    """Apply the first waiver that fits a result that blocks; an error has no evidence that anyone could waive."""
    for waiver in active:
        is_meant = waiver.rule == result.id and (waiver.slice is None or fits(waiver.slice, result.slice))
        if is_meant and result.status in ("fail", "inconclusive"):
            reason = f"would be {result.status}: {result.reason}; waived until {waiver.expires}: {waiver.reason}"
            return result.model_copy(update={"status": "waived", "waiver": waiver, "reason": reason})
    return result


def _warning(result: RuleResult, spec: GateSpec) -> RuleResult:
    declared = any(fits(pattern, result.slice) for pattern in spec.inconclusive_warns)
    return result.model_copy(update={"warns": declared and result.status == "inconclusive"})


def _decide(results: list[RuleResult]) -> tuple[Decision, str]:
    ids: dict[str, list[str]] = {}
    for result in results:
        found = ids.setdefault("warns" if result.warns else result.status, [])
        found += [] if result.id in found else [result.id]
    if "error" in ids:
        return "FAIL", f"could not be judged: {_listed(ids['error'])}" + (
            f"; failed: {_listed(ids['fail'])}" if "fail" in ids else ""
        )
    if "fail" in ids:
        return "FAIL", f"failed: {_listed(ids['fail'])}"
    if "inconclusive" in ids:
        return "INCONCLUSIVE", f"neither proven nor refuted: {_listed(ids['inconclusive'])}"
    if not {"pass", "waived"} & ids.keys():
        return "INCONCLUSIVE", "no rule could be applied, so nothing was judged"
    notes = [f"{len(ids.get('pass', ()))} of {len({result.id for result in results})} rules hold"]
    notes += [f"{word}: {_listed(ids[status])}" for status, word in _NOTED.items() if status in ids]
    return "PASS", "; ".join(notes)


_NOTED = {"waived": "waived", "warns": "undecided, which only warns", "not_applicable": "not applicable"}


def _listed(ids: list[str]) -> str:
    shown = ", ".join(ids[:8])
    return shown if len(ids) <= 8 else f"{shown} and {len(ids) - 8} more"


def _inputs(evalset: EvalSet, config_sha256: str, systems: list[tuple[str, Measured]]) -> dict[str, str]:
    found = {"set": evalset.sha256, "config": config_sha256}
    for role, measured in systems:
        found |= {f"{role}/{name}": sha for name, sha in measured.inputs.items()}
    return dict(sorted(found.items()))


def _power(spec: GateSpec, measured: Measured) -> tuple[PowerNote, ...]:
    sizes = {name: int(mask.sum()) for name, mask in measured.slices.items()}
    notes = power_notes(spec, sizes, effects=design_effects(measured.clusters, measured.slices))
    return tuple(note for note in notes if note.carries != "yes")

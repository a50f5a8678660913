"""What the gate decided: the content of verdict.json, from which every other output is made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date as Date
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from evaluation.gate_spec import Waiver

RuleStatus: TypeAlias = Literal["pass", "fail", "inconclusive", "not_applicable", "waived", "error"]
Decision: TypeAlias = Literal["PASS", "FAIL", "INCONCLUSIVE"]


class RuleResult(BaseModel):
    """One rule on one slice against one baseline.

    Attributes:
        id: The rule's.
        kind: The rule's.
        metric: The rule's; `hit@k` is judged on its worst order of ties.
        slice: One slice, `category=*` expanded.
        vs: Baseline, None for rules without one.
        status: `waived` keeps what it would have been in `reason`; `error`: it cannot be judged at all, which is no
            score of 0 and fails the gate.
        value: Observed: the metric, or the difference to the baseline (a ratio for `ceiling_rel`); None: not measured.
        interval: (low, high) at the spec's alpha, None where the value is a plain fact.
        limit: What it is compared with: the floor, minus the margin, the ceiling, the ratio, the number.
        n: Queries, or what a fact rests on.
        clusters: Products among them, None for facts.
        flipped: p_d, share of queries whose value differs from the baseline's; None without one.
        needed: Queries at which a system that is no worse would be proven so with power 0.9, at this p_d and this
            clustering, where a rule against a baseline is inconclusive.
        reason: One sentence with the numbers.
        worst: Up to 20 query ids that lose most, worst first (of a fact: its examples).
        waiver: The waiver that applies.
        warns: INCONCLUSIVE here only warns, as gate.yaml and the command agree.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    kind: str
    metric: str
    slice: str
    vs: str | None = None
    status: RuleStatus
    value: float | None = None
    interval: tuple[float, float] | None = None
    limit: float
    n: int | None = None
    clusters: int | None = None
    flipped: float | None = None
    needed: int | None = None
    reason: str
    worst: tuple[str, ...] = ()
    waiver: Waiver | None = None
    warns: bool = False


class PowerNote(BaseModel):
    """Whether the number of queries of a slice can carry what a rule asks (evaluation/gate_power.py).

    Attributes:
        id: The rule's.
        metric: The rule's.
        slice: One slice, `category=*` expanded.
        carries: `no`: the rule cannot be met whatever the system answers, or is below its min_n; `weak`: a system
            that is no worse is proven so in less than 90 % of cases; `yes`.
        n: Queries of the slice.
        least: Queries at which a faultless system (no query flipped, every query right) just meets the rule.
        needed: Queries for power 0.9 at the assumed share of flipped queries; None for rules without a baseline.
        reason: One sentence with the numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    metric: str
    slice: str
    carries: Literal["no", "weak", "yes"]
    n: int
    least: int
    needed: int | None = None
    reason: str


class GateVerdict(BaseModel):
    """The verdict. Canonical as JSON (evaluation/outputs/verdict_json.py): equal inputs give equal bytes.

    Attributes:
        schema_: `verdict/1`.
        verdict: FAIL if any rule fails or is in error; else INCONCLUSIVE if any is inconclusive without leave only to
            warn, or if no rule applies; else PASS.
        reason: Why, in one sentence.
        as_of: The day for which waivers were looked at.
        tool: `funnelgate VERSION`.
        set_id: The evaluation set.
        domains: (query domain, gallery domain).
        candidate: Name of what was judged.
        baselines: `release` and `champion` to their names, where given.
        alpha: As in the spec.
        counts: Over the candidate: queries, answered, missing, timeout, error, padded, self_matches, duplicates,
            orphans, unfindable, tied@10, short_list@10.
        rules: In order of the spec, slices and baselines expanded.
        waivers_expired: Waivers of the spec that no longer count.
        power: Rules that the set's number of queries cannot carry, or only weakly.
        inputs: Name -> sha256: `set`, `config`, and everything of `candidate`, `release`, `champion` as `NAME/...`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["verdict/1"] = Field(default="verdict/1", alias="schema")
    verdict: Decision
    reason: str
    as_of: Date
    tool: str
    set_id: str
    domains: tuple[str, str]
    candidate: str
    baselines: Mapping[str, str]
    alpha: float
    counts: Mapping[str, float]
    rules: tuple[RuleResult, ...]
    waivers_expired: tuple[Waiver, ...] = ()
    power: tuple[PowerNote, ...] = ()
    inputs: Mapping[str, str]

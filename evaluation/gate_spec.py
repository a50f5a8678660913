"""gate.yaml: the rules of a release, agreed before anyone looks at the figures (evaluation-index-eviction.md, 4.3).

Read by evaluation/gate_file.py, judged by evaluation/judging.py (one rule) and evaluation/gate.py (all of them).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date as Date
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Baseline: TypeAlias = Literal["release", "champion"]
Unproven: TypeAlias = Literal["inconclusive", "fail", "not_applicable"]
Number: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""No `true`, no text, no NaN: a limit that nothing can be compared with would let everything through."""


def _day(value: Any) -> Any:
    """Refuse numbers and times, which pydantic would take for days."""
    if isinstance(value, datetime) or not isinstance(value, Date | str):
        raise ValueError(f"expected a day as in 2026-11-01, got {value!r}")  # noqa: TRY004 - pydantic hears ValueError
    return value


class RuleBase(BaseModel):
    """What every rule has.

    Attributes:
        id: Names it in verdicts and waivers; unique in the file.
        metric: Of `evaluation/metrics.py` (`hit@10`, `recall@10`, ...), the metric of a fact
            (`groups_with_zero_images`, `self_recall@1`, ...), or a count of the verdict (`duplicates`, `orphans`, ...).
        slice: `all`, one slice (`freq=tail`) or each value of one dimension (`category=*`).
        min_n: Queries (for facts: what the fact rests on) below which the rule is under-powered.
        on_underpowered: What it then says. `inconclusive` stays FAIL where even so few refute the rule.
        on_missing: What it says where the metric was not measured (a run file has no census) or the slice is empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    metric: str = Field(min_length=1)
    slice: str = Field(default="all", min_length=1)
    min_n: int = Field(default=1, ge=1)
    on_underpowered: Unproven = "inconclusive"
    on_missing: Unproven = "inconclusive"


class Floor(RuleBase):
    """The lower bound of the metric is at least `min`.

    Attributes:
        min: The floor, in the metric's own unit (a share of 90 % is 0.90).
        bound: `wilson_lower` for shares, `clustered_lower` for means, `auto` the one that fits the metric, `point`
            compares the value itself. `auto` of a fact is `point`; `wilson_lower` of a fact takes its n.
    """

    kind: Literal["floor"]
    """This sort of rule."""
    min: Number
    bound: Literal["auto", "wilson_lower", "clustered_lower", "point"] = "auto"


class NonInferior(RuleBase):
    """The candidate is proven not to be worse than a baseline by more than a margin.

    Attributes:
        margin_pp: Margin in percentage points of the metric.
        vs: Baselines; each is judged by itself.
        cluster: What is resampled: the queries of one product together, or each query alone.
    """

    kind: Literal["noninferior"]
    """This sort of rule."""
    margin_pp: Number = Field(gt=0, le=100)
    vs: tuple[Baseline, ...] = Field(default=("release", "champion"), min_length=1)
    cluster: Literal["product", "none"] = "product"


class Superior(RuleBase):
    """The candidate is proven to be better than a baseline by more than `by_pp`.

    Attributes:
        by_pp: In percentage points.
        vs: Baselines.
        cluster: As for noninferior.
        required_for: `model_change_only`: not applicable while the candidate's models are the baseline's.
    """

    kind: Literal["superior"]
    """This sort of rule."""
    by_pp: Number = Field(default=0.0, ge=0, le=100)
    vs: tuple[Baseline, ...] = Field(default=("release",), min_length=1)
    cluster: Literal["product", "none"] = "product"
    required_for: Literal["always", "model_change_only"] = "always"


class Ceiling(RuleBase):
    """The upper bound of the metric is at most `max` (or `max_pp` percentage points; exactly one is given).

    Attributes:
        max: The ceiling in the metric's own unit.
        max_pp: The ceiling in percentage points.
        bound: `clustered_upper`, or `point` for the value itself; `auto` of a fact is `point`.
    """

    kind: Literal["ceiling"]
    """This sort of rule."""
    max: Number | None = None
    max_pp: Number | None = None
    bound: Literal["auto", "clustered_upper", "point"] = "auto"

    @model_validator(mode="after")
    def _one_of_both(self) -> Ceiling:
        if (self.max is None) == (self.max_pp is None):
            raise ValueError("give exactly one of max and max_pp")
        return self

    @property
    def limit(self) -> float:
        """Return the ceiling in the metric's own unit."""
        return self.max if self.max is not None else (self.max_pp or 0.0) / 100


class CeilingRel(RuleBase):
    """The metric is at most `max_ratio` times the baseline's.

    Attributes:
        max_ratio: e.g. 1.10: at most a tenth more.
        vs: Baselines.
        samples: Measurements that each side needs; fewer is under-powered.
        statistic: What is taken of them.
    """

    kind: Literal["ceiling_rel"]
    """This sort of rule."""
    max_ratio: Number = Field(gt=0)
    vs: tuple[Baseline, ...] = Field(default=("release",), min_length=1)
    samples: int = Field(default=1, ge=1)
    statistic: Literal["value", "median_of_runs", "min_of_runs"] = "value"


class Invariant(RuleBase):
    """The metric equals a number exactly."""

    kind: Literal["invariant"]
    """This sort of rule."""
    equals: Number = 0.0
    """The number."""


AnyRule: TypeAlias = Floor | NonInferior | Superior | Ceiling | CeilingRel | Invariant
Rule = Annotated[AnyRule, Field(discriminator="kind")]

KINDS: Mapping[str, type[RuleBase]] = MappingProxyType(
    {get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(AnyRule)}
)
"""Every kind by its name in the file."""


class Waiver(BaseModel):
    """A rule that may fail, for a reason, until a day (included). It prints in every output.

    Attributes:
        rule: Id of the rule.
        slice: Only there; None: on every slice.
        reason: Why, in at least ten characters.
        approver: Who answers for it.
        expires: Last day on which it counts.
        evidence: Where the case is written down: a ticket, a page.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str = Field(min_length=1)
    slice: str | None = None
    reason: str = Field(min_length=10)
    approver: str = Field(min_length=1)
    expires: Annotated[Date, BeforeValidator(_day)]
    evidence: str = ""


class GateSpec(BaseModel):
    """gate.yaml.

    Attributes:
        schema_: `gate/1`.
        evalset: `NAME@SHA` that is pinned, where a beginning of the hash is enough (`same-item@3f9c...`); None:
            whatever set is given (the verdict names it).
        baselines: What is meant by release and champion, e.g. `{release: current, champion: pinned@v118}`. Whoever
            runs the gate hands the systems in; a champion that is named here and not handed in is not a first
            release but a forgotten option, and leaves its rules INCONCLUSIVE.
        alpha: One-sided error of each rule; guardrails need no correction for their number (union-intersection).
        inconclusive_warns: Slices (`category=hats`, `category=*`) on which INCONCLUSIVE only warns, where the gate is
            run with `--inconclusive warn`; anywhere else it blocks.
        rules: By place.
        waivers: See `Waiver`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["gate/1"] = Field(alias="schema")
    evalset: str | None = Field(default=None, pattern=r"^[^\s@]+@[0-9a-f]{4,64}(\.\.\.|…)?$")
    baselines: Mapping[Baseline, str] = Field(default_factory=dict)
    alpha: Number = Field(default=0.05, gt=0, lt=0.5)
    inconclusive_warns: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = Field(min_length=1)
    waivers: tuple[Waiver, ...] = ()

    def pins(self, set_id: str) -> bool:
        """Say whether the file is meant for a set: it pins none, or this one's name and the beginning of its hash."""
        if self.evalset is None:
            return True
        name, _, beginning = self.evalset.partition("@")
        found, _, sha = set_id.partition("@")
        digits = beginning.rstrip(".…")
        return name == found and (sha.startswith(digits) or digits.startswith(sha))

    @property
    def ks(self) -> tuple[int, ...]:
        """Return the cuts that the rules name (`hit@10`: 10), rising."""
        cuts = (rule.metric.rpartition("@")[2] for rule in self.rules if "@" in rule.metric)
        return tuple(sorted({int(cut) for cut in cuts if cut.isdecimal() and int(cut) > 0}))

"""Judge a system before and after each fault: which rules notice, and does the gate say no? Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date as Date
from typing import Any
from zlib import crc32

import numpy as np

from evaluation.evalset import EvalSet
from evaluation.gate import judge
from evaluation.gate_spec import GateSpec
from evaluation.measured import Measured
from evaluation.mutations import MUTATIONS, Mutation
from evaluation.system import System
from evaluation.verdict import Decision, GateVerdict
from reporting.errors import EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_OK

Measure = Callable[[System, EvalSet], Measured]


@dataclass(frozen=True, slots=True)
class Trial:
    """What the gate said to one fault.

    Attributes:
        mutation: The fault.
        verdict: None: the set has no place for it.
        noticed: Rules that fail and did not without the fault, in the gate's order.
        named: Of the rules that must fail those which the gate has, and which the control judged at all.
    """

    mutation: Mutation
    verdict: Decision | None
    noticed: tuple[str, ...]
    named: tuple[str, ...]

    @property
    def outcome(self) -> str:
        """Return `killed`, `missed`, `blocked` (INCONCLUSIVE only), or `not put in`."""
        if self.verdict is None:
            return "not put in"
        if self.verdict == "FAIL" and self.noticed and set(self.named) <= set(self.noticed):
            return "killed"
        return "blocked" if self.verdict == "INCONCLUSIVE" else "missed"


@dataclass(frozen=True, slots=True)
class Suite:
    """All trials, and the control: the candidate against itself, where nothing may be said to differ."""

    control: GateVerdict
    trials: tuple[Trial, ...]

    @property
    def exit_code(self) -> int:
        """1 when a fault was not killed or the control fails; else 3 when one could not be put in; else 0."""
        outcomes = {trial.outcome for trial in self.trials}
        if outcomes & {"missed", "blocked"} or self.control.verdict == "FAIL":
            return EXIT_FAILED
        return EXIT_INCONCLUSIVE if "not put in" in outcomes else EXIT_OK

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "control": self.control.verdict,
            "mutations": [
                {
                    "mutation": trial.mutation.name,
                    "outcome": trial.outcome,
                    "verdict": trial.verdict,
                    "noticed_by": list(trial.noticed),
                    "must_notice": list(trial.named),
                }
                for trial in self.trials
            ],
        }

    def to_markdown(self) -> str:
        """Return the table, as docs/gate.md and CI print it."""
        rows = [
            "| fault | verdict | outcome | rules that fail |",
            "|---|---|---|---|",
            f"| none: the system against itself | {self.control.verdict} | control | |",
        ]
        for trial in self.trials:
            shown = ", ".join(f"**{one}**" if one in trial.named else one for one in trial.noticed)
            rows.append(f"| {trial.mutation.tells} | {trial.verdict or '-'} | {trial.outcome} | {shown} |")
        return "\n".join(rows)


def run_suite(
    spec: GateSpec,
    evalset: EvalSet,
    system: System,
    measure: Measure,
    *,
    as_of: Date,
    mutations: Sequence[Mutation] = MUTATIONS,
    seed: int = 0,
) -> Suite:
    """Judge a system against itself, once as it is and once with each fault.

    Args:
        spec: The gate.
        evalset: The set.
        system: As released: release and champion of every trial.
        measure: `evaluation.measure.measure` with its options.
        as_of: Day for waivers.
        mutations: Faults.
        seed: Equal seeds draw equal faults.
    """
    sound = measure(system, evalset)

    def verdict_of(candidate: Measured) -> GateVerdict:
        return judge(
            spec,
            evalset,
            candidate,
            release=sound,
            champion=sound,
            as_of=as_of,
            tool="mutation suite",
            config_sha256="",
        )

    control = verdict_of(sound)
    judged = {result.id for result in control.rules if result.status == "pass"}
    before = set(_failing(control))
    trials = []
    for mutation in mutations:
        chance = np.random.default_rng([seed, crc32(mutation.name.encode())])
        faulty = mutation.put_in(system, evalset, chance)
        named = tuple(name for name in mutation.kills if name in judged)
        if faulty is None:
            trials.append(Trial(mutation, None, (), named))
            continue
        found = verdict_of(measure(*faulty))
        noticed = tuple(name for name in _failing(found) if name not in before)
        trials.append(Trial(mutation, found.verdict, noticed, named))
    return Suite(control, tuple(trials))


def _failing(verdict: GateVerdict) -> list[str]:
    """Return the rules that fail somewhere, in the gate's order."""
    return list(dict.fromkeys(result.id for result in verdict.rules if result.status in ("fail", "error")))

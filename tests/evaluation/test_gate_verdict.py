"""The whole gate: the lattice, waivers, first release, A/A, and that equal inputs give equal bytes."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import date as Date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.answers import Status
from evaluation.gate import counts_of, judge
from evaluation.gate_file import BUILTIN, read_gate
from evaluation.gate_power import design_effects, faultless_queries, power_notes
from evaluation.gate_spec import GateSpec
from evaluation.measured import Measured
from evaluation.stats import mean_interval
from evaluation.system import Fact, View
from evaluation.verdict import GateVerdict
from reporting.errors import DataError
from tests.evaluation.gate_world import AS_OF, measured, with_facts, world

SET = world(200, 1)
RELEASE = measured(SET, range(0, 200, 50))
DEFAULT = read_gate(BUILTIN["default"])
HELD = {"id": "held", "kind": "floor", "metric": "hit@10", "min": 0.5}
BROKEN = {"id": "broken", "kind": "invariant", "metric": "live_groups", "equals": 7}
OPEN = {"id": "open", "kind": "invariant", "metric": "nobody_knows"}
NOT_ASKED = {"id": "not-asked", "kind": "noninferior", "metric": "hit@10", "margin_pp": 1}
ERROR = {"id": "error", "kind": "floor", "metric": "mystery", "min": 1, "bound": "wilson_lower"}
CANDIDATE = with_facts(RELEASE, Fact(metric="live_groups", value=8), Fact(metric="mystery", value=1))


def spec_of(*rules: dict[str, Any], **said: Any) -> GateSpec:
    return GateSpec.model_validate({"schema": "gate/1", "rules": rules, **said})


def judged(spec: GateSpec, candidate: Measured = CANDIDATE, **said: Any) -> GateVerdict:
    given = {"as_of": AS_OF, "tool": "funnelgate 0", "config_sha256": "c" * 64, **said}
    return judge(spec, SET, candidate, **given)


def bytes_of(verdict: GateVerdict) -> str:
    return json.dumps(verdict.model_dump(mode="json", by_alias=True), sort_keys=True)


@pytest.mark.parametrize(
    ("rules", "decision"),
    [
        ((HELD,), "PASS"),
        ((HELD, NOT_ASKED), "PASS"),
        ((HELD, OPEN), "INCONCLUSIVE"),
        ((HELD, OPEN, BROKEN), "FAIL"),
        ((HELD, ERROR), "FAIL"),
        ((NOT_ASKED,), "INCONCLUSIVE"),
    ],
)
def test_the_worst_rule_decides_and_nothing_judged_is_no_pass(rules, decision):
    assert judged(spec_of(*rules)).verdict == decision


@given(st.sets(st.sampled_from(["broken", "open", "not-asked", "error"])))
def test_a_rule_more_never_turns_a_verdict_to_the_better(names):
    order, rules = ["PASS", "INCONCLUSIVE", "FAIL"], {str(one["id"]): one for one in (BROKEN, OPEN, NOT_ASKED, ERROR)}
    alone = [order.index(judged(spec_of(HELD, rules[name])).verdict) for name in names]
    together = judged(spec_of(HELD, *(rules[name] for name in sorted(names)))).verdict
    assert order.index(together) == max(alone, default=0)


def test_a_first_release_is_decided_by_floors_and_invariants():
    verdict = judged(DEFAULT, RELEASE)
    statuses = {result.id: result.status for result in verdict.rules}
    absent = {result.id for result in verdict.rules if result.kind in ("noninferior", "superior", "ceiling_rel")}
    assert {statuses[name] for name in absent} == {"not_applicable"}
    assert {statuses[name] for name in ("recall10-floor", "no-lost-group", "day-selfprobe")} == {"pass"}
    assert verdict.baselines == {}
    lost = with_facts(RELEASE, Fact(metric="groups_with_zero_images", value=1, n=200, examples=("g0001",)))
    assert judged(DEFAULT, lost).verdict == "FAIL"


def test_a_system_against_itself_passes_with_all_differences_exactly_zero():
    verdict = judged(spec_of(*(rule.model_dump() for rule in DEFAULT.rules if rule.id != "ann-loss")), RELEASE,
                     release=RELEASE, champion=RELEASE)  # fmt: skip
    assert verdict.verdict == "PASS", verdict.reason
    paired = [result for result in verdict.rules if result.kind == "noninferior"]
    assert len(paired) == 2 * (2 + 2 * 3 + 1)
    assert {(result.value, result.interval, result.flipped) for result in paired} == {(0.0, (0.0, 0.0), 0.0)}
    assert {result.value for result in verdict.rules if result.kind == "ceiling_rel"} == {1.0}


def test_a_system_that_answered_nothing_is_an_error_and_no_score():
    served = RELEASE.views[View.SERVED]
    dead = replace(RELEASE, views={**RELEASE.views, View.SERVED: replace(served, answered=np.zeros(200, np.bool_))})
    verdict = judged(DEFAULT, dead, release=RELEASE)
    assert (verdict.verdict, {result.status for result in verdict.rules}) == ("FAIL", {"error"})
    assert {result.value for result in verdict.rules} == {None}


WAIVER = {"rule": "broken", "reason": "the count is of the old list", "approver": "ann", "expires": "2026-11-20"}


def test_a_waiver_counts_until_its_day_and_prints_what_it_covers():
    spec = spec_of(HELD, BROKEN, waivers=[WAIVER])
    verdict = judged(spec, as_of=Date(2026, 11, 20))
    waived = verdict.rules[1]
    assert (verdict.verdict, waived.status, waived.value) == ("PASS", "waived", 8)
    assert waived.reason.startswith("would be fail")
    assert "old list" in waived.reason
    assert waived.waiver is not None
    assert waived.waiver.approver == "ann"
    assert "waived: broken" in verdict.reason
    assert verdict.waivers_expired == ()
    late = judged(spec, as_of=Date(2026, 11, 21))
    assert (late.verdict, late.rules[1].status) == ("FAIL", "fail")
    assert [one.rule for one in late.waivers_expired] == ["broken"]


def test_a_waiver_covers_its_rule_and_slice_only_and_no_error():
    by_category = HELD | {"min": 0.999, "slice": "category=*", "bound": "point", "id": "cat"}
    verdict = judged(spec_of(by_category, waivers=[WAIVER | {"rule": "cat", "slice": "category=c1"}]))
    assert [result.status for result in verdict.rules] == ["fail", "waived", "fail"]
    assert judged(spec_of(ERROR, waivers=[WAIVER | {"rule": "error"}])).verdict == "FAIL"


def test_inconclusive_only_warns_where_file_and_command_agree():
    thin = HELD | {"id": "thin", "slice": "category=c1", "min_n": 1000}
    declared = spec_of(HELD, thin, inconclusive_warns=["category=*"])
    assert judged(declared).verdict == "INCONCLUSIVE"
    assert judged(spec_of(HELD, thin), warn_inconclusive=True).verdict == "INCONCLUSIVE"
    warned = judged(declared, warn_inconclusive=True)
    assert (warned.verdict, [result.warns for result in warned.rules]) == ("PASS", [False, True])
    assert "only warns: thin" in warned.reason
    assert (
        judged(spec_of(HELD, OPEN, inconclusive_warns=["category=*"]), warn_inconclusive=True).verdict == "INCONCLUSIVE"
    )


def test_systems_measured_on_another_set_are_refused():
    other = measured(world(100, 1))
    with pytest.raises(DataError, match="figures of two sets"):
        judged(DEFAULT, release=other)
    with pytest.raises(DataError, match="meant for the set other@abcd"):
        judged(spec_of(HELD, evalset="other@abcd"))
    shuffled = replace(RELEASE, query_ids=RELEASE.query_ids[::-1])
    with pytest.raises(DataError, match="not those of"):
        judged(DEFAULT, shuffled)


def test_equal_inputs_give_equal_bytes_and_the_verdict_names_them_all():
    mappings = [
        dict(random.Random(seed).sample(sorted(RELEASE.values.items()), len(RELEASE.values))) for seed in (1, 2)
    ]
    one, other = (
        judged(DEFAULT, replace(RELEASE, values=values), release=CANDIDATE, champion=RELEASE) for values in mappings
    )
    assert bytes_of(one) == bytes_of(other)
    assert dict(one.inputs) == {
        "set": SET.sha256,
        "config": "c" * 64,
        **{
            f"{role}/{name}": sha
            for role in ("candidate", "champion", "release")
            for name, sha in RELEASE.inputs.items()
        },
    }
    assert one.domains == ("drawn", "drawn")
    assert one.set_id == SET.set_id


def test_counts_tell_what_became_of_every_query():
    statuses = (Status.TIMEOUT,) + (Status.ANSWERED,) * 199
    counts = counts_of(replace(RELEASE, statuses=statuses))
    assert (counts["queries"], counts["answered"], counts["unanswered"]) == (200, 200, 0)
    assert (counts["timeout"], counts["missing"], counts["error"]) == (1, 0, 0)
    assert counts["unfindable"] == counts["duplicates"] == counts["orphans"] == counts["tied@10"] == 0


def test_a_set_too_small_for_a_margin_is_told_beforehand():
    spec = spec_of(NOT_ASKED, HELD, NOT_ASKED | {"id": "wide", "margin_pp": 20}, OPEN)
    notes = {note.id: note for note in power_notes(spec, {"all": 200, "category=a": 20})}
    assert set(notes) == {"not-asked", "held", "wide"}, "facts carry their own n"
    assert (notes["not-asked"].carries, notes["not-asked"].least, notes["not-asked"].needed) == ("no", 299, 1713)
    assert (notes["held"].carries, notes["wide"].carries) == ("yes", "yes")
    weak = power_notes(spec, {"all": 1000})[0]
    assert weak.carries == "weak"
    thin = power_notes(spec_of(HELD | {"min_n": 300}), {"all": 200})[0]
    assert thin.carries == "no"
    assert "fewer than min_n 300: inconclusive" in thin.reason
    assert {note.id for note in judged(spec).power} == {"not-asked"}


@pytest.mark.parametrize("floor", [0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("each", [1, 3])
def test_from_the_least_number_on_a_faultless_system_meets_a_floor(floor, each):
    """Asked of the interval itself, with one and with three queries of each product."""
    least = faultless_queries(1 - floor, 0.05, float(each))

    def low(n: int) -> float:
        return mean_interval(np.ones(n), np.arange(n) // each, alpha_two_sided=0.1, share=True).low

    whole = -(-least // each) * each
    assert low(whole) >= floor - 1e-12
    assert whole == each or low(whole - each) < floor


def test_queries_of_one_product_weigh_as_one_where_nothing_tells_otherwise():
    notes = [power_notes(spec_of(NOT_ASKED), {"all": 600}, effects={"all": effect})[0] for effect in (1.0, 3.0)]
    assert [(note.least, note.carries) for note in notes] == [(299, "weak"), (895, "no")]
    assert design_effects(["a", "a", "b", "c"], {"all": np.ones(4, np.bool_), "none": np.zeros(4, np.bool_)}) == {
        "all": 1.5
    }


def test_a_floor_of_one_can_never_be_proven():
    note = power_notes(spec_of(HELD | {"min": 1}), {"all": 10**6})[0]
    assert note.carries == "no"
    assert "take bound point" in note.reason

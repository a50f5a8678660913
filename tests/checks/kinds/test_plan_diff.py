"""Plan diff: a candidate's own leaves against what counted before it, never against anything else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from checks.kinds.base import Finding
from checks.kinds.plan_diff import PlanDiff
from checks.result import Status
from checks.view import View
from reporting.effective import leaf_of
from reporting.errors import ConfigError
from reporting.plans import PlanKind, PlanState
from reporting.testing import DAY
from tests.checks.world import TOPOLOGY, World, noon, planid_of

HALF = World().shrink("embed", {"category": "shoes"}, 0.5)
"""Half of the shoes were not embedded; a repair of that brings them back."""
REPAIRED = HALF.rerun("r1", ("embed",), categories=("shoes",), promoted=False)


def diff(**keys) -> PlanDiff:
    return PlanDiff.model_validate({"id": "d", "kind": "plan_diff", **keys})


def numbers(finding: Finding) -> tuple[float, float]:
    """Return what was found and what was there before."""
    assert finding.value is not None
    assert finding.expected is not None
    return finding.value, finding.expected


def judged(check: PlanDiff, view: View) -> dict[str, Status]:
    return {finding.instance: finding.status for finding in check.judge(view)}


def test_a_repair_is_compared_on_its_own_leaves_alone():
    """The oracle adds up the records of both plans by hand."""
    view = REPAIRED.view(DAY, digests=False)
    own = {leaf_of(r.key): r for r in view.records if r.key.planid == "r1"}
    daily = {leaf_of(r.key): r for r in view.records if r.key.planid == planid_of(DAY)}
    findings = {one.instance: one for one in diff(measures=["input"]).judge(view)}
    for task in ("embed", "index", "merge"):
        leaves = [leaf for leaf in own if leaf.task == task]
        assert {leaf.category for leaf in leaves} == {"shoes"}
        one = findings[f"{task} input"]
        assert one.value == sum(own[leaf].input for leaf in leaves)
        assert one.expected == sum(daily[leaf].input for leaf in leaves)
        assert one.status is Status.FAIL
        assert one.place.planid == "r1"
    value, before = numbers(findings["embed input"])
    assert value / before == pytest.approx(2, rel=0.01)
    untouched = findings["detect input"]
    assert (untouched.status, untouched.counts) == (Status.NOT_EVALUATED, False)


def test_a_repair_of_nothing_agrees_with_what_it_repeats():
    view = World().rerun("r1", ("detect",), promoted=False).view(DAY, digests=False)
    found = judged(diff(tasks=["detect", "crop", "embed"], group_by=["subinstance"]), view)
    assert len(found) == 3 * 2 * 3
    assert set(found.values()) == {Status.PASS}
    assert "detect produced subinstance=0002" in found


def test_a_breach_exceeds_both_parts_of_the_tolerance_and_its_level():
    view = REPAIRED.view(DAY, digests=False)
    (one,) = diff(tasks=["index"], measures=["input"]).judge(view)
    value, before = numbers(one)
    off = value - before
    for tolerance, status in (
        ({"rel": 0.01}, Status.FAIL),
        ({"abs": off, "rel": 0.01}, Status.PASS),
        ({"abs": off - 1, "rel": 0.01}, Status.FAIL),
    ):
        assert set(judged(diff(tasks=["index"], measures=["input"], tolerance=tolerance), view).values()) == {status}
    share = off / before
    assert judged(diff(tasks=["index"], measures=["input"], levels={"page": share + 0.01}), view) == {
        "index input": Status.WARN
    }


def test_the_table_names_the_leaves_that_differ():
    view = HALF.rerun("r1", ("embed",), promoted=False).view(DAY, digests=False)
    (one,) = diff(tasks=["embed"], measures=["input"]).judge(view)
    assert one.table is not None
    assert one.table.dimensions == ("category", "subinstance")
    assert len(one.table.values) == 9
    off = one.table.actual != one.table.expected
    assert {values[0] for values, wrong in zip(one.table.values, off, strict=True) if wrong} == {"shoes"}
    assert (one.table.actual.sum(), one.table.expected.sum()) == numbers(one)


def test_a_leaf_that_the_candidate_lost_counts_as_nothing():
    view = World().rerun("r1", ("embed",), promoted=False).view(DAY, digests=False)
    gone = [
        r for r in view.records if not (r.key.planid == "r1" and r.key.task == "embed" and r.key.category == "hats")
    ]
    (one,) = diff(tasks=["embed"], measures=["records"]).judge(replace(view, records=gone))
    assert (one.status, one.value, one.expected) == (Status.FAIL, 6, 9)


def test_without_a_candidate_there_is_nothing_to_compare():
    findings = list(diff().judge(World().view(DAY, digests=False)))
    assert findings
    assert {(one.status, one.counts) for one in findings} == {(Status.NOT_EVALUATED, False)}


def test_what_was_promoted_counts_and_passes_where_it_counts():
    view = HALF.rerun("r1", ("embed",), categories=("shoes",)).view(DAY, digests=False)
    findings = {one.instance: one for one in diff(measures=["input"]).judge(view)}
    embed = findings["embed input"]
    assert (embed.status, embed.details["planids"]) == (Status.PASS, ["r1"])
    own = sum(r.input for r in view.records if (r.key.task, r.key.planid) == ("embed", "r1"))
    assert numbers(embed) == (own, own)
    assert (findings["detect input"].status, findings["detect input"].counts) == (Status.NOT_EVALUATED, False)


def test_a_candidate_that_a_later_promoted_plan_has_done_again_in_part_still_waits():
    shoes = ("shoes",)
    first = HALF.rerun("r1", ("embed",), promoted=False, categories=shoes)
    for packages, planid in ((None, "r2"), (("0002",), "r1")):
        view = first.rerun("r2", ("embed",), categories=shoes, subinstances=packages).view(DAY)
        (one,) = diff(tasks=["embed"], measures=["input"]).judge(view)
        assert one.place.planid == planid


def test_a_candidate_at_work_is_waited_for():
    view = REPAIRED.view(DAY, as_of=noon(DAY).replace(hour=10, minute=30), digests=False)
    assert {(one.status, one.counts) for one in diff().judge(view)} == {(Status.NOT_EVALUATED, False)}


def test_the_latest_candidate_of_the_named_kinds_is_taken_and_no_abandoned_one():
    view = REPAIRED.view(DAY, digests=False)
    repair = view.plan["r1"]
    for change, taken in (
        ({"state": PlanState.ABANDONED}, False),
        ({"kind": PlanKind.SHADOW}, False),
        ({}, True),
    ):
        plans = [plan if plan != repair else plan.model_copy(update=change) for plan in view.plans]
        found = judged(diff(tasks=["embed"], measures=["input"]), replace(view, plans=plans))
        assert (found["embed input"] is Status.FAIL) == taken
    shadow = [plan if plan != repair else plan.model_copy(update={"kind": PlanKind.SHADOW}) for plan in view.plans]
    check = diff(tasks=["embed"], measures=["input"], candidate=["backfill", "shadow"])
    assert judged(check, replace(view, plans=shadow)) == {"embed input": Status.FAIL}


def test_a_base_may_be_named():
    view = REPAIRED.view(DAY, digests=False)
    check = diff(tasks=["embed"], measures=["input"], base=planid_of(DAY))
    assert judged(check, view) == {"embed input": Status.FAIL}
    unknown = list(diff(tasks=["embed"], measures=["input"], base="r0").judge(view))
    assert [(one.status, one.counts) for one in unknown] == [(Status.NOT_EVALUATED, False)]
    assert "'r0'" in unknown[0].reason


def test_records_without_the_metric_are_not_evaluated():
    view = World().rerun("r1", ("download",), promoted=False).view(DAY, digests=False)
    check = diff(tasks=["download"], measures=["metrics.bytes"])
    assert judged(check, view) == {"download metrics.bytes": Status.PASS}
    bare = [r.model_copy(update={"metrics": {}}) if r.key.planid == "r1" else r for r in view.records]
    assert judged(check, replace(view, records=bare)) == {"download metrics.bytes": Status.NOT_EVALUATED}


def test_the_order_of_records_and_plans_does_not_matter():
    view = REPAIRED.view(DAY, digests=False)
    turned = replace(view, records=view.records[::-1], plans=view.plans[::-1])
    assert [(f.instance, f.value, f.status) for f in diff().judge(turned)] == [
        (f.instance, f.value, f.status) for f in diff().judge(view)
    ]


def test_a_file_names_kinds_singly_or_in_a_list():
    assert diff(candidate="shadow").candidate == (PlanKind.SHADOW,)
    assert diff(candidate=["rerun", "backfill"]).candidate == (PlanKind.RERUN, PlanKind.BACKFILL)
    for bad in ("reruns", (), None):
        with pytest.raises(ValidationError):
            diff(candidate=bad)


def test_unknown_names_are_told_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean produced"):
        diff(measures=["producd"]).expand(TOPOLOGY)
    with pytest.raises(ConfigError, match="did you mean embed"):
        diff(tasks=["embd"]).expand(TOPOLOGY)

"""Complete: what the manifest expects and nobody reported fails, however quiet it is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from checks.kinds.complete import Complete
from checks.result import Status
from checks.view import View
from reporting.errors import ConfigError
from reporting.plans import Leaf, PlanKind, PlanState
from reporting.record import TaskRecord
from reporting.testing import make_plan
from tests.checks.judging import judged, rows, statuses
from tests.checks.world import DAY, ORDER, TOPOLOGY, World, noon, planid_of, record_of

EMBED = Leaf("embed", DAY, "shoes", "0002")
PACKAGE = Leaf("download", DAY, subinstance="0002")


def seen(view, **changes):
    """Return a view with some of its parts replaced."""
    parts = {
        name: getattr(view, name)
        for name in ("topology", "date", "as_of", "records", "other_days", "plans", "expected")
    }
    return View(**{**parts, **changes})


def test_a_whole_day_passes():
    found = judged(Complete, World().view())
    assert statuses(found) == {}
    assert list(found) == list(ORDER)
    assert (found["embed"].value, found["embed"].expected) == (9, 9)


def test_a_leaf_that_nobody_reported_fails_with_what_was_handed_to_it():
    lost = record_of(World().view(), EMBED)
    found = judged(Complete, World().lose(EMBED).view())
    assert statuses(found) == {"embed": Status.FAIL}
    finding = found["embed"]
    assert rows(finding) == {("shoes", "0002"): (0, lost.input)}
    assert (finding.expected or 0) - (finding.value or 0) == lost.input
    assert (finding.numerator, finding.denominator, finding.unit) == (8, 9, "objects")
    assert finding.reason == f"1 of 9 leaves have no record: shoes/0002 ({lost.input} objects)"
    assert finding.details["missing"] == ["embed shoes/0002"]
    assert finding.place.planid == planid_of(DAY)


def test_a_leaf_that_was_never_seen_before_fires_too():
    """Nothing but the manifest knows of it."""
    view = World().view()
    new = Leaf("embed", DAY, "gloves", "0001")
    expected = {planid_of(DAY): view.expected[planid_of(DAY)] | {new}}
    finding = judged(Complete, seen(view, expected=expected))["embed"]
    assert (finding.status, finding.details["missing"]) == (Status.FAIL, ["embed gloves/0001"])
    assert rows(finding) == {("gloves", "0001"): (0, 1)}  # nothing was handed to it: its record alone is missing


def test_a_leaf_to_which_nothing_was_handed_still_owes_its_record():
    view = World().view()
    made = record_of(view, EMBED._replace(task="categorise"))
    empty = made.model_copy(
        update={"key": made.key.model_copy(update={"category": "gloves"}), "input": 0, "output": 0, "produced": 0}
    )
    new = EMBED._replace(category="gloves")
    expected = {planid_of(DAY): view.expected[planid_of(DAY)] | {new, new._replace(task="categorise")}}
    finding = judged(Complete, seen(view, expected=expected, records=[*view.records, empty]))["embed"]
    assert (finding.status, finding.unit) == (Status.FAIL, "objects")
    assert rows(finding) == {("gloves", "0002"): (0, 1)}


def test_several_missing_leaves_of_one_group_share_what_the_group_lacks():
    leaves = [PACKAGE, PACKAGE._replace(subinstance="0003")]
    view = World().view()
    lost = sum(record_of(view, leaf).input for leaf in leaves)
    world = World().lose(leaves[0]).lose(leaves[1])
    found = rows(judged(Complete, world.view())["download"])
    assert found == {("0002",): (0, lost / 2), ("0003",): (0, lost / 2)}


def test_where_it_is_not_known_what_was_handed_on_leaves_are_counted():
    world = World().ruin(PACKAGE)
    found = judged(Complete, world.view())
    assert set(statuses(found)) == {"download", "quality", "detect", "crop", "categorise", "embed"}
    assert found["download"].unit == "rows"
    assert found["quality"].unit == "leaves"  # what would have handed on to it is missing as well
    assert rows(found["quality"]) == {("0002",): (0, 1)}
    assert set(rows(found["embed"])) == {(category, "0002") for category in ("bags", "hats", "shoes")}


def test_where_a_part_of_what_was_handed_on_is_missing_leaves_are_counted():
    finding = judged(Complete, World().lose(EMBED).lose(Leaf("index", DAY, "shoes")).view())["index"]
    assert (finding.unit, rows(finding)) == ("leaves", {("shoes",): (0, 1)})


def test_what_is_missing_while_the_plan_is_at_work_is_waited_for():
    found = judged(Complete, World().view(as_of=noon(DAY) - timedelta(hours=11)))  # 01:00
    assert {name for name, one in found.items() if one.status is Status.PASS} == {"collect", "download", "quality"}
    waiting = [one for one in found.values() if one.status is not Status.PASS]
    assert {(one.status, one.counts) for one in waiting} == {(Status.NOT_EVALUATED, False)}


@pytest.mark.parametrize(
    ("minutes", "status"), [(0, Status.NOT_EVALUATED), (20, Status.NOT_EVALUATED), (21, Status.FAIL)]
)
def test_with_a_deadline_a_leaf_is_waited_for_until_grace_is_over(minutes, status):
    world = World().delay("merge", {"category": "shoes"}, timedelta(hours=8))
    due = noon(DAY) - timedelta(hours=7)  # 05:00
    plans = [make_plan(planid_of(DAY), dates=(DAY,), created_at=due - timedelta(hours=5))]
    view = seen(world.view(as_of=due + timedelta(minutes=minutes)), plans=plans)
    assert judged(Complete, view, deadline=True)["merge"].status is status
    assert judged(Complete, view)["merge"].status is Status.NOT_EVALUATED
    assert judged(Complete, view, deadline=True, grace="2h")["merge"].status is Status.NOT_EVALUATED


def test_a_day_without_any_plan_fails_everywhere():
    view = World().view()
    for plans in (
        [],
        [make_plan("s", PlanKind.SHADOW, dates=(DAY,), completed_at=noon(DAY))],
        [make_plan("a", dates=(DAY,), state=PlanState.ABANDONED)],
        [make_plan("b", PlanKind.BACKFILL, dates=(DAY,), completed_at=noon(DAY))],  # complete, but nobody promoted it
        [make_plan("other", dates=(DAY + timedelta(days=1),))],
    ):
        found = judged(Complete, seen(view, records=[], plans=plans, expected={}))
        assert {one.status for one in found.values()} == {Status.FAIL}
        assert all("no plan of the day 2026-11-01" in one.reason for one in found.values())


def test_a_plan_without_a_manifest_is_not_evaluated():
    view = World().view()
    found = judged(Complete, seen(view, expected={}))
    assert {(one.status, one.counts) for one in found.values()} == {(Status.NOT_EVALUATED, True)}
    assert all("has no manifest" in one.reason for one in found.values())
    at_work = [make_plan(planid_of(DAY), dates=(DAY,))]
    found = judged(Complete, seen(view, expected={}, plans=at_work))
    assert {(one.status, one.counts) for one in found.values()} == {(Status.NOT_EVALUATED, False)}


def test_a_split_that_is_not_sealed_is_waited_for():
    """Until then the manifest holds only what does not split."""
    view = World().view(as_of=noon(DAY) - timedelta(hours=11, minutes=45))  # 00:15
    unsplit = frozenset(leaf for leaf in view.expected[planid_of(DAY)] if not TOPOLOGY.task(leaf.task).grain)
    found = judged(Complete, seen(view, expected={planid_of(DAY): unsplit}))
    assert found["collect"].status is Status.PASS
    assert (found["embed"].status, found["embed"].counts) == (Status.NOT_EVALUATED, False)
    ended = seen(World().view(), expected={planid_of(DAY): unsplit}, records=[])
    assert (judged(Complete, ended)["embed"].status, judged(Complete, ended)["collect"].status) == (
        Status.NOT_EVALUATED,
        Status.FAIL,
    )


def test_a_record_that_nobody_expected_warns():
    view = World().view()
    extra = record_of(view, EMBED)
    stray = extra.model_copy(update={"key": extra.key.model_copy(update={"category": "gloves"})})
    finding = judged(Complete, seen(view, records=[*view.records, stray]))["embed"]
    assert (finding.status, finding.details["unexpected"]) == (Status.WARN, ["embed gloves/0002"])
    assert rows(finding) == {("gloves", "0002"): (1, 0)}


def test_a_missing_leaf_weighs_more_than_an_unexpected_one():
    view = World().lose(EMBED._replace(category="hats")).view()
    extra = record_of(view, EMBED)
    stray = extra.model_copy(update={"key": extra.key.model_copy(update={"category": "gloves"})})
    assert judged(Complete, seen(view, records=[*view.records, stray]))["embed"].status is Status.FAIL


def test_a_repair_expects_its_own_leaves_and_the_plan_it_repairs_no_more():
    lost = World().lose(EMBED)
    assert statuses(judged(Complete, lost.rerun("fix", ["embed"], subinstances=("0002",)).view())) == {}
    assert set(statuses(judged(Complete, lost.rerun("fix", ["embed"], promoted=False).view()))) == {"embed"}
    view = World().rerun("fix", ["embed"], subinstances=("0002",)).view()
    half: list[TaskRecord] = [
        record for record in view.records if (record.key.planid, record.key.category) != ("fix", "hats")
    ]
    found = judged(Complete, seen(view, records=half))
    assert found["embed"].details["missing"] == ["embed hats/0002"]
    assert set(statuses(found)) == {"embed", "index", "merge"}


def test_what_a_repair_does_not_expect_any_more_is_not_missing():
    """The repair covers all of embed; a category that the daily plan had expected is not in its manifest."""
    view = World().rerun("fix", ["embed"]).view()
    gone = EMBED._replace(category="gloves")
    expected = {**view.expected, planid_of(DAY): view.expected[planid_of(DAY)] | {gone}}
    assert statuses(judged(Complete, seen(view, expected=expected))) == {}


def test_a_repair_without_a_manifest_is_not_passed_for_what_the_daily_plan_expected():
    view = World().rerun("fix", ["embed"], subinstances=("0002",)).view()
    found = judged(Complete, seen(view, expected={planid_of(DAY): view.expected[planid_of(DAY)]}))
    assert {name: one.status for name, one in found.items() if one.status is not Status.PASS} == dict.fromkeys(
        ("embed", "index", "merge", "release"), Status.NOT_EVALUATED
    )


def test_a_deadline_needs_a_deadline():
    def expand(**keys):
        return Complete.model_validate({"id": "it", "kind": "complete", **keys}).expand(TOPOLOGY)

    assert len(expand(deadline=True)) == len(ORDER)
    with pytest.raises(ConfigError, match="task 'embed' has no `deadline`"):
        expand(deadline=True, tasks=["merge", "embed"])
    with pytest.raises(ConfigError, match=r"unknown task 'embde'; did you mean embed\?"):
        expand(tasks=["embde"])

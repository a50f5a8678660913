"""Conservation: every record accounts for what it took in; failures warn, and many of them fail."""

from __future__ import annotations

from datetime import timedelta

import pytest

from checks.kinds.base import Levels
from checks.kinds.conservation import Conservation
from checks.result import Status
from checks.view import View
from reporting.errors import ConfigError
from reporting.plans import Leaf
from reporting.record import State, TaskRecord
from reporting.testing import MOMENT, make_plan, make_record
from tests.checks.judging import judged, lacking, rows, statuses
from tests.checks.world import DAY, TOPOLOGY, World, noon

EMBED = Leaf("embed", DAY, "shoes", "0002")


def alone(*records, plan=None, **keys):
    """Judge records of the task crop by themselves."""
    plan = make_plan(completed_at=MOMENT) if plan is None else plan
    view = View(TOPOLOGY, DAY, MOMENT + timedelta(days=1), records, plans=[plan])
    return judged(Conservation, view, tasks=["crop"], **keys)


def crop(subinstance="0001", **books):
    return make_record("crop", subinstance=subinstance, **books)


def test_closed_books_pass_everywhere():
    found = judged(Conservation, World().view())
    assert statuses(found) == {}
    assert len(found) == 2 * len(TOPOLOGY.tasks)


def test_what_a_record_does_not_account_for_fails_where_it_is():
    found = judged(Conservation, World().unbook(EMBED, 3).view())
    assert statuses(found) == {"embed": Status.FAIL}
    assert found["embed"].numerator == lacking(found["embed"]) == 3
    ((values, (actual, expected)),) = rows(found["embed"]).items()
    assert values == ("shoes", "0002")
    assert expected - actual == 3
    assert found["embed"].details["leaves"] == ["embed shoes/0002"]


def test_what_one_leaf_lacks_another_has_too_much_of_does_not_cancel():
    world = World().unbook(EMBED, 3).unbook(EMBED._replace(subinstance="0001"), -3)
    found = judged(Conservation, world.view())["embed"]
    assert (found.status, found.numerator, found.value) == (Status.FAIL, 6, found.expected)


def test_a_record_that_was_not_made_by_our_model_is_judged():
    whole = crop(input=10)
    foreign = TaskRecord.model_construct(**{**dict(whole), "output": 4})
    found = alone(foreign)["crop"]
    assert (found.status, found.value, found.expected) == (Status.FAIL, 4, 10)


def test_groups_are_judged_on_their_own():
    found = judged(Conservation, World().unbook(EMBED, 3).view(), group_by=["category"])
    assert statuses(found) == {"embed category=shoes": Status.FAIL}
    assert found["embed category=shoes"].place.group == {"category": "shoes"}
    assert "collect" in found
    assert "download" in found  # which does not split by category


def test_tolerance_and_levels_decide_between_warn_and_fail():
    world = World().unbook(EMBED, 3)
    found = judged(Conservation, world.view())["embed"]
    share = 3 / (found.expected or 0)
    for keys, status in (
        ({"tolerance": {"abs": 3}}, Status.PASS),
        ({"tolerance": {"abs": 2}}, Status.FAIL),
        ({"levels": {"warn": 0, "page": share * 1.01}}, Status.WARN),
        ({"levels": {"warn": share * 1.01, "page": 0.5}}, Status.PASS),
    ):
        assert judged(Conservation, world.view(), **keys)["embed"].status is status


@pytest.mark.parametrize(
    ("failed", "status"),
    [(0, Status.PASS), (1, Status.WARN), (10, Status.WARN), (11, Status.FAIL), (1000, Status.FAIL)],
)
def test_failed_items_warn_up_to_one_in_a_hundred(failed, status):
    books = {"input": 1000, "failed": {"OSError": failed}} if failed else {"input": 1000}
    found = alone(crop(**books))
    assert found["crop"].status is Status.PASS
    assert found["crop failed"].status is status
    assert (found["crop failed"].numerator, found["crop failed"].denominator) == (failed, 1000)


def test_an_attempt_that_failed_warns_whatever_it_booked_and_fails_where_nothing_was_taken_in():
    assert (
        alone(crop(input=5, state=State.FAILED), max_failed={"warn": 1, "page": 1})["crop failed"].status is Status.WARN
    )
    assert alone(crop(input=0, state=State.FAILED))["crop failed"].status is Status.FAIL
    assert alone(crop(input=0))["crop failed"].status is Status.PASS


def test_the_errors_and_leaves_that_failed_are_told():
    found = alone(crop(input=10, failed={"OSError": 2}), crop("0002", input=10))["crop failed"]
    assert found.details["errors"] == {"OSError": 2}
    assert found.details["failed_leaves"] == ["crop 0001"]
    assert rows(found) == {("0001",): (8, 10)}


def test_a_task_without_a_record_is_not_evaluated():
    for plan, counts in ((make_plan(completed_at=MOMENT), True), (make_plan(), False)):
        found = alone(plan=plan)
        assert {name: (one.status, one.counts) for name, one in found.items()} == {
            "crop": (Status.NOT_EVALUATED, counts),
            "crop failed": (Status.NOT_EVALUATED, counts),
        }


def test_a_leaf_without_a_record_is_left_to_complete():
    assert statuses(judged(Conservation, World().lose(EMBED).view())) == {}


def test_records_of_a_plan_that_does_not_count_are_not_judged():
    world = World().rerun("fix", ["index"], promoted=False)
    view = world.view()
    broken = [
        r.model_copy(update={"output": 0}) if r.key.planid == "fix" and r.key.task == "index" else r
        for r in view.records
    ]
    again = View(view.topology, DAY, noon(DAY), broken, view.other_days, view.plans, view.expected)
    assert statuses(judged(Conservation, again)) == {}


def test_names_that_are_not_there_are_refused():
    for keys, message in (
        ({"tasks": ["corp"]}, "check it: tasks: unknown task 'corp'; did you mean crop?"),
        ({"tasks": ["collect"], "group_by": ["category"]}, "none of collect splits its records by category"),
    ):
        with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
            Conservation.model_validate({"id": "it", "kind": "conservation", **keys}).expand(TOPOLOGY)


def test_a_default_pages_from_one_in_a_hundred():
    assert Conservation(id="it", kind="conservation").max_failed == Levels(warn=0, page=0.01)

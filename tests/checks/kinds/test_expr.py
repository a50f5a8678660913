"""Expr: a condition over the sums of a task's records, group by group."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from checks.kinds.expr import Expr
from checks.result import Status
from reporting.errors import ConfigError
from reporting.plans import Leaf
from reporting.testing import DAY
from tests.checks.world import TOPOLOGY, World

VIEW = World().view(DAY, digests=False)


def expr(text: str, on: str = "detect", **keys) -> Expr:
    return Expr.model_validate({"id": "e", "kind": "expr", "expr": text, "on": on, **keys})


def total(measure: str, task: str = "detect") -> float:
    return float(sum(getattr(record, measure) for record in VIEW.records if record.key.task == task))


def test_names_stand_for_the_sums_over_the_day():
    dropped = sum(record.dropped["no_object"] for record in VIEW.records if record.key.task == "detect")
    (found,) = expr("dropped['no_object'] / input < 0.35").judge(VIEW)
    assert found.status is Status.PASS
    assert found.value == pytest.approx(dropped / total("input"))
    assert found.expected == 0.35


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("input == output + dropped_total + failed_total", Status.PASS),
        ("produced > output", Status.PASS),
        ("records == 3", Status.PASS),
        ("seconds / records > 1", Status.PASS),
        ("seconds < 0", Status.FAIL),
        ("failed['KeyError'] == 0", Status.PASS),
        ("dropped['no_object'] == 0", Status.FAIL),
    ],
)
def test_all_that_a_record_books_can_be_asked_for(text, status):
    (found,) = expr(text).judge(VIEW)
    assert found.status is status


def test_groups_are_judged_one_by_one():
    world = World().fail("embed", {"category": "hats", "subinstance": "0003"}, 0.9)
    check = expr("failed_total / input < 0.2", "embed", group_by=["category"])
    found = {one.instance: one.status for one in check.judge(world.view(DAY, digests=False))}
    assert found == {
        "embed category=bags": Status.PASS,
        "embed category=hats": Status.FAIL,
        "embed category=shoes": Status.PASS,
    }


def test_a_breach_may_be_a_warning():
    (found,) = expr("input < 0", breach="warn").judge(VIEW)
    assert found.status is Status.WARN


def test_what_holds_while_a_leaf_is_missing_is_not_evaluated_but_a_breach_stands():
    view = World().lose(Leaf("detect", DAY, subinstance="0002")).view(DAY, digests=False)
    (holds,) = expr("failed_total == 0").judge(view)
    (breaks,) = expr("records == 3").judge(view)
    assert (holds.status, breaks.status) == (Status.NOT_EVALUATED, Status.FAIL)


def test_division_by_zero_and_no_record_are_not_evaluated():
    (found,) = expr("input / failed_total > 1").judge(VIEW)
    assert found.status is Status.NOT_EVALUATED
    assert "input / failed_total divides by zero" in found.reason
    empty = World().view(DAY, as_of=VIEW.plans[0].created_at, digests=False)
    (found,) = expr("input > 0").judge(empty)
    assert (found.status, found.counts) == (Status.NOT_EVALUATED, False)


def test_a_metric_that_a_record_lacks_is_not_evaluated():
    bare = [
        record.model_copy(update={"metrics": {}}) if record.key.subinstance == "0001" else record
        for record in VIEW.records
    ]
    view = replace(VIEW, records=bare)
    (found,) = expr("metrics['bytes'] > 0", "download").judge(view)
    assert found.status is Status.NOT_EVALUATED
    (found,) = expr("metrics['bytes'] > 0", "download").judge(VIEW)
    assert found.status is Status.PASS


def test_faults_in_the_text_are_faults_of_the_entry():
    with pytest.raises(ValidationError, match="is no number"):
        expr("input.x < 1")
    with pytest.raises(ValidationError):
        expr("1 < 2")


@pytest.mark.parametrize(
    ("text", "on", "told"),
    [
        ("dropped['no_objct'] < 1", "detect", r"did you mean dropped\.no_object"),
        ("metrics['bites'] < 1", "download", r"did you mean metrics\.bytes"),
        ("input < 1", "detct", "did you mean detect"),
    ],
)
def test_unknown_names_are_told_with_the_nearest(text, on, told):
    with pytest.raises(ConfigError, match=told):
        expr(text, on).expand(TOPOLOGY)

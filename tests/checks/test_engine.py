"""The engine: every check is heard, silence and nonsense never pass, and the order of things decides nothing."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import pytest

from checks.engine import data_hash, judge
from checks.kinds.base import Check, Finding, Instance, Table
from checks.result import Place, Result, Status
from checks.spec import ChecksFile
from checks.view import View
from reporting.errors import DataError
from reporting.plans import Leaf
from reporting.testing import DAY
from reporting.topology import Topology
from tests.checks.world import TOPOLOGY, World, noon

TASKS = ("detect", "crop")


class Told(Check):
    """A check that says what it is told to say."""

    kind: Literal["told"] = "told"
    says: Callable[[View], Iterator[Finding]]

    def expand(self, topology: Topology) -> list[Instance]:
        return [Instance(self.id, "told", task, task, None, ()) for task in TASKS]

    def judge(self, view: View) -> Iterator[Finding]:
        yield from self.says(view)


def about(task: str, status: Status = Status.PASS, **fields: Any) -> Finding:
    name = fields.pop("instance", task)
    return Finding(name, Place(task=task, date=DAY), status, fields.pop("reason", "as told"), **fields)


def told(*findings: Finding, then: Exception | None = None, check_id: str = "told") -> Told:
    def says(_view: View) -> Iterator[Finding]:
        yield from findings
        if then is not None:
            raise then

    return Told(id=check_id, says=says)


def judged(*checks: Check, view: View | None = None) -> list[Result]:
    file = ChecksFile.model_construct(version=1, holidays=(), checks=checks)
    return judge(file, World().view() if view is None else view, "cafe")


def test_what_a_check_says_stands_in_its_result():
    finding = about(
        "detect", value=90, expected=100, tolerance=1, numerator=90, denominator=100, history=7, counts=False
    )
    first, _ = judged(told(finding, about("crop")))[::-1]
    assert (first.id, first.kind, first.instance, first.key.task) == ("told", "told", "detect", "detect")
    assert (first.value, first.expected, first.tolerance, first.numerator, first.denominator) == (90, 100, 1, 90, 100)
    assert (first.history, first.counts, first.status) == (7, False, Status.PASS)
    assert (first.as_of, first.config_hash) == (noon(DAY), "cafe")


@pytest.mark.parametrize(
    ("error", "says"),
    [(DataError("no such day"), "no such day"), (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero")],
)
def test_a_check_that_cannot_judge_is_an_error_and_stops_no_other(error, says):
    found = judged(told(about("detect"), then=error, check_id="broken"), told(about("detect"), about("crop")))
    assert [(r.id, r.status) for r in found] == [
        ("broken", Status.ERROR),
        ("broken", Status.PASS),
        ("told", Status.PASS),
        ("told", Status.PASS),
    ]
    assert says in found[0].reason
    assert found[0].counts


def test_a_fault_of_the_program_is_not_taken_for_bad_data():
    with pytest.raises(TypeError):
        judged(told(then=TypeError("no")))


def test_silence_about_a_task_is_not_evaluated_and_names_it():
    whole, said = judged(told(about("detect")))
    assert (whole.status, whole.counts, said.status) == (Status.NOT_EVALUATED, True, Status.PASS)
    assert "crop" in whole.reason
    assert "detect" not in whole.reason


def test_a_check_that_says_nothing_at_all_has_not_passed():
    (only,) = judged(told())
    assert only.status is Status.NOT_EVALUATED
    assert "detect, crop" in only.reason


def test_two_findings_of_one_name_are_a_fault_of_the_kind():
    with pytest.raises(RuntimeError, match=r"told \(told\) names 'detect' twice"):
        judged(told(about("detect"), about("detect"), about("crop")))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_an_error_whatever_the_check_made_of_it(number):
    _, found = judged(told(about("detect", value=number, expected=1.0), about("crop")))
    assert (found.status, found.value, found.expected) == (Status.ERROR, None, None)
    assert found.reason == f"value came to {number}: as told"


def test_results_have_the_file_s_order_and_within_a_check_that_of_their_names():
    found = judged(
        told(about("detect"), about("crop"), check_id="z"), told(about("crop"), about("detect"), check_id="a")
    )
    assert [(r.id, r.instance) for r in found] == [("z", "crop"), ("z", "detect"), ("a", "crop"), ("a", "detect")]


def broken_table() -> Table:
    """Leaf (bags, 0002) lacks 30 of 40 items; three others are whole."""
    values = tuple((category, sub) for category in ("bags", "hats") for sub in ("0001", "0002"))
    expected = np.full(4, 40.0)
    return Table(("category", "subinstance"), values, expected - [0, 30, 0, 0], expected, exact=True)


@pytest.mark.parametrize("status", [Status.WARN, Status.FAIL])
def test_a_break_says_where_it_sits_and_what_mends_it(status):
    finding = about("detect", status, table=broken_table(), unit="pictures")
    _, found = judged(told(finding, about("crop")))
    (cause,) = found.explain
    assert (cause.where, cause.missing) == ({"category": ("bags",), "subinstance": ("0002",)}, 30)
    assert "30 missing pictures" in found.sentence
    assert found.repair.startswith("funnelgate run --kind rerun")


def test_a_pass_is_not_explained_and_not_mended():
    _, found = judged(told(about("detect", table=broken_table()), about("crop")))
    assert (found.explain, found.sentence, found.repair) == ((), "", "")


def test_a_failure_to_explain_does_not_hide_the_break(monkeypatch):
    def refuse(*_args: object) -> None:
        raise DataError("too many dimensions")

    monkeypatch.setattr("checks.engine.localise", refuse)
    _, found = judged(told(about("detect", Status.FAIL, table=broken_table()), about("crop")))
    assert (found.status, found.explain) == (Status.FAIL, ())
    assert found.details["not_explained"] == "too many dimensions"


def test_the_hash_of_the_data_forgets_the_order_and_the_clock():
    view = World().view()
    shuffled = list(view.records)
    random.Random(1).shuffle(shuffled)
    assert data_hash(dataclasses.replace(view, records=shuffled)) == data_hash(view)
    assert data_hash(World().view(as_of=noon(DAY).replace(hour=18))) == data_hash(view)


def test_the_hash_of_the_data_knows_a_new_record_a_new_version_and_a_plan_that_completes():
    view = World().view()
    first, *rest = view.records
    newer = first.model_copy(update={"version": first.version + 1})
    early = noon(DAY).replace(hour=2)
    plan = view.plans[0]
    still_open = dataclasses.replace(view, plans=[plan.model_copy(update={"completed_at": None}), *view.plans[1:]])
    others = [
        dataclasses.replace(view, records=rest),
        dataclasses.replace(view, records=[newer, *rest]),
        dataclasses.replace(view, expected={}),
        still_open,
        World().view(as_of=early),
        World().lose(Leaf("embed", DAY, "shoes", "0002")).view(),
    ]
    assert len({data_hash(other) for other in [view, *others]}) == len(others) + 1


def test_each_result_carries_the_hash_of_what_was_judged_and_its_unit():
    view = World().view()
    found = judged(told(about("detect", unit="pictures"), about("crop")), view=view)
    assert {r.details["data"] for r in found} == {data_hash(view)}
    assert [r.details["unit"] for r in found] == ["items", "pictures"]


def test_a_result_says_whether_its_plan_is_still_at_work():
    open_, done = World().view(as_of=noon(DAY).replace(hour=3)), World().view()
    check = told(about("detect"), about("crop"))
    assert {r.details["provisional"] for r in judged(check, view=open_)} == {True}
    assert {r.details["provisional"] for r in judged(check, view=done)} == {False}


def test_the_topology_of_these_tests_has_the_tasks_they_talk_of():
    assert set(TASKS) <= set(TOPOLOGY.tasks)

"""What has been reported of a group, and whether more may come."""

from __future__ import annotations

from datetime import timedelta

import pytest

from checks.kinds.base import Finding
from checks.reported import plural, reported, unit_of
from checks.result import Status
from checks.view import View
from reporting.plans import Leaf
from reporting.testing import DAY, MOMENT, make_plan, make_record
from tests.checks.world import TOPOLOGY, World, planid_of

EARLY = MOMENT - timedelta(hours=6)


def view_of(*subinstances: str, manifest: tuple[Leaf, ...] = (), complete: bool = False) -> View:
    return View(
        topology=TOPOLOGY,
        date=DAY,
        as_of=MOMENT,
        records=[make_record("quality", subinstance=name) for name in subinstances],
        plans=[make_plan(created_at=EARLY, completed_at=MOMENT if complete else None)],
        expected={"daily": frozenset(manifest)},
    )


LEAVES = tuple(Leaf("quality", DAY, subinstance=name) for name in ("0001", "0002"))


@pytest.mark.parametrize(
    ("view", "waiting", "missing"),
    [
        (view_of("0001", "0002", manifest=LEAVES), False, 0),
        (view_of("0001", manifest=LEAVES), True, 1),
        (view_of("0001", manifest=LEAVES, complete=True), False, 1),
        (view_of("0001"), True, 0),
        (view_of("0001", manifest=(Leaf("crop", DAY, subinstance="0001"),)), True, 0),
        (view_of("0001", complete=True), False, 0),
        (view_of(), True, 0),
        (view_of(complete=True), False, 0),
    ],
)
def test_more_may_come_while_the_plan_is_open_and_a_leaf_is_missing_or_not_known_yet(view, waiting, missing):
    (whole,) = reported(view, "quality", ())
    assert (whole.waiting, whole.missing) == (waiting, missing)


def test_one_group_waits_and_another_is_whole():
    found = reported(view_of("0001", manifest=LEAVES), "quality", ("subinstance",))
    assert [(one.group, one.waiting, one.missing) for one in found] == [(("0001",), False, 0), (("0002",), True, 1)]


def test_a_task_that_does_not_split_has_one_leaf():
    view = View(TOPOLOGY, DAY, MOMENT, [make_record("collect")], plans=[make_plan(created_at=EARLY)])
    (whole,) = reported(view, "collect", ())
    assert not whole.waiting


def test_groups_hold_the_records_that_count():
    world = World().rerun("r1", ("embed",), subinstances=("0002",))
    (whole,) = reported(world.view(DAY, digests=False), "embed", ())
    plans = {record.key.subinstance: record.key.planid for record in whole.records}
    assert plans == {"0001": planid_of(DAY), "0002": "r1", "0003": planid_of(DAY)}
    view = world.view(DAY, digests=False)
    assert whole.place(view).planid is None
    assert whole.planids(view) == [planid_of(DAY), "r1"]
    second = reported(view, "embed", ("subinstance",))[1]
    assert (second.instance, second.place(view).planid) == ("embed subinstance=0002", "r1")


def test_nothing_passes_while_a_leaf_is_missing():
    view = view_of("0001", manifest=LEAVES, complete=True)
    (whole,) = reported(view, "quality", ())
    for status in Status:
        finding = Finding("quality", whole.place(view), status, "as it is")
        kept = whole.unless_missing(view, finding)
        assert kept.status is (Status.NOT_EVALUATED if status is Status.PASS else status)
        (all_there,) = reported(view_of("0001", complete=True), "quality", ())
        assert all_there.unless_missing(view, finding) is finding


@pytest.mark.parametrize(
    ("noun", "several"),
    [
        ("box", "boxes"),
        ("query", "queries"),
        ("picture", "pictures"),
        ("day", "days"),
        ("index", "indexes"),
        ("match", "matches"),
    ],
)
def test_units_are_told_in_the_plural(noun, several):
    assert plural(noun) == several


@pytest.mark.parametrize(
    ("measure", "unit"),
    [("input", "pictures"), ("dropped.no_object", "pictures"), ("produced", "objects"), ("seconds", "seconds"),
     ("records", "records"), ("metrics.objects_per_picture", "objects_per_picture")],
)  # fmt: skip
def test_a_measure_counts_in_the_units_of_its_task(measure, unit):
    assert unit_of(TOPOLOGY.task("detect"), measure) == unit

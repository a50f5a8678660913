"""Version: a task uses one version of each thing, and none that what it reads was not made with."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from checks.kinds.version import VersionCheck
from checks.result import Status
from checks.view import View
from reporting.errors import ConfigError
from reporting.plans import Leaf
from reporting.record import State
from reporting.testing import DAY
from tests.checks.judging import judged, rows, statuses
from tests.checks.world import ORDER, TOPOLOGY, World, noon, planid_of

MODEL = {"fields": ["model"]}
SHOES_2 = {"category": "shoes", "subinstance": "0002"}


def applied(found):
    return {name: one for name, one in found.items() if one.status is not Status.NOT_EVALUATED}


def changed(view, change):
    """Return the view with some records changed: `change` returns what to update, or {}."""
    records = [record.model_copy(update=change(record)) for record in view.records]
    return View(TOPOLOGY, DAY, noon(DAY), records, view.other_days, view.plans, view.expected)


def test_one_version_passes_and_a_task_without_the_field_does_not_count():
    found = judged(VersionCheck, World().view(), **MODEL)
    assert {name: one.status for name, one in applied(found).items()} == {
        "detect model": Status.PASS,
        "embed model": Status.PASS,
    }
    assert not any(one.counts for one in found.values() if one.status is Status.NOT_EVALUATED)
    assert set(found) == {f"{task} model" for task in ORDER}


def test_a_leaf_with_another_version_is_named():
    view = World().swap_version("embed", SHOES_2, "model", "embedder@8").view()
    found = judged(VersionCheck, view, **MODEL)
    assert statuses(applied(found)) == {"embed model": Status.FAIL}
    finding = found["embed model"]
    assert rows(finding) == {("shoes", "0002"): (0, 1)}
    assert (finding.value, finding.expected, finding.unit) == (8, 9, "leaves")
    assert finding.details["versions"] == {"embedder@7": 8, "embedder@8": 1}
    assert "embed shoes/0002 embedder@8, not embedder@7" in finding.reason


def test_of_equally_frequent_versions_the_later_ones_are_named():
    view = World().swap_version("index", {"category": "hats"}, "space", "a").view()
    view = changed(view, lambda r: {"versions": {"space": "b"}} if r.key.category == "bags" else {})
    finding = judged(VersionCheck, view, fields=["space"], tasks=["index"])["index space"]
    assert rows(finding) == {("bags",): (0, 1), ("shoes",): (0, 1)}  # a, b and space-7 are there once each


def test_models_may_differ_by_category_where_asked_for():
    view = World().swap_version("embed", {"category": "shoes"}, "model", "embedder@8").view()
    assert statuses(applied(judged(VersionCheck, view, **MODEL))) == {"embed model": Status.FAIL}
    assert statuses(applied(judged(VersionCheck, view, **MODEL, group_by=["category"]))) == {}
    mixed = World().swap_version("embed", SHOES_2, "model", "embedder@8").view()
    found = judged(VersionCheck, mixed, **MODEL, group_by=["category"])
    assert statuses(applied(found)) == {"embed model category=shoes": Status.FAIL}


def test_a_repair_may_use_another_version_unless_the_day_must_be_uniform():
    world = World().rerun("fix", ["embed"], subinstances=("0002",))
    view = changed(world.view(), lambda r: {"versions": {"model": "embedder@8"}} if r.key.planid == "fix" else {})
    only = {**MODEL, "tasks": ["embed"]}
    assert judged(VersionCheck, view, **only)["embed model"].status is Status.PASS
    by_day = judged(VersionCheck, view, **only, within="day")["embed model"]
    assert by_day.status is Status.FAIL
    assert set(rows(by_day)) == {(category, "0002") for category in ("bags", "hats", "shoes")}
    assert by_day.details["planids"] == [planid_of(DAY), "fix"]


def test_items_without_a_version_are_another_version_and_no_items_need_none():
    def strip(record):
        return {"versions": {}} if (record.key.task, record.key.category) == ("embed", "hats") else {}

    found = judged(VersionCheck, changed(World().view(), strip), **MODEL)["embed model"]
    assert (found.status, found.numerator) == (Status.FAIL, 3)
    assert found.details["versions"] == {"embedder@7": 6, "none": 3}
    empty = changed(World().view(), lambda r: {**strip(r), "input": 0} if strip(r) else {})
    assert judged(VersionCheck, empty, **MODEL)["embed model"].status is Status.PASS
    skipped = changed(World().view(), lambda r: {**strip(r), "state": State.SKIPPED} if strip(r) else {})
    assert judged(VersionCheck, skipped, **MODEL)["embed model"].status is Status.PASS


def test_a_task_without_a_record_is_not_evaluated_and_counts_once_its_plan_has_ended():
    view = World().view()
    for as_of, counts in ((noon(DAY), True), (noon(DAY) - timedelta(hours=11), False)):
        empty = View(TOPOLOGY, DAY, as_of, [], (), view.plans, view.expected)
        found = judged(VersionCheck, empty, **MODEL)
        assert {(one.status, one.counts) for one in found.values()} == {(Status.NOT_EVALUATED, counts)}


def test_what_a_target_used_must_be_what_its_source_used():
    along = {"fields": ["space"], "along": True}
    assert statuses(applied(judged(VersionCheck, World().view(), **along))) == {}
    view = World().swap_version("index", {"category": "shoes"}, "space", "space-8").view()
    found = statuses(applied(judged(VersionCheck, view, **along)))
    assert found == {
        "index space": Status.FAIL,
        "embed->index space": Status.FAIL,
        "index->merge space": Status.FAIL,
    }
    finding = judged(VersionCheck, view, **along)["embed->index space"]
    assert rows(finding) == {("shoes",): (0, 1)}
    assert (finding.place.source, finding.place.task) == ("embed", "index")


def test_an_index_of_one_space_throughout_that_is_not_that_of_its_vectors_is_found_only_along():
    view = World().swap_version("index", {}, "space", "space-8").view()
    found = judged(VersionCheck, view, fields=["space"], along=True)
    assert found["index space"].status is Status.PASS
    assert found["embed->index space"].status is Status.FAIL


def test_a_target_built_from_a_plan_that_does_not_count_any_more_is_found():
    """Somebody promoted a repair of embed alone: the index was built from the vectors before it."""
    along = {"fields": ["space"], "along": True}
    world = World().rerun("fix", ["embed"])
    assert statuses(applied(judged(VersionCheck, world.view(), **along))) == {}
    view = world.view()
    plans = [plan.model_copy(update={"cover": plan.cover[:1]}) if plan.cover else plan for plan in view.plans]
    stale = View(TOPOLOGY, DAY, noon(DAY), view.records, view.other_days, plans, view.expected)
    found = statuses(applied(judged(VersionCheck, stale, **along)))
    assert found == {"embed->index plan": Status.FAIL}
    finding = judged(VersionCheck, stale, **along)["embed->index plan"]
    assert f"{planid_of(DAY)}, not fix" in finding.reason


def test_a_source_without_items_need_not_have_been_read():
    """Two plans count for the packages of a category, and only one of them was read."""
    world = World().rerun("fix", ["embed"], subinstances=("0002",))
    found = judged(VersionCheck, world.view(), fields=["space"], along=True)
    assert found["embed->index plan"].status is Status.PASS


def test_an_old_day_that_was_repaired_since_is_no_fault_of_the_merge_that_read_it():
    world = World().rerun("fix", ["index"], DAY - timedelta(days=1))
    found = judged(VersionCheck, world.view(), fields=["space"], along=True)
    assert found["index->merge plan"].status is Status.PASS


def test_instances_are_known_before_there_is_a_record():
    check = VersionCheck.model_validate(
        {
            "id": "it",
            "kind": "version",
            "fields": ["model", "space", "model"],
            "tasks": ["embed", "index"],
            "along": True,
        }
    )
    assert [one.instance for one in check.expand(TOPOLOGY)] == [
        "embed model",
        "embed space",
        "index model",
        "index space",
        "embed->index model",
        "embed->index space",
        "embed->index plan",
    ]


def test_order_of_records_changes_nothing():
    view = World().swap_version("embed", {"category": "shoes"}, "model", "embedder@8").view()
    again = View(TOPOLOGY, DAY, noon(DAY), view.records[::-1], view.other_days[::-1], view.plans[::-1], view.expected)
    before, after = (judged(VersionCheck, one, **MODEL, along=True) for one in (view, again))
    assert {n: (f.reason, f.details) for n, f in before.items()} == {n: (f.reason, f.details) for n, f in after.items()}


def test_names_that_are_not_there_are_refused():
    with pytest.raises(ConfigError, match=r"did you mean embed\?"):
        VersionCheck.model_validate({"id": "it", "kind": "version", **MODEL, "tasks": ["embde"]}).expand(TOPOLOGY)
    with pytest.raises(ValidationError):
        VersionCheck.model_validate({"id": "it", "kind": "version", "fields": []})


def test_leaf_names_do_not_depend_on_the_grain():
    view = World().swap_version("detect", {"subinstance": "0003"}, "model", "detector@4").view()
    found = judged(VersionCheck, view, **MODEL)["detect model"]
    assert found.details["leaves"] == ["detect 0003"]
    assert rows(found) == {("0003",): (0, 1)}
    assert Leaf("detect", DAY, subinstance="0003") in view.counting

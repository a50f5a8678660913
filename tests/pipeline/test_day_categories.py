"""Which categories a day is sealed with: the task graph's, the gallery's, or those of the source; never none."""

from __future__ import annotations

from datetime import date as Date
from pathlib import Path

import pytest
import yaml

from pipeline.planner import read_split
from reporting.record import State
from reporting.stores.base import RecordQuery
from tests.pipeline.project import DAY_1, DAY_2, Project, new_project, plan_day, row, work_off

GALLERY = ("hats", "mugs", "shoes")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose objects' categories are predicted by a gallery of three."""
    monkeypatch.setattr("pipeline.category.gallery.categories_of", lambda name: GALLERY)
    made = new_project(tmp_path / "project")
    made.configure(categorise={"by": "predicted"})
    return made


def split(project: Project, day: Date, *declared: str) -> tuple[str, ...] | str:
    """Run collect with one row for each declared category; return the day's categories, or what it failed with."""
    project.manifest(day, [row(f"{n}.png", f"{day}-{n}", category=name) for n, name in enumerate(declared)])
    with project.place() as place:
        plan = plan_day(place, day)
        work_off(place, plan, tasks=("collect",))
        (record,) = place.store.records(RecordQuery(tasks=("collect",), date_from=day, date_to=day))
        found = read_split(place.store.split_text(plan.planid, day))
    if record.state is State.FAILED:
        assert record.error is not None
        assert record.attempt == 1  # the same settings will meet it again
        assert found is None
        return f"{record.error.error_class}: {record.error.message}"
    assert found is not None
    return found.categories


def test_predicted_categories_are_the_gallerys_whatever_else_is_declared(project: Project) -> None:
    assert split(project, DAY_1, "hats", "Hüte", "", "other") == ("hats", "mugs", "shoes", "other")


def test_nothing_declared_and_nothing_at_all_are_no_reason_to_refuse(project: Project) -> None:
    assert split(project, DAY_1, "", "") == ("hats", "mugs", "shoes", "other")
    assert split(project, DAY_2) == ("hats", "mugs", "shoes", "other")


def test_what_an_earlier_day_had_is_carried_on_beside_the_gallerys(project: Project) -> None:
    project.configure(categorise={"by": "declared"})
    assert split(project, DAY_1, "boats", "hats") == ("boats", "hats", "other")
    project.configure(categorise={"by": "predicted"})
    assert split(project, DAY_2, "hats") == ("boats", "hats", "mugs", "shoes", "other")


def test_a_source_that_shares_no_category_with_the_gallery_is_refused_with_both_lists(project: Project) -> None:
    said = split(project, DAY_1, "boats", "ähm", "boats", "")
    assert isinstance(said, str)
    assert said.startswith("ConfigError: collect/2026-11-01/all/all/")
    assert (
        "the gallery knows none of those the source declares: boats, ähm; the gallery's are: hats, mugs, shoes" in said
    )
    assert "funnelgate learn gallery" in said
    assert "set tasks.categorise.settings.by: declared" in said


def test_the_task_graphs_own_list_stands_and_is_compared_too(project: Project) -> None:
    path = project.folder / "pipeline.yaml"
    graph = yaml.safe_load(path.read_text()) | {"categories": ["mugs", "other", "boats"]}
    path.write_text(yaml.safe_dump(graph, sort_keys=False))
    assert split(project, DAY_1, "mugs") == ("mugs", "boats", "other")
    assert "knows none of those" in str(split(project, DAY_2, "boats"))

"""Another detector: new ids beside old ones; the old library and the new one resolve and answer side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.item_ids import resolve_ids
from pipeline.models.catalog import detector_version
from pipeline.place import Place
from pipeline.plans import PlanRequest, find_or_make_plans
from pipeline.release.pointer import current, release_of
from pipeline.serve.generation import Generation
from reporting.plans import PlanKind, PlanState
from reporting.record import State
from reporting.stores.base import RecordQuery
from tests.pipeline.comparison import faults
from tests.pipeline.project import DAY_1, DAY_2, run_here, work_off
from tests.pipeline.squares import DETECTOR, another_version, box_of, drawn_rows, square_project

pytestmark = pytest.mark.slow
DAYS = {DAY_1: {1: {9: 0.9}, 2: {20: 0.8, 44: 0.7}}, DAY_2: {3: {33: 0.9}}}
"""Day to picture to the scores of its squares."""


def ids_of(place: Place, number: int) -> dict[int, str]:
    """Return the ids of a release, each with its picture."""
    manifest = release_of(place.lake.folder(), number)
    generation = Generation(place.lake, manifest.categories, manifest.front)
    return {row["id"]: row["picture"] for shelf in generation.shelves.values() for row in shelf.items.values()}


def nearest(place: Place, number: int, picture: bytes) -> tuple[int, float]:
    manifest = release_of(place.lake.folder(), number)
    ((hit, *_),) = Generation(place.lake, manifest.categories, manifest.front).search([picture], 1)
    return hit.id, hit.distance


def test_old_and_new_ids_resolve_and_answer_side_by_side_until_all_is_detected_anew(tmp_path: Path) -> None:
    project = square_project(tmp_path / "project")
    newer = another_version(tmp_path / "newer")
    for day, pictures in DAYS.items():
        project.manifest(day, drawn_rows(project, pictures))
    (first,) = run_here(project, DAY_1)
    assert first.state is PlanState.COMPLETE
    project.configure(detect={"detector": str(newer)})
    run_here(project, DAY_2)
    with project.place() as place:
        (refused,) = place.store.records(RecordQuery(tasks=("release",), date_from=DAY_2))
        assert refused.state is State.FAILED
        assert refused.error is not None
        assert f"detect of {DAY_1}: detector changed" in refused.error.message
    # Side by side, by a setting: the old ids stay, the new day has new ones.
    project.configure(detect={"detector": str(newer)}, release={"tolerate": ["detector", "settings"]})
    run_here(project, DAY_2, kind=PlanKind.RERUN, source=None, tasks=("merge",), promote=True)
    with project.place() as place:
        old, both = ids_of(place, 1), ids_of(place, 2)
        assert old.items() < both.items()
        resolved = resolve_ids(place.store, both)
        assert {resolved[number].detector for number in old} == {detector_version(str(DETECTOR))}
        assert {resolved[number].detector for number in both.keys() - old} == {detector_version(str(newer))}
        # The whole window detected anew: new ids throughout, and the old library still answers with its own.
        request = PlanRequest(PlanKind.RERUN, (DAY_1, DAY_2), tasks=("detect",), promote=True)
        (plan,) = find_or_make_plans(place.store, place.topology, request)
        work_off(place, plan)
        newest = current(place.lake.folder())
        assert newest is not None
        new = ids_of(place, newest.number)
        resolved = resolve_ids(place.store, [*old, *new])
        picture = (project.folder / "pictures/1.png").read_bytes()
        answers = [nearest(place, number, picture) for number in (1, newest.number)]
    assert not old.keys() & new.keys()
    assert set(old.values()) < set(new.values())
    assert {resolved[number].box for number in old} < {resolved[number].box for number in new}
    assert [distance for _, distance in answers] == [0.0, 0.0]
    assert answers[0][0] in old
    assert answers[1][0] in new
    assert resolved[answers[0][0]].box == resolved[answers[1][0]].box == box_of(9)
    left = ["1 instances are failed", "1 instances are waiting"]  # the release that was refused, and reclaim behind it
    assert faults(project) == ["plan daily-20261102 is open", *left]

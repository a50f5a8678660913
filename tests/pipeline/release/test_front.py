"""A release names its front: old manifests have none, another front is another release and another verdict."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.category.gallery import LabelledRow, seal, write_gallery
from pipeline.category.spec import About
from pipeline.lake import Lake
from pipeline.release.manifest import CategoryIndex, ReleaseDraft, ReleaseManifest
from pipeline.release.pointer import current, publish
from pipeline.serve.front import QueryFront, front_of
from pipeline.tasks.candidate import Candidate
from reporting.errors import ConfigError
from reporting.topology import Topology

ROOT = Path(__file__).parents[3]
ENTRY = {
    "model": "lite0@1",
    "space_id": "s",
    "index_path": "merge/shoes.index",
    "index_sha256": "a" * 64,
    "items_path": "merge/shoes.parquet",
    "items_sha256": "b" * 64,
    "rows": 7,
    "nprobe": 4,
}
FRONT = QueryFront(
    detector="scene-detector",
    detector_version="scene-detector@1:0123456789abcdef",
    margin=0.08,
    side=256,
    by="predicted",
    gallery="sample-pack",
    gallery_sha256="c" * 64,
)
OTHER_FRONTS: list[dict[str, Any]] = [
    {"detector": "other"},
    {"detector_version": "scene-detector@2:0123456789abcdef"},
    {"margin": 0.09},
    {"side": 255},
    {"by": "declared", "gallery": None, "gallery_sha256": None},
    {"gallery": "mine/gallery"},
    {"gallery_sha256": "d" * 64},
    {"fallback": "misc"},
]


def draft(front: QueryFront | None) -> ReleaseDraft:
    return ReleaseDraft(
        created_at=dt.datetime(2026, 3, 1, tzinfo=dt.UTC),
        date=dt.date(2026, 3, 1),
        planid="p1",
        verdict_id="v1",
        categories={"shoes": CategoryIndex.model_validate(ENTRY)},
        front=front,
    )


def inputs(front: QueryFront | None) -> dict[str, str]:
    entries = {"shoes": CategoryIndex.model_validate(ENTRY)}
    candidate = Candidate(dt.date(2026, 3, 1), "p1", Lake("memory://"), entries, tuple, front)
    return candidate.inputs()


def topology(**settings: dict[str, Any]) -> Topology:
    """Return the default graph with settings of some tasks."""
    graph = Topology.load(ROOT / "pipeline" / "default.yaml")
    tasks = {name: task.model_copy(update={"settings": settings.get(name, {})}) for name, task in graph.tasks.items()}
    return graph.model_copy(update={"tasks": tasks})


def test_a_manifest_of_before_there_was_a_front_still_loads() -> None:
    old = {
        "created_at": "2026-03-01T00:00:00Z",
        "date": "2026-03-01",
        "planid": "p1",
        "verdict_id": "v1",
        "categories": {"shoes": ENTRY},
        "number": 3,
        "parent": 2,
    }
    manifest = ReleaseManifest.model_validate_json(json.dumps(old))
    assert manifest.front is None
    assert manifest.has_content_of(draft(None))


def test_the_front_is_published_and_read_back(tmp_path: Path) -> None:
    assert publish(tmp_path, draft(FRONT)).number == 1
    served = current(tmp_path)
    assert served is not None
    assert served.front == FRONT
    assert publish(tmp_path, draft(FRONT)).number == 1  # the same content is current already


@pytest.mark.parametrize("change", OTHER_FRONTS, ids=lambda change: next(iter(change)))
def test_the_same_indexes_behind_another_front_are_another_release_and_need_another_verdict(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    other = QueryFront.model_validate(FRONT.model_dump() | change)
    publish(tmp_path, draft(FRONT))
    assert publish(tmp_path, draft(other)).number == 2
    assert inputs(other) != inputs(FRONT)
    assert inputs(other)["category=shoes"] == inputs(FRONT)["category=shoes"]


def test_every_field_of_a_front_was_changed_above() -> None:
    assert {name for change in OTHER_FRONTS for name in change} == set(QueryFront.model_fields)


def test_without_a_front_the_inputs_name_none() -> None:
    assert list(inputs(None)) == ["category=shoes", "ranking"]
    assert set(inputs(FRONT)) == {"category=shoes", "ranking", "front"}


def test_the_front_is_what_the_graph_builds_with(tmp_path: Path) -> None:
    about = About("mine", 1, "efficientnet-lite0", "space", "whole-1", 0.2, 99, "MIT", "")
    gallery = seal(np.eye(4, dtype=np.float32), [LabelledRow("shoes", f"g{n}") for n in range(4)], about)
    write_gallery(gallery, tmp_path / "mine")
    path = str(tmp_path / "mine")
    graph = topology(
        collect={"fallback": "misc"},
        detect={"detector": "whole"},
        crop={"margin": 0.2, "side": 99},
        categorise={"by": "predicted", "gallery": path},
    )
    assert front_of(graph) == QueryFront(
        detector="whole",
        detector_version="whole-1",
        margin=0.2,
        side=99,
        by="predicted",
        gallery=path,
        gallery_sha256=gallery.spec.sha256,
        fallback="misc",
    )
    declared = front_of(topology(detect={"detector": "whole"}, categorise={"by": "declared"}))
    assert declared is not None
    assert (declared.by, declared.gallery, declared.gallery_sha256) == ("declared", None, None)


def test_a_graph_without_detection_has_no_front() -> None:
    graph = topology()
    tasks = {name: task for name, task in graph.tasks.items() if name not in ("detect", "crop")}
    assert front_of(graph.model_copy(update={"tasks": tasks})) is None


def test_a_front_of_an_unknown_detector_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown detector 'whol'; did you mean whole"):
        front_of(topology(detect={"detector": "whol"}, categorise={"by": "declared"}))

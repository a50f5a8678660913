"""The bad-day drill: one day's shards are built again, and the release that follows differs in that day's rows only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date as Date
from pathlib import Path

import numpy as np
import pytest

from pipeline import instances
from pipeline.index.lists import index_vectors
from pipeline.index.opened import open_file
from pipeline.partitions import Partitions
from pipeline.place import Place
from pipeline.rebuild_day import RebuildReport, rebuild_day, rebuild_plan
from pipeline.release.diff import day_ids
from pipeline.release.manifest import ReleaseManifest
from pipeline.release.pointer import release_of
from pipeline.run import RunOutcome
from pipeline.tasks.embed import vectors_of
from pipeline.verify_release import verify_release
from reporting.errors import ConfigError, GateRefused, UsageError
from reporting.plans import Plan
from tests.pipeline.comparison import faults
from tests.pipeline.project import DAY_1, DAY_2, DAY_3, Project, work_off

Copy = Callable[[Project], Project]
Rows = dict[Date, dict[int, bytes]]


def here(place: Place, plans: Sequence[Plan]) -> RunOutcome:
    """Work plans off in this process."""
    work_off(place, *plans)
    with place.store.read() as connection:
        failures = instances.failures(connection, [plan.planid for plan in plans])
    return RunOutcome(tuple(plans), tuple(failures), (), 0.0, did_nothing=False)


def spoil_embed(place: Place, day: Date, category: str, by: float = 0.003) -> None:
    """Let embed have gone slightly wrong on a day: every vector is off, and near enough to be found still."""
    for part in Partitions(place.store, place.topology, None).of_task("embed", day):
        if part.leaf.category != category:
            continue
        path = f"{part.folder}/items.parquet"
        table = place.lake.read_table(path)
        if table.num_rows:
            vectors = vectors_of(table) + np.float32(by)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            column = table.column_names.index("vector")
            kind = table.schema.field("vector").type
            place.lake.write_table(path, table.set_column(column, "vector", _column(vectors, kind)))


def _column(vectors: np.ndarray, kind: object) -> object:
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float32()), vectors.shape[1]).cast(kind)


def rows_by_day(root: Path, release: ReleaseManifest, category: str) -> Rows:
    """Return what each day's ids hold in the index file, vector by vector: no hash of a manifest is believed."""
    entry = release.categories[category]
    ids, vectors = index_vectors(open_file(root / entry.index_path))
    held = {int(number): vector.tobytes() for number, vector in zip(ids, vectors, strict=True)}
    return {day: {int(number): held[int(number)] for number in day_ids(root, entry, day)} for day in entry.days}


@pytest.mark.slow
def test_a_bad_day_is_built_again_and_no_row_of_another_day_changes(three_days: Project, copy_of: Copy) -> None:
    project = copy_of(three_days)
    root = project.folder / "lake"
    with project.place() as place:
        spoil_embed(place, DAY_2, "red")
        bad = rebuild_day(place, DAY_2, categories=("red",), work=here)
        good = rebuild_day(place, DAY_2, categories=("red",), task="embed", work=here)
    assert (bad.failures, bad.exit_code, bad.before, bad.after) == ((), 0, 3, 4)
    assert (good.failures, good.exit_code, good.before, good.after) == ((), 0, 4, 5)
    first, spoilt, mended = (release_of(root, number) for number in (3, 4, 5))
    assert [verify_release(root, number).violations for number in (3, 4, 5)] == [(), (), ()]
    for report in (bad, good):
        assert_only(report, DAY_2, "red")
    was, is_bad, is_good = (rows_by_day(root, one, "red") for one in (first, spoilt, mended))
    assert {day for day in was if was[day] != is_bad[day]} == {DAY_2}
    assert was[DAY_2].keys() == is_bad[DAY_2].keys()
    assert all(was[DAY_2][number] != is_bad[DAY_2][number] for number in was[DAY_2])
    assert is_good == was
    # Content decides about names: the mended shard and index are the files that were there before.
    assert mended.categories == first.categories
    assert {name: spoilt.categories[name] for name in ("green", "other")} == {
        name: first.categories[name] for name in ("green", "other")
    }
    assert faults(project) == []


def assert_only(report: RebuildReport, day: Date, category: str) -> None:
    assert report.diff is not None
    assert report.only_that_day
    assert report.diff.days_changed == (day,)
    assert [name for name, one in report.diff.categories.items() if one.index_changed] == [category]
    assert report.diff.models_changed == ()
    assert (report.diff.rows_added, report.diff.rows_removed) == (0, 0)  # the same ids, with other vectors


def test_a_shard_that_was_damaged_by_one_bit_is_mended_by_a_rebuild(three_days: Project, copy_of: Copy) -> None:
    project = copy_of(three_days)
    root = project.folder / "lake"
    released = release_of(root, 3)
    shard = root / released.categories["red"].days[DAY_2].shard_path / "index.faiss"
    sound = shard.read_bytes()
    shard.chmod(0o644)
    shard.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    with project.place() as place:
        report = rebuild_day(place, DAY_2, categories=("red",), work=here)
    assert (report.failures, report.exit_code) == ((), 0)
    assert shard.read_bytes() == sound
    assert report.after is not None
    assert release_of(root, report.after).categories == released.categories


@pytest.mark.slow
def test_a_rebuild_that_the_gate_refuses_leaves_what_is_served(three_days: Project, copy_of: Copy) -> None:
    project = copy_of(three_days)
    project.configure(hash={"min_detail": 7.0})  # the ancestors are stale by it: the release is refused
    with project.place() as place:
        report = rebuild_day(place, DAY_1, work=here)
    assert report.exit_code == GateRefused.exit_code
    assert (report.before, report.after, report.diff) == (3, 3, None)
    assert len(report.failures) == 1
    assert "GateRefused" in report.failures[0]


def test_what_would_be_done_is_said_before_anything_is(three_days: Project) -> None:
    with three_days.place() as place:
        planned = rebuild_plan(place, DAY_1, categories=("red",), task="embed")
        plans = place.store.plans()
    assert (planned.tasks, planned.categories, planned.newest) == (("embed", "train", "index"), ("red",), DAY_3)
    assert len(plans) == 3


@pytest.mark.parametrize(
    ("day", "options", "error", "said"),
    [
        (Date(2026, 10, 1), {}, UsageError, "2026-10-01: has no shard"),
        (DAY_2, {"task": "hash"}, UsageError, "dedup hands its state on to later days"),
        (DAY_2, {"task": "merge"}, UsageError, "does not lead to a shard"),
        (DAY_2, {"task": "crop", "categories": ("red",)}, UsageError, "for all categories at once"),
        (DAY_2, {"task": "embd"}, ConfigError, "did you mean embed"),
    ],
)
def test_what_is_no_day_to_rebuild_is_refused(
    three_days: Project, day: Date, options: dict[str, object], error: type[Exception], said: str
) -> None:
    with three_days.place() as place, pytest.raises(error, match=said):
        rebuild_plan(place, day, **options)  # type: ignore[arg-type]

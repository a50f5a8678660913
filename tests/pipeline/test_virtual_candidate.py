"""What is judged is not written: an index comes to lie in the lake with its PASS, as the bytes that were judged."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.drafting import draft_of
from pipeline.live_files import live_paths
from pipeline.place import Place
from pipeline.release.objects import ObjectStore
from pipeline.release.pointer import current
from pipeline.serve.generation import Generation
from pipeline.tasks.candidate import Candidate, candidate_on
from reporting.errors import ContractViolation, Inconclusive, UsageError
from reporting.plans import PlanKind
from reporting.record import State
from reporting.stores.base import RecordQuery
from tests.pipeline.arrivals import CATEGORIES
from tests.pipeline.judged_days import lose_vectors
from tests.pipeline.project import DAY_1, DAY_3, Project, draw, plan_day, work_off
from tests.pipeline.searchable import encoded

Copy = Callable[[Project], Project]
NOW = dt.datetime(2026, 11, 4, tzinfo=dt.UTC)


def candidate(place: Place, day: dt.date = DAY_3) -> Candidate:
    return candidate_on(place.store, place.lake, place.topology, day)


def unwrite(place: Place, found: Candidate) -> list[Path]:
    """Take the written indexes away; return where they lay."""
    objects = ObjectStore(place.lake.folder())
    paths = [objects.path(entry.index_sha256) for entry in found.entries.values()]
    for path in paths:
        path.unlink()
    return paths


def test_a_candidate_by_hand_is_what_was_released(three_days: Project) -> None:
    released = current(three_days.folder / "lake")
    assert released is not None
    with three_days.place() as place:
        found = candidate(place)
        with pytest.raises(UsageError, match="2026-10-01: no category has been merged"):
            candidate(place, dt.date(2026, 10, 1))
    assert (found.entries, found.front, found.ranking) == (released.categories, released.front, released.ranking)
    assert (found.planid, found.date) == (released.planid, released.date)
    assert set(found.inputs()) == {*(f"category={name or 'other'}" for name in CATEGORIES), "front", "ranking"}


def test_the_virtual_index_answers_as_the_written_one(three_days: Project, copy_of: Copy) -> None:
    project = copy_of(three_days)
    pictures = [encoded(draw(number)) for number in (0, 5, 101, 204)]
    with project.place() as place:
        found = candidate(place)
        written = Generation(place.lake, found.entries, found.front).search(pictures, 5)
        paths = unwrite(place, found)
        assert Generation(place.lake, found.entries, found.front).search(pictures, 5) == written
        assert all(written)
        assert not any(path.exists() for path in paths)  # to search it is not to write it
        draft = draft_of(found, created_at=NOW)
        for entry in draft.categories.values():
            data = place.lake.read_bytes(entry.index_path)
            assert (hashlib.sha256(data).hexdigest(), len(data)) == (entry.index_sha256, entry.index_bytes)
        assert draft == draft_of(found, created_at=NOW)  # what is there is not written again


def test_a_category_that_is_not_released_is_never_written(three_days: Project, copy_of: Copy) -> None:
    project = copy_of(three_days)
    with project.place() as place:
        found = candidate(place)
        for category in found.entries:
            lose_vectors(place, DAY_3, category)
        with pytest.raises(Inconclusive, match="no category has an item"):
            candidate(place)
        paths = unwrite(place, found)
    assert not any(path.exists() for path in paths)


def test_a_shard_that_changed_after_the_verdict_is_refused_by_name_and_nothing_is_published(
    three_days: Project, copy_of: Copy
) -> None:
    project = copy_of(three_days)
    with project.place() as place:
        plan = plan_day(place, DAY_3, kind=PlanKind.RERUN, source=None, tasks=("merge",))
        work_off(place, plan, tasks=("merge", "evaluate"))
        found = candidate(place)
        unwrite(place, found)
        shard = place.lake.folder() / found.entries["red"].days[DAY_1].shard_path / "index.faiss"
        data = bytearray(shard.read_bytes())
        data[-1] ^= 1
        shard.chmod(0o644)
        shard.write_bytes(data)
        work_off(place, plan)
        (record,) = place.store.records(RecordQuery(tasks=("release",), planids=(plan.planid,)))
        with pytest.raises(ContractViolation, match=f"shard red/{DAY_1}: sha256"):
            draft_of(found, created_at=NOW)
    assert record.state is State.FAILED
    assert record.error is not None
    assert record.error.error_class == "ContractViolation"
    assert f"shard red/{DAY_1}: sha256" in record.error.message
    served = current(project.folder / "lake")
    assert served is not None
    assert served.number == 3


def test_every_shard_and_item_table_of_work_that_is_done_is_live(three_days: Project) -> None:
    """The oracle is the folder: nothing of it is garbage but what releases alone hold."""
    with three_days.place() as place:
        live = live_paths(place.store, place.lake)
        root = place.lake.folder()
        shards = {str(path.parent.relative_to(root)) for path in root.glob("shards/**/shard.json")}
        quantizers = {str(path.relative_to(root)) for path in root.glob("quantizers/**/*.faiss")}
        objects = {str(path.relative_to(root)) for path in root.glob("objects/*/*")}
        items = {entry.items_path for entry in candidate(place).entries.values()}
    assert shards | quantizers <= live
    assert live - shards - quantizers <= objects
    assert items <= live


@pytest.mark.parametrize("category", [name or "other" for name in CATEGORIES])
def test_the_quantizer_is_trained_on_the_first_day_and_each_day_books_its_drift(
    three_days: Project, category: str
) -> None:
    with three_days.place() as place:
        records = place.store.records(RecordQuery(tasks=("train",), categories=(category,)))
    assert len({record.versions["quantizer"] for record in records}) == 1
    assert [set(record.metrics) for record in records] == [
        {"training_rows", "list_imbalance", "quantisation_error", "drift_ratio"}
    ] * 3
    assert len({record.metrics["training_rows"] for record in records}) == 1
    assert [record.metrics["drift_ratio"] for record in records] == pytest.approx(
        [1.0] * 3
    )  # one list of all: no drift
    assert all(record.input == record.output == record.produced > 0 for record in records)

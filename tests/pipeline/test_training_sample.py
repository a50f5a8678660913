"""A quantizer learns from the whole window, whichever of its days comes first, and from too little never unnoticed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date as Date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from pipeline.partitions import Partitions
from pipeline.place import Place
from pipeline.quantizers import Wanted, find_quantizer
from pipeline.release.pointer import current
from pipeline.tasks.context import LeafContext
from pipeline.tasks.embed import vectors_of
from pipeline.tasks.training import day_sample, window_sample
from reporting.key import RunKey
from reporting.plans import PlanKind
from reporting.record import State
from reporting.stores.base import RecordQuery
from tests.pipeline.arrivals import DAYS
from tests.pipeline.project import DAY_1, DAY_2, DAY_3, Project, new_project, plan_day, row, run_here, work_off

Copy = Callable[[Project], Project]


def rows_of(place: Place, day: Date, category: str = "red") -> pa.Table:
    """Return what embed handed on, package after package."""
    parts = Partitions(place.store, place.topology, None).of_task("embed", day)
    mine = [part for part in parts if part.leaf.category == category]
    return pa.concat_tables([place.lake.read_table(f"{part.folder}/items.parquet") for part in mine])


def leaf_of(place: Place, day: Date) -> LeafContext:
    partitions = Partitions(place.store, place.topology, None)
    key = RunKey(planid="p", date=day, task="train", category="red")
    return cast(LeafContext, SimpleNamespace(key=key, partitions=partitions, store=place.store, lake=place.lake))


def space_at(place: Place) -> str:
    (space,) = {one.versions["space"] for one in place.store.records(RecordQuery(tasks=("train",)))}
    return space


def newest_first(place: Place, *days: Date) -> list[NDArray[np.float32]]:
    """Return each day's vectors, by rising id: the oracle is a sort of lists."""
    found = []
    for day in sorted(days, reverse=True):
        table = rows_of(place, day)
        ids = table["id"].to_pylist()
        order = [ids.index(number) for number in sorted(ids)]
        found.append(vectors_of(table)[order])
    return found


@pytest.mark.parametrize("day", DAYS)
def test_the_sample_is_the_whole_window_newest_first_whichever_day_trains(three_days: Project, day: Date) -> None:
    with three_days.place() as place:
        own, leaf, space = rows_of(place, day), leaf_of(place, day), space_at(place)
        expected = newest_first(place, *DAYS)
        found = window_sample(leaf, space, own, window_days=60, rows=10_000)
        two = window_sample(leaf, space, own, window_days=2, rows=10_000)
        mixed = window_sample(leaf, space, own.take(np.arange(own.num_rows)[::-1]), window_days=60, rows=10_000)
    whole = np.concatenate(expected)
    assert found.vectors.tobytes() == mixed.vectors.tobytes() == whole.tobytes()
    assert (found.days, found.rows_a_day) == (3, round(len(whole) / 3))
    assert two.vectors.tobytes() == np.concatenate(expected[:2]).tobytes()


def test_a_full_sample_leaves_out_the_oldest_and_is_never_less_than_the_day_itself(three_days: Project) -> None:
    with three_days.place() as place:
        days = newest_first(place, *DAYS)
        sizes = [len(one) for one in days]
        own, leaf, space = rows_of(place, DAY_3), leaf_of(place, DAY_3), space_at(place)
        wanted = sizes[0] + 1
        some = window_sample(leaf, space, own, window_days=60, rows=wanted)
        least = window_sample(leaf, space, own, window_days=60, rows=1)
        first = rows_of(place, DAY_1)
        of_first = window_sample(leaf_of(place, DAY_1), space, first, window_days=60, rows=1)
    assert sizes[1] > 1
    assert (len(some.vectors), some.days) == (wanted, 2)
    assert some.vectors[: sizes[0]].tobytes() == days[0].tobytes()
    assert {one.tobytes() for one in some.vectors[sizes[0] :]} <= {one.tobytes() for one in days[1]}
    assert least.vectors.tobytes() == days[0].tobytes()
    assert len(of_first.vectors) == first.num_rows  # so many, and the newest ones
    assert of_first.vectors[: sizes[0]].tobytes() == days[0].tobytes()


def test_vectors_of_another_space_are_left_out(three_days: Project) -> None:
    with three_days.place() as place:
        own = rows_of(place, DAY_2)
        found = window_sample(leaf_of(place, DAY_2), "another", own, window_days=60, rows=10_000)
        (alone,) = newest_first(place, DAY_2)
    assert found.vectors.tobytes() == alone.tobytes()
    assert (found.days, found.rows_a_day) == day_sample(alone)[1:]


def small_project(folder: Path) -> Project:
    project = new_project(folder)
    for day, numbers in {DAY_1: range(12), DAY_2: range(12, 15)}.items():
        project.manifest(day, [row(project.drawn(number), f"s{number}") for number in numbers])
    return project


def train_again(place: Place, day: Date) -> Any:
    """Train in a plan of one day; return its record."""
    plan = plan_day(place, day, kind=PlanKind.RERUN, source=None, tasks=("train",))
    work_off(place, plan, tasks=("train",))
    (record,) = place.store.records(RecordQuery(tasks=("train",), categories=("red",), planids=(plan.planid,)))
    return record


@pytest.mark.slow
def test_a_new_codec_is_the_same_training_whichever_day_comes_first(tmp_path: Path, copy_of: Copy) -> None:
    project = small_project(tmp_path / "project")
    run_here(project, DAY_1, DAY_2)
    trained = []
    other = copy_of(project)
    for one, day in ((project, DAY_1), (other, DAY_2)):
        one.configure(train={"codec": "sq8", "min_rows": 15})
        with one.place() as place:
            record = train_again(place, day)
            found = find_quantizer(place.store, Wanted("red", space_at(place), "sq8"))
        assert record.state is State.SUCCEEDED, record.error
        assert record.metrics["training_rows"] == 15
        assert record.input == record.produced == {DAY_1: 12, DAY_2: 3}[day]  # the day's own vectors
        assert found is not None
        trained.append((found.fingerprint, found.codec, found.training_rows))
    assert trained[0] == trained[1]
    assert trained[0][1:] == ("sq8", 15)


@pytest.mark.slow
def test_too_few_vectors_are_an_error_or_by_the_settings_a_flat_index_that_stays(tmp_path: Path) -> None:
    project = small_project(tmp_path / "project")
    project.configure(train={"codec": "sq8", "min_rows": 13})
    with project.place() as place:
        plan = plan_day(place, DAY_1)
        work_off(place, plan)
        (failed,) = place.store.records(RecordQuery(tasks=("train",), categories=("red",), planids=(plan.planid,)))
    assert failed.state is State.FAILED
    assert failed.error is not None
    for said in ("codec sq8 of category 'red', revision 1, has 12 vectors of 1 days", "fewer than 13", "too_few: flat"):
        assert said in failed.error.message
    project = small_project(tmp_path / "flat")
    project.configure(train={"codec": "sq8", "min_rows": 13, "too_few": "flat"})
    run_here(project, DAY_1, DAY_2)  # 15 on the second day: enough, but a window of two codecs could not be merged
    served = current(project.folder / "lake")
    assert served is not None
    assert (served.date, served.categories["red"].codec, served.categories["red"].rows) == (DAY_2, "flat", 15)
    project.configure(train={"codec": "sq8", "min_rows": 13, "too_few": "flat", "revision": 2})
    with project.place() as place:
        assert train_again(place, DAY_2).metrics["training_rows"] == 15
        found = find_quantizer(place.store, Wanted("red", space_at(place), "sq8", 2))
        first = find_quantizer(place.store, Wanted("red", space_at(place), "sq8", 1))
    assert found is not None
    assert first is not None
    assert (first.codec, found.codec) == ("flat", "sq8")

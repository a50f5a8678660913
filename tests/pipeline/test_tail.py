"""The tail: the index that is merged with it is the one merged without it, and few shards are read for it."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from datetime import date as Date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.index.shard_folder import find_shards
from pipeline.release.objects import ObjectStore
from pipeline.tasks.tail import read_tail
from pipeline.window.tail_step import Tail
from reporting.errors import ContractViolation, DataError
from reporting.stores import open_store
from reporting.stores.sql import SqlStore
from tests.pipeline.shard_parts import quantizer
from tests.pipeline.tail_world import FIRST, TailWorld, day_at, graph, note_quantizers

_numbers = itertools.count()


@pytest.fixture(autouse=True, scope="module")
def without_flushing() -> Iterator[None]:
    """Thousands of small files are written here, and no machine goes down."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[SqlStore]:
    path = tmp_path_factory.mktemp("tail") / "store.db"
    with open_store(f"sqlite:///{shutil.copy(sqlite_template, path)}") as opened:
        note_quantizers(opened)
        yield opened


class Pair:
    """The same days twice: merged with a tail, and without one."""

    def __init__(self, folder: Path, store: SqlStore, window_days: int, compact_days: int) -> None:
        where = folder / str(next(_numbers))
        self.with_tail = TailWorld(where / "with", store)
        self.without = TailWorld(where / "without", store, graph(with_tail=False))
        self.window_days, self.compact_days = window_days, compact_days

    def index(self, day: Date, pictures: list[int], turn: int = 0) -> None:
        for world in (self.with_tail, self.without):
            world.index(day, pictures, turn=turn)

    def run(self, day: Date, stored: dict[int, Date]) -> None:
        for world in (self.with_tail, self.without):
            world.library(day, stored)
        self.with_tail.tail(day, self.window_days, self.compact_days)
        for world in (self.with_tail, self.without):
            world.merge(day, self.window_days)

    def assert_same(self, day: Date) -> None:
        """The bytes of index and item table, and the rows of each day; only the shards they come from differ."""
        mine, plain = (_without_shards(world.merged(day)) for world in (self.with_tail, self.without))
        assert mine == plain


def _without_shards(said: dict[str, object]) -> dict[str, object]:
    days = said.get("days", {})
    assert isinstance(days, dict)
    return said | {"days": {day: (one["rows"], one["rows_sha256"]) for day, one in days.items()}}


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[list[int], list[int], list[int]]]:
    """Draw for each day: pictures that arrive, pictures that leave, and earlier days that are indexed again."""
    days = draw(st.integers(3, 9))
    pictures = st.lists(st.integers(0, 14), max_size=5, unique=True)
    again = st.lists(st.integers(0, 8), max_size=2, unique=True)
    return [(draw(pictures), draw(pictures), draw(again)) for _ in range(days)]


@given(history=histories(), window_days=st.integers(1, 3), compact_days=st.integers(1, 3))
@settings(max_examples=6)
def test_whatever_happens_the_index_is_the_one_that_is_merged_without_a_tail(
    tmp_path_factory: pytest.TempPathFactory,
    store: SqlStore,
    history: list[tuple[list[int], list[int], list[int]]],
    window_days: int,
    compact_days: int,
) -> None:
    pair = Pair(tmp_path_factory.getbasetemp(), store, window_days, compact_days)
    stored: dict[int, Date] = {}
    indexed: dict[int, list[int]] = {}
    for number, (arrive, leave, again) in enumerate(history):
        for picture in leave:
            stored.pop(picture, None)
        new = [picture for picture in arrive if picture not in stored]  # one that left comes back as a new one
        stored |= dict.fromkeys(new, day_at(number))
        indexed[number] = new
        pair.index(day_at(number), new)
        for day in again:
            if day in indexed:
                pair.index(day_at(day), indexed[day], turn=number + 1)
        pair.run(day_at(number), stored)
        pair.assert_same(day_at(number))
    assert pair.with_tail.unexplained() == []


@pytest.mark.slow
def test_in_a_year_of_days_no_merge_reads_more_shards_than_window_and_interval(tmp_path: Path, store: SqlStore) -> None:
    """Every picture stays. To save time only the days are run on which a tail is made anew, and those before them."""
    world = TailWorld(tmp_path / "year", store)
    stored: dict[int, Date] = {}
    merged, made = [], []
    for number in range(365):
        day = day_at(number)
        world.index(day, [number])
        stored[number] = day
        if number % 30 in (0, 29):
            world.library(day, stored)
            tail = world.tail(day, window_days=60, compact_days=30)
            if tail.metrics["compacted"]:
                made.append((number, len(tail.consumed)))
        if number in (89, 179, 359):
            record = world.merge(day, window_days=60)
            merged.append(len(record.consumed))
            assert record.output == number + 1
    assert made == [(60, 2), *((number, 31) for number in range(90, 365, 30))]  # the tail before, and the shards
    assert merged == [60 + 30] * 3


def test_a_day_that_was_indexed_late_or_again_is_taken_in_although_nothing_is_due(
    tmp_path: Path, store: SqlStore
) -> None:
    pair = Pair(tmp_path, store, window_days=1, compact_days=100)
    first, second, third, last = (day_at(number) for number in range(4))
    stored = {1: first, 2: second}
    pair.index(first, [1])
    pair.run(first, {1: first})
    pair.index(third, [])
    pair.run(third, stored)  # the second day's index is late
    assert list(_tail(pair.with_tail, third).days) == [first]
    pair.index(second, [2])
    pair.index(first, [1], turn=1)
    pair.run(last, stored)
    pair.assert_same(last)
    record = pair.with_tail.tail(last, 1, 100)
    assert record.dropped == {"rebuilt": 1}
    assert (record.input, record.output, record.metrics["compacted"]) == (3, 2, 1)


def test_a_covered_day_that_is_indexed_again_without_the_category_leaves_the_tail(
    tmp_path: Path, store: SqlStore
) -> None:
    pair = Pair(tmp_path, store, window_days=1, compact_days=100)
    first, second, last = (day_at(number) for number in range(3))
    pair.index(first, [1, 2])
    pair.index(second, [3])
    stored = {1: first, 2: first, 3: second}
    pair.run(second, stored)
    for world in (pair.with_tail, pair.without):
        del world.parts["index", first]  # what counts of that day shows nothing of the category any more
    pair.index(last, [])
    pair.run(last, stored)
    pair.assert_same(last)
    assert pair.with_tail.tail(last, 1, 100).dropped == {"rebuilt": 2}
    assert list(_tail(pair.with_tail, last).days) == [second]
    assert pair.with_tail.unexplained() == []


def test_where_the_tail_before_was_swept_its_days_are_read_again_and_a_shard_that_is_gone_too_is_named(
    tmp_path: Path, store: SqlStore
) -> None:
    pair = Pair(tmp_path, store, window_days=1, compact_days=100)
    days = [day_at(number) for number in range(3)]
    for number, day in enumerate(days):
        pair.index(day, [number])
    stored = dict(enumerate(days))
    pair.run(days[1], {0: days[0], 1: days[1]})
    world = pair.with_tail
    swept = _tail(world, days[1])
    assert swept.items_sha256 is not None
    (world.folder / ObjectStore(world.folder).relative(swept.items_sha256)).unlink()
    pair.run(days[2], stored)
    pair.assert_same(days[2])
    read = [(one.task, one.date) for one in world.tail(days[2], 1, 100).consumed]
    assert read == [("index", days[0]), ("index", days[1])]
    assert world.unexplained() == []
    shutil.rmtree(next((world.folder / "shards").rglob(str(days[1]))))
    with pytest.raises(DataError, match=f"{days[1]}/[0-9a-f]+: the shard is gone.*re-run index for its day"):
        world.tail(days[2], 1, 100)


def test_a_tail_that_is_not_due_is_handed_on_as_it_is_with_its_rows_booked(tmp_path: Path, store: SqlStore) -> None:
    world = TailWorld(tmp_path / "world", store)
    world.index(FIRST, [1, 2])
    for number in range(1, 4):
        world.library(day_at(number), {1: FIRST, 2: FIRST})
        record = world.tail(day_at(number), 1, 100)
    made, handed = (_tail(world, day_at(number)) for number in (1, 3))
    assert made == handed
    assert (made.compacted_on, made.rows) == (day_at(1), 2)
    assert (record.input, record.output, record.metrics["compacted"]) == (2, 2, 0)
    assert [(one.task, one.date, one.count) for one in record.consumed] == [("tail", day_at(2), 2)]


def test_a_tail_whose_first_attempt_died_after_its_shard_was_written_is_the_one_of_an_undisturbed_run(
    tmp_path: Path, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, killed = (TailWorld(tmp_path / name, store) for name in ("undisturbed", "killed"))
    for world in (undisturbed, killed):
        world.index(FIRST, [1, 2, 3])
        world.library(day_at(1), {1: FIRST, 3: FIRST})
    undisturbed.tail(day_at(1), 1, 1)
    with monkeypatch.context() as dies:
        dies.setattr(ObjectStore, "put_bytes", _die)
        with pytest.raises(KeyboardInterrupt):
            killed.tail(day_at(1), 1, 1)
    killed.tail(day_at(1), 1, 1)
    assert _tail(killed, day_at(1)) == _tail(undisturbed, day_at(1))
    assert not list((killed.folder / "shards").rglob(".writing-*"))
    assert killed.unexplained() == []


def _die(store: ObjectStore, data: bytes) -> str:
    raise KeyboardInterrupt


def test_days_of_another_training_are_refused_and_named(tmp_path: Path, store: SqlStore) -> None:
    world = TailWorld(tmp_path / "world", store)
    stored = {number: day_at(number) for number in range(3)}
    for number in range(3):
        world.index(day_at(number), [number])
    world.library(day_at(3), stored)
    world.tail(day_at(3), 1, 1)
    world.index(day_at(2), [2], turn=1, trained=quantizer(seed=5))
    world.library(day_at(4), stored)
    with pytest.raises(ContractViolation, match=r"tail shoes/2026-01-01\.\.2026-01-03: fingerprint is") as refused:
        world.tail(day_at(4), 1, 1)
    assert "the tail is of 2026-01-01, 2026-01-02, 2026-01-03: re-run index for them, oldest first" in str(
        refused.value
    )
    for number in range(2):
        world.index(day_at(number), [number], turn=1, trained=quantizer(seed=5))
    record = world.tail(day_at(4), 1, 1)
    assert (record.output, record.dropped) == (3, {"rebuilt": 3})


def test_shards_below_a_folder_are_those_of_days_and_a_tail_is_taken_where_it_is_named(
    tmp_path: Path, store: SqlStore
) -> None:
    world = TailWorld(tmp_path / "world", store)
    for number in range(2):
        world.index(day_at(number), [number])
    world.library(day_at(2), {0: day_at(0), 1: day_at(1)})
    world.tail(day_at(2), 1, 1)
    path = world.folder / str(_tail(world, day_at(2)).path)
    assert [one.manifest.date for one in find_shards([world.folder / "shards"])] == [day_at(0), day_at(1)]
    assert [(one.manifest.since, one.manifest.rows) for one in find_shards([path])] == [(day_at(0), 2)]


def _tail(world: TailWorld, day: Date) -> Tail:
    return read_tail(world.lake, world.parts["tail", day].folder)

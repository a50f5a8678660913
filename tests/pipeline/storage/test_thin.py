"""A thinned file: what is kept is the same to the byte and at the same place, all else is gone, from the disk too."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.lake import LetGo
from pipeline.storage.kept import allocated
from pipeline.storage.thin import read_places, thin
from pipeline.tasks.embed import vectors_of, without_let_go
from reporting.errors import ConfigError, DataError, StoreError
from tests.pipeline.storage.packed import DIM, intact, name_of, pack_in, picture, vectors_in


@given(
    sizes=st.lists(st.integers(1, 20_000), max_size=12),
    first=st.lists(st.booleans(), min_size=12, max_size=12),
    second=st.lists(st.booleans(), min_size=12, max_size=12),
)
@settings(max_examples=40, deadline=None)
def test_a_pack_keeps_what_was_asked_for_and_had_its_bytes_and_nothing_else(
    sizes: list[int], first: list[bool], second: list[bool]
) -> None:
    pictures = [picture(number, size) for number, size in enumerate(sizes)]
    with tempfile.TemporaryDirectory() as folder:
        lake, holding = pack_in(Path(folder), pictures)
        places = read_places(lake, holding)
        there = thin(lake, holding, places, np.array(first[: len(sizes)], np.bool_))
        assert there.tolist() == first[: len(sizes)] == intact(lake, holding, pictures)
        again = thin(lake, holding, places, np.array(second[: len(sizes)], np.bool_))
        both = [a and b for a, b in zip(first, second, strict=True)][: len(sizes)]
        assert again.tolist() == both == intact(lake, holding, pictures)
        assert sorted(path.name for path in (lake.folder() / holding.file).parent.iterdir()) == [
            "items.parquet",
            "pictures.bin",
        ]


def test_what_goes_frees_its_blocks_wherever_it_lies(tmp_path: Path) -> None:
    pictures = [picture(number, 50_000) for number in range(20)]
    lake, holding = pack_in(tmp_path, pictures)
    before = allocated(lake, holding.file)
    keep = np.zeros(20, np.bool_)
    keep[[3, 11]] = True
    thin(lake, holding, read_places(lake, holding), keep)
    block = (lake.folder() / holding.file).stat().st_blksize
    assert before >= 20 * 50_000
    assert 2 * 50_000 <= allocated(lake, holding.file) <= 2 * (50_000 + 2 * block)
    assert (lake.folder() / holding.file).stat().st_size == 20 * 50_000


def test_a_read_of_what_was_let_go_says_so_and_one_that_hits_anything_else_does_not(tmp_path: Path) -> None:
    pictures = [picture(number, 9_000) for number in range(3)]
    lake, holding = pack_in(tmp_path, pictures)
    thin(lake, holding, read_places(lake, holding), np.array([True, False, True]))
    with lake.open_pack(holding.file) as pack:
        assert pack.read(18_000, 9_000) == pictures[2]
        with pytest.raises(LetGo, match=r"at 9000 was let go.*run download for 2026-09-01"):
            pack.read(9_000, 9_000)
        with pytest.raises(DataError, match="found 0"):
            pack.read(27_000, 10)


def test_whoever_has_the_pack_open_goes_on_reading_the_old_one(tmp_path: Path) -> None:
    pictures = [picture(number, 9_000) for number in range(3)]
    lake, holding = pack_in(tmp_path, pictures)
    with lake.open_pack(holding.file) as pack:
        thin(lake, holding, read_places(lake, holding), np.zeros(3, np.bool_))
        assert pack.read(9_000, 9_000) == pictures[1]


def test_whoever_could_read_the_old_file_can_read_the_new_one(tmp_path: Path) -> None:
    lake, holding = pack_in(tmp_path, [picture(0, 9_000)])
    path = lake.folder() / holding.file
    path.chmod(0o664)
    before = os.umask(0o077)
    try:
        thin(lake, holding, read_places(lake, holding), np.zeros(1, np.bool_))
    finally:
        os.umask(before)
    assert oct(path.stat().st_mode & 0o777) == oct(0o664)


def test_a_pack_that_is_too_short_is_left_as_it_is(tmp_path: Path) -> None:
    pictures = [picture(number, 9_000) for number in range(3)]
    lake, holding = pack_in(tmp_path, pictures)
    path = lake.folder() / holding.file
    path.write_bytes(b"".join(pictures)[:20_000])
    with pytest.raises(DataError, match="9000 bytes expected at 18000, found 2000"):
        thin(lake, holding, read_places(lake, holding), np.ones(3, np.bool_))
    assert path.read_bytes() == b"".join(pictures)[:20_000]
    assert sorted(one.name for one in path.parent.iterdir()) == ["items.parquet", "pictures.bin"]


@pytest.mark.parametrize("names", [[], ["a"], ["a", "b", "a", "c", "b"]])
def test_vectors_become_null_and_rows_order_and_other_columns_stay(tmp_path: Path, names: list[str]) -> None:
    lake, holding, table = vectors_in(tmp_path, names)
    keep = np.array([name == "a" for name in names], np.bool_)
    assert thin(lake, holding, read_places(lake, holding), keep).tolist() == keep.tolist()
    found = lake.read_table(holding.file)
    assert found.schema == table.schema
    assert found.drop_columns(["vector"]) == table.drop_columns(["vector"])
    rows = zip(found["vector"].to_pylist(), table["vector"].to_pylist(), keep.tolist(), strict=True)
    assert all(now == (was if stays else None) for now, was, stays in rows)
    drops: list[tuple[str, str, str]] = []
    left = without_let_go(found, drops)
    assert [name for name, _, _ in drops] == found.filter(pa.array(~keep))["object"].to_pylist()
    assert vectors_of(left).shape == (int(keep.sum()), DIM)
    if not keep.all():
        with pytest.raises(LetGo, match="vectors were let go"):
            vectors_of(found)


def test_a_thinned_table_of_vectors_is_smaller_on_the_disk(tmp_path: Path) -> None:
    lake, holding, _ = vectors_in(tmp_path, [f"{number:064x}" for number in range(20_000)])
    before = allocated(lake, holding.file)
    thin(lake, holding, read_places(lake, holding), np.arange(20_000) < 100)
    assert before - allocated(lake, holding.file) > 0.9 * (19_900 * DIM * 4)


def test_a_disk_that_refuses_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [picture(number, 9_000) for number in range(3)]
    lake, holding = pack_in(tmp_path, pictures)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.lake.os.fsync", refuse)
    with pytest.raises(StoreError, match=r"No space left on device; the file that is there stays"):
        thin(lake, holding, read_places(lake, holding), np.zeros(3, np.bool_))
    assert intact(lake, holding, pictures) == [True] * 3


def test_a_lake_that_is_no_folder_replaces_nothing() -> None:
    from pipeline.lake import Lake

    with pytest.raises(ConfigError, match="a lake that is a folder"), Lake("memory://lake").replace("a"):
        pass


def test_a_picture_that_is_named_by_its_hash_is_what_the_pack_returns(tmp_path: Path) -> None:
    pictures = [picture(number, 1_000 + number) for number in range(5)]
    lake, holding = pack_in(tmp_path, pictures)
    places = read_places(lake, holding)
    assert places.offsets is not None
    thin(lake, holding, places, np.array([False, True, False, True, True]))
    with lake.open_pack(holding.file) as pack:
        for row in (1, 3, 4):
            data = pack.read(int(places.offsets[row]), int(places.sizes[row]))
            assert name_of(data) == places.pictures[row].as_py()

"""The lake: on disk before it is pointed at, invisible when it failed, and clear about what is missing."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline import instances
from pipeline.lake import Lake
from reporting.errors import DataError, StoreError
from reporting.key import RunKey
from reporting.plans import PlanState
from tests.pipeline.comparison import artifacts, books, faults, merged_rows
from tests.pipeline.project import DAY_1, Project, new_project, plan_day, row, run_here, work_off

TABLE = pa.table({"item": ["a", "b"], "n": [1, 2]})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def test_what_is_written_is_read_back(lake: Lake) -> None:
    lake.write_table("a/b/rows.parquet", TABLE)
    lake.write_bytes("a/b/raw.bin", b"0123456789")
    assert lake.read_table("a/b/rows.parquet").equals(TABLE)
    assert lake.read_table("a/b/rows.parquet", ["n"]).column_names == ["n"]
    assert lake.read_bytes("a/b/raw.bin") == b"0123456789"
    with lake.open_pack("a/b/raw.bin") as pack:
        assert (pack.read(7, 3), pack.read(0, 2)) == (b"789", b"01")
    assert lake.exists("a/b/raw.bin")
    assert not lake.exists("a/b/other.bin")


def test_a_lake_in_memory_behaves_alike() -> None:
    lake = Lake("memory://lake")
    lake.write_table("a/rows.parquet", TABLE)
    lake.seal_folder("a")
    assert lake.read_table("a/rows.parquet", ["item"]).equals(TABLE.select(["item"]))
    with pytest.raises(StoreError, match="a committed partition cannot be read"):
        lake.read_table("a/none.parquet")


def test_an_attempts_folder_names_leaf_plan_attempt_and_token(lake: Lake) -> None:
    key = RunKey(task="hash", date=DAY_1, subinstance="0002", planid="daily-20261101")
    folder = lake.attempt_folder(key, 3, "abcdef0123456789")
    assert folder == "hash/2026-11-01/all/0002/daily-20261101/attempt=003-abcdef012345"


def test_files_and_folders_are_flushed_to_the_disk(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        flushed.append(f"{kind} {Path(f'/proc/self/fd/{handle}').readlink()}")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    lake.write_bytes("task/day/out.bin", b"x")
    lake.seal_folder("task/day")
    root = lake.full("").rstrip("/")
    assert flushed[0] == f"file {root}/task/day/out.bin"
    assert flushed[1:] == [f"folder {root}/task/day", f"folder {root}/task", f"folder {root}"]


def test_a_missing_partition_says_what_to_do(lake: Lake) -> None:
    with pytest.raises(StoreError) as missing:
        lake.read_table("hash/gone.parquet")
    assert str(missing.value).startswith(lake.full("hash/gone.parquet"))
    assert "restore it or re-run the leaf that wrote it" in str(missing.value)
    with pytest.raises(StoreError, match="restore it or re-run"):
        lake.open_pack("download/gone.bin")


def test_a_damaged_partition_is_not_read(lake: Lake) -> None:
    lake.write_table("rows.parquet", TABLE)
    path = Path(lake.full("rows.parquet"))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreError, match=r"rows\.parquet: a committed partition cannot be read"):
        lake.read_table("rows.parquet")


def test_a_pack_shorter_than_its_index_is_refused(lake: Lake) -> None:
    lake.write_bytes("pictures.bin", b"0123")
    with lake.open_pack("pictures.bin") as pack, pytest.raises(DataError, match="5 bytes expected at 2, found 2"):
        pack.read(2, 5)


class FullDisk:
    """Lets every write of the lake fail from the moment `fills()` answers true."""

    def __init__(self, patch: pytest.MonkeyPatch, fills: Callable[[str], bool]):
        real = Lake.create
        self.refused: list[str] = []

        def create(lake: Lake, path: str) -> Any:
            block = real(lake, path)
            if not fills(path):
                return block
            self.refused.append(path)
            return _Refusing(block)

        patch.setattr(Lake, "create", create)


class _Refusing:
    """A file on a full disk: it opens, and the first write fails."""

    def __init__(self, block: Any):
        self._block = block

    def __enter__(self) -> Any:
        self._file = self._block.__enter__()
        return self

    def write(self, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __exit__(self, *error: Any) -> Any:
        return self._block.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_a_full_disk_is_a_store_error_with_its_remedy(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    FullDisk(monkeypatch, lambda _: True)
    with pytest.raises(StoreError) as full:
        lake.write_table("hash/rows.parquet", TABLE)
    assert str(full.value).startswith(f"{lake.full('hash/rows.parquet')}: cannot be written: No space left on device")
    assert "free or mount the disk and run again" in str(full.value)
    assert StoreError.exit_code == 4


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file stands where the lake should be")
    with pytest.raises(StoreError, match="cannot be written"):
        Lake(str(tmp_path / "lake")).write_bytes("hash/x.bin", b"x")


class QuickClock:
    """The worker's clock, on which waiting takes no time: back-offs pass at once."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += 20 * seconds


def filled(project: Project) -> Project:
    project.manifest(DAY_1, [row(project.drawn(n), f"s{n}", category=["red", "green"][n % 2]) for n in range(6)])
    return project


@pytest.mark.slow
@pytest.mark.parametrize("task", ["download", "dedup", "index"])
def test_a_run_on_a_full_disk_shows_nothing_and_resumes_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    whole = filled(new_project(tmp_path / "whole", package_items=3))
    run_here(whole, DAY_1)
    project = filled(new_project(tmp_path / "full", package_items=3))
    monkeypatch.setattr("pipeline.worker.time", QuickClock())
    with project.place() as place:
        plan = plan_day(place, DAY_1)
        with monkeypatch.context() as patch:
            disk = FullDisk(patch, lambda path: path.startswith(f"{task}/"))
            work_off(place, plan)
        assert disk.refused
        with place.store.read() as connection:
            failed = {key.task: error for key, error in instances.failures(connection, [plan.planid])}
        assert set(failed) == {task}
        assert "StoreError" in failed[task]
        assert "No space left on device" in failed[task]
        assert not [folder for folder in artifacts(place.store) if folder.startswith(f"{task}/")]
        with place.store.begin() as work:
            instances.requeue(work, [plan.planid])  # as `run` does when it is called again
        work_off(place, plan)
        ended = place.store.get_plan(plan.planid)
        assert ended is not None
        assert ended.state is PlanState.COMPLETE
    assert faults(project) == []
    assert books(project) == books(whole)
    assert merged_rows(project) == merged_rows(whole)

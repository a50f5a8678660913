"""A merge killed before any step that touches the disk: the file is whole or not there, and the next merge ends it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO
from unittest import mock

import numpy as np
import pytest

from pipeline.index.merge import merge_to
from pipeline.index.shard import build_shard
from tests.pipeline.dying import Death, deaths
from tests.pipeline.shard_parts import CATEGORY, SPACE, on_disk, part, quantizer, unit


class Merge:
    """Three shards; writes are short, and a death may come before each."""

    def set_up(self, root: Path) -> None:
        self.parts = on_disk(
            [part(range(day * 30, day * 30 + 30), unit(30, seed=day), day=day) for day in range(3)], root / "shards"
        )

    def act(self, root: Path) -> None:
        def piecemeal(out: BinaryIO, buffers: list[memoryview]) -> None:
            data = b"".join(buffers)
            for start in range(0, len(data), 900):
                os.utime(root)  # a step to die at
                out.write(data[start : start + 900])
                out.flush()

        with mock.patch("pipeline.index.stream._write", piecemeal):
            merge_to(root / "out" / "merged", quantizer(), self.parts, category=CATEGORY, space_id=SPACE)

    def look(self, root: Path) -> str:
        path = root / "out" / "merged"
        if not path.exists():
            return "none"
        assert path.stat().st_mode & 0o777 == 0o444
        others = [other.name for other in path.parent.iterdir() if other != path]
        return f"{hashlib.sha256(path.read_bytes()).hexdigest()} beside {others}"


@pytest.mark.slow
def test_the_file_is_whole_or_not_there_whenever_the_merge_is_killed(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the children are forks
    whole = build_shard(quantizer(), np.arange(90), np.concatenate([unit(30, seed=day) for day in range(3)]))
    done = f"{hashlib.sha256(whole).hexdigest()} beside []"
    *killed, last = deaths(Merge, tmp_path)
    assert last == Death("", done, done)
    assert {run.again for run in killed} == {done}
    assert [run.step for run in killed][-2:] == ["unlink", "fsync"]  # the temporary name, the folder
    assert {"mkdir", "utime", "fchmod", "fsync", "link", "unlink"} == {run.step for run in killed}
    assert [run.step for run in killed].count("utime") >= 5
    linked = next(number for number, run in enumerate(killed) if run.step == "link")
    assert {run.found for run in killed[: linked + 1]} == {"none"}
    assert {run.found for run in killed[linked + 1 :]} <= {done, done.replace("[]", "['.merged.merging']")}


@pytest.mark.parametrize("left", ["unfinished", "linked"])
def test_what_a_dead_merge_left_beside_is_cleared_and_never_written_through(tmp_path, left):
    case = Merge()
    case.set_up(tmp_path)
    beside = tmp_path / "out" / ".merged.merging"
    if left == "linked":  # killed between link and unlink: two names of one file
        case.act(tmp_path)
        os.link(tmp_path / "out" / "merged", beside)
        (tmp_path / "out" / "served").hardlink_to(beside)
        (tmp_path / "out" / "merged").unlink()
        content = (tmp_path / "out" / "served").read_bytes()
    else:
        beside.parent.mkdir()
        beside.write_bytes(b"half")
    case.act(tmp_path)
    assert not beside.exists()
    if left == "linked":
        assert (tmp_path / "out" / "served").read_bytes() == content
        assert (tmp_path / "out" / "served").stat().st_ino != (tmp_path / "out" / "merged").stat().st_ino

"""A process that has read takedowns never shows again what they hid, reads only what is new, and once."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from pipeline.release import journal
from pipeline.release.takedown_reader import GrowingList
from pipeline.release.withheld import FILE, WHAT, Withheld, WithheldList, counted, withheld, withhold
from reporting.errors import StoreError
from tests.pipeline.releasing import NOW


def line(value: str, *, lifted: bool = False) -> Withheld:
    return Withheld(kind="group", value=value, by="ana", why="asked to", at=NOW, lifted=lifted)


def test_a_list_that_went_away_hides_what_it_hid_until_it_is_back(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    withhold(lake, line("g"))
    assert withheld(lake).groups == {"g"}
    data = (lake / FILE).read_bytes()
    for lose in ((lake / FILE).unlink, lambda: shutil.rmtree(lake)):
        lose()
        for _ in range(2):
            with pytest.raises(StoreError, match="is gone, and was there"):
                withheld(lake)
        lake.mkdir(exist_ok=True)
        (lake / FILE).write_bytes(data)
        assert withheld(lake).groups == {"g"}


def test_a_lake_that_went_away_is_an_error_although_it_had_no_list(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    assert withheld(lake) == WithheldList()
    lake.mkdir()
    assert withheld(lake) == WithheldList()
    lake.rmdir()
    with pytest.raises(StoreError, match="lake: is gone, and was there"):
        withheld(lake)


@pytest.mark.parametrize("spoil", [
    lambda data: data[: data.index(b"\n") + 1],
    lambda data: data.replace(b'"g"', b'"x"'),
    lambda data: data + b"{}\n",
    lambda data: data.removesuffix(b"\n") + b" x\n",
    lambda _: b"",
], ids=["shorter", "another line", "a foreign line", "a line that goes on", "empty"])  # fmt: skip
def test_a_list_that_does_not_go_on_from_what_was_read_is_an_error_until_it_does(tmp_path: Path, spoil: Any) -> None:
    for value in "gh":
        withhold(tmp_path, line(value))
    assert withheld(tmp_path).groups == {"g", "h"}
    sound = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(spoil(sound))
    for _ in range(2):
        with pytest.raises(StoreError, match=FILE):
            withheld(tmp_path)
    (tmp_path / FILE).write_bytes(sound)
    withhold(tmp_path, line("i"))
    assert withheld(tmp_path).groups == {"g", "h", "i"}


def test_a_last_line_without_its_end_is_gone_on_from(tmp_path: Path) -> None:
    withhold(tmp_path, line("g"))
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes().removesuffix(b"\n"))
    assert withheld(tmp_path).groups == {"g"}
    withhold(tmp_path, line("h"))
    withhold(tmp_path, line("g", lifted=True))
    assert withheld(tmp_path).groups == {"h"}
    assert withheld(tmp_path) == counted([line("g"), line("h"), line("g", lifted=True)])


def test_only_what_was_added_is_parsed_by_the_reader_and_the_last_line_by_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        withhold(tmp_path, line(str(number)))
    assert len(withheld(tmp_path)) == 30
    parsed: list[bytes] = []
    real = Withheld.model_validate_json

    def counting(data: bytes) -> Withheld:
        parsed.append(data)
        return real(data)

    monkeypatch.setattr(Withheld, "model_validate_json", counting)
    withhold(tmp_path, line("new"))
    assert len(parsed) == 1
    assert len(withheld(tmp_path)) == 31
    assert len(parsed) == 2


def test_of_many_that_ask_at_once_one_reads(tmp_path: Path) -> None:
    withhold(tmp_path, line("g"))
    began, go_on, read = threading.Event(), threading.Event(), []

    def slow(lines: list[Withheld], with_lifts: bool) -> WithheldList:
        read.append(len(lines))
        began.set()
        assert go_on.wait(20)
        return counted(lines, with_lifts)

    growing = GrowingList(tmp_path / FILE, Withheld, WHAT, slow)
    found: list[WithheldList] = []
    threads = [threading.Thread(target=lambda: found.append(growing.now())) for _ in range(8)]
    for one in threads:
        one.start()
    assert began.wait(20)
    go_on.set()
    for one in threads:
        one.join(20)
    assert read == [1]
    assert len(found) == 8
    assert all(one is found[0] for one in found)


def test_a_line_longer_than_any_of_ours_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_LONGEST", 100)
    (tmp_path / FILE).write_bytes(b'{"kind": "' + b"x" * 1000)
    with pytest.raises(StoreError, match=":1: is no takedown"):
        withheld(tmp_path)

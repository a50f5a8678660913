"""Takedowns count from the moment they are said, and the last word about a thing counts."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.release.withheld import (
    FILE,
    Kind,
    Reason,
    Withheld,
    WithheldList,
    counted,
    withheld,
    withheld_at,
    withhold,
)
from pipeline.window.takedowns import taken_down
from reporting.errors import StoreError, UsageError
from tests.pipeline.releasing import NOW

PICTURE = "a" * 64


def line(kind: Kind, value: str, *, lifted: bool = False, reason: Reason = "takedown") -> Withheld:
    return Withheld(kind=kind, value=value, reason=reason, by="ana", why="asked to", at=NOW, lifted=lifted)


def test_what_is_said_is_withheld_and_what_is_lifted_is_shown_again(tmp_path: Path) -> None:
    assert withheld(tmp_path) == WithheldList()
    for one in (line("item", "7"), line("picture", PICTURE), line("group", "g"), line("offer", "acme/4/7")):
        withhold(tmp_path, one)
    found = withheld(tmp_path)
    named = [set(part) for part in (found.items, found.pictures, found.groups, found.offers)]
    assert named == [{7}, {PICTURE}, {"g"}, {("acme", "4/7")}]
    assert len(found) == 4
    assert found.hides_anything
    withhold(tmp_path, line("group", "g", lifted=True))
    assert withheld(tmp_path).groups == frozenset()
    assert len((tmp_path / FILE).read_text().splitlines()) == 5  # nothing is ever taken away
    with pytest.raises(UsageError, match="group 'g' is not withheld; there is nothing to lift"):
        withhold(tmp_path, line("group", "g", lifted=True))


def test_a_row_shows_the_offers_that_nothing_withholds_and_none_of_a_withheld_item_or_picture() -> None:
    offers = [
        {"merchant": "acme", "sku": "1", "group": "g"},
        {"merchant": "acme", "sku": "2", "group": "h"},
        {"merchant": "zoo", "sku": "1"},  # of the row's own group
    ]

    def left(group: str = "g", **named: Any) -> list[str]:
        sets: dict[str, Any] = {name: frozenset(values) for name, values in named.items()}
        found = WithheldList(**sets)
        return [f"{one['merchant']}/{one['sku']}" for one in found.offers_left(7, PICTURE, group, offers)]

    assert left() == left(items=[8], pictures=["b" * 64], groups=["x"], offers=[("zoo", "2")])
    assert left() == ["acme/1", "acme/2", "zoo/1"]
    assert left(items=[7]) == left(pictures=[PICTURE]) == []
    assert left(groups=["g"]) == ["acme/2"]  # the other product of the row stays
    assert left(groups=["g"], group="h") == ["acme/2", "zoo/1"]
    assert left(offers=[("acme", "1")]) == ["acme/2", "zoo/1"]
    assert left(groups=["g", "h"]) == []
    assert not WithheldList().hides_anything


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12))
def test_the_last_word_about_a_thing_counts(said: list[tuple[str, bool]]) -> None:
    expected: set[str] = set()
    for value, lifted in said:
        (expected.discard if lifted else expected.add)(value)
    assert counted([line("group", value, lifted=lifted) for value, lifted in said]).groups == expected


def test_the_list_is_read_again_only_when_the_file_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    withhold(tmp_path, line("group", "g"))
    first = withheld(tmp_path)
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda _: pytest.fail("it was read again"))
    assert withheld(tmp_path) is first
    monkeypatch.undo()
    seen = (tmp_path / FILE).stat()
    withhold(tmp_path, line("group", "h"))
    os.utime(tmp_path / FILE, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert withheld(tmp_path).groups == {"g", "h"}  # an equal time hides nothing


@pytest.mark.parametrize("data", [b"", b"\n", b"{}\n", b'{"kind": "item"', b"\xff\n"])
def test_a_damaged_list_is_an_error_by_its_line_and_never_a_shorter_list(tmp_path: Path, data: bytes) -> None:
    withhold(tmp_path, line("group", "g"))
    (tmp_path / FILE).write_bytes(data or b"")
    with pytest.raises(StoreError, match=f"{FILE}:1: is no takedown"):
        withheld(tmp_path)
    with pytest.raises(StoreError, match=f"{FILE}:1: is no takedown"):
        withhold(tmp_path, line("group", "h"))
    assert (tmp_path / FILE).read_bytes() == data


def test_of_takedowns_said_at_once_none_is_lost(tmp_path: Path) -> None:
    threads = [threading.Thread(target=withhold, args=(tmp_path, line("item", str(n)))) for n in range(16)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert withheld(tmp_path).items == set(range(16))


@pytest.mark.parametrize(
    ("kind", "value"),
    [("item", "7a"), ("item", "-1"), ("item", "٣"), ("picture", "A" * 64), ("picture", "a"), ("offer", "acme"),
     ("offer", "/sku"), ("offer", "acme/"), ("group", ""), ("shop", "x")],
)  # fmt: skip
def test_what_names_no_thing_is_no_takedown(kind: str, value: str) -> None:
    with pytest.raises(ValidationError):
        Withheld.model_validate({"kind": kind, "value": value, "by": "ana", "why": "asked to", "at": NOW})


def test_what_was_withheld_at_a_moment_is_counted_by_the_times_that_the_lines_name(tmp_path: Path) -> None:
    said = [("g", False), ("h", False), ("g", True), ("g", False)]
    moments = [NOW + timedelta(minutes=number) for number in range(len(said))]
    for (value, lifted), moment in zip(said, moments, strict=True):
        withhold(tmp_path, line("group", value, lifted=lifted).model_copy(update={"at": moment}))
    then = [withheld_at(tmp_path, moment).groups for moment in (NOW - timedelta(seconds=1), *moments)]
    assert then == [set(), {"g"}, {"g", "h"}, {"h"}, {"g", "h"}]
    assert withheld_at(tmp_path, moments[-1]) == withheld(tmp_path)
    assert withheld_at(tmp_path / "nowhere", NOW) == WithheldList()


def test_takedowns_are_what_was_not_only_delisted_or_dead() -> None:
    said: list[tuple[Kind, str, Reason]] = [
        ("item", "7", "takedown"),
        ("item", "8", "delisted"),
        ("picture", PICTURE, "dead"),
        ("group", "g", "takedown"),
        ("offer", "a/1", "delisted"),
    ]
    found = counted(line(kind, value, reason=reason) for kind, value, reason in said).takedowns
    assert [set(part) for part in (found.items, found.pictures, found.groups, found.offers)] == [
        {7},
        set(),
        {"g"},
        set(),
    ]


def test_rows_of_an_index_are_taken_down_by_their_id_alone() -> None:
    rows = pa.table({"id": pa.array([6, 7, 8, 9], pa.int64())})
    said = [line("item", "7"), line("item", "8", reason="delisted"), line("group", "9")]
    assert taken_down(rows, counted(said)).to_pylist() == [False, True, False, False]
    assert taken_down(rows, WithheldList()).to_pylist() == [False] * 4

"""One file, decided about by leaf after leaf that may die anywhere, against a naive rule over sets."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.lake import Lake
from pipeline.storage import kept, reclaim, thin
from pipeline.storage.holdings import Holding
from pipeline.storage.kept import SUFFIX, allocated, read_kept
from pipeline.storage.needed import Wanted, wanted_of
from pipeline.storage.reclaim import By, Touched, reclaim_file
from reporting.errors import StoreError
from tests.pipeline.dying import deaths
from tests.pipeline.storage.packed import DAY, FOLDER, intact, name_of, pack_in, picture

PICTURES = [picture(number, 9_000) for number in range(6)]
NAMES = [name_of(one) for one in PICTURES]
STEPS = ("intent", "thinned", "said")


class Died(Exception):
    """The leaf was killed."""


def wanted(numbers: set[int]) -> Wanted:
    return wanted_of(pa.array(sorted(NAMES[number] for number in numbers), pa.string()))


def by(leaf: int) -> By:
    return By(f"daily-{leaf}", DAY + timedelta(80 + leaf))


@contextmanager
def dying_at(step: str | None) -> Iterator[None]:
    """Let the next attempt die after a step: the intent is noted, the file replaced, the result noted."""
    real_write, real_thin = kept.write_kept, thin.thin

    def write(lake: Lake, file: str, side: Any) -> None:
        real_write(lake, file, side)
        if step == ("intent" if side.allocated is None else "said"):
            raise Died

    def thinned(*args: Any) -> Any:
        found = real_thin(*args)
        if step == "thinned":
            raise Died
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reclaim, "write_kept", write)
        patch.setattr(reclaim, "thin", thinned)
        yield


def told(found: Touched | None) -> tuple[list[str], list[str]] | None:
    return None if found is None else (sorted(found.kept), sorted(found.let_go))


@given(
    leaves=st.lists(
        st.tuples(st.sets(st.integers(0, 5)), st.lists(st.sampled_from(STEPS), max_size=3), st.booleans()),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=60, deadline=None)
def test_a_leaf_that_dies_and_is_tried_again_books_what_it_would_have_booked(
    leaves: list[tuple[set[int], list[str], bool]],
) -> None:
    has = set(range(6))  # the naive rule: a picture is there as long as every day has needed it
    with tempfile.TemporaryDirectory() as folder:
        lake, holding = pack_in(Path(folder), PICTURES)
        for leaf, (needs, dies, twice) in enumerate(leaves):
            before = allocated(lake, holding.file)
            for step in dies:
                with dying_at(step):
                    try:
                        reclaim_file(lake, holding, wanted(needs), by(leaf))
                    except Died:
                        assert all(
                            there for at, there in enumerate(intact(lake, holding, PICTURES)) if at in has & needs
                        )
            found = reclaim_file(lake, holding, wanted(needs), by(leaf))
            stays = has & needs
            expected = (sorted(NAMES[at] for at in stays), sorted(NAMES[at] for at in has - needs))
            assert told(found) == (expected if has - needs else None)
            assert found is None or (found.before, found.after) == (before, allocated(lake, holding.file))
            assert twice is False or told(reclaim_file(lake, holding, wanted(needs), by(leaf))) == told(found)
            has = stays
            assert intact(lake, holding, PICTURES) == [at in has for at in range(6)]


@pytest.mark.parametrize(("step", "left"), [("intent", {1, 2}), ("thinned", {1})])
def test_what_a_leaf_that_never_came_back_has_let_go_is_booked_by_the_next_and_not_believed_to_be_there(
    tmp_path: Path, step: str, left: set[int]
) -> None:
    lake, holding = pack_in(tmp_path, PICTURES)
    was = allocated(lake, holding.file)
    with dying_at(step), pytest.raises(Died):
        reclaim_file(lake, holding, wanted({1}), by(1))
    found = reclaim_file(lake, holding, wanted({1, 2}), by(2))  # needs more than the dead one left, if it got so far
    assert told(found) == (sorted(NAMES[at] for at in left), sorted(NAMES[at] for at in set(range(6)) - left))
    assert found is not None
    assert found.before == was
    assert intact(lake, holding, PICTURES) == [at in left for at in range(6)]
    assert reclaim_file(lake, holding, wanted({1, 2}), by(1)) is None  # and not a second time


def test_a_day_that_needs_what_it_needed_reads_no_table_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, holding = pack_in(tmp_path, PICTURES)
    assert reclaim_file(lake, holding, wanted({1, 4}), by(1)) is not None
    files = {path: path.stat().st_mtime_ns for path in (lake.folder() / FOLDER).iterdir()}
    monkeypatch.setattr(reclaim, "read_places", refuse)
    assert reclaim_file(lake, holding, wanted({1, 4}), by(2)) is None
    assert {path: path.stat().st_mtime_ns for path in (lake.folder() / FOLDER).iterdir()} == files


def test_a_pack_of_which_nothing_goes_is_not_rewritten_and_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, holding = pack_in(tmp_path, PICTURES)
    monkeypatch.setattr(reclaim, "thin", refuse)
    assert reclaim_file(lake, holding, wanted(set(range(6))), by(1)) is None
    monkeypatch.setattr(reclaim, "read_places", refuse)
    assert reclaim_file(lake, holding, wanted(set(range(6))), by(2)) is None


def test_a_day_that_needs_again_what_has_gone_rewrites_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, holding = pack_in(tmp_path, PICTURES)
    reclaim_file(lake, holding, wanted({1}), by(1))
    monkeypatch.setattr(reclaim, "thin", refuse)
    assert reclaim_file(lake, holding, wanted({1, 2}), by(2)) is None
    side = read_kept(lake, holding.file)
    assert side is not None
    assert (side.count, side.wanted) == (1, wanted({1, 2}).sha256)


def test_what_was_put_back_from_a_copy_and_is_needed_stays_when_something_else_goes(tmp_path: Path) -> None:
    lake, holding = pack_in(tmp_path, PICTURES)
    path = lake.folder() / holding.file
    whole = path.read_bytes()
    reclaim_file(lake, holding, wanted({1}), by(1))
    path.write_bytes(whole)
    reclaim_file(lake, holding, wanted({0, 1}), by(2))
    reclaim_file(lake, holding, wanted({0}), by(3))
    assert intact(lake, holding, PICTURES) == [True] + [False] * 5


def refuse(*_: Any) -> Any:
    raise AssertionError("nothing was to be done")


def test_the_sidecar_says_what_is_there_and_what_was(tmp_path: Path) -> None:
    lake, holding = pack_in(tmp_path, PICTURES)
    was = allocated(lake, holding.file)
    reclaim_file(lake, holding, wanted({0, 5}), by(3))
    side = read_kept(lake, holding.file)
    assert side is not None
    assert (side.count, side.bytes, side.rows) == (2, 18_000, "84")  # 1000 0100: the first and the sixth
    assert (side.before.count, side.before.rows, side.before.allocated) == (6, "fc", was)
    assert side.wanted == side.sha256 == wanted({0, 5}).sha256
    assert (side.planid, side.date, side.allocated) == (*by(3), allocated(lake, holding.file))


@pytest.mark.parametrize("text", ["", "{}", "[1]"])
def test_a_damaged_sidecar_is_named_and_nothing_is_touched(tmp_path: Path, text: str) -> None:
    lake, holding = pack_in(tmp_path, PICTURES)
    (lake.folder() / f"{holding.file}{SUFFIX}").write_text(text)
    with pytest.raises(StoreError, match=r"pictures\.bin\.kept\.json: cannot be read.*remove it"):
        reclaim_file(lake, holding, wanted(set()), by(1))
    assert intact(lake, holding, PICTURES) == [True] * 6


def test_a_sidecar_of_another_table_is_refused(tmp_path: Path) -> None:
    lake, holding = pack_in(tmp_path, PICTURES)
    reclaim_file(lake, holding, wanted({1}), by(1))
    lake, holding = pack_in(tmp_path, [picture(number, 100) for number in range(30)])
    with pytest.raises(StoreError, match="bits for 8 rows, the table has 30"):
        reclaim_file(lake, holding, wanted(set()), by(2))


class Thinning:
    """One pack is thinned; what is asked of it afterwards is which pictures are whole."""

    def set_up(self, root: Path) -> None:
        pack_in(root, PICTURES)

    def act(self, root: Path) -> None:
        found = reclaim_file(Lake(str(root / "lake")), self._holding(), wanted({1, 4}), by(1))
        assert told(found) == (sorted([NAMES[1], NAMES[4]]), sorted(NAMES[at] for at in (0, 2, 3, 5)))

    def look(self, root: Path) -> str:
        lake = Lake(str(root / "lake"))
        left = sorted(path.name for path in (root / "lake" / FOLDER).iterdir() if not path.name.startswith("."))
        return f"{[at for at, there in enumerate(intact(lake, self._holding(), PICTURES)) if there]} {left}"

    def _holding(self) -> Holding:
        return Holding("pictures", DAY, f"{FOLDER}/pictures.bin", f"{FOLDER}/items.parquet")


def test_a_kill_at_any_step_leaves_every_needed_picture_whole_and_a_repeat_ends_and_books_alike(
    tmp_path: Path,
) -> None:
    done = "[1, 4] ['items.parquet', 'pictures.bin', 'pictures.bin.kept.json']"
    runs = deaths(Thinning, tmp_path)
    assert {one.step for one in runs} >= {"", "fsync", "replace"}
    assert len(runs) > 5
    for one in runs:
        assert one.found[: one.found.index("]") + 1] in ("[0, 1, 2, 3, 4, 5]", "[1, 4]"), one
        assert one.again == done, one

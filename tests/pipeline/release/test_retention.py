"""A sweep takes what nothing needs and is old enough; an oracle that knows nothing of marks agrees."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.release.champion import promote, promotion
from pipeline.release.durable import locked
from pipeline.release.home import MARK
from pipeline.release.numbered import LOCK
from pipeline.release.objects import ObjectStore
from pipeline.release.pins import Pin, pin, pinned
from pipeline.release.pointer import publish, release_of, releases
from pipeline.release.registry import resolve_resource
from pipeline.release.resource_files import materialise
from pipeline.release.retention import Stored, drop_old, has_files, kept_releases, plan_sweep, sweep
from reporting.errors import StoreError, UsageError
from tests.pipeline.releasing import DAY, NOW, draft, files_under, model, released

LATER = dt.datetime.now(dt.UTC) + dt.timedelta(days=30)
PATHS = [f"{a}/{b}/{c}" for a in ("objects", "shards") for b in "xy" for c in "1234"]


@settings(max_examples=40)
@given(
    live=st.sets(
        st.sampled_from([*PATHS, "objects/x", "shards", "shards/y/1/index.faiss", "objects/x/12"]), max_size=5
    ),
    ages=st.lists(st.integers(0, 20), min_size=len(PATHS), max_size=len(PATHS)),
    grace=st.integers(0, 15),
)
def test_what_is_swept_is_exactly_what_is_old_and_has_no_named_path_above_or_below_it(
    live: set[str], ages: list[int], grace: int
) -> None:
    found = [Stored(path, 1, NOW - dt.timedelta(days=age)) for path, age in zip(PATHS, ages, strict=True)]
    plan = plan_sweep(found, live, now=NOW, grace=dt.timedelta(days=grace), why={})
    for one, age in zip(found, ages, strict=True):
        needed = any(f"{one.path}/".startswith(f"{name}/") or name.startswith(f"{one.path}/") for name in live)
        expected = plan.kept if needed else plan.young if age < grace else plan.remove
        assert one in expected
    assert sorted([*plan.kept, *plan.young, *plan.remove]) == sorted(found)


@settings(max_examples=40)
@given(
    current=st.integers(1, 12),
    last=st.integers(0, 3),
    champion=st.none() | st.integers(1, 12),
    pins=st.sets(st.integers(1, 15), max_size=3),
    keep=st.integers(1, 5),
)
def test_the_last_ones_the_champion_pins_and_what_is_not_yet_current_stay(
    current: int, last: int, champion: int | None, pins: set[int], keep: int
) -> None:
    numbers = range(1, current + last + 1)
    why = kept_releases(numbers, current=current, champion=champion, pinned=pins, keep=keep)
    expected = {number for number in numbers if number > current - keep or number in pins}
    assert set(why) == expected | ({champion} if champion is not None else set())
    assert why[current] == "current"


def test_a_sweep_leaves_the_files_of_kept_releases_and_takes_the_others_but_never_a_manifest(tmp_path: Path) -> None:
    made = [released(tmp_path, text) for text in "abcdefg"]
    promote(tmp_path, promotion(tmp_path, 2, by="ana", why="the best there was", at=NOW))
    pin(tmp_path, Pin(number=3, by="ana", why="fair", at=NOW))
    pin(tmp_path, Pin(number=4, by="ana", why="fair", at=NOW))
    pin(tmp_path, Pin(number=4, by="ana", why="over", at=NOW, lifted=True))
    assert pinned(tmp_path) == {3}
    before = files_under(tmp_path)
    looked = sweep(tmp_path, now=LATER, keep=3)
    assert files_under(tmp_path) == before
    assert looked.releases == {2: "champion", 3: "pinned", **dict.fromkeys((5, 6), "one of the last 3"), 7: "current"}
    assert {one.path for one in looked.remove} == {*made[0].files(), *made[3].files()}
    assert looked.bytes == sum(len(before[one.path]) for one in looked.remove)
    assert sweep(tmp_path, now=LATER, keep=3, act=True) == looked
    assert set(before) - set(files_under(tmp_path)) == {one.path for one in looked.remove}
    assert [has_files(tmp_path, one) for one in releases(tmp_path)] == [False, True, True, False, True, True, True]
    assert sweep(tmp_path, now=LATER, keep=3, act=True).remove == ()


def test_shards_and_quantizers_of_kept_releases_stay_and_what_the_caller_needs_does_too(tmp_path: Path) -> None:
    for text in "ab":
        publish(tmp_path, draft(tmp_path, text, days={DAY: (7, text)}))
    named = [release_of(tmp_path, number).categories["shoes"].days[DAY].shard_path for number in (1, 2)]
    handed_in, nobodys = "shards/s/c/2026-11-01/aaaa", "shards/s/c/2026-11-01/bbbb"
    for folder in (*named, handed_in, nobodys):
        (tmp_path / folder).mkdir(parents=True)
        for name in ("index.faiss", "shard.json"):
            (tmp_path / folder / name).write_text("x")
    (tmp_path / "quantizers/c/s").mkdir(parents=True)
    (tmp_path / "quantizers/c/s/q.faiss").write_text("never swept")
    done = sweep(tmp_path, now=LATER, keep=1, also={handed_in}, act=True)
    assert {one.path for one in done.remove if one.path.startswith("shards")} == {named[0], nobodys}
    assert {path.name for path in (tmp_path / "shards").rglob("*") if path.is_dir() and not list(path.glob("*/*"))} >= {
        "aaaa"
    }
    assert [(tmp_path / folder).is_dir() for folder in (*named, handed_in, nobodys)] == [False, True, True, False]
    assert (tmp_path / "quantizers/c/s/q.faiss").is_file()


def test_what_is_young_stays_and_what_is_wanted_again_is_young_again(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    old, again = store.put_bytes(b"old"), store.put_bytes(b"again")
    for sha256 in (old, again):
        os.utime(store.path(sha256), (1_000_000_000, 1_000_000_000))
    store.put_bytes(b"again")
    fresh = store.put_bytes(b"fresh")
    (tmp_path / "objects/.dead.tmp").write_bytes(b"half")
    os.utime(tmp_path / "objects/.dead.tmp", (1_000_000_000, 1_000_000_000))
    done = sweep(tmp_path, now=dt.datetime.now(dt.UTC), act=True)
    assert {one.path for one in done.remove} == {store.relative(old), "objects/.dead.tmp"}
    assert {one.path for one in done.young} == {store.relative(again), store.relative(fresh)}


def test_resources_that_a_channel_or_a_kept_release_names_stay(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    versions = [model(lake, "a", channel="old")]
    versions += [model(lake, text) for text in "bcde"]
    released(lake, "x", resources=(versions[1].ref,))
    released(lake, "y", resources=(versions[2].ref,))
    for one in versions:
        materialise(lake, one, lake)
    sweep(lake, now=LATER, keep=1, act=True)
    there = [ObjectStore(lake).holds(one.files[0].sha256) for one in versions]
    assert there == [True, False, True, False, True]  # channel old, -, the current release, -, channel stable
    assert [(lake / f"resources/model/lite0/{one.number:06d}-{one.sha256[:16]}").is_dir() for one in versions] == there
    assert resolve_resource(lake, "model", "lite0", 2) == versions[1]  # the manifest is history


def damage(root: Path) -> None:
    (root / "releases/000003.json").write_text("{")


def lose(root: Path) -> None:
    (root / "releases/000003.json").unlink()


@pytest.mark.parametrize("spoil", [damage, lose])
def test_with_a_manifest_damaged_or_lost_nothing_is_swept(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    for text in "abcd":
        released(tmp_path, text)
    promote(tmp_path, promotion(tmp_path, 3, by="ana", why="the best there was", at=NOW))
    spoil(tmp_path)
    before = files_under(tmp_path)
    with pytest.raises(StoreError, match=r"000003.json: is no release manifest|release 3 is champion and its manifest"):
        sweep(tmp_path, now=LATER, keep=1, act=True)
    assert files_under(tmp_path) == before


def test_publishers_wait_while_a_sweep_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in "ab":
        released(tmp_path, text)
    tried: list[str] = []
    real = os.unlink

    def unlink(path: str, **options: int) -> None:
        import fcntl

        with (tmp_path / LOCK).open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tried.append(str(path))
        real(path, **options)

    monkeypatch.setattr(os, "unlink", unlink)
    sweep(tmp_path, now=LATER, keep=1, act=True)
    assert len(tried) == 2
    with locked(tmp_path / LOCK):
        pass


def test_a_home_drops_only_what_its_dropped_manifests_name(tmp_path: Path) -> None:
    for text in "abc":
        released(tmp_path, text)
    (tmp_path / "objects/note.txt").write_text("mine")
    ObjectStore(tmp_path).put_bytes(b"of nobody")
    with pytest.raises(UsageError, match="is no consumer's home; nothing is dropped"):
        drop_old(tmp_path, 2)
    (tmp_path / MARK).write_text("{}")
    before = set(files_under(tmp_path))
    first = release_of(tmp_path, 1)
    assert set(drop_old(tmp_path, 2)) == {*first.files(), "releases/000001.json"}
    assert before - set(files_under(tmp_path)) == {*first.files(), "releases/000001.json"}

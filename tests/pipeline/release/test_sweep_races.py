"""A sweep beside those who publish and rebuild: what is wanted again stays, and publishers of resources wait."""

from __future__ import annotations

import datetime as dt
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.release import retention
from pipeline.release.durable import locked
from pipeline.release.manifest import Decision
from pipeline.release.numbered import LOCK, Series
from pipeline.release.objects import ObjectStore
from pipeline.release.registry import point_channel, registered, rollback_resource
from pipeline.release.resource_files import materialise
from pipeline.release.resources import Resource
from pipeline.release.retention import plan_sweep, sweep
from reporting.errors import ContractViolation
from tests.pipeline.releasing import NOW, files_under, model

LATER = dt.datetime.now(dt.UTC) + dt.timedelta(days=30)
OLD = 1_000_000_000
WHY = Decision(by="ana", why="the second is bad", at=NOW)


def aged(path: Path) -> Path:
    os.utime(path, (OLD, OLD))
    return path


def test_what_is_wanted_again_after_the_sweep_was_planned_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStore(tmp_path)
    again, gone = store.put_bytes(b"again"), store.put_bytes(b"gone")
    shards = [tmp_path / "shards/s/c/2026-11-01" / name for name in ("aaaa", "bbbb")]
    for folder in shards:
        folder.mkdir(parents=True)
        (folder / "index.faiss").write_bytes(b"x")
        aged(folder / "index.faiss")
        aged(folder)
    for sha256 in (again, gone):
        aged(store.path(sha256))

    def wanted_meanwhile(*args: object, **options: object) -> retention.Sweep:
        planned = plan_sweep(*args, **options)  # type: ignore[arg-type]
        store.put_bytes(b"again")
        os.utime(shards[0])
        return planned

    monkeypatch.setattr(retention, "plan_sweep", wanted_meanwhile)
    done = sweep(tmp_path, now=dt.datetime.now(dt.UTC), act=True)
    assert {one.path for one in done.remove} == {store.relative(gone), "shards/s/c/2026-11-01/bbbb"}
    assert {one.path for one in done.young} == {store.relative(again), "shards/s/c/2026-11-01/aaaa"}
    assert set(files_under(tmp_path)) - {LOCK} == {store.relative(again), "shards/s/c/2026-11-01/aaaa/index.faiss"}


def test_what_a_killed_sweep_has_put_aside_goes_with_the_next_one_whatever_it_was(tmp_path: Path) -> None:
    for path in ("objects/.swept-x.tmp-1", "objects/ab/.swept-y-2", "shards/s/c/2026-11-01/.swept-z-3/index.faiss"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    sweep(tmp_path, now=dt.datetime.now(dt.UTC), act=True)
    assert set(files_under(tmp_path)) == {LOCK}


def test_an_object_that_a_sweep_takes_while_it_is_stored_again_is_stored_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStore(tmp_path)
    sha256 = store.put_bytes(b"again")
    real = os.utime

    def taken(path: Path, *args: object) -> None:
        if path == store.path(sha256):
            monkeypatch.undo()
            path.unlink()
        real(path, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "utime", taken)
    assert store.put_bytes(b"again") == sha256
    assert store.verify(sha256) == 5


@pytest.mark.parametrize(
    "act",
    [
        lambda lake: model(lake, "c"),
        lambda lake: point_channel(lake, "model", "lite0", "beta", 2),
        lambda lake: rollback_resource(lake, "model", "lite0", 1, decided=WHY),
    ],
)
def test_whoever_publishes_a_resource_holds_the_lock_that_a_sweep_takes(
    tmp_path: Path, act: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = tmp_path / "lake"
    for text in "ab":
        model(lake, text)
    tried: list[str] = []
    real = Series._point

    def point(self: Series[Resource], *args: object) -> None:
        with (lake / LOCK).open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tried.append(self.what)
        real(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Series, "_point", point)
    act(lake)
    assert tried == ["version of model/lite0"]
    with locked(lake / LOCK):
        pass


def test_a_channel_never_names_a_version_whose_files_are_gone(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    first = model(lake, "a")
    second = model(lake, "b", channel="beta")
    ObjectStore(lake).path(second.files[0].sha256).unlink()
    with pytest.raises(ContractViolation, match=r"model/lite0: deep/spec.json of its files are gone"):
        point_channel(lake, "model", "lite0", "stable", 2)
    assert registered(lake, "model", "lite0") == first


def test_what_a_rollback_takes_up_again_and_what_is_laid_out_again_is_young(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    first, _ = model(lake, "a"), model(lake, "b")
    folder = materialise(lake, first, lake)
    store = ObjectStore(lake)
    for one in first.files:
        aged(store.path(one.sha256))
    aged(folder)
    rollback_resource(lake, "model", "lite0", 1, decided=WHY)
    assert all(store.path(one.sha256).stat().st_mtime > OLD for one in first.files)
    assert materialise(lake, first, lake).stat().st_mtime > OLD

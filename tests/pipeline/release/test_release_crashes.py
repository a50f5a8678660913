"""SIGKILL before every fsync, link, rename and unlink: whoever looks finds the old or the new, and a repeat ends it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from pipeline.release.consumer import Consumer
from pipeline.release.objects import ObjectStore
from pipeline.release.pointer import current, publish, releases
from pipeline.release.registry import registered, resolve_resource
from pipeline.release.resource_consumer import ResourceConsumer
from pipeline.release.resource_files import materialise
from pipeline.release.retention import has_files, sweep
from pipeline.release.rollback import rollback
from pipeline.release.withheld import Withheld, withheld, withhold
from reporting.errors import UsageError
from tests.pipeline.dying import Death, deaths
from tests.pipeline.releasing import NOW, draft, files_under, model, released


def seen(root: Path) -> str:
    """Return what a server of this root would serve, having read every byte of it."""
    found = current(root)
    if found is None:
        return "nothing"
    for path, sha256 in found.files().items():
        assert ObjectStore(root).relative(sha256) == path
        ObjectStore(root).verify(sha256)
    return f"{found.planid} {found.number}"


class Publish:
    def set_up(self, root: Path) -> None:
        released(root, "old")

    def act(self, root: Path) -> None:
        publish(root, draft(root, "new"))

    def look(self, root: Path) -> str:
        return seen(root)


class Rollback:
    def set_up(self, root: Path) -> None:
        for text in ("good", "bad"):
            released(root, text)

    def act(self, root: Path) -> None:
        try:
            rollback(root, 1, by="ana", why="the second is bad", at=NOW)
        except UsageError:
            assert seen(root) == "plan-good 3"  # it was done before

    def look(self, root: Path) -> str:
        return seen(root)


class Pull:
    def set_up(self, root: Path) -> None:
        released(root / "lake", "one", resources=(model(root / "lake", "a").ref,))
        self.act(root)
        released(root / "lake", "two", resources=(model(root / "lake", "b").ref,))
        withhold(root / "lake", Withheld(kind="group", value="g", by="ana", why="asked to", at=NOW))
        self.act(root)
        released(root / "lake", "three", resources=(model(root / "lake", "c").ref,))

    def act(self, root: Path) -> None:
        Consumer(str(root / "lake"), root / "home").poll(NOW)

    def look(self, root: Path) -> str:
        home = root / "home"
        found = current(home)
        assert found is not None
        for ref in found.resources:
            materialise(home, resolve_resource(home, ref.business, ref.name, ref.version), home)
        assert len(withheld(home)) == 1
        return seen(home)


class PullResource:
    def set_up(self, root: Path) -> None:
        model(root / "lake", "a")
        self.act(root)
        model(root / "lake", "b")

    def act(self, root: Path) -> None:
        ResourceConsumer(str(root / "lake"), root / "home", "model", "lite0").poll(NOW)

    def look(self, root: Path) -> str:
        found = registered(root / "home", "model", "lite0")
        assert found is not None
        return (materialise(root / "home", found, root / "home") / "deep" / "spec.json").read_text()


class PublishResource:
    def set_up(self, root: Path) -> None:
        model(root / "lake", "a")

    def act(self, root: Path) -> None:
        model(root / "lake", "b")

    def look(self, root: Path) -> str:
        found = resolve_resource(root / "lake", "model", "lite0")
        folder = materialise(root / "lake", found, root / "elsewhere")
        return f"{(folder / 'deep' / 'spec.json').read_text()} {found.label}"


class Sweep:
    def set_up(self, root: Path) -> None:
        for text in "abcd":
            released(root, text)
        for name in ("kept", "gone"):
            folder = root / "shards/s/c/2026-11-22" / name
            folder.mkdir(parents=True)
            for file in ("index.faiss", "shard.json"):
                (folder / file).write_text("x")

    def act(self, root: Path) -> None:
        later = dt.datetime.now(dt.UTC) + dt.timedelta(days=8)
        sweep(root, now=later, keep=2, also={"shards/s/c/2026-11-22/kept"}, act=True)

    def look(self, root: Path) -> str:
        days = root / "shards/s/c/2026-11-22"
        for folder in days.iterdir():
            if not folder.name.startswith(".swept-"):
                assert {path.name for path in folder.iterdir()} == {"index.faiss", "shard.json"}, "half a shard"
        assert (days / "kept").is_dir()
        assert all(has_files(root, one) for one in releases(root)[-2:])
        left = sum(1 for path in (root / "objects").rglob("*") if path.is_file())
        return f"{seen(root)} {'done' if left == 4 and len(list(days.iterdir())) == 1 else 'unfinished'}"


class Takedown:
    def set_up(self, root: Path) -> None:
        withhold(root, Withheld(kind="group", value="first", by="ana", why="asked to", at=NOW))

    def act(self, root: Path) -> None:
        withhold(root, Withheld(kind="group", value="second", by="ana", why="asked to", at=NOW))

    def look(self, root: Path) -> str:
        return " ".join(one.value for one in withheld(root).entries)


def old_then_new(runs: list[Death], old: str, new: str, at_least: int) -> None:
    """Every death leaves old or new, with one instant of change, and every repeat ends with the new."""
    *killed, last = runs
    assert last == Death("", new, new)
    assert len(killed) >= at_least
    assert {run.again for run in killed} == {new}
    found = [run.found for run in killed]
    assert set(found) == {old, new}
    assert found == [old] * found.count(old) + [new] * found.count(new)


def test_publishing_killed_at_any_step_leaves_the_old_or_the_new_release(tmp_path: Path) -> None:
    runs = deaths(Publish, tmp_path)
    old_then_new(runs, "plan-old 1", "plan-new 2", 15)
    assert {"fsync", "link", "replace", "unlink", "fchmod"} <= {run.step for run in runs}


@pytest.mark.slow
def test_a_rollback_killed_at_any_step_leaves_the_bad_or_the_good_release(tmp_path: Path) -> None:
    old_then_new(deaths(Rollback, tmp_path), "plan-bad 2", "plan-good 3", 6)


@pytest.mark.slow
def test_a_pull_killed_at_any_step_leaves_a_whole_old_or_a_whole_new_release(tmp_path: Path) -> None:
    runs = deaths(Pull, tmp_path)
    old_then_new(runs, "plan-two 2", "plan-three 3", 20)
    for number in range(1, len(runs) + 1):  # and in the end the home holds the last two and nothing else
        home = tmp_path / str(number) / "home"
        assert [one.number for one in releases(home)] == [2, 3]
        objects = {path for path in files_under(home) if path.startswith("objects/")}
        refs = [ref for one in releases(home) for ref in one.resources]
        named = {path for one in releases(home) for path in one.files()}
        for ref in refs:
            named |= resolve_resource(home, ref.business, ref.name, ref.version).objects().keys()
        assert objects == named


@pytest.mark.slow
def test_pulling_and_publishing_a_resource_killed_at_any_step_leave_the_old_or_the_new_version(tmp_path: Path) -> None:
    old_then_new(deaths(PullResource, tmp_path / "pull"), '"a"', '"b"', 8)
    old_then_new(deaths(PublishResource, tmp_path / "publish"), '"a" lite0@1', '"b" lite0@2', 15)


@pytest.mark.slow
def test_a_sweep_killed_at_any_step_takes_nothing_needed_and_no_half_of_a_shard_and_the_next_one_ends_it(
    tmp_path: Path,
) -> None:
    *killed, last = deaths(Sweep, tmp_path)
    assert last.found == "plan-d 4 done"
    assert len(killed) >= 6
    assert {run.found for run in killed} <= {"plan-d 4 done", "plan-d 4 unfinished"}
    assert {run.again for run in killed} == {"plan-d 4 done"}


@pytest.mark.slow
def test_a_takedown_killed_at_any_step_is_said_or_not_said(tmp_path: Path) -> None:
    runs = deaths(Takedown, tmp_path)
    assert runs[-1].found == "first second"
    assert {run.found for run in runs[:-1]} == {"first", "first second"}
    assert {run.again for run in runs} == {"first second"}

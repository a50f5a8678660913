"""A consumer's home is known by its mark: only there anything is dropped, and never what answers or heals it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.release.consumer import Consumer
from pipeline.release.home import ACTIVE, MARK, home_at, note_active
from pipeline.release.pointer import POINTER, current, releases, series
from pipeline.release.registry import resolve_resource, resource_series
from pipeline.release.resource_consumer import ResourceConsumer
from pipeline.release.resource_files import materialise
from pipeline.release.signing import Signer, make_keys, sign_current
from pipeline.release.withheld import FILE, Withheld, withheld, withhold
from reporting.errors import StoreError, UsageError
from tests.pipeline.releasing import NOW, files_under, model, released


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def takedown(group: str, *, lifted: bool = False) -> Withheld:
    return Withheld(kind="group", value=group, by="ana", why="asked to", at=NOW, lifted=lifted)


def held(home: Path) -> list[int]:
    return [one.number for one in releases(home)]


def test_a_pull_with_source_and_home_swapped_leaves_the_publisher_whole(lake: Path, home: Path) -> None:
    for text in "abcd":
        released(lake, text)
        model(lake, text)
    Consumer(str(lake), home).poll(NOW)
    before = files_under(lake)
    for pull in (Consumer(str(home), lake), ResourceConsumer(str(home), lake, "model", "lite0")):
        with pytest.raises(UsageError, match="it is a publisher's lake"):
            pull.poll(NOW)
    assert {name: data for name, data in files_under(lake).items() if name != ".pulling"} == before


def test_a_home_of_before_there_were_marks_is_still_followed(lake: Path, home: Path) -> None:
    released(lake, "one")
    Consumer(str(lake), home).poll(NOW)
    (home / MARK).unlink()
    released(lake, "two")
    assert Consumer(str(lake), home).poll(NOW) is not None
    assert home_at(home) is not None


def test_the_release_that_answered_last_stays_however_many_come_after_it(lake: Path, home: Path) -> None:
    for number, text in enumerate("abcde", start=1):
        released(lake, text)
        Consumer(str(lake), home).poll(NOW)
        if number == 1:
            note_active(home, 1)
    assert held(home) == [1, 4, 5]
    assert all((home / path).is_file() for path in releases(home)[0].files())
    note_active(home, 5)
    Consumer(str(lake), home).poll(NOW)
    assert held(home) == [4, 5]


def test_a_lake_is_never_noted_in(lake: Path) -> None:
    released(lake, "one")
    note_active(lake, 1)
    assert not (lake / ACTIVE).exists()


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("signed", [False, True])
def test_a_damaged_manifest_of_a_home_heals_with_the_next_pull(
    lake: Path, home: Path, tmp_path: Path, number: int, signed: bool
) -> None:
    ours, public = make_keys(tmp_path / "keys")
    for text in "ab":
        released(lake, text)
        sign_current(series(lake), POINTER, Signer(ours, NOW))
        Consumer(str(lake), home, public_key=public if signed else None).poll(NOW)
    path = home / f"releases/{number:06d}.json"
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[:-20])
    Consumer(str(lake), home, public_key=public if signed else None).poll(NOW)
    assert path.read_bytes() == whole
    released(lake, "c")
    sign_current(series(lake), POINTER, Signer(ours, NOW))
    assert Consumer(str(lake), home, public_key=public if signed else None).poll(NOW) is not None
    assert held(home) == [2, 3]


def test_a_damaged_manifest_that_nobody_has_any_more_does_not_end_pulling(lake: Path, home: Path) -> None:
    for text in "ab":
        released(lake, text)
        Consumer(str(lake), home).poll(NOW)
    for root in (lake, home):
        (root / "releases/000001.json").chmod(0o644)
        (root / "releases/000001.json").write_bytes(b"{}")
    Consumer(str(lake), home).poll(NOW)
    assert held(home) == [2]
    assert (home / "releases/.damaged-000001.json").is_file()


def test_a_damaged_pointer_of_a_home_heals_with_the_next_pull(lake: Path, home: Path) -> None:
    made = released(lake, "one")
    Consumer(str(lake), home).poll(NOW)
    (home / POINTER).write_bytes(b"{")
    Consumer(str(lake), home).poll(NOW)
    assert current(home) == made


def test_pulling_a_resource_drops_no_release_that_the_home_keeps(lake: Path, home: Path) -> None:
    for text in "abcd":
        released(lake, text)
        Consumer(str(lake), home, keep=4).poll(NOW)
    model(lake, "a")
    ResourceConsumer(str(lake), home, "model", "lite0").poll(NOW)
    assert held(home) == [1, 2, 3, 4]


def test_an_object_that_a_home_lost_comes_with_the_next_pull_of_its_resource(lake: Path, home: Path) -> None:
    model(lake, "a")
    consumer = ResourceConsumer(str(lake), home, "model", "lite0")
    found = consumer.poll(NOW)
    assert found is not None
    lost = home / min(found.objects())
    lost.unlink()
    consumer.poll(NOW)
    assert lost.is_file()
    path = resource_series(home, "model", "lite0").manifest_path(1)
    path.chmod(0o644)
    path.write_bytes(b"{}")
    consumer.poll(NOW)
    assert resolve_resource(home, "model", "lite0", 1) == found


def test_what_was_laid_out_goes_with_its_version(lake: Path, home: Path) -> None:
    consumer = ResourceConsumer(str(lake), home, "model", "lite0")
    folders = []
    for text in "abc":
        model(lake, text)
        found = consumer.poll(NOW)
        assert found is not None
        folders.append(materialise(home, found, home))
    condemned = folders[0].with_name(".swept-x")
    condemned.mkdir()
    consumer.poll(NOW)
    assert [folder.is_dir() for folder in (*folders, condemned)] == [False, True, True, False]


def test_a_takedown_said_in_a_home_is_refused_with_the_reason(lake: Path, home: Path) -> None:
    released(lake, "one")
    Consumer(str(lake), home).poll(NOW)
    with pytest.raises(UsageError, match=r"is a consumer's home.*say it in the publisher's lake"):
        withhold(home, takedown("g"))
    withhold(lake, takedown("g"))
    Consumer(str(lake), home).poll(NOW)
    assert withheld(home).groups == {"g"}


def test_with_a_public_key_a_lift_that_nobody_signed_lifts_nothing(lake: Path, home: Path, tmp_path: Path) -> None:
    ours, public = make_keys(tmp_path / "keys")
    released(lake, "one")
    sign_current(series(lake), POINTER, Signer(ours, NOW))
    for one in (takedown("g"), takedown("h"), takedown("g", lifted=True)):
        withhold(lake, one)
    Consumer(str(lake), home, public_key=public).poll(NOW)
    assert withheld(home).groups == {"g", "h"}
    assert (home / FILE).read_bytes() == (lake / FILE).read_bytes()
    Consumer(str(lake), home).poll(NOW)
    assert withheld(home).groups == {"h"}


def test_takedowns_of_any_length_come(lake: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.release.takedowns_pulled._BLOCK", 64)
    released(lake, "one")
    monkeypatch.setattr("pipeline.release.fetching._SMALL", 4000)
    for number in range(60):
        withhold(lake, takedown(f"g{number}"))
        if number % 20 == 0:
            Consumer(str(lake), home).poll(NOW)
    Consumer(str(lake), home).poll(NOW)
    assert (lake / FILE).stat().st_size > 4000
    assert withheld(home).groups == {f"g{number}" for number in range(60)}


def test_a_mark_that_is_damaged_is_an_error_and_nothing_is_shown(lake: Path, home: Path) -> None:
    released(lake, "one")
    Consumer(str(lake), home).poll(NOW)
    (home / MARK).write_text("{")
    with pytest.raises(StoreError, match="is no mark of a consumer's home"):
        Consumer(str(lake), home).poll(NOW)

"""A consumer follows what was published and refuses everything else by name; meanwhile it serves what it had."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pipeline.release.consumer import Consumer
from pipeline.release.fetching import INCOMING, Source
from pipeline.release.objects import ObjectStore
from pipeline.release.pointer import POINTER, current, publish, releases
from pipeline.release.registry import channel_file, point_channel, resolve_resource, resource_series
from pipeline.release.resource_consumer import ResourceConsumer
from pipeline.release.rollback import rollback
from pipeline.release.signing import Signer, make_keys
from pipeline.release.withheld import FILE, Withheld, withheld, withhold
from reporting.errors import ConfigError, ContractViolation, StoreError, UsageError
from tests.pipeline.releasing import NOW, draft, files_under, model, released

ROOT = Path(__file__).parents[3]


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def follow(lake: Path, home: Path, **options: Any) -> int | None:
    pulled = Consumer(str(lake), home, **options).poll(NOW)
    return None if pulled is None else pulled.manifest.number


def overwrite(path: Path, data: bytes) -> None:
    """Write into a file in place, as only an accident or an attacker does."""
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_poll_brings_the_current_release_and_the_next_poll_brings_nothing(lake: Path, home: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        follow(lake, home)  # the source is not there
    lake.mkdir()
    assert follow(lake, home) is None  # nothing was ever published
    made = released(lake, "one")
    pulled = Consumer(str(lake), home).poll(NOW)
    assert pulled is not None
    assert (pulled.manifest, pulled.files) == (made, 2)
    assert pulled.fetched_bytes == sum((lake / path).stat().st_size for path in made.files())
    assert current(home) == made
    assert all((home / path).read_bytes() == (lake / path).read_bytes() for path in made.files())
    assert all((home / path).stat().st_mode & 0o222 == 0 for path in made.files())
    before = files_under(home)
    assert follow(lake, home) is None
    assert files_under(home) == before


def test_only_what_is_new_is_fetched_and_the_last_two_releases_stay(lake: Path, home: Path) -> None:
    made = []
    for text in ("one", "two", "three"):
        made.append(released(lake, text))
        follow(lake, home)
    assert releases(home) == made[1:]
    assert {path for path in files_under(home) if path.startswith("objects/")} == {
        *made[1].files(),
        *made[2].files(),
    }
    back = rollback(lake, 2, by="ana", why="three is no good", at=NOW)
    pulled = Consumer(str(lake), home).poll(NOW)
    assert pulled is not None
    assert (pulled.manifest, pulled.fetched_bytes) == (back, 0)


def test_a_home_that_follows_any_fsspec_url(lake: Path, home: Path) -> None:
    made = released(lake, "one")
    memory = fsspec.filesystem("memory")
    memory.put(f"{lake}/", "/published/", recursive=True)
    try:
        pulled = Consumer("memory://published", home).poll(NOW)
    finally:
        memory.rm("/published", recursive=True)
    assert pulled is not None
    assert current(home) == made


def first_file(lake: Path) -> Path:
    made = current(lake)
    assert made is not None
    return lake / made.categories["shoes"].index_path


def swapped(lake: Path) -> None:
    made = current(lake)
    assert made is not None
    overwrite(first_file(lake), (lake / made.categories["shoes"].items_path).read_bytes())


def flipped(lake: Path) -> None:
    data = bytearray(first_file(lake).read_bytes())
    data[len(data) // 2] ^= 1
    overwrite(first_file(lake), bytes(data))


DAMAGES = {
    "truncated": (lambda lake: overwrite(first_file(lake), first_file(lake).read_bytes()[:-1]), "objects/"),
    "grown": (lambda lake: overwrite(first_file(lake), first_file(lake).read_bytes() + b"x"), "objects/"),
    "empty": (lambda lake: overwrite(first_file(lake), b""), "objects/"),
    "one bit": (flipped, "objects/"),
    "another file's content": (swapped, "objects/"),
    "gone": (lambda lake: first_file(lake).unlink(), "is not there"),
    "manifest changed": (
        lambda lake: overwrite(
            lake / "releases/000002.json",
            (lake / "releases/000002.json").read_bytes().replace(b"plan-two", b"plan-TWO"),
        ),
        "releases/000002.json: holds release 2 with sha256",
    ),
    "manifest of another number": (
        lambda lake: overwrite(lake / "releases/000002.json", (lake / "releases/000001.json").read_bytes()),
        "000002.json: holds release 1",
    ),
    "manifest gone": (lambda lake: (lake / "releases/000002.json").unlink(), "000002.json.* is not there"),
    "pointer torn": (lambda lake: overwrite(lake / POINTER, b'{"number"'), "CURRENT: is no release pointer"),
    "pointer gone": (lambda lake: (lake / POINTER).unlink(), "CURRENT: is gone"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_damage_is_refused_by_its_name_the_old_release_stays_and_a_repair_is_followed(
    lake: Path, home: Path, damage: str
) -> None:
    released(lake, "one")
    follow(lake, home)
    released(lake, "two")
    sound, before = files_under(lake), files_under(home)
    spoil, said = DAMAGES[damage]
    spoil(lake)
    for _ in range(2):
        with pytest.raises(ContractViolation, match=said) as refused:
            follow(lake, home)
        assert "serving" in str(refused.value) or "is gone" in str(refused.value) or "publish" in str(refused.value)
        served = current(home)
        assert served is not None
        assert served.number == 1
        assert {path: data for path, data in files_under(home).items() if not path.startswith((".", "objects/"))} == {
            path: data for path, data in before.items() if not path.startswith((".", "objects/"))
        }
        for path, sha256 in served.files().items():
            assert (home / path).name == sha256
            ObjectStore(home).verify(sha256)
    for path, data in sound.items():
        if not (lake / path).is_file() or (lake / path).read_bytes() != data:
            (lake / path).unlink(missing_ok=True)
            (lake / path).write_bytes(data)
    assert follow(lake, home) == 2


def test_a_pointer_that_goes_back_is_refused_and_a_rollback_is_followed(lake: Path, home: Path) -> None:
    released(lake, "one")
    old = (lake / POINTER).read_bytes()
    released(lake, "two")
    follow(lake, home)
    overwrite(lake / POINTER, old)
    with pytest.raises(ContractViolation, match=r"names release 1 .* after 2 .* was seen: numbers only rise"):
        follow(lake, home)
    (lake / POINTER).unlink()
    (lake / "releases/000002.json").unlink()
    released(lake, "another two")
    with pytest.raises(ContractViolation, match=r"names release 2 .* after 2 .* was seen"):
        follow(lake, home)
    served = current(home)
    assert served is not None
    assert served.planid == "plan-two"
    rollback(lake, 1, by="ana", why="the first was better", at=NOW)
    assert follow(lake, home) == 3


def test_going_back_is_refused_even_where_the_home_lost_its_pointer(lake: Path, home: Path) -> None:
    released(lake, "one")
    old = (lake / POINTER).read_bytes()
    released(lake, "two")
    follow(lake, home)
    (home / POINTER).unlink()
    overwrite(lake / POINTER, old)
    with pytest.raises(ContractViolation, match="numbers only rise"):
        follow(lake, home)


def test_a_served_file_keeps_its_inode_and_a_release_that_would_overwrite_it_is_refused(lake: Path, home: Path) -> None:
    entry = draft(lake, "one").categories["shoes"]
    for number, path in enumerate((entry.index_path, entry.items_path)):
        (lake / "merge").mkdir(exist_ok=True)
        (lake / "merge" / str(number)).write_bytes((lake / path).read_bytes())
    named = entry.model_copy(update={"index_path": "merge/0", "items_path": "merge/1"})
    publish(lake, draft(lake, "one").model_copy(update={"categories": {"shoes": named}}))
    follow(lake, home)
    inode = (home / "merge/0").stat().st_ino
    other = draft(lake, "two").categories["shoes"]
    overwrite(lake / "merge/0", (lake / other.index_path).read_bytes())
    clash = named.model_copy(update={"index_sha256": other.index_sha256, "index_bytes": other.index_bytes})
    publish(lake, draft(lake, "two").model_copy(update={"categories": {"shoes": clash}}))
    with pytest.raises(ContractViolation, match=r"merge/0: .* a file that is served is never overwritten"):
        follow(lake, home)
    assert (home / "merge/0").stat().st_ino == inode
    assert (home / "merge/0").read_bytes() == (lake / entry.index_path).read_bytes()


@pytest.mark.parametrize(
    "path", ["../out", "/etc/out", "a/../../out", "CURRENT", "WITHHELD.jsonl", "releases/000009.json", ".seen-CURRENT",
             "registry/model/x/000001.json", "objects/ab/" + "ab" * 32, "a//b", "a\\b/c"]
)  # fmt: skip
def test_a_manifest_that_names_a_place_which_is_not_for_content_is_refused(lake: Path, home: Path, path: str) -> None:
    released(lake, "one")
    follow(lake, home)
    before = files_under(home.parent)
    entry = draft(lake, "two").categories["shoes"]
    evil = entry.model_copy(update={"index_path": path})
    publish(lake, draft(lake, "two").model_copy(update={"categories": {"shoes": evil}}))
    with pytest.raises(ContractViolation, match=r"no path inside|no place for content|not where an object"):
        follow(lake, home)
    after = {name: data for name, data in files_under(home.parent).items() if name.startswith("home/")}
    fetched = {f"home/{entry.items_path}"}
    assert {name for name in after if name not in fetched} == {name for name in before if name.startswith("home/")}


def test_a_broken_download_goes_on_where_it_stopped(lake: Path, home: Path) -> None:
    made = released(lake, "one")
    path, sha256 = next(iter(made.files().items()))
    whole = (lake / path).read_bytes()
    (home / INCOMING).mkdir(parents=True)
    (home / INCOMING / sha256).write_bytes(whole[:100])
    got: list[int] = []
    pulled = Consumer(str(lake), home, got=got.append).poll(NOW)
    assert pulled is not None
    assert sum(got) == pulled.fetched_bytes == sum((lake / name).stat().st_size for name in made.files()) - 100
    assert (home / path).read_bytes() == whole
    assert not list((home / INCOMING).iterdir())


@pytest.mark.parametrize("kept", [b"other bytes", b"z" * 100_000], ids=["another start", "too long"])
def test_a_part_that_is_not_of_the_file_is_given_up(lake: Path, home: Path, kept: bytes) -> None:
    made = released(lake, "one")
    path, sha256 = next(iter(made.files().items()))
    (home / INCOMING).mkdir(parents=True)
    (home / INCOMING / sha256).write_bytes(kept)
    assert follow(lake, home) == 1
    assert (home / path).read_bytes() == (lake / path).read_bytes()


def test_takedowns_come_with_every_poll_and_their_list_only_grows(lake: Path, home: Path) -> None:
    released(lake, "one")
    follow(lake, home)
    withhold(lake, Withheld(kind="group", value="g1", by="ana", why="asked to", at=NOW))
    assert follow(lake, home) is None
    assert withheld(home).groups == {"g1"}
    shorter = (lake / FILE).read_bytes()
    withhold(lake, Withheld(kind="group", value="g2", by="ana", why="asked to", at=NOW))
    follow(lake, home)
    for spoiled in (shorter, shorter + b"{", b"", None):
        (lake / FILE).unlink(missing_ok=True)
        if spoiled is not None:
            (lake / FILE).write_bytes(spoiled)
        with pytest.raises(ContractViolation, match=FILE):
            follow(lake, home)
        assert withheld(home).groups == {"g1", "g2"}


def test_with_a_public_key_only_its_signature_is_followed(lake: Path, home: Path, tmp_path: Path) -> None:
    ours, public = make_keys(tmp_path / "ours")
    theirs, _ = make_keys(tmp_path / "theirs")
    publish(lake, draft(lake, "one"), signer=Signer(ours, NOW, dt.timedelta(hours=1)))
    assert follow(lake, home, public_key=public) == 1
    signed = (lake / POINTER).read_bytes()
    publish(lake, draft(lake, "two"))
    with pytest.raises(ContractViolation, match="CURRENT: is not signed"):
        follow(lake, home, public_key=public)
    publish(lake, draft(lake, "two"), signer=Signer(theirs, NOW))
    with pytest.raises(ContractViolation, match="its signature does not fit"):
        follow(lake, home, public_key=public)
    stitched = {**json.loads((lake / POINTER).read_bytes()), "signature": json.loads(signed)["signature"]}
    overwrite(lake / POINTER, json.dumps(stitched).encode())
    with pytest.raises(ContractViolation, match="its signature does not fit"):
        follow(lake, home, public_key=public)
    publish(lake, draft(lake, "two"), signer=Signer(ours, NOW, dt.timedelta(hours=1)))
    late = Consumer(str(lake), home, public_key=public)
    with pytest.raises(ContractViolation, match="expired at 2026-11-23 10:00:00 UTC"):
        late.poll(NOW + dt.timedelta(hours=1))
    served = current(home)
    assert served is not None
    assert served.number == 1
    assert late.poll(NOW + dt.timedelta(minutes=59)) is not None


def test_the_pointer_of_another_resource_cannot_stand_in_for_it(lake: Path, home: Path, tmp_path: Path) -> None:
    ours, public = make_keys(tmp_path / "keys")
    for name in ("lite0", "lite1"):
        model(lake, name, name=name)
    for name in ("lite0", "lite1"):
        point_channel(lake, "model", name, "stable", 1, Signer(ours, NOW))
    assert ResourceConsumer(str(lake), home, "model", "lite0", public_key=public).poll(NOW) is not None
    taken, put = (resource_series(lake, "model", name).root for name in ("lite1", "lite0"))
    for file in (channel_file("stable"), "000001.json"):
        overwrite(put / file, (taken / file).read_bytes())
    with pytest.raises(ContractViolation, match="its signature does not fit"):
        ResourceConsumer(str(lake), home, "model", "lite0", public_key=public).poll(NOW)


def test_a_resource_is_followed_by_its_channel_and_the_last_two_versions_stay(lake: Path, home: Path) -> None:
    consumer = ResourceConsumer(str(lake), home, "model", "lite0", "beta")
    lake.mkdir()
    assert consumer.poll(NOW) is None
    for text in "abc":
        model(lake, text, channel="beta")
        found = consumer.poll(NOW)
        assert found is not None
        assert (
            found
            == resolve_resource(home, "model", "lite0", "beta")
            == resolve_resource(lake, "model", "lite0", 1 + "abc".index(text))
        )
    assert consumer.poll(NOW) is None
    kept = [resolve_resource(home, "model", "lite0", number) for number in (2, 3)]
    assert {path for path in files_under(home) if path.startswith("objects/")} == {
        path for one in kept for path in one.objects()
    }


def test_a_source_that_cannot_be_reached_is_no_refusal_and_a_home_cannot_follow_itself(lake: Path, home: Path) -> None:
    released(lake, "one")
    with pytest.raises(UsageError, match="is what is pulled from"):
        follow(lake, lake)
    follow(lake, home)
    (lake / POINTER).unlink()
    (lake / POINTER).mkdir()
    with pytest.raises(StoreError, match="CURRENT: cannot be read"):
        follow(lake, home)


FOLLOWER = """
import sys
from pathlib import Path
from pipeline.release.consumer import Consumer
from pipeline.release.objects import ObjectStore
from pipeline.release.pointer import current

lake, home, last = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
seen = []
while not seen or seen[-1] < last:
    pulled = Consumer(lake, home).poll()
    served = current(home)
    if served is None:
        continue
    for path, sha256 in served.files().items():
        ObjectStore(home).verify(sha256)
    if pulled is not None:
        assert pulled.manifest == served
        seen.append(served.number)
print(*seen)
"""


@pytest.mark.slow
def test_two_consumers_beside_a_publisher_only_ever_hold_whole_releases_with_rising_numbers(tmp_path: Path) -> None:
    lake, last = tmp_path / "lake", 25
    released(lake, "0")
    command = [sys.executable, "-c", FOLLOWER, str(lake)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen([*command, str(tmp_path / name), str(last)], stdout=subprocess.PIPE, text=True, env=env)
        for name in "ab"
    ]
    for number in range(1, last):
        released(lake, str(number))
    for process in running:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        seen = list(map(int, out.split()))
        assert seen == sorted(set(seen))
        assert seen[-1] == last


def test_an_unknown_kind_of_url_is_an_error_of_configuration() -> None:
    with pytest.raises(ConfigError, match="nowhere://x: cannot be opened"):
        Source("nowhere://x")

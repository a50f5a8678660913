"""Pictures from files: regular ones only, within size and roots, each fault under its reason."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest

from pipeline.fetch.fetch import Surroundings
from reporting.errors import StoreError
from tests.pipeline.fetch.loopback import Naps, bring, policy


def fetch_file(location, kind="path", **changes):
    naps = Naps()
    results = asyncio.run(bring([str(location)], policy(**changes), around=Surroundings(sleep=naps), kind=kind))
    return results[str(location)]


def test_a_regular_file_arrives_byte_for_byte(tmp_path):
    content = bytes(range(256)) * 1000
    (tmp_path / "a b.jpg").write_bytes(content)
    assert fetch_file(tmp_path / "a b.jpg").ok == content


@pytest.mark.parametrize("name", ["missing.jpg", "file.jpg/below.jpg", "n" * 300, "nul\0byte"])
def test_what_is_not_there_is_a_dead_link(tmp_path, name):
    (tmp_path / "file.jpg").write_bytes(b"x")
    assert fetch_file(f"{tmp_path}/{name}").reason == "dead_link"


def test_folders_devices_pipes_and_symlink_loops_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for place in (tmp_path, "/dev/zero", tmp_path / "pipe", tmp_path / "loop"):
        assert fetch_file(place).reason == "refused_address", place


def test_a_device_is_refused_without_being_opened(monkeypatch):
    opened = []
    monkeypatch.setattr(os, "open", lambda path, flags: opened.append(path))
    assert fetch_file("/dev/zero").reason == "refused_address"
    assert opened == []


@pytest.mark.parametrize("other", ["pipe", "folder"])
def test_what_is_put_in_place_after_the_check_is_refused_by_the_open_file(tmp_path, monkeypatch, other):
    (tmp_path / "picture.jpg").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    really_open = os.open
    monkeypatch.setattr(os, "open", lambda _path, flags: really_open(tmp_path / other, flags))
    assert fetch_file(tmp_path / "picture.jpg").reason == "refused_address"


def test_the_size_limit_is_inclusive(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 100)
    assert fetch_file(tmp_path / "a", max_bytes=100).ok == b"x" * 100
    assert fetch_file(tmp_path / "a", max_bytes=99).reason == "too_large"


def test_a_file_that_hides_its_size_is_still_limited():
    # Files of /proc say size 0.
    assert fetch_file("/proc/self/status", max_bytes=10).reason == "too_large"


def test_an_empty_file_is_not_an_image(tmp_path):
    (tmp_path / "a").touch()
    assert fetch_file(tmp_path / "a").reason == "not_an_image"


def failing_open(monkeypatch, number):
    def fail(path, flags):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_an_unreadable_file_is_no_permission(tmp_path, monkeypatch, number):
    (tmp_path / "a").write_bytes(b"x")
    failing_open(monkeypatch, number)
    assert fetch_file(tmp_path / "a").reason == "no_permission"


def test_a_disk_that_fails_is_asked_again_and_then_a_server_error(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"x")
    failing_open(monkeypatch, errno.EIO)
    result = fetch_file(tmp_path / "a", retries=2)
    assert (result.reason, result.attempts) == ("server_error", 3)


def test_our_own_want_of_descriptors_ends_the_download_and_blames_no_picture(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"x")

    async def scenario():
        failing_open(monkeypatch, errno.EMFILE)
        with pytest.raises(StoreError, match="ulimit"):
            await bring([str(tmp_path / "a")], policy(), kind="path")

    asyncio.run(scenario())


def test_roots_hold_against_parents_and_symlinks(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "a").write_bytes(b"in")
    (outside / "a").write_bytes(b"out")
    (inside / "link").symlink_to(outside / "a")
    found = {
        place: fetch_file(f"{tmp_path}/{place}", allowed_file_roots=(inside,)).reason
        for place in ("inside/a", "outside/a", "inside/../outside/a", "inside/link")
    }
    refused = "refused_address"
    assert found == {
        "inside/a": None,
        "outside/a": refused,
        "inside/../outside/a": refused,
        "inside/link": refused,
    }


def test_a_file_url_needs_a_root_while_a_path_does_not(tmp_path):
    (tmp_path / "a b").write_bytes(b"x")
    url = (tmp_path / "a b").as_uri()
    assert fetch_file(url, "url").reason == "refused_address"
    assert fetch_file(url, "url", allowed_file_roots=(tmp_path,)).ok == b"x"
    foreign = url.replace("file://", "file://elsewhere")
    assert fetch_file(foreign, "url", allowed_file_roots=(tmp_path,)).reason == "refused_address"

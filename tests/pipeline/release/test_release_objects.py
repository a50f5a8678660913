"""The content store: a file is there whole or not at all, read-only, and never written again."""

from __future__ import annotations

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.release.objects import FOLDER, ObjectStore, inside
from reporting.errors import ContractViolation, DataError, StoreError
from tests.pipeline.releasing import files_under


@settings(max_examples=20)
@given(parts=st.lists(st.binary(max_size=50), max_size=6))
def test_an_object_is_named_by_the_hash_of_all_its_parts(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    store = ObjectStore(tmp_path_factory.mktemp("lake"))
    with store.create() as out:
        for part in parts:
            assert out.write(part) == len(part)
    whole = b"".join(parts)
    assert out.sha256 == hashlib.sha256(whole).hexdigest() == store.put_bytes(whole)
    assert files_under(store.root) == {f"objects/{out.sha256[:2]}/{out.sha256}": whole}
    assert store.verify(out.sha256) == out.bytes == len(whole)


def test_an_object_is_read_only_and_putting_it_again_touches_only_its_time(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    sha256 = store.put_bytes(b"content")
    path = store.path(sha256)
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    inode = path.stat().st_ino
    os.utime(path, (1_000_000, 1_000_000))
    (tmp_path / "source").write_bytes(b"content")
    assert store.put_file(tmp_path / "source") == sha256
    assert path.stat().st_ino == inode
    assert path.stat().st_mtime > 1_000_000  # the sweep's grace begins anew


def test_nothing_is_stored_of_a_stream_that_breaks_or_is_not_the_one_expected(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    with pytest.raises(ValueError, match="broken"), store.create() as out:  # noqa: PT012
        out.write(b"half")
        raise ValueError("broken")
    other = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(ContractViolation, match=f"{other}, expected aaa"), store.create(expected="a" * 64) as out:
        out.write(b"other")
    assert files_under(tmp_path) == {}


def test_a_damaged_object_is_named_and_neither_overwritten_nor_believed(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    sha256 = store.put_bytes(b"content")
    path = store.path(sha256)
    path.chmod(0o644)
    path.write_bytes(b"contenX")
    with pytest.raises(ContractViolation, match=f"{sha256}: has sha256 .*, expected {sha256}"):
        store.verify(sha256)
    path.write_bytes(b"short")
    with pytest.raises(StoreError, match=r"holds 5 bytes, expected 7: .* move it away"):
        store.put_bytes(b"content")
    assert path.read_bytes() == b"short"


def test_many_putting_the_same_at_once_end_with_one_object(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(store.put_bytes, [b"same" * 1000] * 40))
    assert list(files_under(tmp_path)) == [store.relative(found.pop())]
    assert not found


@pytest.mark.parametrize("call", ["fsync", "link", "fchmod"])
def test_a_disk_that_refuses_is_said_and_leaves_no_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(StoreError, match="No space left on device; free the disk"):
            ObjectStore(tmp_path).put_bytes(b"content")
    assert files_under(tmp_path) == {}
    ObjectStore(tmp_path).put_bytes(b"content")


def test_only_a_hash_names_an_object(tmp_path: Path) -> None:
    for name in ("", "../x", "A" * 64, "a" * 63, "a" * 64 + "\n"):
        with pytest.raises(DataError, match="names no object"):
            ObjectStore(tmp_path).path(name)
    with pytest.raises(StoreError, match="cannot be read"):
        ObjectStore(tmp_path).verify("a" * 64)
    with pytest.raises(DataError, match="gone: cannot be read"):
        ObjectStore(tmp_path).put_file(tmp_path / "gone")


@settings(max_examples=60)
@given(path=st.text(alphabet="ab./\\\0", max_size=12))
def test_a_path_of_a_manifest_never_leads_out_of_the_root(path: str) -> None:
    root = Path("/root/of/all")
    try:
        place = inside(root, path)
    except ContractViolation:
        return
    assert os.path.normpath(place) == str(place)
    assert place != root
    assert str(place).startswith(f"{root}/")
    assert FOLDER not in str(root)

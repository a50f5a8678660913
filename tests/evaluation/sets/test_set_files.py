"""Sets on disk: immutable, named by their content, whole or not there, and refused when changed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.evalset import EvalSet, Gallery, Label
from evaluation.set_content import content_hash, evalset_of
from evaluation.set_files import load_set, write_set
from reporting.errors import DataError, StoreError
from tests.evaluation.small_set import digest, image, query, small_set

FILES = ["catalog.parquet", "evalset.json", "gallery.json", "labels.parquet", "queries.parquet"]
MANIFEST = "evalset.json"
REPOSITORY = Path(__file__).parents[3]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_set_comes_back_equal_from_the_folder_that_its_content_names(tmp_path):
    evalset = small_set(
        queries=(
            query("q1", cluster="g1", tags=("dark", "hard"), weight=0.5, captured_day=date(2026, 1, 5), near="0" * 16),
            query("q2", "hats", cluster="g2", path="q 2.jpg", source="campaign 3"),
        ),
        labels=(
            Label(query_id="q1", group_id="g1", grade=1, labellers=3, agreed=2 / 3),
            Label(query_id="q2", group_id="g2"),
        ),
        catalog=(
            image("i1", "g1", first_day=date(2026, 1, 1), last_day=date(2026, 1, 4), value=3.25),
            image("i2", "g2", "hats", takedown_day=date(2026, 2, 1)),
            image("d1", "x1", role="same_style"),
        ),
        gallery=Gallery(query_domain="a", gallery_domain="b", as_of=date(2026, 1, 9), window_days=30),
        root=tmp_path,
    )
    folder = write_set(evalset, tmp_path)
    assert folder == tmp_path / f"small@{evalset.sha256[:12]}"
    assert names(folder) == FILES
    assert load_set(folder) == evalset


def test_writing_an_equal_set_again_changes_nothing_and_leaves_no_other_file(tmp_path):
    folder = write_set(small_set(), tmp_path)
    before = {name: ((folder / name).stat().st_mtime_ns, (folder / name).read_bytes()) for name in FILES}
    turned = small_set()
    again = evalset_of("small", turned.queries[::-1], turned.labels[::-1], turned.catalog[::-1], turned.gallery)
    assert write_set(again, tmp_path) == folder
    assert {name: ((folder / name).stat().st_mtime_ns, (folder / name).read_bytes()) for name in FILES} == before
    assert names(tmp_path) == [folder.name]


def test_equal_sets_have_equal_bytes(tmp_path):
    one, two = write_set(small_set(), tmp_path / "a"), write_set(small_set(), tmp_path / "b")
    assert [(one / name).read_bytes() for name in FILES] == [(two / name).read_bytes() for name in FILES]


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_of_any_file_is_noticed_by_the_reader_and_by_the_next_writer(tmp_path, name):
    folder = write_set(small_set(), tmp_path)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(DataError, match=f"{name}: the set was changed after it was built"):
        load_set(folder)
    with pytest.raises(DataError):
        write_set(small_set(), tmp_path)
    assert (folder / name).read_bytes() == bytes(data)  # nor does it repair what it did not write


def test_rows_replaced_together_with_their_file_hash_are_noticed(tmp_path):
    folder = write_set(small_set(), tmp_path)
    other = small_set(labels=(Label(query_id="q1", group_id="g1", grade=1), Label(query_id="q2", group_id="g2")))
    forged = write_set(other, tmp_path / "other")
    shutil.copy(forged / "labels.parquet", folder / "labels.parquet")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"]["labels.parquet"] = json.loads((forged / MANIFEST).read_text())["files"]["labels.parquet"]
    del manifest["manifest_sha256"]
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    forged_manifest = manifest | {"manifest_sha256": hashlib.sha256(text.encode()).hexdigest()}
    (folder / MANIFEST).write_text(json.dumps(forged_manifest))
    with pytest.raises(DataError, match=r"the set was changed after it was built: its content has sha256"):
        load_set(folder)


def test_another_name_a_missing_file_another_schema_and_a_folder_that_is_no_set_are_refused(tmp_path):
    folder = write_set(small_set(), tmp_path)
    shutil.copytree(folder, tmp_path / "small@000000000000")
    with pytest.raises(DataError, match=r"its folder is called otherwise"):
        load_set(tmp_path / "small@000000000000")
    with pytest.raises(DataError, match=r"is no evaluation set, it holds no evalset.json"):
        load_set(tmp_path)
    (folder / "labels.parquet").unlink()
    with pytest.raises(DataError, match=r"labels.parquet: cannot be read"):
        load_set(folder)
    (folder / MANIFEST).write_text('{"schema": "evalset/9"}')
    with pytest.raises(DataError, match=r"schema is 'evalset/9'; expected 'evalset/1'"):
        load_set(folder)
    (folder / MANIFEST).write_text("[")
    with pytest.raises(DataError, match=r"it is no JSON"):
        load_set(folder)


def test_a_set_with_a_fault_is_not_written(tmp_path):
    bare = small_set(catalog=(image("i1", "g1"), image("i2", "g2", "hats")))
    with pytest.raises(DataError, match=r"no_distractors: .* give --distractors"):
        write_set(bare, tmp_path)
    assert names(tmp_path) == []


def test_pictures_that_moved_are_found_under_another_root_and_forgotten_where_they_are_gone(tmp_path):
    (tmp_path / "pictures").mkdir()
    folder = write_set(small_set(root=tmp_path / "pictures"), tmp_path)
    assert load_set(folder).root == tmp_path / "pictures"
    (tmp_path / "pictures").rename(tmp_path / "moved")
    assert load_set(folder).root is None
    assert load_set(folder, root=tmp_path / "moved").root == tmp_path / "moved"


def test_an_unwritable_place_is_an_error_of_the_infrastructure(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot be written: .*nothing is left there"):
        write_set(small_set(), tmp_path / "file")


KILLED = """
import os, signal, sys
from pathlib import Path
from evaluation import set_files
from tests.evaluation.small_set import small_set

real, evalset = os.fsync, small_set()
set_files.write_set(evalset, Path(sys.argv[1]) / "first")  # imports what the children need
for moment in range(8):
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        print(os.WTERMSIG(status), flush=True)
        continue
    left = moment

    def fsync(handle):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        real(handle)

    os.fsync = fsync
    set_files.write_set(evalset, Path(sys.argv[1]) / str(moment))
    os._exit(0)
"""


@pytest.mark.slow
def test_a_writer_killed_at_any_flush_leaves_the_whole_set_or_none_and_the_next_clears_up(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, check=True, timeout=60, capture_output=True, text=True
    )
    # Five files and their folder are flushed before the rename, the folder above after it; then it lives.
    assert done.stdout.split() == [str(int(signal.SIGKILL))] * 7 + ["0"]
    evalset = small_set()
    for moment in range(8):
        parent = tmp_path / str(moment)
        partials = [name for name in names(parent) if name.endswith(".partial")]
        assert (len(partials), (parent / evalset.set_id).exists()) == ((1, False) if moment < 6 else (0, True))
        assert load_set(write_set(evalset, parent)) == evalset
        assert names(parent) == [evalset.set_id]


def test_a_living_writer_keeps_its_partial_folder(tmp_path):
    evalset = small_set()
    partial = tmp_path / f".{evalset.set_id}.0123.partial"
    partial.mkdir()
    handle = os.open(partial, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    write_set(evalset, tmp_path)
    assert partial.exists()
    os.close(handle)


ids = st.text("abcdef01", min_size=1, max_size=3)
galleries = st.sampled_from(
    [
        Gallery(query_domain="a", gallery_domain="b", no_distractors="a property test of files"),
        Gallery(query_domain="a", gallery_domain="b", self_match="drop", no_distractors="a property test of files"),
    ]
)


@st.composite
def sets(draw: st.DrawFn) -> EvalSet:
    groups = draw(st.lists(ids, min_size=1, max_size=4, unique=True))
    days = st.none() | st.dates(date(2026, 1, 1), date(2026, 3, 1))
    catalog = [
        image(f"{group}-{number}", group, first_day=draw(days), takedown_day=draw(days), value=draw(st.floats(0, 9)))
        for group in groups
        for number in range(draw(st.integers(1, 3)))
    ]
    names = draw(st.lists(ids, min_size=1, max_size=5, unique=True))
    queries = [
        query(name, tags=tuple(draw(st.sets(ids, max_size=2))), weight=draw(st.floats(0.1, 9))) for name in names
    ]
    labels = [
        Label(query_id=name, group_id=group, grade=draw(st.integers(1, 2)))
        for name in names
        for group in draw(st.sets(st.sampled_from(groups), min_size=1))
    ]
    return evalset_of("drawn", queries, labels, catalog, draw(galleries))


@given(sets(), st.randoms(use_true_random=False))
@settings(max_examples=15)
def test_any_set_survives_the_disk_and_its_hash_knows_neither_order_of_rows_nor_place_of_pictures(evalset, chance):
    with tempfile.TemporaryDirectory() as folder:
        assert load_set(write_set(evalset, Path(folder))) == evalset
    queries = [one.model_copy(update={"path": "elsewhere.jpg", "tags": one.tags[::-1]}) for one in evalset.queries]
    labels, catalog = list(evalset.labels), list(evalset.catalog)
    for rows in (queries, labels, catalog):
        chance.shuffle(rows)
    assert content_hash(queries, labels, catalog, evalset.gallery) == evalset.sha256
    assert content_hash(queries, labels, catalog[1:], evalset.gallery) != evalset.sha256
    other = evalset.queries[0].model_copy(update={"sha256": digest("another picture")})
    assert content_hash((other, *evalset.queries[1:]), labels, catalog, evalset.gallery) != evalset.sha256

"""`funnelgate index`: train, build, merge, verify, diff and inspect by what they print and how they end."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import typer
from jsonschema import Draft202012Validator

from pipeline import cli_index
from pipeline.index.quantizer import from_bytes, to_bytes, train_quantizer
from pipeline.index.shard import build_shard, describe_shard
from pipeline.index.shard_folder import find_shards, read_shard, write_shard
from pipeline.index.verify import common_quantizer
from pipeline.version import code_version
from reporting.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE, FunnelgateError

DIM, ROWS = 16, 400
SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"


def unit(rows: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


@pytest.fixture(scope="module")
def command() -> Any:
    """The group `index`, put together once: the whole program's takes as long as what is tested."""
    return typer.main.get_command(cli_index.app)


@pytest.fixture
def index(command, tmp_path, monkeypatch, capsys):
    """Call `funnelgate index ...` in the folder; JSON where it was asked for, else what people see."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, ends: int = EXIT_OK) -> Any:
        capsys.readouterr()
        said = ""
        try:
            code = command([str(one) for one in arguments], standalone_mode=False) or EXIT_OK
        except FunnelgateError as error:
            code, said = error.exit_code, str(error)
        printed = capsys.readouterr()
        assert code == ends, (said, printed)
        return json.loads(printed.out) if "--json" in arguments and not said else printed.out + said

    return call


@pytest.fixture(scope="module")
def three_shards(tmp_path_factory) -> Any:
    """Vectors of three days, 400, 30 and 0 rows, a quantizer trained on the first, and their shards; read only."""
    folder = tmp_path_factory.mktemp("three")
    quantizer = to_bytes(train_quantizer(unit(ROWS, 1), nlist=4, codec="sq8"))
    (folder / "q.faiss").write_bytes(quantizer)
    for day, rows in ((1, ROWS), (2, 30), (3, 0)):
        np.save(folder / f"{day}.npy", unit(rows, day))
        data = build_shard(quantizer, 1000 * day + np.arange(rows), unit(rows, day))
        date = dt.date(2026, 11, day)
        manifest = describe_shard(data, category="shoes", date=date, space_id="lite0/1", builder=code_version())
        write_shard(folder / "shards", data, manifest)
    return folder


@pytest.fixture
def shards(three_shards, tmp_path):
    """A copy of them in the test's folder."""
    shutil.copytree(three_shards, tmp_path, dirs_exist_ok=True)
    return tmp_path / "shards"


def build(index, day: int, *, quantizer="q.faiss", vectors=None, first_id=0, out="shards") -> Any:
    name = vectors or f"{day}.npy"
    where = ["--date", f"2026-11-{day:02}", "--category", "shoes", "--space", "lite0/1", "-o", out]
    return index("build", quantizer, name, *where, "--first-id", first_id, "--json")


def day_of(shards: Path, day: int) -> Any:
    return next((shards / "lite0/1/shoes").glob(f"2026-11-{day:02}/*"))


def test_shards_lie_by_space_category_day_and_content_and_are_never_written_again(index, shards):
    folder = day_of(shards, 1)
    manifest = read_shard(folder).manifest
    assert folder.name == manifest.sha256[:16]
    assert hashlib.sha256((folder / "index.faiss").read_bytes()).hexdigest() == manifest.sha256
    assert (manifest.rows, manifest.codec, manifest.id_blocks) == (ROWS, "sq8", ((1000, 1399),))
    assert (folder / "index.faiss").stat().st_mode & 0o222 == 0
    before = {path: path.stat().st_mtime_ns for path in shards.rglob("*") if path.is_file()}
    assert build(index, 1, first_id=1000)["shard"].endswith(folder.name)
    assert {path: path.stat().st_mtime_ns for path in shards.rglob("*") if path.is_file()} == before


def test_a_merge_holds_what_faiss_itself_reads_and_a_dry_run_knows_its_hash(index, shards, tmp_path):
    planned = index("merge", "shards", "--dry-run", "--json")
    assert not list(tmp_path.glob("*.faiss.json"))
    done = index("merge", "shards", "-o", "m.faiss", "--json")
    for document in (planned, done):
        Draft202012Validator(json.loads((SCHEMAS / "index-merge.json").read_text())).validate(document)
    assert done["sha256"] == planned["sha256"] == hashlib.sha256((tmp_path / "m.faiss").read_bytes()).hexdigest()
    assert (done["rows"], done["duplicates"], done["violations"]) == (430, 0, [])
    assert {day: one["rows"] for day, one in done["days"].items()} == {
        "2026-11-01": 400,
        "2026-11-02": 30,
        "2026-11-03": 0,
    }
    found: Any = faiss.read_index(str(tmp_path / "m.faiss"))
    found.nprobe = 4
    _, ids = found.search(unit(30, 2), 1)
    assert ids[:, 0].tolist() == list(range(2000, 2030))
    said = json.loads((tmp_path / "m.faiss.json").read_text())
    assert {name: said[name] for name in ("sha256", "rows", "days")} == {
        name: done[name] for name in ("sha256", "rows", "days")
    }
    assert index("merge", "shards", "-o", "m.faiss", "--json")["sha256"] == done["sha256"]  # again: nothing to do


def test_a_window_is_the_newest_days_and_any_shards_that_are_named(index, shards):
    two = index("merge", "shards", "--last-days", 2, "--dry-run", "--json")
    assert list(two["days"]) == ["2026-11-02", "2026-11-03"]
    chosen = index("merge", day_of(shards, 1), day_of(shards, 3), "--dry-run", "--json")
    assert list(chosen["days"]) == ["2026-11-01", "2026-11-03"]


def test_the_quantizer_of_a_shard_is_the_one_it_was_built_on_to_the_byte(shards, tmp_path):
    assert common_quantizer(find_shards([shards])) == (tmp_path / "q.faiss").read_bytes()


def test_shards_trained_apart_are_refused_with_the_shard_and_the_field(index, shards, tmp_path):
    np.save(tmp_path / "4.npy", unit(ROWS, 9))
    index("train", "4.npy", "--codec", "sq8", "--nlist", 4, "-o", "q2.faiss")
    build(index, 4, quantizer="q2.faiss", first_id=4000)
    raw: list[Any] = [faiss.read_index(str(day_of(shards, day) / "index.faiss")) for day in (1, 4)]
    raw[1].own_fields = False  # or both would free the centroids that are lent to it here:
    raw[1].quantizer = raw[0].quantizer  # as if only the codec's ranges had been trained apart
    raw[0].merge_from(raw[1], 0)
    assert raw[0].ntotal == 2 * ROWS  # faiss: no error
    said = index("merge", "shards", "-o", "m.faiss", ends=EXIT_FAILED)
    assert "shard shoes/2026-11-04: fingerprint is" in said
    assert not (tmp_path / "m.faiss").exists()
    found = index("verify", "shards", "--json", ends=EXIT_FAILED)
    assert [(one["shard"], one["field"]) for one in found["violations"]] == [("shard shoes/2026-11-04", "fingerprint")]
    assert (found["rows"], found["fingerprint"], found["sha256"]) == (830, None, None)


def test_an_id_in_two_shards_is_refused_and_counted(index, shards):
    build(index, 4, vectors="2.npy", first_id=1390)
    assert "ids is 10 shared" in index("merge", "shards", "--dry-run", ends=EXIT_FAILED)
    found = index("verify", "shards", "--json", ends=EXIT_FAILED)
    assert (found["duplicates"], found["violations"][0]["field"]) == (10, "ids")


def test_verify_prints_what_the_issue_shows(index, shards):
    merged = index("merge", "shards", "-o", "m.faiss", "--json")
    expected = {"rows": 430, "duplicates": 0, "violations": []} | {n: merged[n] for n in ("fingerprint", "sha256")}
    assert index("verify", "m.faiss", "--json") == expected
    assert index("verify", "shards", "--json") == expected
    assert "0 duplicates" in index("verify", day_of(shards, 2) / "index.faiss")


@pytest.mark.parametrize("what", ["shards", "m.faiss", "one shard"])
def test_a_changed_byte_is_a_violation_of_its_sha256(what, index, shards, tmp_path):
    index("merge", "shards", "-o", "m.faiss")
    path = tmp_path / "m.faiss" if what == "m.faiss" else day_of(shards, 1) / "index.faiss"
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = index("verify", day_of(shards, 1) if what == "one shard" else what, "--json", ends=EXIT_FAILED)
    assert [one["field"] for one in found["violations"]] == ["sha256"]
    assert found["violations"][0]["found"] == hashlib.sha256(data).hexdigest()


def test_an_index_of_faiss_own_making_shows_its_duplicates_and_its_order(index, shards, tmp_path):
    raw = from_bytes((tmp_path / "q.faiss").read_bytes())
    raw.add_with_ids(unit(6, 5), np.array([5, 4, 3, 2, 1, 1]))
    faiss.write_index(raw, str(tmp_path / "raw.faiss"))
    found = index("verify", "raw.faiss", "--json", ends=EXIT_FAILED)
    assert (found["rows"], found["duplicates"]) == (6, 1)
    raw = from_bytes((tmp_path / "q.faiss").read_bytes())
    raw.add_with_ids(unit(60, 5), np.arange(60)[::-1].copy())
    faiss.write_index(raw, str(tmp_path / "falling.faiss"))
    found = index("verify", "falling.faiss", "--json", ends=EXIT_FAILED)
    assert [one["field"] for one in found["violations"]] == ["order"]


def test_diff_proves_that_only_the_rebuilt_day_changed(index, shards, tmp_path):
    shutil.copytree(shards, tmp_path / "after")
    shutil.rmtree(day_of(tmp_path / "after", 2))
    again = np.concatenate([unit(28, 2), unit(5, 7)])  # two rows lost, five came, and one row was embedded anew
    again[0] = unit(1, 8)[0]
    np.save(tmp_path / "again.npy", again)
    build(index, 2, vectors="again.npy", first_id=2000, out="after")
    found = index("diff", "shards", "after", "--json")
    assert found["days_changed"] == ["2026-11-02"]
    # ids 2000 to 2029 became 2000 to 2032: 2028 and 2029 are other pictures, as is 2000
    assert (found["rows_added"], found["rows_removed"], found["rows_changed"]) == (3, 0, 3)
    assert index("diff", "after", "shards", "--json")["rows_removed"] == 3
    for name in ("shards", "after"):
        index("merge", name, "-o", f"{name}.faiss")
    merged = index("diff", "shards.faiss", "after.faiss", "--json")
    assert {key: merged[key] for key in ("rows_added", "rows_removed", "rows_changed")} == {
        key: found[key] for key in ("rows_added", "rows_removed", "rows_changed")
    }
    assert merged["days_changed"] == []
    assert "equal" in index("diff", "shards", "shards")


def test_diff_of_a_day_that_one_side_lacks_and_of_two_trainings(index, shards, tmp_path):
    gone = index("diff", "shards", day_of(shards, 1), "--json")
    assert (gone["days_changed"], gone["rows_removed"]) == (["2026-11-02"], 30)
    index("train", "1.npy", "--codec", "flat", "--nlist", 4, "-o", "flat.faiss")
    build(index, 2, quantizer="flat.faiss", first_id=2010, out="flat")
    other = index("diff", day_of(shards, 2), "flat", "--json")
    assert (other["rows_added"], other["rows_removed"], other["rows_changed"]) == (10, 10, 20)


def test_inspect_adds_up_to_the_files_bytes(index, shards, tmp_path):
    index("merge", "shards", "-o", "m.faiss")
    found = index("inspect", "m.faiss", "--json")
    assert sum(found["bytes_by_part"].values()) == found["bytes"] == (tmp_path / "m.faiss").stat().st_size
    assert (found["rows"], found["nlist"], found["codec"], found["is_canonical"]) == (430, 4, "sq8", True)
    assert found["bytes_by_part"]["codes"] == 430 * DIM
    assert found["id_blocks"] == [[1000, 1399], [2000, 2029]]
    raw: Any = faiss.read_index(str(tmp_path / "m.faiss"))
    assert found["lists"]["imbalance"] == pytest.approx(raw.invlists.imbalance_factor())
    assert "sq8, 16 dimensions" in index("inspect", day_of(shards, 1))
    assert index("inspect", "q.faiss", "--json")["lists"]["imbalance"] is None


WRONG = [
    (("merge", "shards"), "give either -o FILE or --dry-run"),
    (("merge", "shards", "--dry-run", "--category", "hats"), "no shard of category 'hats'"),
    (("merge", "nowhere", "--dry-run"), "nowhere: holds no shard"),
    (("verify",), "name what to verify"),
    (("verify", "q.faiss", "shards"), "an index file is verified alone"),
    (("diff", "q.faiss", "shards"), "an index file has no days"),
    (("inspect", "1.npy"), "faiss cannot read this file"),
    (("train", "1.npy", "-o", "q.faiss"), "is there already, with other content"),
    (("train", "1.npy", "--codec", "zip", "-o", "z.faiss"), "codec 'zip' is unknown"),
    (("train", "2.npy", "--nlist", "9", "-o", "z.faiss"), "too few for 9 lists"),
    (("build", "q.faiss", "1.npy", "--date", "1.11.", "-o", "x"), "is no day"),
    (("build", "q.faiss", "1.npy", "--date", "2026-11-01", "--space", "../up", "-o", "x"), "cannot be a folder"),
    (("build", "none.faiss", "1.npy", "--date", "2026-11-01", "-o", "x"), "none.faiss: cannot be read"),
]


def test_a_wrong_call_ends_with_2_and_says_what_to_do(index, shards, tmp_path):
    for arguments, says in WRONG:
        assert says in index(*arguments, ends=EXIT_USAGE)
    assert not (tmp_path / "z.faiss").exists()
    assert not (tmp_path / "x").exists()


def test_the_group_is_mounted_and_a_refusal_is_one_line(main_in, shards, tmp_path):
    done = main_in(tmp_path, "index", "merge", "shards")
    assert (done.code, done.out) == (EXIT_USAGE, "")
    assert done.err.strip() == "error: give either -o FILE or --dry-run"


def test_what_a_killed_build_left_is_no_shard(index, shards):
    folder = day_of(shards, 1)
    shutil.copytree(folder, folder.parent / ".writing-abc")
    assert len(find_shards([shards])) == 3


def test_a_quantizer_that_is_not_there_is_named_before_anything_is_read(index, shards):
    for command in ("verify", "merge --dry-run"):
        said = index(*command.split(), shards, "--quantizer", "gone.faiss", ends=EXIT_USAGE)
        assert "gone.faiss: cannot be read: No such file or directory" in said


def test_a_day_of_nothing_and_a_quantizer_of_one_list_build_and_merge(index, tmp_path):
    np.save(tmp_path / "3.npy", unit(0, 3))
    index("train", "3.npy", "-o", "exact.faiss")
    build(index, 3, quantizer="exact.faiss")
    assert index("merge", "shards", "-o", "m.faiss", "--json")["rows"] == 0
    assert index("verify", "m.faiss", "--json")["violations"] == []

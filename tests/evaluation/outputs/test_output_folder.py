"""Five files on every verdict, of one verdict, the same bytes from the same inputs, all of them or none."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from evaluation.outputs import FILES, write_outputs
from evaluation.outputs.verdict_json import read_verdict, verdict_bytes
from evaluation.system import View
from reporting.errors import DataError, StoreError
from tests.evaluation.report_world import bad_candidate, small_set, system, verdict_of

SET = small_set()
RELEASE = system(SET, {View.SERVED: {}}, name="old")
BAD = bad_candidate(SET)
FAIL = verdict_of(SET, BAD, RELEASE)


def write(folder: Path) -> tuple[Path, ...]:
    return write_outputs(FAIL, SET, BAD, release=RELEASE, folder=folder)


def test_all_five_are_written_into_a_folder_that_was_not_there(tmp_path):
    paths = write(tmp_path / "deep" / "out")
    assert {path.name for path in paths} == set(FILES) == {path.name for path in (tmp_path / "deep" / "out").iterdir()}
    assert paths[0].name == "verdict.json"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]  # nothing partial is left


def test_equal_inputs_give_equal_bytes(tmp_path):
    ones, others = write(tmp_path / "a"), write(tmp_path / "b")
    for one, other in zip(ones, others, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_a_second_verdict_replaces_the_first_and_leaves_other_files_alone(tmp_path):
    write(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    good = verdict_of(SET, RELEASE, RELEASE)
    write_outputs(good, SET, RELEASE, release=RELEASE, folder=tmp_path)
    assert read_verdict(tmp_path / "verdict.json") == good
    assert (tmp_path / "summary.md").read_text().startswith(f"## {good.verdict}")
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "notes.txt"}


@pytest.mark.parametrize("survives", range(5))
def test_a_writer_that_dies_between_two_files_leaves_no_verdict_that_the_others_contradict(
    tmp_path, monkeypatch, survives
):
    out = tmp_path / "out"
    write(out)
    real = Path.replace
    done: list[Path] = []

    def replace(self: Path, target: Path) -> Path:
        if len(done) == survives:
            raise OSError(28, "No space left on device")
        done.append(target)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(StoreError, match=r"No space left.*--out"):
        write(out)
    assert not (out / "verdict.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_cannot_be_made_is_an_error_of_the_store(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as raised:
        write(tmp_path / "file" / "out")
    assert raised.value.exit_code == 4


def test_verdict_json_is_canonical():
    text = verdict_bytes(FAIL).decode()
    document = json.loads(text)
    assert json.dumps(document, sort_keys=True, ensure_ascii=False, indent=1) + "\n" == text
    assert document["schema"] == "verdict/1"
    for number in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", re.sub(r'"[^"]*"', "", text)):
        assert float(number) == round(float(number), 12)
    assert not re.search(r"\d\.0\b[,\n]", re.sub(r'"[^"]*"', "", text)), "whole numbers have no point"
    assert "NaN" not in text


def test_verdict_json_is_read_back_as_it_was(tmp_path):
    (tmp_path / "verdict.json").write_bytes(verdict_bytes(FAIL))
    assert read_verdict(tmp_path / "verdict.json") == FAIL
    assert verdict_bytes(read_verdict(tmp_path / "verdict.json")) == verdict_bytes(FAIL)


def test_the_order_of_inputs_does_not_change_the_bytes():
    turned = FAIL.model_copy(update={"inputs": dict(reversed(list(FAIL.inputs.items())))})
    assert list(turned.inputs) != list(FAIL.inputs)
    assert verdict_bytes(turned) == verdict_bytes(FAIL)


def test_what_is_no_verdict_is_refused_with_its_place(tmp_path):
    with pytest.raises(DataError, match="run `funnelgate gate`"):
        read_verdict(tmp_path / "verdict.json")
    (tmp_path / "verdict.json").write_text('{"verdict": "PERHAPS"}')
    with pytest.raises(DataError, match=r"verdict\.json: verdict"):
        read_verdict(tmp_path / "verdict.json")


def test_verdict_json_is_the_last_to_appear():
    assert FILES[-1] == "verdict.json"
    assert all(one != other for one, other in pairwise(FILES))

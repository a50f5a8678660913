"""The configuration of a training run: faults are shown where they stand, paths are beside the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.learn.config import ScenesSource, VocSource, load_config, with_data
from pipeline.models.detector import version_of
from reporting.errors import ConfigError
from tests.pipeline.models.blobs import detector_spec

SCENES = """\
name: tiny
version: 1
source:
  kind: scenes
  train: 96
  test: 16
training:
  epochs: 2
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("  train: 96", "  trainn: 96", r"tiny\.yaml:5: unknown key 'source\.trainn'; did you mean train\?"),
        ("  epochs: 2", "  epoch: 2", r"tiny\.yaml:8: unknown key 'training\.epoch'; did you mean epochs\?"),
        ("version: 1", "version: 1\nwidth: 200", r"tiny\.yaml:3: width: .*multiple of 32"),
        ("version: 1", "version: 1\nheight: 100", r"tiny\.yaml:3: height: .*multiple of 32"),
        ("  train: 96", "  train: 7", r"tiny\.yaml:5: source\.train: .*greater than or equal to 8"),
        ("kind: scenes", "kind: scene", r"tiny\.yaml:4: unknown source\.kind 'scene'; did you mean scenes\?"),
        ("  kind: scenes\n", "", r"tiny\.yaml:3: unknown source\.kind ''; expected one of: scenes, voc"),
        ("name: tiny", "name: ../tiny", r"tiny\.yaml:1: name: .*pattern"),
        ("  epochs: 2", "  epochs: 2\n  learning_rate: .nan", r"tiny\.yaml:9: training\.learning_rate: "),
        (SCENES, "- 1", "dictionary"),
    ],
)
def test_a_fault_is_shown_with_file_line_and_key(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in SCENES
    with pytest.raises(ConfigError, match=says):
        load_config(written(tmp_path, SCENES.replace(old, new)))


@pytest.mark.parametrize(("kind", "key"), [("scenes", "photos"), ("voc", "folder")])
def test_a_path_is_relative_to_the_file_and_not_to_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, key: str
) -> None:
    source: dict[str, Any] = {"kind": kind, key: "../pictures"} | ({"train": 8, "test": 8} if kind == "scenes" else {})
    (tmp_path / "here").mkdir()
    path = written(tmp_path / "here", yaml.safe_dump({**yaml.safe_load(SCENES), "source": source}))
    monkeypatch.chdir("/")
    assert getattr(load_config(path).source, key) == (tmp_path / "pictures").resolve()


def test_another_folder_of_data_leaves_the_rest_as_it_was(tmp_path: Path) -> None:
    scenes = load_config(written(tmp_path, SCENES))
    voc = load_config(written(tmp_path, SCENES.replace("scenes\n  train: 96\n  test: 16", "voc\n  flips: false")))
    for config, key in ((scenes, "photos"), (voc, "folder")):
        found = with_data(config, tmp_path)
        assert getattr(found.source, key) == tmp_path
        assert found.model_dump(exclude={"source": {key}}) == config.model_dump(exclude={"source": {key}})
    assert isinstance(scenes.source, ScenesSource)
    assert voc.source == VocSource(kind="voc", flips=False)


def test_the_longest_name_and_version_still_make_a_key_of_the_table_of_ids(tmp_path: Path) -> None:
    text = SCENES.replace("tiny", "n" * 40).replace("version: 1", "version: 999999")
    config = load_config(written(tmp_path, text))
    assert len(version_of(detector_spec().model_copy(update={"name": config.name, "version": config.version}))) == 64
    for changed in (text.replace("name: ", "name: n"), text.replace("999999", "1000000")):
        with pytest.raises(ConfigError, match=r"tiny\.yaml:[12]: (name|version)"):
            load_config(written(tmp_path, changed))


def test_the_examples_are_valid(repository: Path) -> None:
    kinds = {path.stem: load_config(path).source.kind for path in (repository / "examples/learn").glob("*.yaml")}
    assert kinds == {"detector": "scenes", "bccd": "voc"}

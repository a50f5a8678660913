"""From a configuration to a detector: run as it is meant to be, run again, and killed on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.models.catalog import open_detector
from pipeline.models.detector import Detector
from pipeline.models.spec import DetectorOutput, load_spec
from reporting.errors import EXIT_INFRASTRUCTURE, EXIT_OK, EXIT_USAGE
from tests.pipeline.conftest import Ended
from tests.pipeline.learn.voc_folder import Marked, voc_folder

pytestmark = [pytest.mark.slow, pytest.mark.train, pytest.mark.usefixtures("training_packages")]
Main = Callable[..., Ended]
COMMAND = ("learn", "detector", "--config", "tiny.yaml", "--json", "--workers", "1")
EPOCHS = 2
SCENES = """\
name: tiny
version: 4
seed: 3
width: 128
height: 128
source: {kind: scenes, train: 96, test: 24, looks: [noto]}
training: {epochs: 2, batch: 16, channels: 16}
"""
VOC = """\
name: dots
version: 1
width: 128
height: 128
source: {kind: voc, folder: data}
training: {epochs: 4, batch: 16, channels: 16}
answer: {score_thr: 0.3}
"""
KEYS = {
    "ap50", "mean_ap50", "main_object_hit", "seconds", "artifact", "space_id", "report", "resumed_epochs", "result"
}  # fmt: skip


def written(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.yaml").write_text(text, encoding="utf-8")
    return folder


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "funnelgate", *COMMAND],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def learn(folder: Path) -> dict[str, Any]:
    with start(folder) as process:
        out, err = process.communicate(timeout=300)
    return answered(Ended(process.returncode, out, err))


def learn_here(main_in: Main, folder: Path) -> dict[str, Any]:
    """The same in this process, which has torch loaded already."""
    return answered(main_in(folder, *COMMAND))


def answered(ended: Ended) -> dict[str, Any]:
    assert ended.code == EXIT_OK, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    assert set(found) == KEYS
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("scenes") / "here", SCENES)


@pytest.fixture(scope="module")
def learned(training_packages: None, folder: Path) -> dict[str, Any]:
    return learn(folder)


def test_the_model_opens_as_what_the_command_says_it_is(folder: Path, learned: dict[str, Any]) -> None:
    assert learned["artifact"] == "models/tiny"
    found = open_detector(str(folder / learned["artifact"]))
    assert isinstance(found, Detector)
    assert found.version == f"tiny@4:{learned['space_id']}"
    assert "food-fruit" in found.classes
    assert len(found.detect_images([np.full((90, 60, 3), 200, np.uint8)])) == 1
    assert found.spec.metrics["ap50"] == learned["ap50"]
    assert found.spec.metrics["main_object_hit"] == learned["main_object_hit"]
    assert [path.name for path in (folder / "models").iterdir()] == ["tiny"]
    assert {path.name for path in (folder / "models/tiny").iterdir()} == {"model.onnx", "spec.json", "LICENSE"}


def test_the_figures_are_those_of_the_test_and_the_page_is_there(folder: Path, learned: dict[str, Any]) -> None:
    assert learned["resumed_epochs"] == 0
    assert learned["result"]["picture_count"] == 24
    assert learned["result"]["ap50"] == learned["ap50"]
    assert learned["result"]["main_object_hit"]["value"] == learned["main_object_hit"]
    assert 0 <= learned["ap50"] <= 1
    page = (folder / learned["report"]).read_text(encoding="utf-8")
    assert learned["space_id"] in page
    assert page.count("<figure>") == 24


def test_the_same_command_again_trains_nothing_and_answers_the_same(folder: Path, learned: dict[str, Any]) -> None:
    before = (folder / "models/tiny/spec.json").read_bytes()
    again = learn(folder)
    assert again["resumed_epochs"] == EPOCHS
    changing = {"seconds", "resumed_epochs"}
    assert {k: v for k, v in again.items() if k not in changing} == {
        k: v for k, v in learned.items() if k not in changing
    }
    assert (folder / "models/tiny/spec.json").read_bytes() == before


def dots(folder: Path) -> Path:
    """A folder of pictures with one or two marked rectangles of two classes."""
    rng = np.random.default_rng(8)
    pictures: dict[str, list[Marked]] = {}
    for number in range(80):
        x, y = (int(value) for value in rng.integers(4, 60, 2))
        pictures[f"p{number}"] = [("red" if number % 2 else "blue", x + 1, y + 1, x + 30, y + 24)]
    stems = list(pictures)
    voc_folder(folder, pictures, size=(100, 90), trainval=stems[:70], test=stems[70:])
    for number, (stem, [(_, x0, y0, x1, y1)]) in enumerate(pictures.items()):
        image = np.full((90, 100, 3), rng.integers(100, 160), np.uint8)
        image[int(y0) - 1 : int(y1), int(x0) - 1 : int(x1)] = (200, 0, 0) if number % 2 else (0, 0, 200)
        Image.fromarray(image).save(folder / "JPEGImages" / f"{stem}.jpg", quality=95)
    return folder


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    latest = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < latest, "waited too long"
        time.sleep(0.005)


def killed_when(process: subprocess.Popen[str], holds: Callable[[], bool]) -> None:
    """End a run as a power cut would as soon as something holds; returns when its workers have ended too."""
    until(lambda: holds() or process.poll() is not None)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def test_a_run_killed_during_features_and_during_training_ends_with_the_same_weights(
    tmp_path: Path, main_in: Main
) -> None:
    whole, here = (written(tmp_path / name, VOC) for name in ("whole", "here"))
    for folder in (whole, here):
        dots(folder / "data")
    wanted = learn_here(main_in, whole)
    work = here / "learn-run/dots"
    killed_when(start(here), lambda: any(work.glob("features-*/*.npz")))
    assert 1 <= len(list(work.glob("features-*/*.npz"))) < 5  # of five chunks
    assert not list(work.glob("*.checkpoint"))
    killed_when(start(here), lambda: any(work.glob("*.checkpoint")))
    assert not list((here / "models").iterdir())
    found = learn_here(main_in, here)
    assert 1 <= found["resumed_epochs"] < 4
    assert found["space_id"] == wanted["space_id"]
    ours, theirs = load_spec(here / "models/dots"), load_spec(whole / "models/dots")
    assert ours.artifact_sha256 == theirs.artifact_sha256
    assert [path.name for path in (here / "models").iterdir()] == ["dots"]
    assert not list(work.rglob("*.part"))


def test_changed_boxes_are_trained_on_and_a_damaged_picture_is_named(tmp_path: Path, main_in: Main) -> None:
    here = written(tmp_path / "here", VOC.replace("epochs: 4", "epochs: 1").replace("data}", "data, flips: false}"))
    dots(here / "data")
    first = learn_here(main_in, here)
    voc_folder(here / "data", {"p3": [("red", 2, 2, 9, 9)]}, size=(100, 90))
    second = learn_here(main_in, here)
    assert second["resumed_epochs"] == 0
    assert second["space_id"] != first["space_id"]
    (here / "data/JPEGImages/p4.jpg").write_bytes(b"no picture")
    ended = main_in(here, *COMMAND)
    assert (ended.code, ended.out) == (EXIT_USAGE, "")
    assert "p4.jpg: cannot be read" in ended.err
    assert load_spec(here / "models/dots").space_id == second["space_id"]  # the model that was there


def test_other_thresholds_need_no_other_training(tmp_path: Path, main_in: Main) -> None:
    text = VOC.replace("epochs: 4", "epochs: 1").replace("data}", "data, flips: false}")
    here = written(tmp_path / "here", text)
    dots(here / "data")
    first = learn_here(main_in, here)
    second = learn_here(main_in, written(here, text.replace("0.3", "0.0")))
    assert (first["resumed_epochs"], second["resumed_epochs"]) == (0, 1)
    assert second["space_id"] != first["space_id"]
    output = load_spec(here / "models/dots").output
    assert isinstance(output, DetectorOutput)
    assert output.score_thr == 0
    assert second["result"] == first["result"]  # measured on everything that was found


def test_a_folder_that_cannot_be_made_is_refused_before_the_work(tmp_path: Path, main_in: Main) -> None:
    here = written(tmp_path / "here", VOC)
    (here / "models").write_text("a file")
    ended = main_in(here, *COMMAND)
    assert (ended.code, ended.out) == (EXIT_INFRASTRUCTURE, "")
    assert "models: cannot be made: File exists; name another folder" in ended.err
    assert not (here / "learn-run").exists()


def test_no_run_ends_because_a_package_is_missing_after_it_has_trained(
    tmp_path: Path, main_in: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("onnx", "faster_coco_eval"):
        monkeypatch.setitem(sys.modules, package, None)
        ended = main_in(written(tmp_path, VOC), *COMMAND)
        assert ended.code == EXIT_USAGE
        assert f"training needs {package}, which is not installed" in ended.err
        monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]

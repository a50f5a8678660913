"""`funnelgate learn detector` as people call it: what it refuses, and what it prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.learn import detector as detector_module
from pipeline.learn.detector import Learned
from pipeline.learn.stages import Stages
from reporting.errors import EXIT_OK, EXIT_USAGE
from tests.pipeline.conftest import Ended

Main = Callable[..., Ended]
SCENES = """\
name: tiny
version: 4
seed: 3
width: 128
height: 128
source: {kind: scenes, train: 96, test: 24, looks: [noto]}
training: {epochs: 2, batch: 16, channels: 16}
"""


def written(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.yaml").write_text(text, encoding="utf-8")
    return folder


def test_without_torch_it_says_what_to_install_and_makes_nothing(
    tmp_path: Path, main_in: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    ended = main_in(written(tmp_path, SCENES), "learn", "detector", "--config", "tiny.yaml", "--json")
    assert ended.code == EXIT_USAGE
    assert "training needs torch, which is not installed" in ended.err
    assert "pip install torch==" in ended.err
    assert ended.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--config", "gone.yaml"), "gone.yaml: no such file"),
        ((), "Missing option"),
        (("--config", "tiny.yaml", "--workers", "0"), "Invalid value for '--workers'"),
    ],
)
def test_a_wrong_call_is_refused(tmp_path: Path, main_in: Main, arguments: tuple[str, ...], says: str) -> None:
    ended = main_in(written(tmp_path, SCENES), "learn", "detector", *arguments)
    assert (ended.code, ended.out) == (EXIT_USAGE, "")
    assert says in ended.err


@pytest.mark.parametrize("ap50", [0.8126, None])
def test_people_are_told_the_figures_the_model_and_the_report(
    tmp_path: Path, main_in: Main, monkeypatch: pytest.MonkeyPatch, ap50: float | None
) -> None:
    asked: dict[str, Any] = {}

    def stand_in(config: Any, **given: Any) -> Learned:
        asked.update(given, config=config)
        return Learned(
            ap50=ap50,
            mean_ap50=None,
            main_object_hit=0.9375,
            seconds=61.4,
            artifact="models/tiny",
            space_id="0123456789abcdef",
            report="learn-run/tiny/report.html",
            resumed_epochs=0,
            result={},
        )

    monkeypatch.setattr(detector_module, "learn_detector", stand_in)
    ended = main_in(written(tmp_path, SCENES), "learn", "detector", "--config", "tiny.yaml", "--data", "photos")
    assert ended.code == EXIT_OK
    shown = "no object to find" if ap50 is None else "AP50 0.813"
    assert ended.out.splitlines() == [
        f"{shown}, main object hit 0.938, 61 s",
        "model:  models/tiny (space 0123456789abcdef)",
        "report: learn-run/tiny/report.html",
    ]
    assert (asked["out"], asked["work"]) == (Path("models"), Path("learn-run/tiny"))
    assert asked["workers"] == os.cpu_count()
    assert asked["config"].source.photos == tmp_path / "photos"
    assert callable(asked["measure_boxes"])


def test_quiet_stages_show_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (True, False):
        with Stages(quiet=quiet) as stages, stages.stage("training", 3) as step:
            step(2)
            stages.say("epoch 1")
        out, err = capsys.readouterr()
        assert out == ""
        assert ("epoch 1" in err and "training" in err) != quiet

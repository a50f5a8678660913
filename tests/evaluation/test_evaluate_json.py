"""What the commands of this folder print with --json follows docs/schemas, key by key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from evaluation import cli
from evaluation.set_files import write_set
from tests.checks.schemas import follow
from tests.evaluation.small_set import small_set

# q1 finds its product first, q2 only a distractor
RUN = "q1 Q0 i1 1 0.9 r\nq1 Q0 d1 2 0.5 r\nq2 Q0 d1 1 0.9 r\n"
BETTER = RUN + "q2 Q0 i2 2 0.8 r\n"
GATE = """schema: gate/1
rules:
  - {id: hit-floor, kind: floor, metric: hit@10, min: 0.9}
  - {id: hit-ni, kind: noninferior, metric: hit@10, margin_pp: 1, vs: [release]}
"""


class Place(NamedTuple):
    """A set and the files of two systems."""

    folder: Path
    evalset: Path

    def printed(self, *words: object, code: int = 0) -> Any:
        app = typer.Typer()
        app.callback()(lambda: None)
        cli.add_to(app)
        done = CliRunner().invoke(app, [*map(str, words), "--json"], standalone_mode=False)
        assert done.exception is None, done.exception
        assert (done.return_value or 0) == code
        return json.loads(done.stdout)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    for name, text in {"a.run": RUN, "b.run": BETTER, "gate.yaml": GATE}.items():
        (tmp_path / name).write_text(text)
    return Place(tmp_path, write_set(small_set(), tmp_path / "sets"))


def test_a_set_as_it_is_built_and_shown(place):
    for number, name in enumerate(("q/shoes/g1/a.png", "g/shoes/g1/b.png", "d/same_style/c.png", "d/noise/d.png")):
        path = place.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    here, domains = place.folder, ("--query-domain", "phones", "--gallery-domain", "studio")
    sources = (here / "q", "--gallery-from", here / "g", "--distractors", here / "d", "--name", "tiny")
    built = place.printed("evaluate", "build-set", *sources, *domains, "--out", here / "sets")
    follow("evaluate-set", built)
    follow("evaluate-set", place.printed("evaluate", "show-set", built["path"]))
    dry = place.printed("evaluate", "build-set", *sources, *domains, "--dry-run")
    follow("evaluate-set", dry)
    assert dry["path"] is None
    assert {**dry, "path": built["path"]} == built


def test_a_run_of_a_set_and_what_it_did_not_find(place):
    follow(
        "evaluate-run", place.printed("evaluate", "run", "--set", place.evalset, "--searcher", place.folder / "a.run")
    )
    wanted = place.printed("evaluate", "crawl-list", "--set", place.evalset, "--candidate", place.folder / "a.run")
    follow("evaluate-crawl-list", wanted)
    assert [row["query_id"] for row in wanted] == ["q2"]


def test_a_run_of_trec_files(place):
    qrels = place.folder / "qrels.txt"
    qrels.write_text("q1 0 i1 1\nq2 0 i2 1\nq3 0 i9 1\n")
    words = ("evaluate", "run", "--qrels", qrels, "--run", place.folder / "a.run", "--measures", "runid,map")
    document = place.printed(*words, "--per-query")
    follow("evaluate-run-trec", document)
    assert document["unanswered"] == ["q3"]
    follow("evaluate-run-trec", place.printed(*words))


def test_systems_and_detectors_side_by_side(place):
    runs = (place.folder / "a.run", place.folder / "b.run")
    compared = place.printed("evaluate", "compare", *runs, "--set", place.evalset)
    follow("evaluate-compare", compared)
    assert compared["flips"][0]["shown"][0]["question"] == "q2"
    lines = {
        "truth": '{"image_id": "a", "main_box": [0, 0, 9, 9], "category": "x"}\n',
        "one": '{"image_id": "a", "top1_box": [0, 0, 9, 8], "category": "x", "score": 0.9, "seconds": 0.1}\n',
        "other": '{"image_id": "a", "top1_box": null, "category": "y", "score": 0.9}\n',
    }
    for name, text in lines.items():
        (place.folder / f"{name}.jsonl").write_text(text)
    boxes = place.printed("evaluate", "compare-boxes", *(place.folder / f"{name}.jsonl" for name in lines))
    follow("evaluate-compare-boxes", boxes)


def test_a_verdict_and_one_of_its_queries(place):
    config, out = place.folder / "gate.yaml", place.folder / "out"
    files = ("--candidate", place.folder / "a.run", "--release", place.folder / "b.run")
    verdict = place.printed("gate", "--set", place.evalset, *files, "--config", config, "--out", out, code=1)
    follow("gate", verdict)
    lost = place.printed("explain", "q2", "--out", out)
    follow("explain", lost)
    for system in lost["systems"].values():
        follow("explain", {**lost, "systems": {"candidate": system}})
    assert lost["systems"]["candidate"]["why"] is not None
    assert lost["systems"]["release"]["rank"] == 2


def test_what_the_tools_of_the_gate_say(place):
    config = place.folder / "gate.yaml"
    follow("evaluate-gate-check", place.printed("evaluate", "gate-check", config, "--set", place.evalset, code=3))
    run = ("--run", place.folder / "b.run", "--config", config)
    mutated = place.printed("evaluate", "gate-mutate", "--set", place.evalset, *run, code=3)
    follow("evaluate-gate-mutate", mutated)

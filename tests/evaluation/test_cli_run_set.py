"""`funnelgate evaluate run` of a system on an evaluation set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from evaluation.cli_run import register
from evaluation.searchers.run_file import read_system
from evaluation.set_files import load_set, write_set
from evaluation.system import View
from reporting.errors import DataError, UsageError
from tests.evaluation.small_set import image, query, small_set

# q1 finds its product first, q2 second, q3 was never asked
RUN = "q1 Q0 i1 1 0.9 r\nq1 Q0 d1 2 0.5 r\nq2 Q0 d1 1 0.9 r\nq2 Q0 i2 2 0.8 r\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set of three queries, on disk."""
    sound = small_set()
    third = sound.labels[0].model_copy(update={"query_id": "q3", "group_id": "g3"})
    evalset = small_set(
        queries=(*sound.queries, query("q3", cluster="g3")),
        labels=(*sound.labels, third),
        catalog=(*sound.catalog, image("i3", "g3")),
    )
    return write_set(evalset, tmp_path / "sets")


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.run"
    path.write_text(RUN)
    return path


def evaluate(*arguments: object) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    return CliRunner().invoke(app, ["run", *map(str, arguments)])


def test_json_has_every_metric_with_its_interval_overall_and_by_slice(folder: Path, run_file: Path):
    done = evaluate("--set", folder, "--searcher", run_file, "--k", "2,1", "--json")
    assert done.exit_code == 0, done.exception
    report = json.loads(done.stdout)
    assert (report["system"], report["set_id"], report["queries"]) == ("mine.run", folder.name, 3)
    assert report["statuses"] == {"answered": 2, "missing": 1}
    assert report["domains"] == ["phone photos", "studio pictures"]
    assert {name: report["metrics"][name]["value"] for name in ("hit@1", "hit@2", "mrr", "answer_rate")} == {
        "hit@1": pytest.approx(1 / 3),
        "hit@2": pytest.approx(2 / 3),
        "mrr": pytest.approx((1 + 1 / 2 + 0) / 3),
        "answer_rate": pytest.approx(2 / 3),
    }
    assert report["slices"]["category=shoes"]["hit@1"]["value"] == 0.5
    assert report["slices"]["category=hats"]["hit@2"]["n"] == 1
    assert "all" not in report["slices"]


def test_intervals_hold_the_value_and_are_never_of_no_width(folder: Path, run_file: Path):
    report = json.loads(evaluate("--set", folder, "--searcher", run_file, "--json").stdout)
    for name, one in report["metrics"].items():
        assert one["low"] <= one["value"] <= one["high"], name
    assert report["metrics"]["hit@10"]["high"] - report["metrics"]["hit@10"]["low"] > 0.1


def test_text_shows_how_queries_ended_metrics_and_slices(folder: Path, run_file: Path):
    text = evaluate("--set", folder, "--searcher", run_file).stdout
    for said in ("mine.run on", "phone photos -> studio pictures", "3 queries: 2 answered, 1 missing", "95 % interval"):
        assert said in text
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.split()}
    assert rows["hit@1"][0] == "0.3333"
    assert rows["category=hats"][:2] == ["1", "1"]


def test_saved_answers_read_back_as_the_same_system_and_are_never_overwritten(folder: Path, run_file: Path, tmp_path):
    saved = tmp_path / "runs" / "one"
    assert evaluate("--set", folder, "--searcher", run_file, "--save", saved).exit_code == 0
    evalset = load_set(folder)
    before, after = (read_system(path, evalset).views[View.SERVED] for path in (run_file, saved))
    assert (after.statuses, after.image_id.tolist()) == (before.statuses, before.image_id.tolist())
    again = evaluate("--set", folder, "--searcher", run_file, "--save", saved)
    assert isinstance(again.exception, UsageError)
    assert "is there already" in str(again.exception)


def test_a_run_that_answered_nothing_is_an_error_not_a_zero(folder: Path, tmp_path: Path):
    path = tmp_path / "none.run"
    path.write_text("other Q0 i1 1 0.9 r\n")
    assert isinstance(evaluate("--set", folder, "--searcher", path).exception, DataError)

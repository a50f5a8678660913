"""`evaluate build-set`, `show-set` and `crawl-list` as people call them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from evaluation.cli_sets import register
from evaluation.set_files import load_set
from reporting.errors import DataError, UsageError

DOMAINS = ["--query-domain", "phone photos", "--gallery-domain", "studio pictures"]


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    register(made)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.jpg").write_bytes(b"picture [a]")
    (tmp_path / "queries.csv").write_text("path,group,category\na.jpg,[g1],shoes\n")
    (tmp_path / "catalog.csv").write_text("image_id,group,category\ni1,[g1],shoes\ni2,g2,hats\n")
    (tmp_path / "others.csv").write_text("image_id,category,role\nd1,shoes,same_style\nd2,all,noise\n")
    return tmp_path


def build(app: typer.Typer, folder: Path, *options: str, distractors: bool = True) -> Any:
    given = ["--distractors", str(folder / "others.csv")] if distractors else []
    command = ["build-set", str(folder / "queries.csv"), "--catalog", str(folder / "catalog.csv"), "--name", "shoes"]
    return CliRunner().invoke(app, [*command, *DOMAINS, *given, *options])


def test_a_set_is_built_shown_and_built_again_to_the_same_folder(app, folder):
    sets = str(folder / "sets")
    made = build(app, folder, "--out", sets, "--json")
    assert made.exit_code == 0, made.output
    document = json.loads(made.stdout)
    loaded = load_set(Path(document["path"]))
    assert document["set_id"] == loaded.set_id == Path(document["path"]).name
    assert document["counts"] == {
        "queries": 1,
        "clusters": 1,
        "labels": 1,
        "images": 4,
        "groups": 4,
        "live_groups": 2,
        "product": 2,
        "same_style": 1,
        "noise": 1,
    }
    assert [row["slice"] for row in document["slices"]] == ["all", "category=shoes", "freq=tail"]
    assert document["slices"][0]["margin_pp"]["0.02"] == pytest.approx(
        95
    )  # what may hide where one query shows nothing
    shown = CliRunner().invoke(app, ["show-set", document["path"], "--json"])
    assert json.loads(shown.stdout) == document
    assert json.loads(build(app, folder, "--out", sets, "--json").stdout)["path"] == document["path"]
    table = CliRunner().invoke(app, ["show-set", document["path"]])
    for text in ("phone photos", "studio pictures", "1 of the same style, 1 noise", "exact copies only", "freq=tail *"):
        assert text in table.output


def test_a_dry_run_writes_nothing_and_says_the_same(app, folder):
    before = sorted(folder.iterdir())
    dry = build(app, folder, "--dry-run", "--json")
    assert sorted(folder.iterdir()) == before
    made = json.loads(build(app, folder, "--out", str(folder), "--json").stdout)
    assert {**json.loads(dry.stdout), "path": made["path"]} == made


def test_a_set_without_distractors_is_refused_unless_a_reason_is_recorded(app, folder):
    refused = build(app, folder, "--out", str(folder), distractors=False)
    assert isinstance(refused.exception, DataError)
    assert "no_distractors" in str(refused.exception)
    why = "the published benchmark [has] none"
    told = build(app, folder, "--out", str(folder), "--no-distractors", why, distractors=False)
    assert told.exit_code == 0, told.output
    assert f"no distractors: {why}" in told.output
    (path,) = folder.glob("shoes@*")
    assert load_set(path).gallery.no_distractors == why
    assert why in (path / "gallery.json").read_text()


def test_a_dry_run_shows_the_faults_and_fails(app, folder):
    done = build(app, folder, "--dry-run", distractors=False)
    assert isinstance(done.exception, DataError)
    assert "error no_distractors" in done.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --out FOLDER"),
        (["--out", "x", "--as-of", "today"], "'today' is no day"),
        (["--out", "x", "--self-match", "maybe"], "--self-match 'maybe'"),
        (["--out", "x", "--no-distractors", "no"], "--no-distractors 'no'"),
        (["--out", "x", "--min-n", "freq=tail"], "--min-n 'freq=tail'"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(app, folder, options, message):
    done = build(app, folder, *options)
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)


def test_a_declared_minimum_refuses_a_short_slice(app, folder):
    done = build(app, folder, "--dry-run", "--min-n", "category=*=2")
    assert isinstance(done.exception, DataError)
    assert "below_minimum" in str(done.exception)
    assert "category=shoes (1 of 2)" in str(done.exception)
    assert build(app, folder, "--dry-run", "--min-n", "category=*=1").exit_code == 0


def test_a_near_hash_that_the_root_hands_in_is_used(app, folder):
    class Context:
        def near_hash(self, data: bytes) -> str:
            return f"{len(data):016x}"

    (folder / "b.jpg").write_bytes(b"picture (a)")
    (folder / "catalog.csv").write_text("path,group,category\nb.jpg,[g1],shoes\n")
    command = ["build-set", str(folder / "queries.csv"), "--catalog", str(folder / "catalog.csv"), "--name", "shoes"]
    command += [*DOMAINS, "--distractors", str(folder / "others.csv"), "--dry-run"]
    done = CliRunner().invoke(app, command, obj=Context())
    assert isinstance(done.exception, DataError)
    assert "near_leakage" in str(done.exception)


def test_the_crawl_list_of_a_run_is_printed_and_written(app, folder):
    made = json.loads(build(app, folder, "--out", str(folder), "--json").stdout)
    run = folder / "one.run"
    run.write_text("a.jpg Q0 i2 1 0.9 one\na.jpg Q0 d1 2 0.8 one\n")
    command = ["crawl-list", "--set", made["path"], "--candidate", str(run)]
    done = CliRunner().invoke(app, [*command, "--out", str(folder / "wanted.csv")])
    assert done.exit_code == 0, done.output
    assert "1 of 1 queries found nothing" in done.output
    assert "[g1]" in done.output
    assert (folder / "wanted.csv").read_text().count("a.jpg") == 2
    (row,) = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert (row["query_id"], row["groups"], row["reason"], row["nearest"]) == ("a.jpg", ["[g1]"], "not_found", "i2")

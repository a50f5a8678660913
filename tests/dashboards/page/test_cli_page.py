"""The command `dashboards page` on a project of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

import funnelgate
from dashboards.cli_page import make_desk
from tests.dashboards.page import world

SCHEMA = Path(__file__).resolve().parents[3] / "docs" / "schemas" / "dashboards-page.json"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with settings and the world's store; nothing else of a pipeline."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "funnelgate.yaml").write_text(
        "store: {url: 'sqlite:///state/books.db'}\npipeline: pipeline.yaml\n"
        "kibana: {url: 'https://kibana.example', space: search}\n",
        encoding="utf-8",
    )
    (tmp_path / "pipeline.yaml").write_text(world.TOPOLOGY.model_dump_json(by_alias=True, exclude_none=True))
    world.fill(tmp_path / "state" / "books.db").close()
    return tmp_path


def run(*arguments: str):
    return CliRunner().invoke(funnelgate.app, ["dashboards", "page", *arguments])


def test_the_page_is_written_and_said_how_large(project):
    ended = run("--out", "out", "--json")
    assert ended.exit_code == 0, ended.output
    told = json.loads(ended.stdout)
    Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(told)
    pages = list((project / "out").rglob("*.html"))
    assert told["pages"] == len(pages)
    assert told["bytes"] == sum(path.stat().st_size for path in pages)
    assert told["largest_bytes"] == max(path.stat().st_size for path in pages)
    day = (project / "out" / "day" / f"{world.NEWEST}.html").read_text(encoding="utf-8")
    assert "https://kibana.example/s/search/app/dashboards#/view/funnelgate-funnel?_g=" in day


def test_only_the_days_asked_for_have_pages(project):
    assert run("--out", "out", "--from", str(world.BEFORE), "--to", str(world.BEFORE)).exit_code == 0
    names = {path.name for path in (project / "out" / "day").iterdir()}
    assert names == {f"{world.BEFORE}.html", f"{world.BEFORE}-leaves.html"}


@pytest.mark.parametrize(("arguments", "said"), [
    (["--from", "2026-10-27", "--to", "2026-10-20"], "is before --from"),
    (["--from", "yesterday"], "is no day"),
    (["--from", "2030-01-01", "--to", "2030-01-02"], "has a plan"),
])  # fmt: skip
def test_days_that_cannot_be_are_refused(project, arguments, said):
    ended = run("--out", "out", *arguments)
    assert said in str(ended.exception)
    assert getattr(ended.exception, "exit_code", None) == 2
    assert not (project / "out").exists()


def test_the_desk_takes_the_projects_graph(project):
    class Named:
        obj = funnelgate.Context(None)

    desk = make_desk(Named(), None, None)  # type: ignore[arg-type]
    assert desk.topology == world.TOPOLOGY
    assert desk.newest == world.NEWEST
    desk.store.close()  # type: ignore[attr-defined]

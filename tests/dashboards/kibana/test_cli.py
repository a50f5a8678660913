"""`funnelgate dashboards`: exit codes, what is printed, and where the settings come from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

import funnelgate
from dashboards.kibana.check import Report
from reporting.errors import ConfigError, FunnelgateError
from tests.dashboards.kibana.fake_kibana import FakeKibana
from tests.dashboards.kibana.test_check import SMALL

pytestmark = pytest.mark.slow

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of a small task graph, as the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.yaml").write_text(SMALL.model_dump_json(by_alias=True, exclude_none=True))
    (tmp_path / "funnelgate.yaml").write_text("pipeline: pipeline.yaml\nelastic: {prefix: shop}\n")
    return tmp_path


def follows(schema: str, text: str) -> dict[str, Any]:
    """The JSON that a command printed; it follows its published schema and has no key that the schema lacks."""
    document: dict[str, Any] = json.loads(text)
    published = json.loads((SCHEMAS / f"{schema}.json").read_text())
    Draft202012Validator({**published, "additionalProperties": False}).validate(document)
    return document


def run(*words: str) -> Result:
    return CliRunner().invoke(funnelgate.app, ["dashboards", *words])


def test_build_writes_a_file_a_dashboard_for_the_projects_own_graph_and_prefix(project):
    result = run("build", "--out", "out", "--legacy", "old/export.ndjson")
    assert result.exit_code == 0, result.output
    files = sorted(path.name for path in (project / "out").iterdir())
    assert "shop-funnel.json" in files
    assert len(files) == 10
    assert "01 read" in (project / "out" / "shop-funnel.json").read_text()
    assert (project / "old" / "export.ndjson").read_text().count("\n") > 10
    assert result.output.splitlines()[-1] == "old/export.ndjson"


def test_build_check_says_what_is_not_up_to_date_and_writes_nothing(project):
    run("build", "--out", "out")
    assert run("build", "--out", "out", "--check").exit_code == 0
    (project / "out" / "shop-gate.json").unlink()
    result = run("build", "--out", "out", "--check")
    assert (result.exit_code, result.output) == (1, "out/shop-gate.json: is missing\n")
    assert not (project / "out" / "shop-gate.json").exists()


@pytest.mark.parametrize("words", [("build",), ("build", "--legacy", "x", "--check")])
def test_build_without_a_place_is_bad_usage(project, words):
    result = run(*words)
    assert isinstance(result.exception, FunnelgateError)
    assert result.exception.exit_code == 2


def test_check_without_a_cluster_runs_no_query(project):
    result = run("check", "--json")
    assert result.exit_code == 0
    assert follows("dashboards-check", result.output)["queries_run"] == 0
    assert run("check").output.endswith("0 queries run: no problems\n")


def test_check_of_a_cluster_that_is_not_there_is_a_failure_of_the_network(project):
    with FakeKibana() as gone:
        pass
    result = run("check", "--elasticsearch", gone.url)
    assert isinstance(result.exception, FunnelgateError)
    assert result.exception.exit_code == 4


@pytest.mark.elasticsearch
def test_check_of_a_cluster_that_can_run_no_query_is_inconclusive(project, elastic_url):
    """Elasticsearch 9.5.3 as the tests start it: without the module of ES|QL."""
    result = run("check", "--elasticsearch", elastic_url, "--json")
    told = follows("dashboards-check", result.output)
    assert (result.exit_code, told["problems"], told["queries_run"]) == (3, [], 0)
    last = run("check", "--elasticsearch", elastic_url).output.splitlines()[-1]
    assert last.endswith(f"0 queries run, {len(told['not_run'])} not run: no problems")


@pytest.mark.parametrize(
    ("problems", "not_run", "code"), [([], [], 0), ([], ["x"], 3), (["p"], ["x"], 1), (["p"], [], 1)]
)
def test_the_exit_code_of_check_is_the_worst_that_it_found(project, monkeypatch, problems, not_run, code):
    told = Report(dashboards=1, panels=1, queries_run=1, problems=problems, not_run=not_run)
    monkeypatch.setattr("dashboards.kibana.check.check", lambda *_: told)
    assert run("check").exit_code == code


def test_deploy_twice_then_diff_finds_everything_in_place(project):
    with FakeKibana() as kibana:
        first = run("deploy", "--kibana", kibana.url, "--json")
        second = run("deploy", "--kibana", kibana.url, "--json")
        difference = run("diff", "--kibana", kibana.url)
    assert [one["outcome"] for one in follows("dashboards-deploy", first.output)["dashboards"]] == ["created"] * 10
    assert [one["outcome"] for one in follows("dashboards-deploy", second.output)["dashboards"]] == ["unchanged"] * 10
    assert (first.exit_code, second.exit_code, difference.exit_code) == (0, 0, 0)
    assert difference.output.splitlines()[0] == "unchanged  shop-funnel"


def test_a_dry_run_says_what_would_be_made_and_sends_only_get(project):
    with FakeKibana() as kibana:
        result = run("deploy", "--kibana", kibana.url, "--dry-run")
        assert (result.exit_code, set(kibana.methods())) == (0, {"GET"})
        assert result.output.splitlines()[0] == "missing    shop-funnel"
        assert run("diff", "--kibana", kibana.url).exit_code == 1


def test_a_deploy_that_fails_half_way_ends_with_the_failures_code_and_lists_all(project):
    with FakeKibana(fail_put=2) as kibana:
        result = run("deploy", "--kibana", kibana.url)
    assert result.exit_code == 4
    assert result.output.splitlines()[:3] == [
        "created    shop-funnel",
        "failed     shop-plans",
        "not tried  shop-days",
    ]
    assert "HTTP 500" in result.output


def test_url_space_and_key_come_from_the_settings_and_the_options_go_before(project, monkeypatch):
    with FakeKibana(key="a2V5") as kibana:
        (project / "key").write_text("a2V5\n")
        (project / "funnelgate.yaml").write_text(
            f"pipeline: pipeline.yaml\nkibana: {{url: '{kibana.url}', space: team, api_key_file: key}}\n"
        )
        assert run("deploy").exit_code == 0
        assert {space for space, _ in kibana.stored} == {"team"}
        assert run("deploy", "--space", "other").exit_code == 0
        assert {space for space, _ in kibana.stored} == {"team", "other"}
        monkeypatch.setenv("FUNNELGATE_KIBANA__API_KEY", "d3Jvbmc=")  # goes before the file
        assert run("diff").exception is not None


def test_a_key_among_the_settings_is_refused(project):
    (project / "funnelgate.yaml").write_text("kibana: {api_key: secret}\n")
    result = run("check")
    assert isinstance(result.exception, ConfigError)
    assert "FUNNELGATE_KIBANA__API_KEY" in str(result.exception)
    assert "secret" not in str(result.exception)


def test_the_command_line_loads_no_heavy_library_for_the_group():
    code = "import sys, dashboards.cli; print(*[m for m in ('httpx', 'elasticsearch', 'pandas') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""

"""The CI files of examples/ci: their own commands, run as the services run them, keep the verdict and block on it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.ci.make_example import make_example

FOLDER = Path(__file__).parents[2] / "examples" / "ci"
VERDICTS = {"pass": ("PASS", 0), "fail": ("FAIL", 1), "inconclusive": ("INCONCLUSIVE", 3)}
FILES = {"verdict.json", "junit.xml", "summary.md", "report.html", "per_query.parquet"}
EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")
COMMENT = """#!/bin/sh
echo "$0 $*" >> "$CALLS"
"""


def parsed(name: str) -> dict[str, Any]:
    """Return a file as YAML 1.2 reads it: `on` is no truth value."""
    loaded: dict[Any, Any] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return {("on" if key is True else key): value for key, value in loaded.items()}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A checkout, with the commands that need a network in the way replaced by one that notes how it was called."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("gh", "curl"):
        (tools / name).write_text(COMMENT)
    (tools / "python").write_text(f'#!/bin/sh\n[ "$2" = pip ] && exec echo "$@"\nexec {sys.executable} "$@"\n')
    (tools / "funnelgate").write_text(f'#!/bin/sh\nexec {sys.executable} -m funnelgate "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    return checkout


def surroundings(place: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("HOME", "OMP_NUM_THREADS") if name in os.environ}
    path = f"{place.parent / 'tools'}:{os.environ['PATH']}"
    return {**kept, "PATH": path, "PYTHONPATH": str(FOLDER.parents[1]), "CALLS": str(place.parent / "calls"), **more}


def shell(script: str, place: Path, variables: Mapping[str, str], *options: str) -> int:
    """Run a script as a runner does; -e, so that the first command that fails ends it."""
    file = place.parent / "step.sh"
    file.write_text(script)
    return subprocess.run(["bash", *options, file], cwd=place, env=dict(variables), check=False).returncode


@dataclass
class Ran:
    """What became of a job."""

    failed: int | None = None
    """The exit code of the first step that failed."""
    steps: list[str] = field(default_factory=list)
    artefacts: list[str] = field(default_factory=list)


def run_github(workflow: Mapping[str, Any], place: Path, github: Mapping[str, str]) -> Ran:
    """Run the job `gate` step by step: after a failure only what says `!cancelled()` or `always()`."""
    ran = Ran()
    job = workflow["jobs"]["gate"]

    def filled(text: object, variables: Mapping[str, str]) -> str:
        known = {f"env.{name}": value for name, value in variables.items()} | {
            f"github.{k}": v for k, v in github.items()
        }
        return EXPRESSION.sub(lambda match: known[match[1]], str(text))

    shared = {name: str(value) for name, value in workflow["env"].items()}
    environment = surroundings(place, GITHUB_STEP_SUMMARY=str(place.parent / "summary"), GITHUB_REPOSITORY="o/r")
    for step in job["steps"]:
        condition = str(step.get("if", "success()"))
        if ran.failed is not None and not re.search(r"!cancelled\(\)|always\(\)", condition):
            continue
        if "github.event_name == 'pull_request'" in condition and github["event_name"] != "pull_request":
            continue
        variables = {
            **environment,
            **shared,
            **{key: filled(value, shared) for key, value in step.get("env", {}).items()},
        }
        ran.steps.append(step.get("name", step.get("uses")))
        if "uses" in step:
            if step["uses"].startswith("actions/upload-artifact@"):
                ran.artefacts += [path.name for path in (place / filled(step["with"]["path"], shared)).glob("*")]
            continue
        code = shell(step["run"], place, variables, "-e")
        ran.failed = code if code and ran.failed is None else ran.failed
    return ran


PULL_REQUEST = {
    "event_name": "pull_request", "token": "t", "event.pull_request.number": "7",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("candidate", VERDICTS)
def test_github_keeps_the_verdict_and_blocks_the_release_unless_it_passes(candidate: str, place: Path):
    word, code = VERDICTS[candidate]
    make_example(place / "gate", candidate)
    ran = run_github(parsed("github-actions.yml"), place, PULL_REQUEST)
    assert (ran.failed or 0) == code
    assert set(ran.artefacts) == FILES
    assert ran.steps[-1] == "Comment on the pull request"
    assert (place.parent / "summary").read_text() == (place / "gate-verdict" / "summary.md").read_text()
    assert json.loads((place / "gate-verdict" / "verdict.json").read_text())["verdict"] == word
    called = (place.parent / "calls").read_text()
    assert "gh pr comment 7 --repo o/r --edit-last --create-if-none --body-file gate-verdict/summary.md" in called
    report = ET.parse(place / "gate-verdict" / "junit.xml").getroot()
    assert (sum(1 for _ in report.iter("failure")) > 0) == (word != "PASS")


def test_both_files_judge_by_the_same_command():
    steps = {step.get("name"): step for step in parsed("github-actions.yml")["jobs"]["gate"]["steps"]}
    assert parsed("gitlab-ci.yml")["gate"]["script"] == [steps["Judge"]["run"]]


@pytest.mark.slow
def test_gitlab_keeps_the_verdict_and_blocks_the_release_where_it_is_not_proven(place: Path):
    word, code = VERDICTS["inconclusive"]
    make_example(place / "gate", "inconclusive")
    pipeline = parsed("gitlab-ci.yml")
    job = pipeline["gate"]
    predefined = {
        "GATE_COMMENT_TOKEN": "secret", "CI_MERGE_REQUEST_IID": "7", "CI_API_V4_URL": "https://host/api/v4",
        "CI_PROJECT_ID": "5",
    }  # fmt: skip
    variables = surroundings(place, **pipeline["variables"], **predefined)
    # The runner joins before_script and script, and stops at the first command that fails; after_script runs anyway.
    assert shell("\n".join([*job["before_script"], *job["script"]]), place, variables, "-eo", "pipefail") == code
    assert shell("\n".join(job["after_script"]), place, variables, "-eo", "pipefail") == 0
    kept = job["artifacts"]
    assert kept["when"] == "always"
    assert {path.name for folder in kept["paths"] for path in (place / folder).iterdir()} == FILES
    assert (place / kept["reports"]["junit"]).is_file()
    assert json.loads((place / "gate-verdict" / "verdict.json").read_text())["verdict"] == word
    called = (place.parent / "calls").read_text()
    assert "body@gate-verdict/summary.md https://host/api/v4/projects/5/merge_requests/7/notes" in called


def test_without_a_verdict_the_job_still_fails_and_says_so(place: Path):
    ran = run_github(parsed("github-actions.yml"), place, PULL_REQUEST | {"event_name": "push"})
    assert ran.failed == 2  # there is no set
    assert ran.artefacts == []
    assert "no verdict" in (place.parent / "summary").read_text()
    assert "Comment on the pull request" not in ran.steps


def test_the_release_waits_for_the_gate_and_nothing_lets_the_gate_fail_quietly():
    github, gitlab = parsed("github-actions.yml"), parsed("gitlab-ci.yml")
    assert github["jobs"]["release"]["needs"] == "gate"
    assert not re.search(r"always\(\)|failure\(\)|cancelled", str(github["jobs"]["release"]["if"]))
    assert "continue-on-error" not in (FOLDER / "github-actions.yml").read_text()
    assert gitlab["release"]["needs"] == ["gate"]
    assert "allow_failure" not in (FOLDER / "gitlab-ci.yml").read_text()
    assert gitlab["stages"] == ["gate", "release"]
    assert gitlab["release"].get("when") is None


def test_a_pull_request_gets_no_more_rights_than_a_comment_needs():
    github = parsed("github-actions.yml")
    assert github["permissions"] == {"contents": "read"}
    assert github["jobs"]["gate"]["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert set(github["on"]) == {"pull_request", "push"}  # pull_request_target would run a fork's code with our token
    for step in github["jobs"]["gate"]["steps"]:
        # What others write (titles, branch names) must not get into a script; it may into an environment.
        assert "${{" not in step.get("run", "")


def test_the_example_is_the_set_that_both_files_and_the_page_name(tmp_path: Path):
    folder = make_example(tmp_path / "gate", "pass")
    named = folder.relative_to(tmp_path).as_posix()
    github, gitlab = parsed("github-actions.yml"), parsed("gitlab-ci.yml")
    for variables in (github["env"], gitlab["variables"]):
        assert variables["GATE_SET"] == named
        for name in ("GATE_CANDIDATE", "GATE_RELEASE", "GATE_CONFIG"):
            assert (tmp_path / variables[name]).is_file()
    assert named in (FOLDER / "README.md").read_text()
    assert gitlab["gate"]["artifacts"]["paths"] == [f"{gitlab['variables']['GATE_OUT']}/"]
    assert gitlab["gate"]["artifacts"]["reports"]["junit"] == f"{gitlab['variables']['GATE_OUT']}/junit.xml"

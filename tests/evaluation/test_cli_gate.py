"""`funnelgate gate` and the commands about the gate itself: exit codes, files on every verdict, JSON, messages."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from jsonschema import Draft202012Validator

from evaluation import cli_gate, cli_gate_tools
from evaluation.catalog import Role
from evaluation.evalset import EvalSet
from evaluation.set_files import write_set
from reporting.errors import ConfigError, DataError, FunnelgateError, UsageError
from tests.evaluation.gate_world import world

SET = world(60, 5)
RULES = """\
schema: gate/1
rules:
  - {id: hit-floor, kind: floor, metric: hit@10, min: 0.9}
  - {id: hit-ni, kind: noninferior, metric: hit@10, margin_pp: 5, vs: [release]}
  - {id: recall-ni, kind: noninferior, metric: recall@10, margin_pp: 5, vs: [release]}
"""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str

    def json(self) -> Any:
        """Return what it printed."""
        return json.loads(self.out)


def call(*arguments: object) -> Ended:
    app = typer.Typer()
    cli_gate.add_to(app)
    cli_gate_tools.register(app)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = typer.main.get_command(app).main([str(one) for one in arguments], standalone_mode=False)
    return Ended(code if isinstance(code, int) else 0, out.getvalue())


def write_run(path: Path, evalset: EvalSet, misses: Sequence[int] = (), names: Sequence[str] = ("noise-1",)) -> Path:
    """Write a TREC run that finds all pictures of each product, except for some rows."""
    pictures: dict[str, list[str]] = {}
    for image in evalset.catalog:
        if image.role is Role.PRODUCT:
            pictures.setdefault(image.group_id, []).append(image.image_id)
    lines = [
        f"{query.query_id} Q0 {name} {rank} {1 - rank / 100} {path.stem}"
        for row, query in enumerate(evalset.queries)
        for rank, name in enumerate([*([] if row in misses else pictures[query.cluster]), *names])
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a set, a gate file and runs: of the release, a like one, and a bad one."""
    folder = tmp_path_factory.mktemp("gate")
    write_set(SET, folder).rename(folder / SET.set_id)
    (folder / "gate.yaml").write_text(RULES, encoding="utf-8")
    write_run(folder / "release.run", SET, [0])
    write_run(folder / "like.run", SET, [1], ["noise-2"])
    write_run(folder / "bad.run", SET, range(0, 300, 4))
    write_run(folder / "open.run", SET, range(0, 13))
    return folder


def judged(place: Path, out: Path, candidate: str, *more: object) -> Ended:
    given = ("--set", place / SET.set_id, "--config", place / "gate.yaml", "--out", out, "--as-of", "2026-11-20")
    return call("gate", *given, "--candidate", place / candidate, *more)


@pytest.mark.parametrize(
    ("candidate", "verdict", "code"),
    [("release.run", "PASS", 0), ("like.run", "PASS", 0), ("bad.run", "FAIL", 1), ("open.run", "INCONCLUSIVE", 3)],
)
def test_each_verdict_has_its_exit_code_and_writes_all_five_outputs(place, tmp_path, candidate, verdict, code):
    ended = judged(place, tmp_path, candidate, "--release", place / "release.run", "--json")
    found = ended.json()
    assert (found["verdict"], ended.code) == (verdict, code), found["reason"]
    assert {rule["id"] for rule in found["rules"]} == {"hit-floor", "hit-ni", "recall-ni"}
    assert {"id", "status", "value", "interval", "limit", "n"} <= found["rules"][0].keys()
    names = {"verdict.json", "junit.xml", "summary.md", "report.html", "per_query.parquet"}
    assert names <= {path.name for path in tmp_path.iterdir()}
    assert json.loads((tmp_path / "verdict.json").read_text())["verdict"] == verdict


def test_the_inputs_are_the_hashes_of_the_files(place, tmp_path):
    found = judged(place, tmp_path, "like.run", "--release", place / "release.run", "--json").json()
    inputs = found["inputs"]
    assert inputs["set"] == SET.sha256
    assert inputs["config"] == hashlib.sha256((place / "gate.yaml").read_bytes()).hexdigest()
    for role, name in (("candidate", "like.run"), ("release", "release.run")):
        sha256 = hashlib.sha256((place / name).read_bytes()).hexdigest()
        assert sha256 in {sha for key, sha in inputs.items() if key.startswith(f"{role}/")}


def test_the_document_follows_its_schema(place, tmp_path, repository):
    schema = json.loads((repository / "docs" / "schemas" / "gate.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    for candidate in ("like.run", "bad.run", "open.run"):
        document = judged(place, tmp_path, candidate, "--release", place / "release.run", "--json").json()
        assert list(Draft202012Validator(schema).iter_errors(document)) == []


def test_a_verdict_is_reproduced_byte_for_byte(place, tmp_path):
    for name in ("one", "two"):
        judged(place, tmp_path / name, "bad.run", "--release", place / "release.run")
    for file in ("verdict.json", "junit.xml", "summary.md"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_a_first_release_is_judged_by_its_floor(place, tmp_path):
    found = judged(place, tmp_path, "release.run", "--json").json()
    statuses = {rule["id"]: rule["status"] for rule in found["rules"]}
    assert statuses == {"hit-floor": "pass", "hit-ni": "not_applicable", "recall-ni": "not_applicable"}
    assert found["verdict"] == "PASS"


def test_people_read_the_verdict_first_and_why(place, tmp_path):
    ended = judged(place, tmp_path, "bad.run", "--release", place / "release.run")
    first = ended.out.splitlines()[0]
    assert first.startswith("FAIL")
    assert "hit-ni" in first
    assert "hit@10 of all differs by -24.667 pp" in ended.out


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ((), UsageError, "either --candidate RUN or --searcher"),
        (("--candidate", "a", "--searcher", "b"), UsageError, "either --candidate RUN or --searcher"),
        (("--candidate", "release.run", "--config", "nowhere.yaml"), ConfigError, "no such file"),
        (("--candidate", "release.run", "--as-of", "tomorrow"), UsageError, "is no day"),
    ],
)
def test_wrong_use_ends_with_exit_code_2(place, tmp_path, monkeypatch, arguments, error, said):
    monkeypatch.chdir(place)
    with pytest.raises(error, match=said) as raised:
        call("gate", "--set", place / SET.set_id, "--out", tmp_path, *arguments)
    assert raised.value.exit_code == 2


def test_a_run_for_other_queries_is_refused_and_never_scored_as_zero(place, tmp_path):
    run = tmp_path / "other.run"
    run.write_text("nobody Q0 noise-1 1 0.5 x\n", encoding="utf-8")
    with pytest.raises(FunnelgateError) as raised:
        judged(place, tmp_path / "out", str(run))
    assert isinstance(raised.value, DataError)


def test_gate_check_says_what_the_set_cannot_carry(place):
    ended = call("gate-check", place / "gate.yaml", "--set", place / SET.set_id, "--json")
    carries = {one["id"]: (one["carries"], one["n"]) for one in ended.json()["power"]}
    assert (ended.code, carries) == (0, {"hit-floor": ("yes", 300), "hit-ni": ("yes", 300), "recall-ni": ("yes", 300)})
    tight = call("gate-check", "default", "--set", place / SET.set_id)
    assert tight.code == 3
    assert "hit10-ni" in tight.out
    assert call("gate-check", "answers").code == 0


def test_gate_mutate_prints_what_was_killed_and_fails_where_something_got_through(place):
    said = ("gate-mutate", "--set", place / SET.set_id, "--run", place / "release.run", "--config", place / "gate.yaml")
    ended = call(*said, "--fault", "zeroed-category", "--json")
    assert (ended.code, ended.json()["mutations"][0]["outcome"]) == (0, "killed")
    through = call(*said, "--fault", "missing-answers", "--markdown")
    assert through.code == 1
    assert "| 1 % of queries unanswered |" in through.out
    with pytest.raises(UsageError, match="did you mean nprobe-1"):
        call(*said, "--fault", "nprobe1")


def test_the_schema_is_printed_as_json():
    assert "noninferior" in json.dumps(call("gate-schema").json())

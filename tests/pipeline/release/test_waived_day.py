"""A real day that the gate refused, let out by a person: the waiver stays with it, and everything else still counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.release.pointer import current, release_of
from tests.pipeline.judged_days import GATE, judged_project, verdict_of
from tests.pipeline.project import DAY_1, Project, run_here


@pytest.mark.slow
def test_a_failed_day_goes_out_only_with_a_waiver_that_names_it_and_its_bytes_are_proven(
    tmp_path: Path, main_in: Callable[..., Any]
) -> None:
    project: Project = judged_project(tmp_path / "days")
    impossible = "  - {id: impossible, kind: invariant, metric: orphan_ids, equals: 7}\n"
    (project.folder / "gate.yaml").write_text(GATE + impossible)
    (plan,) = run_here(project, DAY_1)
    lake = project.folder / "lake"
    assert current(lake) is None
    asked = ("release", "publish", "--date", str(DAY_1))
    refused = main_in(project.folder, *asked)
    assert refused.code == 1
    assert "is FAIL, expected PASS" in refused.err
    assert "a waiver instead of: FAIL" in refused.err
    assert not list(lake.glob("releases/*"))
    waived = ("--by", "ana", "--why", "no day has seven orphans", "--json")
    assert main_in(project.folder, *asked, "--waive", "INCONCLUSIVE", *waived).code == 1
    done = main_in(project.folder, *asked, "--waive", "FAIL", *waived)
    assert done.code == 0, done.err
    made = release_of(lake, 1)
    with project.place() as place:
        assert made.verdict_id == verdict_of(place, plan.planid).verdict_id
    assert made.waiver is not None
    assert (made.waiver.by, made.waiver.instead_of) == ("ana", "FAIL")
    proven = main_in(project.folder, "release", "diff", "1", "1", "--verify", "--json")
    assert proven.code == 0, proven.err
    assert json.loads(proven.out)["verified"]
    swept = json.loads(main_in(project.folder, "release", "gc", "--grace-days", "0", "--json").out)
    needed = {*made.files(), *(day.shard_path for one in made.categories.values() for day in one.days.values())}
    assert not needed & {one["path"] for one in swept["remove"]}
    index = lake / made.categories["red"].index_path
    index.chmod(0o644)
    index.write_bytes(index.read_bytes()[:-1] + b"?")
    tampered = main_in(project.folder, "release", "diff", "1", "1", "--verify", "--json")
    assert tampered.code == 1
    assert {one["shard"] for one in json.loads(tampered.out)["violations"]} == {"red"}

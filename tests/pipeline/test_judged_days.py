"""Days that end with the gate: the first release, the next against it, a lost category refused, and the champion."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest

import funnelgate
from dashboards.page.desk import Desk
from dashboards.page.static import write_site
from pipeline.release.champion import promote, promotion
from pipeline.release.pointer import current
from pipeline.release.withheld import Withheld, withhold
from pipeline.serve import rerankers
from pipeline.serve.ranking import RankSettings
from pipeline.tasks.candidate import Candidate
from pipeline.tasks.evaluate import Settings
from reporting.plans import Plan, PlanState
from reporting.record import State
from reporting.verdict import Outcome
from tests.evaluation.small_set import small_set
from tests.pipeline.judged_days import (
    ARRIVALS,
    candidate_again,
    judged_project,
    lose_vectors,
    names_in,
    partition_of,
    record_of,
    rules_of,
    verdict_of,
)
from tests.pipeline.project import DAY_1, DAY_2, DAY_3, Project, plan_day, run_here, work_off

pytestmark = pytest.mark.slow
Main = Callable[..., Any]
Copy = Callable[[Project], Project]
OUTPUTS = ["junit.xml", "per_query.parquet", "report.html", "summary.md", "verdict.json"]


class Ran(NamedTuple):
    project: Project
    plans: list[Plan]


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Two days, released. Read only."""
    project = judged_project(tmp_path_factory.mktemp("judged") / "days")
    return Ran(project, run_here(project, DAY_1, DAY_2))


def pin(project: Project, number: int) -> None:
    root = project.folder / "lake"
    at = dt.datetime(2026, 11, 5, tzinfo=dt.UTC)
    promote(root, promotion(root, number, by="ana", why="the first of them all", at=at))


def test_the_first_release_is_decided_without_a_baseline(two_days: Ran) -> None:
    with two_days.project.place() as place:
        verdict = verdict_of(place, two_days.plans[0].planid)
        record = record_of(place, "evaluate", DAY_1)
    assert verdict.outcome is Outcome.PASS
    assert {one["status"] for one in rules_of(verdict, id="hit1-ni")} == {"not_applicable"}
    assert verdict.metrics["hit@1"] == 1.0  # the twin too, by its survivor
    assert verdict.metrics["queries_outside_catalogue"] == len(ARRIVALS[DAY_2]) + len(ARRIVALS[DAY_3])
    assert (record.input, record.output) == (len(ARRIVALS[DAY_1]) + 1, len(ARRIVALS[DAY_1]) + 1)
    assert record.metrics["hit_at_1"] == 1.0


def test_the_second_day_is_compared_with_release_1_over_its_own_catalogue(two_days: Ran) -> None:
    with two_days.project.place() as place:
        verdict = verdict_of(place, two_days.plans[1].planid)
        said = json.loads(place.lake.read_bytes(f"{partition_of(place, 'evaluate', DAY_2).folder}/verdict.json"))
    asked = len(ARRIVALS[DAY_1]) + 1 + len(ARRIVALS[DAY_2])
    assert (said["candidate"], said["baselines"]) == (f"candidate of {DAY_2}", {"release": "release 1"})
    (against,) = rules_of(verdict, id="hit1-ni", vs="release")
    assert (against["status"], against["n"]) == ("pass", asked)
    assert against["value"] == pytest.approx(len(ARRIVALS[DAY_2]) / asked)  # release 1 has none of the new products
    assert rules_of(verdict, id="hit1-ni", vs="champion")[0]["status"] == "not_applicable"
    newest = current(two_days.project.folder / "lake")
    assert newest is not None
    assert (newest.number, newest.verdict_id) == (2, verdict.verdict_id)


def test_the_five_outputs_are_files_of_the_partition_and_the_evidence_is_theirs(two_days: Ran) -> None:
    with two_days.project.place() as place:
        verdict = verdict_of(place, two_days.plans[1].planid)
        folder = partition_of(place, "evaluate", DAY_2).folder
        assert set(OUTPUTS) | {"record.json"} <= set(names_in(place, folder))
        said = json.loads(place.lake.read_bytes(f"{folder}/verdict.json"))
        record = json.loads(place.lake.read_bytes(f"{folder}/record.json"))
        page = place.lake.read_bytes(f"{folder}/report.html").decode()
    assert (record["verdict_id"], record["evidence"]) == (verdict.verdict_id, verdict.evidence)
    kept = [(one["id"], one["slice"], one["vs"], one["status"], one["value"]) for one in verdict.evidence]
    assert kept == [(one["id"], one["slice"], one["vs"], one["status"], one["value"]) for one in said["rules"]]
    assert set(said["inputs"]) == {
        "set", "config", "candidate/category=green", "candidate/category=red", "candidate/front",
        "release/category=green", "release/category=red", "release/front", "candidate/ranking", "release/ranking",
    } - ({"candidate/front", "release/front"} if "front" not in verdict.inputs else set())  # fmt: skip
    assert {f"candidate/{name}": sha for name, sha in verdict.inputs.items()}.items() <= said["inputs"].items()
    assert "data:image" in page  # pictures of the queries


def test_the_gates_report_and_its_page_lead_to_each_other_wherever_the_project_lies(
    two_days: Ran, copy_of: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copy_of(two_days.project)
    monkeypatch.chdir(project.folder)
    root = funnelgate.Context(None)
    at = dt.datetime(2026, 11, 5, tzinfo=dt.UTC)
    write_site(
        Desk(root.store, root.topology, root.page_sources(), at), project.folder / "the page", project=project.folder
    )
    gate = (project.folder / "the page" / "gate.html").resolve()
    for plan in two_days.plans:
        verdict = verdict_of(root.place, plan.planid)
        report = Path(root.place.lake.full(f"{partition_of(root.place, 'evaluate', verdict.date).folder}/report.html"))
        (there,) = re.findall(r'<a href="([^"#][^"]*)">All verdicts', report.read_text())
        path, _, place_of_verdict = there.partition("#")
        assert (report.parent / unquote(path)).resolve() == gate
        assert f'id="{place_of_verdict}"' in gate.read_text()
        back = [unquote(one) for one in re.findall(r'href="([^"]*report\.html)"', gate.read_text())]
        assert report.resolve() in [(gate.parent / one).resolve() for one in back]


def test_the_same_indexes_judged_against_themselves_differ_by_exactly_0(two_days: Ran) -> None:
    settings = Settings(queries=two_days.project.folder / "queries.csv", gate=two_days.project.folder / "gate.yaml")
    with two_days.project.place() as place:
        twice = [place.services.judge(candidate_again(place, 2, DAY_2), settings) for _ in range(2)]
    (against,) = rules_of(twice[0].verdict, id="hit1-ni", vs="release")
    assert (against["value"], against["interval"], against["flipped"]) == (0.0, [0.0, 0.0], 0.0)
    assert twice[0].files.keys() == set(OUTPUTS)
    assert twice[0].files == twice[1].files  # to the byte


def test_what_is_withheld_is_neither_served_nor_lost_and_nobody_asks_for_it(two_days: Ran, copy_of: Copy) -> None:
    project = copy_of(two_days.project)
    root, asked = project.folder / "lake", len(ARRIVALS[DAY_1]) + 1 + len(ARRIVALS[DAY_2])
    at = dt.datetime(2026, 12, 24, tzinfo=dt.UTC)  # days after the candidate's: it is this release that must obey
    for kind, value in (("group", "acme/s3"), ("offer", "acme/s4")):
        withhold(
            root, Withheld.model_validate({"kind": kind, "value": value, "by": "ana", "why": "asked to", "at": at})
        )
    settings = Settings(queries=project.folder / "queries.csv", gate=project.folder / "gate.yaml")
    with project.place() as place:
        candidate = candidate_again(place, 2, DAY_2)
        judged = place.services.judge(candidate, settings)
        bare = place.services.judge(candidate, Settings())
    assert judged.verdict.outcome is Outcome.PASS, judged.verdict.evidence
    assert (len(judged.queries), judged.verdict.metrics["hit@1"]) == (asked - 2, 1.0)
    assert not {"q-s3", "q-s4"} & set(judged.queries)
    assert bare.verdict.metrics["self_hit@1"] == 1.0
    assert len(bare.queries) == asked - 1 - 2  # pictures that must find themselves; the twin gave way


def test_a_reranker_that_spoils_the_answers_is_judged_and_refused(
    two_days: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rerankers.RERANKERS, "backwards", lambda shown: list(shown)[::-1])
    settings = Settings(queries=two_days.project.folder / "queries.csv", gate=two_days.project.folder / "gate.yaml")
    with two_days.project.place() as place:
        candidate = candidate_again(place, 2, DAY_2)
        spoilt = dataclasses.replace(candidate, ranking=RankSettings(rerankers=("backwards",)))
        verdict = place.services.judge(spoilt, settings).verdict
    assert verdict.outcome is Outcome.FAIL
    assert verdict.metrics["hit@1"] == 0.0
    assert verdict.inputs["ranking"] != candidate.inputs()["ranking"]


def test_queries_whose_products_have_not_arrived_are_inconclusive(two_days: Ran, tmp_path: Path) -> None:
    queries = tmp_path / "later.csv"
    queries.write_text("path,group,category\npictures/query-s1.png,acme/unheard-of,red\n")
    settings = Settings(queries=queries, root=two_days.project.folder)
    with two_days.project.place() as place:
        judged = place.services.judge(candidate_again(place, 2, DAY_2), settings)
    assert judged.verdict.outcome is Outcome.INCONCLUSIVE
    (row,) = judged.verdict.evidence
    assert row["reason"] == "none of the 1 labelled queries shows a product that has arrived yet"
    assert (judged.queries, judged.files) == ([], {})


def test_a_candidate_that_lost_a_category_fails_and_its_release_is_refused(two_days: Ran, copy_of: Copy) -> None:
    project = copy_of(two_days.project)
    with project.place() as place:
        plan = plan_day(place, DAY_3)
        before = tuple(task for task in place.topology.tasks if task not in ("evaluate", "release"))
        work_off(place, plan, tasks=before)
        lose_vectors(place, DAY_3, "green")
    done = project.call("run", "--source", f"{DAY_3}.csv", "--date", str(DAY_3))
    assert done.returncode == 1, done.stdout + done.stderr
    green = [number for day in ARRIVALS.values() for number in day if number % 2 == 0]
    said = done.stdout + done.stderr
    assert "is FAIL" in said
    assert "groups_with_zero_images" in said
    with project.place() as place:
        verdict = verdict_of(place, plan.planid)
        files = set(names_in(place, partition_of(place, "evaluate", DAY_3).folder))
        assert record_of(place, "evaluate", DAY_3).state is State.SUCCEEDED
        refused = record_of(place, "release", DAY_3)
    assert verdict.outcome is Outcome.FAIL
    failing = {one["id"] for one in verdict.evidence if one["decision"] == "FAIL"}
    assert {"hit1-floor", "no-lost-group"} <= failing
    (lost,) = rules_of(verdict, id="no-lost-group")
    assert lost["value"] == len(green)
    assert set(OUTPUTS) <= files  # on FAIL too
    assert refused.state is State.FAILED
    assert refused.error is not None
    assert refused.error.error_class == "GateRefused"
    served = current(project.folder / "lake")
    assert served is not None
    assert (served.number, served.date) == (2, DAY_2)


def test_a_pinned_champion_is_asked_beside_the_release(two_days: Ran, copy_of: Copy) -> None:
    project = copy_of(two_days.project)
    pin(project, 1)
    (plan,) = run_here(project, DAY_3)
    assert plan.state is PlanState.COMPLETE
    with project.place() as place:
        verdict = verdict_of(place, plan.planid)
        said = json.loads(place.lake.read_bytes(f"{partition_of(place, 'evaluate', DAY_3).folder}/verdict.json"))
    assert said["baselines"] == {"release": "release 2", "champion": "release 1"}
    new = {vs: rules_of(verdict, id="hit1-ni", vs=vs)[0]["value"] for vs in ("release", "champion")}
    asked = sum(map(len, ARRIVALS.values())) + 1
    assert new == {
        "release": pytest.approx(len(ARRIVALS[DAY_3]) / asked),
        "champion": pytest.approx((len(ARRIVALS[DAY_2]) + len(ARRIVALS[DAY_3])) / asked),
    }


BUILD = (
    "evaluate", "build-set", "queries.csv", "--catalog", "catalog.csv", "--name", "drawn", "--out", "sets",
    "--root", ".", "--query-domain", "photos", "--gallery-domain", "drawings", "--as-of", str(DAY_3),
    "--no-distractors", "every drawing is a product", "--self-match", "drop", "--json",
)  # fmt: skip


def test_a_set_is_asked_of_the_index_by_its_names(two_days: Ran, copy_of: Copy, main_in: Main) -> None:
    project = copy_of(two_days.project)
    built = main_in(project.folder, *BUILD)
    assert built.code == 0, built.err
    folder = json.loads(built.out)["path"]
    asked = sum(map(len, ARRIVALS.values())) + 1

    def hits(name: str) -> float:
        ended = main_in(project.folder, "evaluate", "run", "--set", folder, "--searcher", name, "--json")
        assert ended.code == 0, ended.err
        report = json.loads(ended.out)
        assert report["statuses"] == {"answered": asked}
        return float(report["metrics"]["hit@1"]["value"])

    first, second = len(ARRIVALS[DAY_1]) + 1, len(ARRIVALS[DAY_1]) + 1 + len(ARRIVALS[DAY_2])
    assert hits("index") == pytest.approx(second / asked)
    assert hits("index:1") == pytest.approx(first / asked)
    unpinned = main_in(project.folder, "evaluate", "run", "--set", folder, "--searcher", "index:champion")
    assert (unpinned.code, "no champion is pinned" in unpinned.err) == (2, True)
    pin(project, 1)
    assert hits("index:champion") == pytest.approx(first / asked)
    for name, said in (("99", "there is no release 99"), ("x", "the number of a release"), ("-1", "the number of a")):
        refused = main_in(project.folder, "evaluate", "run", "--set", folder, "--searcher", f"index:{name}")
        assert (refused.code != 0, said in refused.err) == (True, True), refused

    gate = ("gate", "--set", folder, "--searcher", "index", "--config", "gate.yaml", "--out", "out", "--json")
    against = main_in(project.folder, *gate, "--release", "index:2", "--champion", "index:champion")
    said = json.loads(against.out)
    rules = {(one["id"], one["vs"]): one for one in said["rules"]}
    assert (rules["hit1-ni", "release"]["value"], rules["hit1-ni", "release"]["interval"]) == (0.0, [0.0, 0.0])
    assert rules["hit1-ni", "champion"]["value"] == pytest.approx((second - first) / asked)
    assert rules["no-lost-group", None]["value"] == len(ARRIVALS[DAY_3])  # of the catalogue, not yet collected
    assert (said["verdict"], against.code) == ("FAIL", 1)


def test_a_set_without_pictures_cannot_be_asked_of_an_index(two_days: Ran, main_in: Main, tmp_path: Path) -> None:
    from evaluation.set_files import write_set

    folder = write_set(small_set(), tmp_path)
    refused = main_in(two_days.project.folder, "evaluate", "run", "--set", str(folder), "--searcher", "index")
    assert refused.code == 2
    assert "has no pictures, so an index cannot be asked" in refused.err


def test_a_candidate_of_an_earlier_day_is_not_compared_with_a_later_release(two_days: Ran) -> None:
    settings = Settings(queries=two_days.project.folder / "queries.csv", gate=two_days.project.folder / "gate.yaml")
    with two_days.project.place() as place:
        candidate: Candidate = candidate_again(place, 1, DAY_1)
        verdict = place.services.judge(candidate, settings).verdict
    assert {one["status"] for one in rules_of(verdict, id="hit1-ni")} == {"not_applicable"}

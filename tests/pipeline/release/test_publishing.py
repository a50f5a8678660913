"""A release goes out with a PASS over exactly its inputs, or with a waiver that names what is missing; else not."""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path

import pytest
import yaml

from pipeline.project import default_topology
from pipeline.release.manifest import Waiver
from pipeline.release.pointer import current, publish
from pipeline.release.publishing import OlderDay, objections, publish_release
from pipeline.serve.ranking import RankSettings
from pipeline.tasks import task_settings
from reporting.errors import ConfigError, ContractViolation, GateRefused, StoreError
from reporting.topology import Topology
from reporting.verdict import Outcome, Verdict
from tests.pipeline.releasing import DAY, NOW, draft, files_under

INPUTS = {"category=shoes": "a" * 64, "front": "b" * 64}


def verdict(outcome: Outcome = Outcome.PASS, inputs: dict[str, str] | None = None) -> Verdict:
    return Verdict(
        verdict_id="v7",
        date=DAY,
        planid="p",
        outcome=outcome,
        inputs=INPUTS if inputs is None else inputs,
        decided_at=NOW,
    )


def waiver(instead_of: str) -> Waiver:
    return Waiver(by="ana", why="the slice is too small", at=NOW, instead_of=instead_of)


def test_a_pass_over_these_inputs_goes_out_with_its_verdict_and_without_a_waiver_that_was_not_needed(
    tmp_path: Path,
) -> None:
    made = publish_release(
        tmp_path, draft(tmp_path, "one"), verdict=verdict(), waiver=waiver("FAIL"), expected_inputs=INPUTS
    )
    assert (made.number, made.verdict_id, made.waiver) == (1, "v7", None)
    assert current(tmp_path) == made


GIVEN = {
    "no verdict": None,
    "FAIL": verdict(Outcome.FAIL),
    "INCONCLUSIVE": verdict(Outcome.INCONCLUSIVE),
    "other inputs": verdict(inputs={**INPUTS, "front": "c" * 64}),
}
ALL = [*GIVEN, "stale ancestors", "older day"]


@pytest.mark.parametrize("missing", ALL)
def test_what_is_missing_refuses_and_only_a_waiver_that_names_it_lets_out(tmp_path: Path, missing: str) -> None:
    given = GIVEN.get(missing, verdict())
    stale = ["embed of 2026-11-01: model changed"] if missing == "stale ancestors" else []
    one = draft(tmp_path, "one")
    if missing == "older day":
        newer = draft(tmp_path, "newer").model_copy(update={"date": DAY + dt.timedelta(days=1)})
        publish(tmp_path, newer)
    before = files_under(tmp_path)
    for offered in (None, *(waiver(name) for name in ALL if name != missing)):
        with pytest.raises(GateRefused, match=f"a waiver instead of: {missing}") as refused:
            publish_release(tmp_path, one, verdict=given, waiver=offered, expected_inputs=INPUTS, stale=stale)
        assert refused.value.exit_code == 1
    assert files_under(tmp_path) == before
    made = publish_release(tmp_path, one, verdict=given, waiver=waiver(missing), expected_inputs=INPUTS, stale=stale)
    assert made.waiver == waiver(missing)
    assert made.verdict_id == ("none" if given is None else "v7")


def test_every_objection_must_be_named_and_the_refusal_says_which_inputs_and_ancestors(tmp_path: Path) -> None:
    given = verdict(Outcome.FAIL, {**INPUTS, "front": "c" * 64, "extra": "d" * 64})
    stale = [f"embed of day {number}" for number in range(9)]
    one = draft(tmp_path, "one")
    every = objections(given, INPUTS, stale)
    assert every == ["FAIL", "other inputs", "stale ancestors"]
    for some in itertools.chain(itertools.combinations(every, 1), itertools.combinations(every, 2)):
        with pytest.raises(GateRefused):
            publish_release(
                tmp_path, one, verdict=given, waiver=waiver(",".join(some)), expected_inputs=INPUTS, stale=stale
            )
    with pytest.raises(GateRefused, match=r"\(extra, front\).*embed of day 4; and 4 more"):
        publish_release(tmp_path, one, verdict=given, waiver=None, expected_inputs=INPUTS, stale=stale)
    made = publish_release(
        tmp_path, one, verdict=given, waiver=waiver(", ".join(every)), expected_inputs=INPUTS, stale=stale
    )
    assert made.waiver is not None


def test_an_equal_or_a_newer_day_needs_no_word_and_an_older_one_is_noticed_under_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text, days in (("one", 0), ("two", 0), ("three", 1)):
        one = draft(tmp_path, text).model_copy(update={"date": DAY + dt.timedelta(days=days)})
        made = publish_release(tmp_path, one, verdict=verdict(), waiver=None, expected_inputs=INPUTS)
        assert made.waiver is None
    late = draft(tmp_path, "late").model_copy(update={"date": DAY + dt.timedelta(days=2)})
    newest = late.model_copy(update={"date": DAY + dt.timedelta(days=3), "planid": "newest"})

    def overtaken(root: Path, path: str) -> Path:
        monkeypatch.undo()
        publish(root, newest)
        return root / path

    monkeypatch.setattr("pipeline.release.publishing.inside", overtaken)
    with pytest.raises(OlderDay, match=r"take the place of release 4 of 2026-11-25, a newer day.*of: older day"):
        publish_release(tmp_path, late, verdict=verdict(), waiver=None, expected_inputs=INPUTS)
    served = current(tmp_path)
    assert served is not None
    assert served.planid == "newest"


def test_a_release_whose_reranker_nobody_wrote_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    unknown = RankSettings(rerankers=("newer-among-ties",))
    one = draft(tmp_path, "one").model_copy(update={"ranking": unknown})
    before = files_under(tmp_path)
    with pytest.raises(ConfigError, match="newer-among-near-ties"):
        publish_release(tmp_path, one, verdict=verdict(), waiver=None, expected_inputs=INPUTS)
    assert files_under(tmp_path) == before
    graph = Topology.model_validate(yaml.safe_load(default_topology()))
    tasks = {**graph.tasks}
    tasks["release"] = tasks["release"].model_copy(update={"settings": {"ranking": unknown.model_dump()}})
    with pytest.raises(ConfigError, match=r"tasks\.release\.settings\.ranking: .*newer-among-near-ties"):
        task_settings(graph.model_copy(update={"tasks": tasks}), "release")  # before anything is judged


def test_a_file_that_is_damaged_or_missing_is_never_published(tmp_path: Path) -> None:
    one = draft(tmp_path, "one")
    path = tmp_path / one.categories["shoes"].items_path
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:-1] + b"?")
    with pytest.raises(ContractViolation, match=str(path)):
        publish_release(tmp_path, one, verdict=verdict(), waiver=None, expected_inputs=INPUTS)
    path.unlink()
    with pytest.raises(StoreError, match=str(path)):
        publish_release(tmp_path, one, verdict=verdict(), waiver=None, expected_inputs=INPUTS)
    assert current(tmp_path) is None


def test_a_file_swept_between_its_check_and_the_publication_is_noticed_under_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = draft(tmp_path, "one")

    def sweeps(root: Path, path: str) -> Path:
        found = root / path
        if path == max(one.files()):  # the last one that is looked at
            monkeypatch.undo()
            (root / min(one.files())).unlink()
        return found

    monkeypatch.setattr("pipeline.release.publishing.inside", sweeps)
    with pytest.raises(ContractViolation, match=f"{min(one.files())} went away while the release of plan plan-one"):
        publish_release(tmp_path, one, verdict=verdict(), waiver=None, expected_inputs=INPUTS)
    assert current(tmp_path) is None

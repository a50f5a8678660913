"""What was really wrong: read from a file, or from what people did with the incidents of the store."""

from __future__ import annotations

from datetime import timedelta

import pytest

from checks.incidents import Incident, IncidentState, Severity
from checks.marks import Mark, benign_of, is_of, marks_of, read_marks, unmended_days
from checks.replay import Memory
from checks.result import Status
from reporting.errors import DataError
from tests.checks.broken import DAY, GRAPH, NOW, result

HATS = {"category": frozenset({"hats"})}


def incident(**changes: object) -> Incident:
    memory = Memory(GRAPH, {})
    memory.advance([result("crop", kind="reconcile", causes=[{"subinstance": ["0003"]}])], NOW)
    return memory.incidents[0].model_copy(update=changes)


def test_what_a_person_has_ended_or_a_repair_has_mended_was_real_unless_called_benign():
    ended = {"closed_at": NOW, "closed_by": "ann", "state": IncidentState.RESOLVED}
    memory = Memory(GRAPH, {})
    memory.advance([result("crop", data="old")], NOW)
    memory.advance([result("crop", Status.PASS, planids=["repair"], data="new")], NOW + timedelta(hours=1))
    (mended,) = memory.incidents
    assert mended.state == "superseded"
    stored = [incident(**ended), incident(**ended, benign=True), incident(), mended]
    where = ({"subinstance": frozenset({"0003"})},)
    assert marks_of(stored) == [Mark(DAY, "crop", where), Mark(DAY, "crop", ({},))]
    assert benign_of(stored) == {stored[1].fingerprint: NOW}


@pytest.mark.parametrize(
    ("changes", "left_out"),
    [
        ({}, True),
        ({"state": IncidentState.RECOVERING}, True),
        ({"state": IncidentState.RESOLVED}, False),
        ({"state": IncidentState.SUPERSEDED}, False),
        ({"state": IncidentState.RESOLVED, "closed_by": "ann"}, True),
        ({"state": IncidentState.RESOLVED, "closed_by": "ann", "benign": True}, False),
        ({"state": IncidentState.EXPIRED}, True),
        ({"severity": Severity.WARN}, False),
        ({"fired_at": None}, False),
    ],
)
def test_no_baseline_holds_a_day_on_which_a_page_stands_or_was_given_up(changes, left_out):
    assert unmended_days([incident(**changes)]) == ({("crop", DAY)} if left_out else set())


def test_no_baseline_holds_what_else_was_broken_for_it_either():
    memory = Memory(GRAPH, {})
    memory.advance([result("crop", kind="reconcile"), result("embed", kind="reconcile")], NOW)
    assert len(memory.incidents) == 1
    assert unmended_days(memory.incidents) == {("crop", DAY), ("embed", DAY)}


def test_a_file_names_days_and_tasks_and_leaves_where_they_are_known(tmp_path):
    path = tmp_path / "wrong.csv"
    path.write_text(
        "date,task,subinstance,category\n2026-11-01,crop,0002,\n2026-11-02,embed,,hats\n2026-11-03,embed,,\n"
    )
    assert [(str(one.date), one.task, one.regions) for one in read_marks(path, GRAPH)] == [
        ("2026-11-01", "crop", ({"subinstance": frozenset({"0002"})},)),
        ("2026-11-02", "embed", (HATS,)),
        ("2026-11-03", "embed", ({},)),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("date,tusk\n", r"wrong.csv:1: there is no column 'task'"),
        ("date,task,categroy\n", r"wrong.csv:1: unknown column 'categroy'; did you mean category"),
        ("date,task\n2026-11-01,crup\n", r"wrong.csv:2: .*unknown task 'crup'; did you mean crop"),
        ("date,task\n2026-11-01,crop\n1.11.2026,crop\n", r"wrong.csv:3: '1.11.2026' is no day"),
        ("date,task\n2026-11-01\n", r"wrong.csv:2: .*unknown task ''"),
    ],
)
def test_a_file_that_cannot_be_used_says_the_line(tmp_path, text, says):
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=says):
        read_marks(path, GRAPH)


def test_a_file_that_is_not_there_or_no_text_says_so(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_marks(tmp_path / "none.csv", GRAPH)
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\xff\xff")
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read_marks(tmp_path / "picture.csv", GRAPH)


@pytest.mark.parametrize(
    ("task", "region", "same"),
    [
        ("crop", {"subinstance": frozenset({"0003"})}, True),
        ("crop", {"subinstance": frozenset({"0001"})}, False),
        ("detect", {}, True),  # before it
        ("embed", HATS, True),  # after it, and nothing is known of categories there
    ],
)
def test_a_break_is_of_a_mark_of_the_same_way_and_with_leaves_in_common(task, region, same):
    broken = result("crop", kind="reconcile", causes=[{"subinstance": ["0003"]}])
    assert is_of(broken, Mark(DAY, task, (region,)), GRAPH) is same
    assert not is_of(broken, Mark(DAY + timedelta(days=1), task, (region,)), GRAPH)


def test_tasks_on_different_ways_have_nothing_in_common():
    fork = GRAPH.model_copy(update={"edges": tuple(edge for edge in GRAPH.edges if edge.source == "detect")})
    assert not is_of(result("crop"), Mark(DAY, "index", ({},)), fork)

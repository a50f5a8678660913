"""An incident's life, example by example: seen, fired, worse, passed, over."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from checks.incidents import ActionKind, IncidentState, Severity
from checks.result import Status
from tests.checks.broken import DAY, NOW, Board, Rule, result

LATER = NOW + timedelta(hours=1)


def kinds(board):
    return [action.kind for action in board.last.actions]


def test_a_break_of_the_books_fires_at_once_and_its_repair_ends_it():
    board = Board()
    board.run(result())
    assert (board.only().state, board.events()) == (IncidentState.FIRING, ["trigger"])
    assert kinds(board) == [ActionKind.OPEN, ActionKind.FIRE]
    board.run(result(status=Status.PASS, data="data-2"), now=LATER)
    assert (board.only().state, board.events(), kinds(board)) == (
        IncidentState.RESOLVED,
        ["resolve"],
        [ActionKind.RESOLVE],
    )
    assert board.only().closed_at == LATER


def test_a_pass_of_another_plans_records_supersedes_and_says_by_which():
    board = Board()
    board.run(result(planids=["daily"]))
    board.run(result(status=Status.PASS, data="data-2", planids=["daily", "rerun-7"]), now=LATER)
    assert (board.only().state, board.only().note) == (IncidentState.SUPERSEDED, "superseded by rerun-7")
    assert board.events() == ["resolve"]


def test_where_it_was_not_known_whose_records_broke_a_pass_supersedes_nothing():
    board = Board()
    board.run(result(planids=[]))
    board.run(result(status=Status.PASS, data="data-2", planids=["daily"]))
    assert board.only().state is IncidentState.RESOLVED


def test_drift_on_data_that_may_still_change_waits_for_new_data_and_never_for_the_clock():
    board = Board()
    early = result(kind="drift", provisional=True)
    board.run(early)
    for hours in range(3):
        board.run(early, now=NOW + timedelta(hours=hours))
    assert (board.only().state, board.told, board.only().failing) == (IncidentState.PENDING, [], 1)
    board.run(result(kind="drift", data="data-2", provisional=True), now=LATER)
    assert (board.only().state, board.events()) == (IncidentState.FIRING, ["trigger"])


def test_drift_on_final_data_fires_at_once_because_no_other_will_come():
    board = Board()
    board.run(result(kind="drift"))
    assert board.only().state is IncidentState.FIRING


def test_a_pending_break_that_passes_was_never_told_and_ends_in_silence():
    board = Board()
    board.run(result(kind="drift", provisional=True))
    board.run(result(kind="drift", status=Status.PASS, data="data-2", provisional=True))
    assert (board.only().state, board.told) == (IncidentState.RESOLVED, [])


def test_a_pass_on_data_that_may_still_change_only_recovers_and_a_relapse_is_not_told_again():
    board = Board()
    board.run(result())
    board.run(result(status=Status.PASS, data="data-2", provisional=True))
    assert (board.only().state, board.events()) == (IncidentState.RECOVERING, [])
    board.run(result(data="data-3"))
    assert (board.only().state, board.events(), kinds(board)) == (IncidentState.FIRING, [], [ActionKind.RELAPSE])
    board.run(result(status=Status.PASS, data="data-4", provisional=True))
    board.run(result(status=Status.PASS, data="data-5", provisional=True))
    assert (board.only().state, board.events()) == (IncidentState.RESOLVED, ["resolve"])


def test_a_check_may_ask_for_more_passes_before_it_is_over():
    board = Board({"conservation": Rule(id="conservation", recover=2)})
    board.run(result())
    board.run(result(status=Status.PASS, data="data-2"))
    assert board.only().state is IncidentState.RECOVERING
    board.run(result(status=Status.PASS, data="data-2"), now=LATER)
    assert board.only().state is IncidentState.RECOVERING
    board.run(result(status=Status.PASS, data="data-3"))
    assert board.only().state is IncidentState.RESOLVED


@pytest.mark.parametrize("status", [Status.NOT_EVALUATED, Status.ERROR])
def test_what_could_not_be_evaluated_neither_opens_nor_ends_anything(status):
    board = Board()
    board.run(result(status=status))
    assert board.incidents == {}
    board.run(result())
    board.run(result(status=status, data="data-2"))
    assert (board.only().state, board.last.incidents) == (IncidentState.FIRING, [])


def test_silence_about_a_break_is_no_pass():
    board = Board()
    board.run(result("detect", group={"subinstance": "0001"}))
    board.run(result("detect", Status.PASS, group={"subinstance": "0002"}, data="data-2"))
    assert board.of(result("detect", group={"subinstance": "0001"})).state is IncidentState.FIRING


def test_a_group_that_a_check_names_only_while_it_stands_out_ends_with_the_pass_of_the_whole():
    board = Board()
    part = result("embed", Status.WARN, kind="drift", group={"category": "shoes"})
    board.run(part, result("embed", Status.PASS, kind="drift"))
    board.run(result("embed", Status.NOT_EVALUATED, kind="drift", data="data-2"))
    assert board.of(part).is_open
    board.run(result("embed", Status.PASS, kind="drift", data="data-2"))
    assert board.of(part).state is IncidentState.RESOLVED


def test_another_instance_at_the_same_place_ends_nothing():
    board = Board()
    failed = result("download").model_copy(update={"instance": "download failed"})
    board.run(failed)
    board.run(result("download", Status.PASS, data="data-2"))
    assert board.of(failed).state is IncidentState.FIRING


def test_a_group_becomes_impact_when_the_whole_breaks_and_is_told_no_second_time():
    board = Board()
    part = result("embed", Status.WARN, kind="drift", group={"category": "shoes"}, value=80)
    board.run(part)
    whole = result("embed", kind="drift", value=700, expected=1000, data="data-2")
    board.run(whole, now=LATER)
    assert board.of(part).cause == board.of(whole).episode
    assert [one.episode for one in board.of(whole).impact] == [board.of(part).episode]
    assert board.events() == ["trigger"]


def test_only_the_root_is_an_incident_and_a_break_that_outlives_it_becomes_one():
    board = Board()
    board.run(result("detect"), result("crop"), result("embed", Status.WARN))
    root = board.only()
    assert (root.key.task, [part.task for part in root.impact]) == ("detect", ["crop", "embed"])
    board.run(result("detect", Status.PASS, data="data-2"), result("crop", data="data-2"), now=LATER)
    assert board.states() == [IncidentState.RESOLVED, IncidentState.FIRING]
    assert sorted(board.events()) == ["resolve", "trigger"]


def test_an_incident_of_which_the_cause_is_found_later_is_explained_by_it_and_still_told_its_end():
    board = Board()
    board.run(result("crop"))
    first = board.of(result("crop"))
    board.run(result("detect", data="data-2"), result("crop", data="data-2"), now=LATER)
    cause = board.of(result("detect"))
    assert board.of(result("crop")).cause == cause.episode
    assert board.told == [(first.episode, "trigger", 1), (cause.episode, "trigger", 1)]
    passes = [result(task, Status.PASS, data="data-3") for task in ("detect", "crop")]
    board.run(*passes)
    assert sorted(board.told[2:]) == sorted([(first.episode, "resolve", 1), (cause.episode, "resolve", 1)])
    assert board.of(result("crop")).cause is None


def test_a_pending_break_that_is_explained_waits_and_fires_when_it_outlives_its_cause():
    board, part = Board(), partial(result, "crop", kind="drift", provisional=True)
    board.run(part())
    board.run(part(data="data-2"), result("detect", data="data-2"))
    assert (board.of(part()).state, board.events()) == (IncidentState.PENDING, ["trigger"])
    board.run(part(data="data-3"), result("detect", Status.PASS, data="data-3"))
    assert (board.of(part()).state, sorted(board.events())) == (IncidentState.FIRING, ["resolve", "trigger"])


def test_a_break_that_nobody_was_told_of_yet_silences_no_other():
    board = Board()
    part, root = (partial(result, task, kind="drift", provisional=True) for task in ("crop", "detect"))
    board.run(part())
    board.run(part(data="data-2"))
    board.run(part(data="data-3", value=80), root(data="data-3"))
    assert (board.of(root()).state, board.of(part()).cause) == (IncidentState.PENDING, None)
    assert board.events() == ["update"]


def test_a_run_of_one_check_leaves_the_impact_that_others_have_found():
    board = Board()
    board.run(result("detect", check="books"), result("crop", check="other"))
    board.run(result("detect", check="books", value=80, data="data-2"))
    assert [part.check for part in board.only().impact] == ["other"]


def test_what_is_explained_by_another_tells_no_worsening_of_its_own():
    board = Board()
    board.run(result("crop", Status.WARN))
    board.run(result("detect", data="data-2"), result("crop", value=60, data="data-2"))
    assert board.events() == ["trigger"]
    assert board.last.notices[0].episode == board.of(result("detect")).episode


def test_a_run_of_some_checks_leaves_the_others_and_attaches_to_what_is_open():
    board = Board()
    board.run(result("detect", check="books"))
    board.run(result("crop", check="other", data="data-2"))
    assert [part.check for part in board.of(result("detect", check="books")).impact] == ["other"]
    assert len(board.incidents) == 1
    board.run(result("crop", Status.PASS, check="other", data="data-3"))
    assert board.only().impact == ()


def test_of_much_impact_what_holds_and_what_pages_is_listed_and_the_rest_is_counted():
    board = Board({"books": Rule(id="books", block=True)})
    parts = [result("embed", Status.WARN, check=f"c{number:03}", kind="drift") for number in range(120)]
    parts += [result("release", check="books"), result("merge", check="worse", kind="drift")]
    for _ in range(2):
        board.run(result("download", kind="complete"), *parts)
        listed = [part.check for part in board.only().impact]
        assert (len(listed), board.only().more_impact) == (100, 22)
        assert {"books", "worse", "c000", "c097"} <= set(listed)
    assert board.last == ([], [], [])


def test_the_severity_of_an_incident_is_that_of_its_worst_part():
    board = Board()
    board.run(result("detect", Status.WARN), result("crop", Status.FAIL))
    assert board.of(result("detect")).severity is Severity.PAGE


def test_a_rise_of_severity_and_a_growth_by_more_than_half_are_told_and_less_is_not():
    board = Board()
    board.run(result(status=Status.WARN, value=90))
    board.run(result(status=Status.WARN, value=86, data="data-2"))
    assert board.events() == []
    board.run(result(status=Status.WARN, value=84, data="data-3"))
    assert board.events() == ["update"]
    board.run(result(status=Status.FAIL, value=84, data="data-4"))
    assert board.events() == ["update"]
    board.run(result(status=Status.FAIL, value=76, data="data-5"))
    assert board.events() == []
    assert board.told[-1][1:] == ("update", 2)


def test_what_lacks_here_and_is_too_much_there_has_the_size_of_both():
    cancelled = result(value=100, causes=[{"subinstance": ["0001"]}, {"subinstance": ["0002"]}])
    causes = [
        one.model_copy(update={"missing": sign * 30.0}) for one, sign in zip(cancelled.explain, (1, -1), strict=True)
    ]
    board = Board()
    board.run(cancelled.model_copy(update={"explain": tuple(causes)}))
    assert board.only().size == 60


def test_lateness_gets_worse_by_the_clock_and_is_told_when_it_pages_only():
    board = Board()
    late = partial(result, kind="fresh", expected=0, data="the same")
    board.run(late(status=Status.WARN, value=10))
    board.run(late(status=Status.WARN, value=25, as_of=LATER), now=LATER)
    assert (board.events(), board.last.incidents) == ([], [])
    board.run(late(status=Status.FAIL, value=40, as_of=LATER), now=LATER)
    assert (board.events(), board.only().severity) == (["update"], Severity.PAGE)


def test_an_older_moment_changes_nothing_of_what_a_later_one_has_said():
    board = Board()
    board.run(result(as_of=LATER))
    board.run(result(status=Status.PASS, data="data-0", as_of=NOW))
    assert board.only().state is IncidentState.FIRING
    board.run(result(status=Status.PASS, data="data-2", as_of=LATER + timedelta(hours=1)))
    board.run(result(data="data-1", as_of=LATER))
    assert board.states() == [IncidentState.RESOLVED]


def test_a_break_that_comes_back_is_a_new_episode_and_told_anew():
    board = Board()
    board.run(result())
    board.run(result(status=Status.PASS, data="data-2"))
    board.run(result(data="data-3"))
    assert board.states() == [IncidentState.RESOLVED, IncidentState.FIRING]
    assert len(board.incidents) == 2
    assert board.events() == ["trigger"]


def test_a_change_of_the_rules_counts_though_the_data_are_the_same():
    board = Board()
    board.run(result())
    board.run(result(status=Status.PASS, config_hash="rules-2"))
    assert board.only().state is IncidentState.RESOLVED


def test_incidents_of_other_days_are_left_alone():
    board = Board()
    board.run(result())
    board.run(result(status=Status.PASS, data="data-2", date=DAY + timedelta(days=1)))
    assert board.only().state is IncidentState.FIRING


def test_owner_and_runbook_come_from_the_check_else_the_owner_of_the_task():
    board = Board({"conservation": Rule(id="conservation", runbook="https://wiki/books")})
    board.run(result("download"))
    assert (board.only().owner, board.only().runbook) == ("fetchers", "https://wiki/books")
    board = Board({"conservation": Rule(id="conservation", owner="vision")})
    board.run(result("download"))
    assert board.only().owner == "vision"

"""More than twenty new incidents in one step are told as one, until the last of them has ended."""

from __future__ import annotations

from datetime import timedelta

import pytest

from checks import handling
from checks.incidents import IncidentState, Severity
from checks.result import Status
from checks.storms import CAP, is_storm
from tests.checks.broken import DAY, NOW, Board, result

LATER = NOW + timedelta(hours=1)


def leaves(count, status=Status.FAIL, data="data-1", first=0, **more):
    return [
        result("detect", status, group={"subinstance": f"{number:04}"}, data=data, **more)
        for number in range(first, first + count)
    ]


def storm_of(board):
    (found,) = [one for one in board.incidents.values() if is_storm(one)]
    return found


def started(count=CAP + 1, **options):
    board = Board()
    board.run(*leaves(count, **options))
    return board


def test_twenty_new_incidents_are_told_one_by_one_and_one_more_makes_a_summary():
    assert started(CAP).events() == ["trigger"] * CAP
    board = started(CAP + 1)
    assert board.events() == ["summary"]
    assert len(storm_of(board).members) == CAP + 1
    assert storm_of(board).result.reason == "21 incidents at once; the latest 21 by task: detect 21"
    assert len(board.incidents) == CAP + 2


def test_the_same_results_again_change_nothing():
    board = started()
    board.run(*leaves(CAP + 1), now=LATER)
    assert board.last == ([], [], [])


def test_a_summary_ends_when_its_last_member_has_and_members_end_in_silence():
    board = started()
    passes = leaves(CAP, Status.PASS, "data-2")
    board.run(*passes, *leaves(1, data="data-2", first=CAP))
    assert board.events() == []
    assert storm_of(board).is_open
    board.run(*leaves(CAP + 1, Status.PASS, "data-3"))
    assert board.events() == ["resolve"]
    assert board.last.notices[0].episode == storm_of(board).episode
    assert board.open() == []


def test_a_member_that_worsens_is_told_on_its_own_and_so_is_its_end():
    board = started(status=Status.WARN)
    board.run(*leaves(CAP, Status.WARN, "data-2"), *leaves(1, Status.FAIL, "data-2", first=CAP))
    assert board.events() == ["trigger"]
    worse = board.last.notices[0].incident
    assert (worse.severity, worse.storm) == (Severity.PAGE, None)
    board.run(*leaves(CAP + 1, Status.PASS, "data-3"))
    assert board.events() == ["resolve", "resolve"]
    assert {draft.episode for draft in board.last.notices} == {worse.episode, storm_of(board).episode}


def test_another_flood_goes_under_the_same_summary_which_is_told_again_when_it_has_grown_by_half():
    board = started()
    board.run(*leaves(2 * CAP + 2, data="data-2"), now=LATER)
    assert board.events() == ["update"]
    assert len(storm_of(board).members) == 2 * CAP + 2


def test_a_few_more_incidents_during_a_storm_are_told_one_by_one():
    board = started()
    board.run(*leaves(CAP + 3, data="data-2"))
    assert board.events() == ["trigger", "trigger"]


def test_floods_of_two_days_have_two_summaries():
    board = Board()
    board.run(*leaves(CAP + 1), *leaves(CAP + 1, date=DAY + timedelta(days=1)))
    assert board.events() == ["summary", "summary"]
    board.run(*leaves(CAP + 1, Status.PASS, "data-2"))
    assert [draft.incident.date for draft in board.last.notices] == [DAY]


def test_a_cause_with_any_amount_of_impact_is_no_storm():
    board = Board()
    board.run(result("download"), *leaves(2 * CAP))
    assert board.events() == ["trigger"]
    assert len(board.only().impact) == 2 * CAP


@pytest.mark.parametrize("what", [handling.acknowledge, handling.resolve])
def test_what_is_done_to_a_summary_is_done_to_its_members_and_told_once(what):
    board = started()
    members = [one for one in board.open() if not is_storm(one)]
    board.keep(what(storm_of(board), members, by="ann", why="power cut", now=LATER))
    assert len(board.last.incidents) == CAP + 2
    assert len(board.last.notices) == 1
    wanted = IncidentState.ACKNOWLEDGED if what is handling.acknowledge else IncidentState.RESOLVED
    assert set(board.states()) == {wanted}
    board.run(*leaves(CAP + 1), now=LATER)
    assert board.last == ([], [], [])

"""What people do: acknowledge, snooze, resolve, waive, and what each of them does not stop."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from checks import handling
from checks.blocking import blocked_leaves
from checks.incidents import ActionKind, IncidentState
from checks.result import Status
from reporting.errors import UsageError
from tests.checks.broken import DAY, NOW, Board, Rule, result

SOON, MUCH_LATER = NOW + timedelta(hours=1), NOW + timedelta(hours=9)


def do(board, what, now=NOW, **options):
    one = board.open()[0]
    return board.keep(what(one, board.known(), by="ann", why=options.pop("why", "because"), now=now, **options))


def begun(**options):
    board = Board({"conservation": Rule(id="conservation", block=True)})
    board.run(result(**options))
    return board


def test_an_acknowledgement_is_told_once_and_stops_no_escalation():
    board = begun(status=Status.WARN)
    do(board, handling.acknowledge)
    assert (board.only().state, board.events()) == (IncidentState.ACKNOWLEDGED, ["acknowledge"])
    do(board, handling.acknowledge)
    assert board.last == ([], [], [])
    board.run(result(status=Status.WARN, value=89, data="data-2"))
    assert board.events() == []
    board.run(result(status=Status.FAIL, value=89, data="data-3"))
    assert (board.only().state, board.events()) == (IncidentState.ACKNOWLEDGED, ["update"])


def test_who_takes_over_an_acknowledged_incident_is_told():
    board = begun()
    do(board, handling.acknowledge)
    board.keep(handling.acknowledge(board.only(), (), by="bob", why="", now=SOON))
    assert [one[1:] for one in board.told] == [("trigger", 1), ("acknowledge", 1), ("acknowledge", 2)]
    assert board.only().acknowledged is not None
    assert board.only().acknowledged.by == "bob"


def test_an_acknowledged_incident_that_relapses_stays_acknowledged():
    board = begun()
    do(board, handling.acknowledge)
    board.run(result(status=Status.PASS, data="data-2", provisional=True))
    board.run(result(data="data-3"))
    assert board.only().state is IncidentState.ACKNOWLEDGED


def test_a_snooze_is_silent_until_its_end_and_then_told_if_it_still_fires():
    board = begun()
    do(board, handling.snooze, until=NOW + timedelta(hours=8))
    board.run(result(value=89, data="data-2"), now=SOON)
    assert board.events() == []
    board.run(result(value=89, data="data-2"), now=MUCH_LATER)
    assert (board.events(), board.only().snooze) == (["update"], None)
    board.run(result(value=89, data="data-2"), now=MUCH_LATER)
    assert board.last == ([], [], [])


def test_a_snooze_breaks_on_a_worsening():
    board = begun(status=Status.WARN)
    do(board, handling.snooze, until=NOW + timedelta(hours=8))
    board.run(result(status=Status.FAIL, data="data-2"), now=SOON)
    assert (board.events(), board.only().snooze) == (["update"], None)
    assert ActionKind.WAKE in [action.kind for action in board.last.actions]


def test_the_end_of_a_snoozed_incident_is_told():
    board = begun()
    do(board, handling.snooze, until=NOW + timedelta(hours=8))
    board.run(result(status=Status.PASS, data="data-2"), now=SOON)
    assert board.events() == ["resolve"]


def test_what_fires_while_it_is_snoozed_is_triggered_when_the_snooze_ends():
    board = Board()
    board.run(result(kind="drift", provisional=True))
    do(board, handling.snooze, until=NOW + timedelta(hours=8))
    board.run(result(kind="drift", data="data-2"), now=SOON)
    assert (board.only().state, board.events()) == (IncidentState.FIRING, [])
    board.run(result(kind="drift", data="data-2"), now=MUCH_LATER)
    assert board.events() == ["trigger"]


def test_a_snooze_that_ends_while_it_recovers_is_told_when_it_relapses():
    board = begun()
    do(board, handling.snooze, until=NOW + timedelta(hours=8))
    board.run(result(status=Status.PASS, data="data-2", provisional=True), now=SOON)
    board.run(result(status=Status.PASS, data="data-2", provisional=True), now=MUCH_LATER)
    assert (board.only().state, board.events()) == (IncidentState.RECOVERING, [])
    board.run(result(data="data-3"), now=MUCH_LATER)
    assert (board.only().state, board.events(), board.only().snooze) == (IncidentState.FIRING, ["update"], None)


def test_what_fired_unheard_and_is_explained_by_now_is_not_triggered_when_its_snooze_ends():
    board, part = Board(), partial(result, "crop", kind="drift")
    board.run(part(provisional=True))
    do(board, handling.snooze, until=NOW + timedelta(hours=8))
    board.run(part(data="data-2"), now=SOON)
    board.run(part(data="data-3"), result("detect", data="data-3"), now=SOON)
    assert board.events() == ["trigger"]
    board.run(part(data="data-3"), result("detect", data="data-3"), now=MUCH_LATER)
    assert board.events() == []


def test_a_snooze_always_has_an_end_within_thirty_days():
    board = begun()
    with pytest.raises(UsageError, match="is over already"):
        do(board, handling.snooze, until=NOW)
    with pytest.raises(UsageError, match="longer than 30 days"):
        do(board, handling.snooze, until=NOW + timedelta(days=30, seconds=1))
    do(board, handling.snooze, until=NOW + timedelta(days=30))


def test_what_a_person_resolves_stays_so_over_the_same_data_and_opens_again_over_others():
    board = begun()
    do(board, handling.resolve)
    assert (board.only().state, board.only().closed_by, board.events()) == (IncidentState.RESOLVED, "ann", ["resolve"])
    board.run(result(), now=SOON)
    assert (len(board.incidents), board.last.incidents) == (1, [])
    board.run(result(data="data-2"), now=SOON)
    assert (len(board.incidents), board.events()) == (2, ["trigger"])


def test_what_a_person_resolved_as_a_warning_opens_again_when_it_pages_by_the_clock():
    board = Board()
    board.run(result(status=Status.WARN, kind="fresh"))
    do(board, handling.resolve)
    board.run(result(status=Status.FAIL, kind="fresh"), now=SOON)
    assert board.events() == ["trigger"]


def test_the_impact_of_what_a_person_resolved_opens_no_incident_over_the_same_data():
    board = begun()
    board = Board()
    board.run(result("detect"), result("crop"))
    do(board, handling.resolve)
    board.run(result("detect"), result("crop"), now=SOON)
    assert board.open() == []


def test_a_waiver_lets_the_tasks_go_on_until_it_worsens():
    board = begun()
    assert blocked_leaves(board.open())
    do(board, handling.waive)
    assert (blocked_leaves(board.open()), board.only().state) == ([], IncidentState.FIRING)
    board.run(result(value=89, data="data-2"))
    assert blocked_leaves(board.open()) == []
    board.run(result(value=10, data="data-3"))
    assert blocked_leaves(board.open())
    assert ActionKind.UNWAIVE in [action.kind for action in board.last.actions]


def test_only_what_holds_something_can_be_waived():
    board = Board()
    board.run(result())
    with pytest.raises(UsageError, match="holds nothing; only a failing check with `block: true` does"):
        do(board, handling.waive)


@pytest.mark.parametrize("what", [handling.resolve, handling.waive])
def test_to_end_or_to_waive_takes_a_reason(what):
    with pytest.raises(UsageError, match="needs a reason: --why"):
        do(begun(), what, why=" ")


@pytest.mark.parametrize("what", [handling.acknowledge, handling.resolve, handling.waive])
def test_what_has_ended_cannot_be_handled_any_more(what):
    board = begun()
    one = board.only()
    do(board, handling.resolve)
    with pytest.raises(UsageError, match=rf"{one.episode} is resolved by ann and cannot be"):
        what(board.only(), (), by="bob", why="late", now=SOON)


def test_a_pending_incident_cannot_be_acknowledged():
    board = Board()
    board.run(result(kind="drift", provisional=True))
    with pytest.raises(UsageError, match="is pending"):
        do(board, handling.acknowledge)


def test_old_days_expire_and_who_was_told_hears_of_it():
    board = begun()
    board.run(result(date=DAY + timedelta(days=1)))
    board.keep(handling.expire(board.open(), DAY + timedelta(days=1), NOW))
    assert board.of(result()).state is IncidentState.EXPIRED
    assert [one.date for one in board.open()] == [DAY + timedelta(days=1)]
    assert board.events() == ["resolve"]

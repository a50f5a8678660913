"""What holds for any course of evaluations, acknowledgements, snoozes and other words of people."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks import handling
from checks.blocking import blocked_leaves
from checks.incidents import Incident, IncidentState, fingerprint_of
from checks.lifecycle import Step, step
from checks.result import Result, Status
from checks.storms import CAP, is_storm
from reporting.errors import UsageError
from tests.checks.broken import DAY, GRAPH, NOW, Board, Rule, result

PLACES: list[dict[str, str]] = [{}, {"subinstance": "0001"}, {"subinstance": "0002", "category": "bags"}]
SUBJECTS = [
    (task, kind, group)
    for task in ("download", "detect", "embed")
    for kind in ("complete", "conservation", "drift")
    for group in PLACES
]
RULES = {"conservation": Rule(id="conservation", block=True), "drift": Rule(id="drift", pending=1)}
BROKEN = (Status.FAIL, Status.WARN)

ONE_DAY = timedelta(days=1)
FEW = settings(max_examples=15)
"""In the default suite; the slow one takes eight times as many."""

VERDICTS = st.fixed_dictionaries(
    {
        "status": st.sampled_from([Status.PASS, Status.PASS, Status.FAIL, Status.WARN, Status.NOT_EVALUATED]),
        "value": st.sampled_from([0.0, 60.0, 95.0]),
        "provisional": st.booleans(),
        "planids": st.sampled_from([["daily"], ["daily", "rerun"]]),
    }
)
EVALUATIONS = st.dictionaries(st.sampled_from(range(len(SUBJECTS))), VERDICTS, max_size=8)
PEOPLE = st.sampled_from(["ack", "snooze", "resolve", "waive"])
COURSES = st.lists(
    st.one_of(
        EVALUATIONS,
        st.tuples(PEOPLE, st.integers(0, 5)),
        st.just("the same again"),
        st.just("a day later"),
    ),
    max_size=10,
)


def results_of(evaluation, number: int) -> list[Result]:
    """Results of one run; each run has data of its own."""
    found = []
    for index, verdict in evaluation.items():
        task, kind, group = SUBJECTS[index]
        found.append(result(task, kind=kind, group=group, data=f"data-{number}", **verdict))
    return found


def say(board: Board, what: str, number: int, now) -> Step | None:
    """Let a person handle one of the open incidents; None where that makes no sense."""
    standing = board.open()
    if not standing:
        return None
    one = standing[number % len(standing)]
    more: dict[str, Callable[[], Step]] = {
        "ack": lambda: handling.acknowledge(one, standing, by="ann", why="", now=now),
        "snooze": lambda: handling.snooze(one, standing, until=now + timedelta(hours=9), by="ann", why="", now=now),
        "resolve": lambda: handling.resolve(one, standing, by="ann", why="known", now=now),
        "waive": lambda: handling.waive(one, standing, by="ann", why="due", now=now),
    }
    try:
        return more[what]()
    except UsageError:
        return None


def walk(course, look: Callable[[Board, list[Result], object], None]) -> Board:
    """Take a course step by step, and look at all after each evaluation."""
    board, now, results = Board(RULES), NOW, list[Result]()
    for number, event in enumerate(course):
        now += timedelta(minutes=1)
        if event == "a day later":
            now += timedelta(days=1)
        elif isinstance(event, tuple):
            what, which = event
            done = say(board, what, which, now)
            if done is not None:
                board.keep(done)
        else:
            results = results if event == "the same again" else results_of(event, number)
            board.run(*results, now=now)
            look(board, results, now)
    return board


@FEW
@given(COURSES)
def test_equal_results_a_second_time_change_nothing(course):
    def look(board, results, now):
        again = step(board.known(), results, GRAPH, now + timedelta(seconds=1), RULES)
        assert again == Step([], [], [])

    walk(course, look)


@FEW
@given(COURSES, st.randoms(use_true_random=False))
def test_the_order_of_results_and_incidents_does_not_matter(course, rng: random.Random):
    board, now = Board(RULES), NOW
    for number, event in enumerate(course):
        if not isinstance(event, dict):
            continue
        results, known = results_of(event, number), board.known()
        straight = step(known, results, GRAPH, now, RULES)
        rng.shuffle(results)
        rng.shuffle(known)
        assert step(known, results, GRAPH, now, RULES) == straight
        board.keep(straight)
        now += timedelta(hours=1)


@FEW
@given(COURSES)
def test_an_episode_is_told_first_once_its_end_once_and_nothing_after_or_before(course):
    board = walk(course, lambda *_: None)
    assert len(set(board.told)) == len(board.told)
    by_episode: dict[str, list[str]] = {}
    for episode, event, _ in board.told:
        by_episode.setdefault(episode, []).append(event)
    for episode, events in by_episode.items():
        assert events[0] in ("trigger", "summary")
        assert Counter(events)[events[0]] == 1
        ended = not board.incidents[episode].is_open
        assert events.count("resolve") == ended
        assert (events[-1] == "resolve") == ended


@FEW
@given(COURSES)
def test_every_break_is_an_open_incident_or_part_of_one_or_a_persons_word_over_the_same_data(course):
    def look(board, results, now):
        standing = board.open()
        seen = {one.fingerprint for one in standing} | {part.fingerprint for one in standing for part in one.impact}
        by_hand = [one for one in board.incidents.values() if one.closed_by and not one.is_open]
        excused = {one.fingerprint for one in by_hand} | {part.fingerprint for one in by_hand for part in one.impact}
        data = {one.result.details["data"] for one in by_hand}
        for one in results:
            if one.status in BROKEN and fingerprint_of(one) not in seen:
                assert fingerprint_of(one) in excused
                assert one.details["data"] in data

    walk(course, look)


@FEW
@given(COURSES)
def test_a_page_that_is_neither_snoozed_nor_explained_nor_waiting_has_been_told(course):
    def look(board, results, now):
        for one in board.open():
            if one.state is IncidentState.FIRING and one.cause is None and not one.is_snoozed(now):
                assert one.notified is not None
            if one.cause is not None:
                cause = board.incidents[one.cause]
                assert cause.is_open
                assert cause.state is not IncidentState.PENDING
                assert cause.cause is None

    walk(course, look)


@FEW
@given(COURSES)
def test_the_results_of_one_day_change_nothing_of_another(course):
    def look(board, results, now):
        other = [one.model_copy(update={"key": one.key.model_copy(update={"date": DAY + ONE_DAY})}) for one in results]
        passed = [one.model_copy(update={"status": Status.PASS}) for one in other]
        assert step(board.known(), passed, GRAPH, now, RULES) == Step([], [], [])
        changed = step(board.known(), other, GRAPH, now, RULES).incidents
        assert {one.date for one in changed} <= {DAY + ONE_DAY}

    walk(course, look)


@FEW
@given(COURSES)
def test_when_all_pass_on_final_data_nothing_stays_open_or_held(course):
    board = walk(course, lambda *_: None)
    passes = [result(task, Status.PASS, kind=kind, group=group, data="last") for task, kind, group in SUBJECTS]
    board.run(*passes, now=NOW + timedelta(days=30))
    assert board.open() == []
    assert blocked_leaves(board.incidents.values()) == []


@FEW
@given(COURSES)
def test_equal_data_never_age_an_incident(course):
    def look(board, results, now):
        before = {one.episode: (one.failing, one.passing, one.state) for one in board.open()}
        for hours in (1, 24, 24 * 40):
            board.run(*results, now=now + timedelta(hours=hours))
        after = {one.episode: (one.failing, one.passing, one.state) for one in board.open()}
        assert after == before

    walk(course, look)


@settings(max_examples=5)
@given(st.integers(0, 45), st.integers(0, 45))
def test_any_number_of_incidents_is_told_and_ended_by_one_notice_each_or_one_for_all(first, second):
    board = Board()
    for number, count in enumerate((first, first + second, 0)):
        broken = [result(group={"subinstance": f"{n:04}"}, data=f"data-{number}") for n in range(count)]
        rest = range(count, first + second)
        passed = [result(status=Status.PASS, group={"subinstance": f"{n:04}"}, data=f"data-{number}") for n in rest]
        board.run(*broken, *passed, now=NOW + timedelta(hours=number))
    assert board.open() == []
    told = Counter(event for _, event, _ in board.told)
    assert told["resolve"] == told["trigger"] + told["summary"]
    assert told["summary"] == (first > CAP) + (second > CAP and not first > CAP)
    summaries = [one for one in board.incidents.values() if is_storm(one)]
    alone = [one for one in board.incidents.values() if _was_told_alone(one) and not is_storm(one)]
    assert len(alone) + sum(len(one.members) for one in summaries) == first + second


def _was_told_alone(one: Incident) -> bool:
    return one.notified is not None and one.storm is None


LAWS = (
    test_the_results_of_one_day_change_nothing_of_another,
    test_equal_results_a_second_time_change_nothing,
    test_an_episode_is_told_first_once_its_end_once_and_nothing_after_or_before,
    test_every_break_is_an_open_incident_or_part_of_one_or_a_persons_word_over_the_same_data,
    test_a_page_that_is_neither_snoozed_nor_explained_nor_waiting_has_been_told,
    test_when_all_pass_on_final_data_nothing_stays_open_or_held,
    test_equal_data_never_age_an_incident,
)


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_laws_hold_for_many_courses(law):
    settings(max_examples=120)(given(COURSES)(law.hypothesis.inner_test))()

"""Incidents in every SQL store: what a step writes is what the next one reads, and two at once open nothing twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import func, select

from checks import handling
from checks.acting import act, handle
from checks.blocking import holding
from checks.incident_store import (
    find_incident,
    history_of,
    holds,
    incident_days,
    known_incidents,
    list_incidents,
    members_of,
    write_step,
)
from checks.incidents import ActionKind, Incident, IncidentState, fingerprint_of
from checks.lifecycle import Step
from checks.result import Status
from checks.sinks.settings import LogSink
from checks.storms import CAP
from reporting import tables as t
from reporting.elastic.check_documents import incident_document
from reporting.errors import StoreError, UsageError
from reporting.key import ALL
from reporting.outbox import Topic
from reporting.plans import Leaf
from reporting.stores import open_store
from reporting.stores.base import RecordStore
from reporting.stores.sql import SqlStore
from tests.checks.broken import DAY, GRAPH, NOW, Board, Rule, result

SINKS = (LogSink(kind="log", name="log"),)
LATER = NOW + timedelta(hours=1)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow])])
def books(request: pytest.FixtureRequest, open_named: Callable[[str], RecordStore]) -> SqlStore:
    """An empty SQL store."""
    found = open_named(request.param)
    assert isinstance(found, SqlStore)
    return found


def run(store, *results, now=NOW, rules=None, sinks=SINKS):
    with store.begin() as work:
        return act(work, results, topology=GRAPH, now=now, rules=rules or {}, sinks=sinks)


def everything(store):
    with store.read() as connection:
        return list_incidents(connection, states=None)


def notices(store):
    with store.read() as connection:
        rows = connection.execute(select(t.notice.c.event, t.notice.c.episode).order_by(t.notice.c.seq))
        return [(row.event, row.episode) for row in rows]


def the_only(store):
    (found,) = everything(store)
    return found


def test_a_course_of_steps_through_the_store_is_that_in_memory(books):
    board, rules = Board({"conservation": Rule(id="conservation", block=True)}), None
    rules = board.rules
    group = {"subinstance": "0001"}
    course = [
        [result("detect"), result("crop"), result("download", Status.WARN, group=group, kind="drift")],
        [result("detect", Status.PASS, data="data-2"), result("crop", data="data-2")],
        [result("detect", data="data-3"), result("crop", data="data-3", value=10)],
        [result("detect", Status.PASS, data="data-4"), result("crop", Status.PASS, data="data-4")],
    ]
    for number, results in enumerate(course):
        now = NOW + timedelta(hours=number)
        assert run(books, *results, now=now, rules=rules) == board.run(*results, now=now)
    assert {one.episode: one for one in everything(books)} == board.incidents
    assert [event for event, _ in notices(books)] == [event for _, event, _ in board.told]


def test_the_history_of_an_incident_is_kept_in_order_and_whole(books):
    run(books, result())
    episode = the_only(books).episode
    handle(books, episode, partial(handling.acknowledge, by="ann", why="näher ansehen", now=NOW), now=NOW, sinks=SINKS)
    run(books, result(status=Status.PASS, data="data-2"), now=LATER)
    with books.read() as connection:
        history = history_of(connection, episode)
    assert [(one.kind, one.who, one.at) for one in history] == [
        (ActionKind.OPEN, "funnelgate", NOW),
        (ActionKind.FIRE, "funnelgate", NOW),
        (ActionKind.ACKNOWLEDGE, "ann", NOW),
        (ActionKind.RESOLVE, "funnelgate", LATER),
    ]
    assert history[2].why == "näher ansehen"
    assert notices(books) == [(event, episode) for event in ("trigger", "acknowledge", "resolve")]


def test_each_revision_of_an_incident_is_queued_for_the_shipper_with_it(books):
    run(books, result())
    run(books, result(data="data-2"), now=LATER)
    with books.read() as connection:
        c = t.outbox.c
        rows = connection.execute(select(c.topic, c.document_id, c.version, c.body).order_by(c.seq)).all()
    assert [row[:3] for row in rows] == [(Topic.INCIDENT, the_only(books).episode, version) for version in (1, 2)]
    assert Incident.model_validate_json(rows[-1].body) == the_only(books)
    assert incident_document("x", json.loads(rows[-1].body), 2).source["check_id"] == "conservation"


def test_what_a_person_closed_stays_closed_over_the_same_data(books):
    run(books, result())
    handle(books, "", partial(handling.resolve, by="ann", why="known", now=NOW), now=NOW, sinks=SINKS)
    run(books, result(), now=LATER)
    assert not the_only(books).is_open
    assert [event for event, _ in notices(books)] == ["trigger", "resolve"]


def test_a_step_that_is_rolled_back_leaves_nothing(books):
    def begun():
        with books.begin() as work:
            act(work, [result()], topology=GRAPH, now=NOW, rules={}, sinks=SINKS)
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        begun()
    assert everything(books) == []
    assert notices(books) == []


def test_a_step_made_from_what_is_stale_is_refused(books):
    run(books, result())
    stale = the_only(books)
    run(books, result(data="data-2", value=10), now=LATER)
    with pytest.raises(StoreError, match="was changed by somebody else meanwhile"), books.begin() as work:
        write_step(work, handling.resolve(stale, (), by="ann", why="x", now=LATER))
    assert the_only(books).is_open


def test_the_known_are_all_that_is_open_and_the_latest_that_ended_of_the_days_asked(books):
    other_day = result(date=DAY - timedelta(days=1))
    run(books, result(), other_day)
    for number in range(2, 6):
        status = Status.PASS if number % 2 == 0 else Status.FAIL
        run(books, result(status=status, data=f"data-{number}"), now=NOW + timedelta(hours=number))
    run(books, result(status=Status.PASS, data="data-6"), now=NOW + timedelta(hours=6))
    with books.begin() as work:
        known = known_incidents(work, [DAY])
        without = known_incidents(work, ())
    ended = [one for one in known if not one.is_open]
    assert [one.closed_at for one in ended] == [NOW + timedelta(hours=6)]
    assert [one.fingerprint for one in without] == [fingerprint_of(other_day)]
    assert len(known) == 2
    assert len(everything(books)) == 4


def test_lists_are_by_day_and_state_the_last_changed_first(books):
    for back in range(3):
        run(books, result(date=DAY - timedelta(days=back)), now=NOW + timedelta(hours=back))
    run(books, result(status=Status.PASS, data="data-2"), now=LATER + timedelta(hours=5))
    with books.read() as connection:
        assert [one.date.day for one in list_incidents(connection)] == [3, 4]
        assert [one.date.day for one in list_incidents(connection, states=None)] == [5, 3, 4]
        assert [one.date.day for one in list_incidents(connection, states=None, first=DAY)] == [5]
        assert [one.date.day for one in list_incidents(connection, states=None, last=DAY, limit=1)] == [5]
        assert list_incidents(connection, states=[IncidentState.EXPIRED]) == []


def test_an_incident_is_found_by_a_beginning_that_no_other_has(books):
    run(books, result(), result(date=DAY - timedelta(days=1)))
    first, second = sorted(one.episode for one in everything(books))
    with books.read() as connection:
        assert find_incident(connection, first).episode == first
        assert find_incident(connection, second[:8]).episode == second
        with pytest.raises(UsageError, match=f"begins several incidents: {first}, {second}; write more"):
            find_incident(connection, "")
        with pytest.raises(UsageError, match=f"there is no incident 'X{first[1:]}'; did you mean {first}"):
            find_incident(connection, f"X{first[1:]}")
        with pytest.raises(UsageError, match="there is no incident '%'"):
            find_incident(connection, "%")


def test_an_empty_store_says_that_there_is_no_incident(books):
    with books.read() as connection, pytest.raises(UsageError, match="none has been opened here"):
        find_incident(connection, "x")


def test_what_the_store_holds_is_what_the_open_incidents_hold(books):
    rules = {"conservation": Rule(id="conservation", block=True)}
    run(books, result("detect", group={"subinstance": "0003"}), result("crop", kind="drift"), rules=rules)
    standing = everything(books)
    for task in GRAPH.tasks:
        for subinstance in (ALL, "0001", "0003"):
            for day in (DAY - timedelta(days=1), DAY, DAY + timedelta(days=1)):
                with books.read() as connection:
                    found = holds(connection, task, day, ALL, subinstance)
                assert found == holding(standing, Leaf(task, day, ALL, subinstance))
    with books.read() as connection:
        (held,) = holds(connection, "crop", DAY, ALL, "0003", planid="daily", redone=[DAY])
        assert holds(connection, "crop", DAY, ALL, "0003", planid="repair", redone=[DAY]) == []
    handle(books, held.episode, partial(handling.waive, by="ann", why="due", now=NOW), now=NOW, sinks=())
    with books.read() as connection:
        assert holds(connection, "crop", DAY, ALL, "0003") == []


def test_baselines_leave_out_days_of_unmended_pages_with_the_tasks_they_touch(books):
    run(books, result("detect"), result("crop"))
    run(books, result("embed", Status.WARN, date=DAY + timedelta(days=1)))
    run(books, result("embed", date=DAY + timedelta(days=2)))
    by_day = {one.date: one.episode for one in everything(books)}
    benign = partial(handling.resolve, by="ann", why="a holiday", now=NOW, benign=True)
    handle(books, by_day[DAY + timedelta(days=2)], benign, now=NOW, sinks=())
    span = (DAY - timedelta(days=9), DAY + timedelta(days=9))
    with books.read() as connection:
        assert incident_days(connection, *span) == {("detect", DAY), ("crop", DAY)}
        assert incident_days(connection, DAY + timedelta(days=1), DAY + timedelta(days=9)) == frozenset()
    passes = [result(task, Status.PASS, data="data-2") for task in ("detect", "crop")]
    run(books, *passes, now=LATER)
    with books.read() as connection:
        assert incident_days(connection, *span) == frozenset()


def test_a_day_that_a_person_closed_without_calling_it_benign_stays_out_of_baselines(books):
    run(books, result())
    handle(books, "", partial(handling.resolve, by="ann", why="later", now=NOW), now=NOW, sinks=())
    with books.read() as connection:
        assert incident_days(connection, DAY, DAY) == {("detect", DAY)}


def test_a_summary_brings_its_members_and_what_is_done_to_it_is_done_to_them(books):
    run(books, *(result(group={"subinstance": f"{number:04}"}) for number in range(CAP + 1)))
    (summary,) = [one for one in everything(books) if one.members]
    with books.read() as connection:
        assert [one.episode for one in members_of(connection, summary)] == list(summary.members)
    resolved = partial(handling.resolve, by="ann", why="power cut", now=NOW)
    handle(books, summary.episode, resolved, now=NOW, sinks=SINKS)
    assert {one.state for one in everything(books)} == {IncidentState.RESOLVED}
    assert notices(books) == [("summary", summary.episode), ("resolve", summary.episode)]


def test_old_days_expire_in_the_store(books):
    run(books, result(), result(date=DAY - timedelta(days=40)))
    with books.begin() as work:
        done = handling.expire(known_incidents(work, ()), DAY - timedelta(days=30), LATER)
        write_step(work, done)
    assert [one.state for one in done.incidents] == [IncidentState.EXPIRED]
    assert [one.date for one in everything(books) if one.is_open] == [DAY]
    assert [draft.event.value for draft in done.notices] == ["resolve"]


def test_runs_at_the_same_time_open_an_incident_once_and_tell_it_once(books):
    runs, failures = 4, []
    ready = threading.Barrier(runs)

    def go() -> None:
        with open_store(books.url) as mine:
            ready.wait(30)
            try:
                run(mine, result(), result("download"), now=NOW)
            except StoreError as error:
                failures.append(error)

    threads = [threading.Thread(target=go) for _ in range(runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert len(everything(books)) == 1
    assert [event for event, _ in notices(books)] == ["trigger"]
    with books.read() as connection:
        assert connection.execute(select(func.count()).select_from(t.incident_action)).scalar() == 2


def test_a_step_without_changes_writes_nothing(books):
    with books.begin() as work:
        write_step(work, Step([], [], []))
    assert everything(books) == []

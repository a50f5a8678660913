"""The table of notices: who hears of what, once, and which is sent next."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from checks import notices
from checks.incidents import Event, IncidentState, Severity
from checks.notices import (
    NoticeState,
    delivery_status,
    drafts_to_rows,
    list_notices,
    notice_of,
    queue_notices,
    revive,
)
from checks.sinks.settings import LogSink
from reporting.tables import notice
from reporting.testing import MOMENT
from tests.checks.sinks.notice_factory import make_draft, make_incident

ALL = LogSink(kind="log", name="all")
PAGER = LogSink(kind="log", name="pager", severities=("page",))


def queue(store, *drafts, sinks=(ALL, PAGER), now=MOMENT) -> int:
    with store.begin() as work:
        return queue_notices(work.connection, drafts, sinks, now)


def rows(store):
    with store.read() as connection:
        return connection.execute(select(notice).order_by(notice.c.seq)).all()


def told(store) -> list[tuple[str, str]]:
    return [(row.event, row.sink) for row in rows(store)]


WARNING = make_incident(severity=Severity.WARN)
PAGING = make_incident(severity=Severity.PAGE)
OVER = make_incident(severity=Severity.WARN, state=IncidentState.RESOLVED)


def test_a_sink_hears_of_its_severities(store):
    queue(store, make_draft(incident=WARNING))
    assert told(store) == [("trigger", "all")]


def test_who_was_woken_is_told_that_it_is_over_whatever_it_became(store):
    queue(store, make_draft(incident=WARNING))
    queue(store, make_draft(Event.UPDATE, incident=PAGING))
    queue(store, make_draft(Event.RESOLVE, incident=OVER))
    assert told(store) == [
        ("trigger", "all"),
        ("update", "all"),
        ("update", "pager"),
        ("resolve", "all"),
        ("resolve", "pager"),
    ]


def test_nobody_is_told_the_end_of_what_he_never_heard_of(store):
    queue(store, make_draft(incident=PAGING), sinks=(ALL,))
    queue(store, make_draft(Event.ACKNOWLEDGE, incident=PAGING), make_draft(Event.RESOLVE, incident=PAGING))
    assert told(store) == [("trigger", "all"), ("acknowledge", "all"), ("resolve", "all")]


def test_a_trigger_and_its_resolve_in_one_step_are_both_told(store):
    queue(store, make_draft(incident=PAGING), make_draft(Event.RESOLVE, incident=PAGING), sinks=(PAGER,))
    assert told(store) == [("trigger", "pager"), ("resolve", "pager")]


def test_the_same_notice_is_written_once(store):
    for _ in range(3):
        queue(store, make_draft(incident=PAGING), make_draft(Event.UPDATE, 1, incident=PAGING))
    queue(store, make_draft(Event.UPDATE, 2, incident=PAGING))
    assert [(row.event, row.sink) for row in rows(store)].count(("update", "pager")) == 2
    assert len(rows(store)) == 6
    assert len({row.notice_id for row in rows(store)}) == 6


def test_a_transaction_that_fails_leaves_nothing(store):
    def then_fail() -> None:
        with store.begin() as work:
            queue_notices(work.connection, [make_draft()], [ALL], MOMENT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        then_fail()
    assert rows(store) == []


def test_what_is_read_is_what_was_written(store):
    draft = make_draft(Event.UPDATE, 7, incident=PAGING)
    queue(store, draft, sinks=(PAGER,))
    found = notice_of(rows(store)[0])
    assert (found.incident, found.event, found.number, found.sink) == (PAGING, Event.UPDATE, 7, "pager")
    assert found.notice_id == f"{draft.name}|pager"
    assert found.created_at == MOMENT


def test_the_longest_names_fit_the_table(store):
    sink = LogSink(kind="log", name="s" * 40)
    queue(store, make_draft(Event.ACKNOWLEDGE, 999_999, incident=PAGING), make_draft(incident=PAGING), sinks=(sink,))
    queue(store, make_draft(Event.ACKNOWLEDGE, 999_999, incident=PAGING), sinks=(sink,))
    assert max(len(row.notice_id) for row in rows(store)) <= 128


def next_name(store, sink="all", now=MOMENT):
    with store.read() as connection:
        row = notices.next_of(connection, sink, now)
    return None if row is None else (row.episode, row.event)


def test_of_an_episode_only_the_first_that_waits_is_next_and_it_holds_up_no_other(store):
    one, two = make_incident("one"), make_incident("two")
    queue(store, make_draft(incident=one), make_draft(Event.RESOLVE, incident=one), make_draft(incident=two))
    assert next_name(store) == (one.episode, "trigger")
    with store.begin() as work:
        row = notices.next_of(work.connection, "all", MOMENT)
        assert notices.settle(work.connection, row, available_at=MOMENT.timestamp() + 60)
    assert next_name(store) == (two.episode, "trigger")
    assert next_name(store, now=MOMENT + timedelta(seconds=60)) == (one.episode, "trigger")
    with store.begin() as work:
        again = notices.next_of(work.connection, "all", MOMENT + timedelta(seconds=60))
        assert notices.settle(work.connection, again, state="dead")
    assert next_name(store) == (one.episode, "resolve")


def test_an_attempt_is_settled_once(store):
    queue(store, make_draft(incident=PAGING), sinks=(ALL,))
    (row,) = rows(store)
    with store.begin() as work:
        assert notices.settle(work.connection, row, state="sent")
        assert not notices.settle(work.connection, row, state="dead")
    assert rows(store)[0].state == "sent"
    assert rows(store)[0].attempts == 1


def test_a_lease_is_one_owners_until_it_ends_or_is_given_back(store):
    with store.begin() as work:
        lead = notices.lead
        assert lead(work.connection, "deliver:a", "me", 10, clock=100)
        assert lead(work.connection, "deliver:a", "me", 10, clock=105)
        assert not lead(work.connection, "deliver:a", "you", 10, clock=114)
        assert lead(work.connection, "deliver:b", "you", 10, clock=114)
        assert lead(work.connection, "deliver:a", "you", 10, clock=115)
        notices.resign(work.connection, "deliver:a", "me")  # not his any more
        assert not lead(work.connection, "deliver:a", "me", 10, clock=116)
        notices.resign(work.connection, "deliver:a", "you")
        assert lead(work.connection, "deliver:a", "me", 10, clock=116)


def test_how_each_sink_stands_can_be_seen_and_the_dead_be_revived(store):
    queue(store, *(make_draft(incident=make_incident(f"edge {n}")) for n in range(3)))
    with store.begin() as work:
        first, second, *_ = (row for row in rows(store) if row.sink == "pager")
        notices.settle(work.connection, first, state="sent")
        notices.settle(work.connection, second, state="dead", error="refused: 404")
    every, pager = delivery_status(store)
    assert (every.sink, every.waiting, every.sent, every.dead, every.error) == ("all", 3, 0, 0, "")
    assert (pager.waiting, pager.sent, pager.dead, pager.error) == (1, 1, 1, "refused: 404")
    assert pager.oldest == MOMENT
    later = MOMENT + timedelta(days=3)
    assert revive(store, later, ["all"]) == 0
    assert revive(store, later) == 1
    (back,) = (row for row in rows(store) if row.seq == second.seq)
    assert (back.state, back.attempts, back.error, back.available_at) == ("waiting", 0, None, later.timestamp())


def test_the_dead_of_what_is_over_and_told_so_stay_dead_and_others_can_be_chosen(store):
    """Else a pager would open an alert that nothing ever ends."""
    over, open_, other = (make_incident(name) for name in ("over", "open", "other"))
    queue(store, *(make_draft(incident=one) for one in (over, open_, other)), sinks=(ALL,))
    queue(store, make_draft(Event.RESOLVE, incident=over), make_draft(Event.RESOLVE, incident=open_), sinks=(ALL,))
    with store.begin() as work:
        for row in rows(store):
            ended = (row.episode, row.event) == (over.episode, "resolve")
            notices.settle(work.connection, row, state="sent" if ended else "dead", sent_at=row.created_at)
    first, second, third, *_ = (row.seq for row in rows(store))
    assert revive(store, MOMENT, ids=[first]) == 0
    assert revive(store, MOMENT, ids=[third]) == 1
    assert revive(store, MOMENT) == 2
    assert [(one.episode, one.event, one.state.value) for one in list_notices(store)] == [
        (open_.episode, "resolve", "waiting"),
        (over.episode, "resolve", "sent"),
        (other.episode, "trigger", "waiting"),
        (open_.episode, "trigger", "waiting"),
        (over.episode, "trigger", "dead"),
    ]
    assert [one.id for one in list_notices(store, states=[NoticeState.WAITING], limit=2)] == [second + 3, third]
    assert list_notices(store, sinks=["pager"]) == []


SEVERITIES = st.sampled_from(list(Severity))
EVENTS = st.sampled_from(list(Event))


@settings(max_examples=40)
@given(steps=st.lists(st.tuples(st.integers(0, 2), EVENTS, SEVERITIES), max_size=12), cut=st.integers(0, 12))
def test_who_hears_what_does_not_depend_on_how_it_is_cut_into_steps(steps, cut):
    """Also: whoever hears of an episode hears all that follows, and hears no end of what he has not heard begin."""
    drafts = [
        make_draft(event, number + 1, incident=make_incident(f"edge {edge}", severity=severity))
        for number, (edge, event, severity) in enumerate(steps)
    ]
    whole = drafts_to_rows(drafts, [ALL, PAGER], MOMENT, set())
    first = drafts_to_rows(drafts[:cut], [ALL, PAGER], MOMENT, set())
    known = {(row["sink"], row["episode"]) for row in first}
    assert first + drafts_to_rows(drafts[cut:], [ALL, PAGER], MOMENT, known) == whole
    for sink in (ALL, PAGER):
        for episode in {draft.episode for draft in drafts}:
            mine = [draft for draft in drafts if draft.episode == episode]
            heard = [row["event"] for row in whole if row["sink"] == sink.name and row["episode"] == episode]
            begins = next(
                (
                    n
                    for n, draft in enumerate(mine)
                    if draft.incident.severity.value in sink.severities
                    and draft.event not in (Event.ACKNOWLEDGE, Event.RESOLVE)
                ),
                len(mine),
            )
            assert heard == [draft.event.value for draft in mine[begins:]]

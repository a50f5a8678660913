"""Which offers are asked, what answers change, and when a picture has no live offer left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date as Date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evict.days import day_number
from pipeline.evict.liveness import (
    UNCHECKED,
    Answer,
    Offers,
    RecheckRules,
    Verdict,
    gone_since,
    lapse,
    settle,
    sight,
    turn,
    waiting_days,
)
from pipeline.evict.stored import NEVER
from reporting.errors import DataError
from tests.pipeline.evict import naive_facts

NO, YES = np.array([False]), np.array([True])


def offers(*confirmed: int, **changes: Any) -> Offers:
    """Return offers that were seen alive on these days and never asked; `changes` replaces columns."""
    count = len(confirmed)
    columns: dict[str, Any] = {
        "last_confirmed": confirmed,
        "last_checked": [UNCHECKED] * count,
        "verdict": [Verdict.ALIVE] * count,
        "gone_since": [NEVER] * count,
        "gone_answers": [0] * count,
        "tries": [0] * count,
        "askable": [True] * count,
    } | changes
    kinds = ("i4", "i4", "i1", "i4", "i2", "i2", "?")
    return Offers(*(np.array(column, kind) for column, kind in zip(columns.values(), kinds, strict=True)))


def same(one: Offers, other: Offers) -> bool:
    return all(np.array_equal(column, vars(other)[name]) for name, column in vars(one).items())


def test_the_longest_unseen_goes_first_and_what_was_seen_today_is_not_asked():
    assert turn(offers(5, 3, 9, 10), RecheckRules(per_day=10), 10).tolist() == [1, 0, 2]


def test_a_check_counts_as_a_look_and_what_was_never_asked_goes_before_it():
    found = offers(1, 5, 2, 5, last_checked=[5, UNCHECKED, 5, UNCHECKED])
    assert turn(found, RecheckRules(per_day=10), 10).tolist() == [1, 3, 0, 2]
    assert turn(found, RecheckRules(per_day=3), 10).tolist() == [1, 3, 0]
    assert turn(found, RecheckRules(per_day=0), 10).tolist() == []


def test_what_has_no_place_or_was_taken_off_the_shelf_is_not_asked_and_a_dead_link_is():
    verdicts = [Verdict.ALIVE, Verdict.OFF_SHELF, Verdict.DEAD_LINK, Verdict.EXPIRED]
    found = offers(1, 1, 1, 1, verdict=verdicts, gone_since=[NEVER, 2, 2, 2], askable=[False, True, True, True])
    assert turn(found, RecheckRules(), 10).tolist() == [2, 3]


def test_a_suspect_is_asked_again_the_next_day_but_never_in_more_than_half_of_the_turn():
    found = offers(1, 2, 3, 4, 5, gone_answers=[0, 0, 1, 1, 1], last_checked=[UNCHECKED] * 2 + [9] * 3)
    assert turn(found, RecheckRules(per_day=4), 10).tolist() == [2, 3, 0, 1]
    assert turn(found, RecheckRules(per_day=1), 10).tolist() == [0]
    assert turn(found, RecheckRules(per_day=4, rest_days=2), 10).tolist() == [0, 1]


def naive_turn(found: Offers, rules: RecheckRules, day: int) -> list[int]:
    """The order of asking, one offer at a time."""

    def look(row: int) -> tuple[int, bool, int, int]:
        asked, confirmed = int(found.last_checked[row]), int(found.last_confirmed[row])
        return max(asked, confirmed), asked != UNCHECKED, confirmed, row

    may = [
        row
        for row in range(len(found))
        if found.askable[row] and found.verdict[row] != Verdict.OFF_SHELF and day - look(row)[0] >= rules.rest_days
    ]
    doubted = sorted((row for row in may if found.gone_answers[row] and found.verdict[row] < 10), key=look)
    first = doubted[: rules.per_day // 2]
    return first + sorted((row for row in may if row not in first), key=look)[: rules.per_day - len(first)]


OFFER = st.tuples(
    st.integers(0, 9),
    st.one_of(st.just(int(UNCHECKED)), st.integers(0, 9)),
    st.sampled_from(list(Verdict)),
    st.integers(0, 2),
    st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(OFFER, max_size=25), per_day=st.integers(0, 12), rest=st.integers(1, 3))
def test_the_turn_is_what_a_naive_queue_says(rows, per_day, rest):
    confirmed, checked, verdict, answers, askable = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    found = offers(*confirmed, last_checked=checked, verdict=verdict, gone_answers=answers, askable=askable)
    rules = RecheckRules(per_day=per_day, rest_days=rest)
    assert turn(found, rules, 10).tolist() == naive_turn(found, rules, 10)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), count=st.integers(1, 30), per_day=st.integers(1, 8))
def test_everyone_is_asked_within_one_round_whatever_the_answers(data, count, per_day):
    """Half of the turn at least goes to the oldest looks, so that n offers take no more than 2 n / per_day days."""
    rules = RecheckRules(per_day=per_day)
    found, asked = offers(*[0] * count), set[int]()
    rounds = -(-count // (per_day - per_day // 2))
    for day in range(1, rounds + 1):
        rows = turn(found, rules, day)
        assert len(set(rows.tolist())) == len(rows) <= per_day
        asked.update(rows.tolist())
        answers = data.draw(st.lists(st.sampled_from(Answer), min_size=len(rows), max_size=len(rows)))
        found = settle(found, rows, answers, day, rules)
    assert asked == set(range(count))
    assert waiting_days(found, rules, rounds) <= rounds


def test_what_waits_longest_is_measured():
    found = offers(3, 7, 10)
    assert waiting_days(found, RecheckRules(), 10) == 7
    assert waiting_days(offers(10), RecheckRules(), 10) == 0
    assert waiting_days(offers(), RecheckRules(), 10) == 0


def after(*days: Answer | str | None, confirmed: int = 0, **rules: int) -> list[tuple[str, int | None]]:
    """Return (verdict, gone since) after each day from 1 on: an answer, `seen`, `off`, or None for a day of nothing."""
    found, known, history = offers(confirmed), RecheckRules(**rules), []
    for day, said in enumerate(days, start=1):
        found = sight(found, YES if said == "seen" else NO, YES if said == "off" else NO, day)
        if isinstance(said, Answer):
            found = settle(found, np.array([0]), [said], day, known)
        found = lapse(found, known, day)
        since = int(found.gone_since[0])
        history.append((Verdict(found.verdict[0]).label, None if since == NEVER else since))
    return history


def test_a_link_is_dead_after_two_days_of_saying_so_and_alive_again_once_it_answers():
    found = after(Answer.GONE, Answer.GONE, Answer.NOTHING, Answer.GONE, Answer.ALIVE, Answer.GONE)
    dead = ("dead_link", 2)
    assert found == [("unknown", None), dead, dead, dead, ("alive", None), ("unknown", None)]


def test_days_without_an_answer_neither_kill_nor_save():
    found = after(Answer.GONE, *[Answer.NOTHING] * 9, Answer.GONE)
    assert found == [("unknown", None)] * 10 + [("dead_link", 11)]
    assert after(*[Answer.NOTHING] * 50) == [("unknown", None)] * 50


def test_an_answer_that_it_is_alive_begins_the_count_anew():
    assert after(Answer.GONE, Answer.ALIVE, Answer.GONE)[-1] == ("unknown", None)
    assert after(Answer.GONE, "seen", Answer.GONE)[-1] == ("unknown", None)


def test_an_offer_that_is_seen_is_alive_at_once_whatever_it_was():
    assert after(Answer.GONE, Answer.GONE, "seen")[-1] == ("alive", None)
    assert after("off", "seen") == [("off_shelf", 1), ("alive", None)]
    assert after(None, None, "seen", expires_days=2) == [("alive", None), ("expired", 2), ("alive", None)]


def test_off_the_shelf_is_gone_at_once_and_since_the_first_day_that_it_was():
    assert after("off", "off") == [("off_shelf", 1)] * 2
    assert after(Answer.GONE, Answer.GONE, "off") == [("unknown", None), ("dead_link", 2), ("off_shelf", 2)]


def test_listed_goes_before_off_the_shelf_on_one_day():
    found = sight(offers(0), YES, YES, 1)
    assert (found.verdict[0], found.gone_since[0], found.last_confirmed[0]) == (Verdict.ALIVE, NEVER, 1)


def test_it_expires_where_nobody_has_seen_or_found_it_for_so_long_and_found_alive_counts():
    alone = after(*[None] * 5, expires_days=4)
    assert alone == [("alive", None)] * 3 + [("expired", 4)] * 2
    found = after(None, None, Answer.ALIVE, None, None, None, None, expires_days=4)
    assert found == [("alive", None)] * 6 + [("expired", 7)]
    assert after(Answer.NOTHING, Answer.NOTHING, expires_days=2)[-1] == ("expired", 2)


def test_an_expired_offer_that_answers_is_alive_and_one_that_says_gone_keeps_its_day():
    assert after(None, None, Answer.ALIVE, expires_days=2)[-1] == ("alive", None)
    assert after(None, None, Answer.GONE, Answer.GONE, expires_days=2)[-2:] == [("expired", 2), ("dead_link", 2)]


def test_unreachable_places_count_only_where_anything_on_the_network_has_answered():
    rules, row = RecheckRules(dead_after=1), np.array([0])
    online = settle(offers(0), row, [Answer.UNREACHABLE], 1, rules)
    cut_off = settle(offers(0), row, [Answer.UNREACHABLE], 1, rules, is_online=False)
    assert (online.verdict[0], cut_off.verdict[0]) == (Verdict.DEAD_LINK, Verdict.UNKNOWN)
    assert (online.tries[0], cut_off.tries[0], cut_off.gone_answers[0]) == (0, 1, 0)


@dataclass
class One:
    """One offer, as a person would keep it on a card."""

    confirmed: int = 0
    asked: int | None = None
    gone_days: int = 0
    tries: int = 0
    gone: str | None = None
    since: int | None = None
    heard_nothing: bool = False

    def revive(self, day: int) -> None:
        self.confirmed, self.gone_days, self.tries, self.gone, self.since = day, 0, 0, None, None
        self.heard_nothing = False

    def bury(self, why: str, day: int) -> None:
        self.gone, self.since = why, self.since or day

    def ask(self, answer: Answer, day: int, dead_after: int) -> None:
        self.asked = day
        if answer is Answer.ALIVE:
            self.revive(day)
            return
        self.heard_nothing = True
        if answer is Answer.NOTHING:
            self.tries += 1
            return
        self.tries, self.gone_days = 0, self.gone_days + 1
        if self.gone_days >= dead_after:
            self.bury("dead_link", day)

    @property
    def verdict(self) -> str:
        return self.gone or ("unknown" if self.heard_nothing else "alive")


EVENT = st.one_of(st.none(), st.sampled_from(["seen", "off"]), st.sampled_from(Answer))


@settings(max_examples=60, deadline=None)
@given(
    days=st.lists(st.lists(EVENT, min_size=3, max_size=3), max_size=14),
    dead_after=st.integers(1, 3),
    expires=st.integers(1, 8),
)
def test_every_history_ends_as_on_a_card_kept_by_hand(days, dead_after, expires):
    rules = RecheckRules(dead_after=dead_after, expires_days=expires)
    found, cards = offers(0, 0, 0), [One(), One(), One()]
    for day, events in enumerate(days, start=1):
        seen, off = (np.array([event == word for event in events]) for word in ("seen", "off"))
        rows = np.array([row for row, event in enumerate(events) if isinstance(event, Answer)], np.int64)
        found = lapse(settle(sight(found, seen, off, day), rows, [events[r] for r in rows], day, rules), rules, day)
        for card, event in zip(cards, events, strict=True):
            if event == "seen":
                card.revive(day)
            elif event == "off":
                card.bury("off_shelf", day)
            elif isinstance(event, Answer):
                card.ask(event, day, dead_after)
            if card.gone is None and day - card.confirmed >= expires:
                card.bury("expired", day)
        assert [Verdict(one).label for one in found.verdict] == [card.verdict for card in cards]
        assert found.gone_since.tolist() == [card.since or NEVER for card in cards]
        assert found.last_confirmed.tolist() == [card.confirmed for card in cards]
        assert found.last_checked.tolist() == [UNCHECKED if card.asked is None else card.asked for card in cards]
        assert (found.gone_answers.tolist(), found.tries.tolist()) == (
            [card.gone_days for card in cards],
            [card.tries for card in cards],
        )
        assert same(lapse(sight(found, seen, off, day), rules, day), found)  # the manifest again brings nothing new
        assert not set(turn(found, RecheckRules(), day).tolist()) & set(rows.tolist())


def checks(*rows: tuple[str, str, int | None]) -> pa.Table:
    """Return checks from (picture, sku, day of November since which it is gone)."""
    days = [None if day is None else Date(2026, 11, day) for *_, day in rows]
    return pa.table(
        {
            "picture": [row[0] for row in rows],
            "merchant": ["acme"] * len(rows),
            "sku": [row[1] for row in rows],
            "gone_since": pa.array(days, pa.date32()),
        }
    )


def test_a_picture_is_gone_since_its_last_offer_went_and_one_that_is_left_keeps_it():
    table = checks(("p", "1", 3), ("q", "2", 5), ("p", "4", 7), ("q", "5", None), ("r", "6", None))
    assert naive_facts.gone_since(table) == {"p": Date(2026, 11, 7)}
    rows = np.array(["pqr".index(name) for name in table["picture"].to_pylist()])
    days = np.asarray(pc.fill_null(table["gone_since"].cast(pa.int32()), int(NEVER)))
    assert gone_since(rows, days, 4).tolist() == [day_number(Date(2026, 11, 7)), NEVER, NEVER, NEVER]
    assert gone_since(rows[:0], days[:0], 1).tolist() == [NEVER]


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(DataError, match=r"offers\.tries: has 2 rows, expected 1"):
        offers(1, tries=[0, 0])

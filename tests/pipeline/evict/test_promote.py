"""A dropped copy takes its survivor's place once no shop shows the survivor's own picture any more."""

from __future__ import annotations

from datetime import date as Date

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evict.liveness import Verdict
from pipeline.evict.promote import promotions
from pipeline.window.checks import CHECKS_SCHEMA, promotion_table, promotions_of
from tests.pipeline.evict.naive_facts import gone_since

ALIVE, UNKNOWN, DEAD, OFF = "alive", "unknown", "dead_link", "off_shelf"


def checks(*rows: tuple[str, str, str, str, int]) -> pa.Table:
    """Return checks from (stored picture, sku, picture shown, verdict, day of November it was last confirmed)."""
    return pa.Table.from_pylist(
        [
            {
                "merchant": "acme",
                "sku": sku,
                "picture": picture,
                "item": f"item-{sku}",
                "shown": shown,
                "location": f"http://shop.example/{shown}",
                "kind": "url",
                "last_confirmed": Date(2026, 11, day),
                "verdict": verdict,
                "gone_since": Date(2026, 11, day) if verdict in (DEAD, OFF) else None,
                "gone_answers": 0,
                "tries": 0,
            }
            for picture, sku, shown, verdict, day in rows
        ],
        schema=CHECKS_SCHEMA,
    )


def promoted(*rows: tuple[str, str, str, str, int]) -> list[tuple[str, str, str, list[str]]]:
    return [(one.survivor, one.picture, one.item, [sku for _, sku in one.offers]) for one in promotions(checks(*rows))]


def test_a_live_copy_stands_in_for_a_picture_whose_own_link_died_and_takes_its_offers_over():
    rows = (("s", "1", "s", DEAD, 1), ("s", "2", "copy", ALIVE, 5), ("s", "3", "other", UNKNOWN, 2))
    assert promoted(*rows) == [("s", "copy", "item-2", ["2", "3"])]
    (one,) = promotions(checks(*rows))
    assert (one.location, one.kind, one.merchant, one.sku) == ("http://shop.example/copy", "url", "acme", "2")


def test_nothing_moves_while_one_offer_that_shows_the_picture_itself_is_not_gone():
    assert promoted(("s", "1", "s", UNKNOWN, 1), ("s", "2", "copy", ALIVE, 5)) == []
    assert promoted(("s", "1", "s", DEAD, 1), ("s", "4", "s", ALIVE, 1), ("s", "2", "copy", ALIVE, 5)) == []


def test_a_picture_without_an_offer_of_its_own_known_to_be_gone_stays():
    assert promoted(("s", "2", "copy", ALIVE, 5)) == []


def test_a_copy_of_unknown_standing_is_no_reason_and_a_dead_one_none():
    assert promoted(("s", "1", "s", OFF, 1), ("s", "2", "copy", UNKNOWN, 5)) == []
    assert promoted(("s", "1", "s", OFF, 1), ("s", "2", "copy", DEAD, 5)) == []


def test_of_several_copies_the_one_confirmed_last_stands_in_then_the_lowest_item():
    rows = (("s", "1", "s", DEAD, 1), ("s", "2", "a", ALIVE, 5), ("s", "3", "b", ALIVE, 7), ("s", "4", "c", ALIVE, 7))
    assert promoted(*rows) == promoted(*reversed(rows)) == [("s", "b", "item-3", ["2", "3", "4"])]


def test_a_table_of_promotions_says_what_they_are():
    found = promotions(checks(("s", "1", "s", DEAD, 1), ("s", "2", "copy", ALIVE, 5), ("s", "3", "x", UNKNOWN, 2)))
    assert promotions_of(promotion_table(found)) == found
    assert promotions_of(promotion_table([])) == []


ROW = st.tuples(
    st.sampled_from("st"),
    st.sampled_from("123456"),
    st.sampled_from("stab"),
    st.sampled_from([one.label for one in Verdict]),
    st.integers(1, 9),
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, max_size=10, unique_by=lambda row: (row[0], row[1])))
def test_no_living_offer_is_lost_and_nothing_that_is_gone_as_a_whole_is_promoted(rows):
    table = checks(*[(*row[:3], row[3], row[4]) for row in rows])
    gone = {Verdict.DEAD_LINK.label, Verdict.OFF_SHELF.label, Verdict.EXPIRED.label}
    for one in promotions(table):
        mine = [row for row in rows if row[0] == one.survivor]
        assert {(row[3] in gone) for row in mine if row[2] == one.survivor} == {True}
        assert [sku for _, sku in one.offers] == sorted(row[1] for row in mine if row[3] not in gone)
        assert (one.picture, ALIVE) in {(row[2], row[3]) for row in mine}
        assert one.picture != one.survivor
        assert one.survivor not in gone_since(table)

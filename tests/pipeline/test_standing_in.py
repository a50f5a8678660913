"""A promoted copy that arrives is kept in its survivor's place, and no living offer is lost on the way."""

from __future__ import annotations

from datetime import date as Date
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evict.promote import Promotion
from pipeline.window.duplicates import Duplicate, find_duplicates
from pipeline.window.live import LIVE_SCHEMA, advance
from pipeline.window.standing_in import stand_ins, take_over, without_survivors

DAY = Date(2026, 11, 5)
NEAR = 4


def row(picture: str, sku: str, *, listed: bool = True) -> dict[str, Any]:
    texts = {"item": f"i-{sku}", "picture": picture, "merchant": "acme", "sku": sku, "group": sku, "title": sku}
    return texts | {"category": "", "pack": "p", "offset": 0, "bytes": 1, "listed": listed, "thumb": bytes(192)}


def rows(*found: dict[str, Any]) -> pa.Table:
    kinds = {"dhash": pa.uint64(), "thumb": pa.binary(192), "listed": pa.bool_(), "offset": pa.int64()}
    names = (*row("p", "1"), "dhash")
    schema = pa.schema([(name, kinds.get(name, pa.int64() if name == "bytes" else pa.string())) for name in names])
    return pa.Table.from_pylist(sorted(found, key=lambda one: one["item"]), schema=schema)


def stored(**pictures: str) -> pa.Table:
    """Return a library of pictures with the offers that stand in a word: `s="ab"` has two."""
    entries = [
        {
            **{"picture": picture, "item": f"i-{skus[0]}", "group": "g", "title": "t", "thumb": bytes(192)},
            **{"pack": "p", "offset": 0, "bytes": 1, "first_day": Date(2026, 11, 1), "last_seen": Date(2026, 11, 2)},
            "offers": [{"merchant": "acme", "sku": sku, "item": f"i-{sku}", "title": sku} for sku in skus],
        }
        for picture, skus in sorted(pictures.items())
    ]
    return pa.Table.from_pylist(entries, schema=LIVE_SCHEMA)


def promotion(survivor: str, picture: str, sku: str, offers: str) -> Promotion:
    taken = tuple(("acme", one) for one in sorted(offers))
    return Promotion(survivor, picture, f"i-{sku}", "http://a/1", "url", "acme", sku, taken)


def pass_day(before: pa.Table, found: list[Promotion], arrivals: pa.Table) -> tuple[pa.Table, list[Duplicate]]:
    """Do what dedup does with promotions."""
    listed = arrivals.filter(arrivals["listed"])
    standing = stand_ins(found, listed, before)
    left = without_survivors(before, standing)
    duplicates = find_duplicates(listed, left, NEAR)
    return take_over(advance(left, arrivals, duplicates, DAY), before, standing, duplicates, arrivals), duplicates


def skus(live: pa.Table) -> dict[str, str]:
    return {one["picture"]: "".join(offer["sku"] for offer in one["offers"]) for one in live.to_pylist()}


def test_the_copy_is_new_and_takes_over_the_offers_that_are_not_gone():
    before, found = stored(s="abc", t="d"), [promotion("s", "copy", "b", "bc")]
    live, duplicates = pass_day(before, found, rows(row("copy", "b")))
    assert (skus(live), duplicates) == ({"copy": "bc", "t": "d"}, [])
    assert live.schema == LIVE_SCHEMA
    (fresh,) = [one for one in live.to_pylist() if one["picture"] == "copy"]
    assert (fresh["first_day"], fresh["last_seen"]) == (DAY, DAY)


def test_the_survivor_stays_while_the_copy_does_not_arrive_or_arrives_with_another_picture():
    before, found = stored(s="abc"), [promotion("s", "copy", "b", "bc")]
    assert skus(pass_day(before, found, rows(row("x", "y")))[0]) == {"s": "abc", "x": "y"}
    assert skus(pass_day(before, found, rows(row("x", "b")))[0]) == {"s": "abc", "x": "b"}


def test_the_survivor_stays_where_it_arrives_again_itself():
    before, found = stored(s="abc"), [promotion("s", "copy", "b", "bc")]
    live, duplicates = pass_day(before, found, rows(row("copy", "b"), row("s", "a")))
    assert skus(live) == {"copy": "b", "s": "abc"}  # b shows two pictures by now: both stand for it
    assert [dup.survivor for dup in duplicates] == ["s"]


def test_an_offer_taken_off_the_shelf_that_day_is_not_handed_on():
    before, found = stored(s="abc"), [promotion("s", "copy", "b", "bc")]
    live, _ = pass_day(before, found, rows(row("copy", "b"), row("z", "c", listed=False)))
    assert skus(live) == {"copy": "b"}


def test_a_stand_in_that_is_a_duplicate_itself_hands_on_to_its_own_survivor():
    before, found = stored(s="abc", t="d"), [promotion("s", "copy", "b", "bc")]
    arrivals = rows(row("copy", "b"))
    standing = stand_ins(found, arrivals, before)
    duplicates = [Duplicate("i-b", "copy", "t", Date(2026, 11, 1), "near_duplicate", 1)]
    live = advance(without_survivors(before, standing), arrivals, duplicates, DAY)
    assert skus(take_over(live, before, standing, duplicates, arrivals)) == {"t": "bcd"}


def test_without_promotions_a_day_is_as_it_was():
    before, arrivals = stored(s="abc"), rows(row("copy", "b"))
    assert pass_day(before, [], arrivals)[0].equals(advance(before, arrivals, [], DAY))


@settings(max_examples=60, deadline=None)
@given(
    arriving=st.lists(st.tuples(st.sampled_from("stpqxy"), st.sampled_from("abcdef"), st.booleans()), max_size=6),
    own=st.sets(st.sampled_from("ab")),
)
def test_no_offer_that_is_not_gone_or_taken_off_is_ever_lost(arriving, own):
    arrivals = rows(*{sku: row(picture, sku, listed=listed) for picture, sku, listed in arriving}.values())
    found = [promotion("s", "p", "b", "b" + "".join(own)), promotion("t", "q", "d", "cd")]
    live, _ = pass_day(stored(s="ab", t="cd"), found, arrivals)
    off = {one["sku"] for one in arrivals.to_pylist() if not one["listed"]}
    held = set("".join(skus(live).values()))
    assert held >= {"b", "c", "d", *own} - off
    assert held.isdisjoint(off)

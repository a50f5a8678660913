"""The live window: who is a duplicate of whom, who takes over the offers, and when an item leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date as Date
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.window.duplicates import Duplicate, find_duplicates
from pipeline.window.live import LIVE_SCHEMA, advance, expire

DAY = Date(2026, 11, 1)
BITS = 4
_BASES = [int(value) for value in np.random.default_rng(7).integers(0, 2**63, 8, np.int64)]


def look(picture: str) -> tuple[int | None, bytes]:
    """Return (hash, thumbnail) of picture "fv": family f, variant v. One family's look alike; family x has no hash.

    Variants differ in as many bits as their numbers (bits 0 to v - 1 are flipped).
    """
    family, variant = picture[0], int(picture[1:])
    if family == "x":
        return None, bytes(192)
    number = ord(family) - ord("a")
    return _BASES[number] ^ ((1 << variant) - 1), bytes([20 + 25 * number]) * 192


def arrivals(*rows: tuple[str, str, str] | tuple[str, str, str, bool]) -> pa.Table:
    """Return the day's rows from (item, picture, "merchant/sku"[, listed]), sorted by item."""
    documents: list[dict[str, Any]] = []
    for item, picture, offer, *rest in sorted(rows):
        merchant, sku = offer.split("/")
        dhash, thumb = look(picture)
        values: dict[str, Any] = {
            "item": item,
            "picture": picture,
            "merchant": merchant,
            "sku": sku,
            "group": offer,
            "title": f"T{sku}",
            "category": "",
        } | {"dhash": dhash, "thumb": thumb, "pack": "p", "offset": 0, "bytes": 1, "listed": (not rest or rest[0])}
        documents.append(values)
    names = ("item", "picture", "merchant", "sku", "group", "title", "category", "pack")
    kinds: list[Any] = [(name, pa.string()) for name in names]
    kinds += [("dhash", pa.uint64()), ("thumb", pa.binary(192)), ("listed", pa.bool_())]
    return pa.Table.from_pylist(documents, schema=pa.schema([*kinds, ("offset", pa.int64()), ("bytes", pa.int64())]))


def pass_day(live: pa.Table, rows: pa.Table, day: Date, window_days: int = 60) -> tuple[pa.Table, list[Duplicate]]:
    """Do what the dedup task does."""
    before = expire(live, day, window_days)
    duplicates = find_duplicates(rows.filter(rows["listed"]), before, BITS)
    return advance(before, rows, duplicates, day), duplicates


def offers_of(live: pa.Table) -> dict[str, set[str]]:
    return {
        entry["picture"]: {f"{offer['merchant']}/{offer['sku']}" for offer in entry["offers"]}
        for entry in live.to_pylist()
    }


def ages(live: pa.Table) -> dict[str, tuple[int, int]]:
    return {row["picture"]: ((row["first_day"] - DAY).days, (row["last_seen"] - DAY).days) for row in live.to_pylist()}


EMPTY = LIVE_SCHEMA.empty_table()


def test_equal_bytes_are_exact_duplicates_and_the_lowest_item_survives() -> None:
    live, duplicates = pass_day(
        EMPTY, arrivals(("2", "a0", "m/two"), ("1", "a0", "m/one"), ("3", "b0", "m/three")), DAY
    )
    assert duplicates == [Duplicate("2", "a0", "a0", None, "exact_duplicate", 0)]
    assert offers_of(live) == {"a0": {"m/one", "m/two"}, "b0": {"m/three"}}
    assert {row["picture"]: row["item"] for row in live.to_pylist()} == {"a0": "1", "b0": "3"}


def test_pictures_within_the_distance_are_near_duplicates_and_beyond_it_are_not() -> None:
    live, duplicates = pass_day(EMPTY, arrivals(("1", "a0", "m/1"), ("2", "a4", "m/2"), ("3", "a9", "m/3")), DAY)
    assert duplicates == [Duplicate("2", "a4", "a0", None, "near_duplicate", 4)]
    # a9 is within 5 bits of nothing that stays: a4 was dropped and attracts nobody (no chains).
    assert offers_of(live) == {"a0": {"m/1", "m/2"}, "a9": {"m/3"}}


def test_what_has_no_hash_is_found_by_its_bytes_only() -> None:
    live, duplicates = pass_day(EMPTY, arrivals(("1", "x0", "m/1"), ("2", "x1", "m/2"), ("3", "x0", "m/3")), DAY)
    assert [dup.item for dup in duplicates] == ["3"]
    assert offers_of(live) == {"x0": {"m/1", "m/3"}, "x1": {"m/2"}}


def test_a_picture_of_the_window_goes_before_the_days_and_becomes_younger() -> None:
    live, _ = pass_day(EMPTY, arrivals(("9", "a1", "m/old")), DAY)
    live, duplicates = pass_day(live, arrivals(("1", "a0", "n/new"), ("2", "a1", "m/old")), DAY + timedelta(3))
    assert duplicates == [
        Duplicate("1", "a0", "a1", DAY, "near_duplicate", 1),
        Duplicate("2", "a1", "a1", DAY, "exact_duplicate", 0),
    ]
    assert offers_of(live) == {"a1": {"m/old", "n/new"}}
    assert ages(live) == {"a1": (0, 3)}


def test_copies_of_a_near_duplicate_go_to_the_same_survivor() -> None:
    live, _ = pass_day(EMPTY, arrivals(("9", "a0", "m/old")), DAY)
    live, duplicates = pass_day(live, arrivals(("1", "a1", "n/1"), ("2", "a1", "n/2")), DAY + timedelta(1))
    assert [(dup.item, dup.survivor, dup.survivor_day, dup.reason) for dup in duplicates] == [
        ("1", "a0", DAY, "near_duplicate"),
        ("2", "a0", DAY, "exact_duplicate"),
    ]
    assert offers_of(live) == {"a0": {"m/old", "n/1", "n/2"}}


def test_an_item_lives_for_the_window_counted_from_when_it_was_last_seen() -> None:
    live, _ = pass_day(EMPTY, arrivals(("1", "a0", "m/1"), ("2", "b0", "m/2")), DAY, window_days=3)
    live, _ = pass_day(live, arrivals(("2", "b0", "m/2")), DAY + timedelta(1), window_days=3)
    assert expire(live, DAY + timedelta(2), 3).num_rows == 2  # day 3 of 3: the last one
    assert offers_of(expire(live, DAY + timedelta(3), 3)) == {"b0": {"m/2"}}
    assert expire(live, DAY + timedelta(4), 3).num_rows == 0


def test_a_product_crawled_every_day_never_gets_old() -> None:
    live = EMPTY
    for number in range(20):
        live, _ = pass_day(live, arrivals(("1", "a0", "m/1")), DAY + timedelta(number), window_days=2)
    assert ages(live) == {"a0": (0, 19)}


def test_a_picture_that_comes_back_after_its_window_is_new() -> None:
    live, _ = pass_day(EMPTY, arrivals(("1", "a0", "m/1")), DAY, window_days=2)
    live, duplicates = pass_day(live, arrivals(("1", "a0", "m/1")), DAY + timedelta(2), window_days=2)
    assert duplicates == []
    assert ages(live) == {"a0": (2, 2)}


def test_an_offer_off_the_shelf_leaves_the_item_and_the_last_one_takes_it_along() -> None:
    live, _ = pass_day(EMPTY, arrivals(("1", "a0", "m/1"), ("2", "a0", "n/2"), ("3", "b0", "m/3")), DAY)
    live, duplicates = pass_day(
        live, arrivals(("1", "a0", "m/1", False), ("3", "b0", "m/3", False)), DAY + timedelta(1)
    )
    assert duplicates == []  # what is off the shelf replaces nothing, and is replaced by nothing
    assert offers_of(live) == {"a0": {"n/2"}}
    assert ages(live) == {"a0": (0, 0)}  # to be taken off the shelf is not to be seen


def test_the_title_of_an_offer_off_the_shelf_goes_though_another_of_its_product_stays() -> None:
    rows = arrivals(("1", "a0", "m/1"), ("2", "a0", "n/2"))
    rows = rows.set_column(rows.column_names.index("group"), "group", pa.array(["shoe", "shoe"]))
    live, _ = pass_day(EMPTY, rows, DAY)
    assert live["title"].to_pylist() == ["T1"]
    live, _ = pass_day(live, arrivals(("1", "a0", "m/1", False)), DAY + timedelta(1))
    assert (live["title"].to_pylist(), live["group"].to_pylist()) == (["T2"], ["shoe"])


def test_an_offer_that_comes_back_to_the_shelf_is_new_again() -> None:
    live, _ = pass_day(EMPTY, arrivals(("1", "a0", "m/1")), DAY)
    live, _ = pass_day(live, arrivals(("1", "a0", "m/1", False)), DAY + timedelta(1))
    assert live.num_rows == 0
    live, duplicates = pass_day(live, arrivals(("1", "a0", "m/1")), DAY + timedelta(2))
    assert duplicates == []
    assert ages(live) == {"a0": (2, 2)}


def test_an_offer_with_one_listed_row_stays_although_another_row_says_it_is_off() -> None:
    live, _ = pass_day(EMPTY, arrivals(("1", "a0", "m/1"), ("2", "b0", "m/1", False)), DAY)
    assert offers_of(live) == {"a0": {"m/1"}}


@dataclass
class Entry:
    first: Date
    last: Date
    offers: set[str] = field(default_factory=set)


def oracle_day(live: dict[str, Entry], rows: list[Any], day: Date, window: int) -> dict[str, str]:
    """Change `live` as a day does, row by row; return item to survivor of what was dropped."""
    for picture in [name for name, entry in live.items() if (day - entry.last).days >= window]:
        del live[picture]
    old, fresh = sorted(live), list[str]()
    homes, dropped = dict[str, str](), dict[str, str]()
    for item, picture, _offer, listed in sorted(rows):
        if not listed:
            continue
        if picture in old or picture in homes:
            dropped[item] = homes.get(picture, picture)
            continue
        mine = look(picture)[0]
        near = [
            (bits, place, other)
            for place, other in enumerate(old + fresh)
            if mine is not None and (theirs := look(other)[0]) is not None
            for bits in [(mine ^ theirs).bit_count()]
            if bits <= BITS
        ]
        homes[picture] = min(near)[2] if near else picture
        if near:
            dropped[item] = homes[picture]
        else:
            fresh.append(picture)
            live[picture] = Entry(day, day)
    for item, picture, offer, listed in rows:
        if listed:
            entry = live[dropped.get(item, picture)]
            entry.last = day
            entry.offers.add(offer)
    off = {offer for *_, offer, listed in rows if not listed} - {offer for *_, offer, listed in rows if listed}
    for picture, entry in list(live.items()):
        entry.offers -= off
        if not entry.offers:
            del live[picture]
    return dropped


ROW = st.tuples(
    st.sampled_from(["a0", "a1", "a3", "a6", "b0", "b2", "c0", "x0", "x1"]),
    st.sampled_from(["m/1", "m/2", "n/1", "n/2"]),
    st.sampled_from([True, True, True, False]),
)
DAYS = st.lists(st.lists(ROW, max_size=6), min_size=1, max_size=6)


def with_items(rows: list[Any]) -> list[Any]:
    """Give each row its item id; a manifest holds an item once."""
    found = {f"{(sum(map(ord, picture + offer)) * 37) % 100:02d}-{picture}-{offer}": (picture, offer, listed)
             for picture, offer, listed in rows}  # fmt: skip
    return [(item, *rest) for item, rest in sorted(found.items())]


@settings(max_examples=150, deadline=None)
@given(days=DAYS, window=st.integers(1, 4))
def test_the_window_is_what_a_naive_oracle_says_over_many_days(days: list[list[Any]], window: int) -> None:
    live, oracle = EMPTY, dict[str, Entry]()
    for number, day_rows in enumerate(days):
        day, rows = DAY + timedelta(number), with_items(day_rows)
        live, duplicates = pass_day(live, arrivals(*rows), day, window)
        dropped = oracle_day(oracle, rows, day, window)
        assert {dup.item: dup.survivor for dup in duplicates} == dropped
        assert offers_of(live) == {picture: entry.offers for picture, entry in oracle.items()}
        expected = {name: ((one.first - DAY).days, (one.last - DAY).days) for name, one in oracle.items()}
        assert ages(live) == expected


@settings(max_examples=100, deadline=None)
@given(days=DAYS, window=st.integers(1, 4))
def test_no_offer_is_ever_lost(days: list[list[Any]], window: int) -> None:
    live, listed_on = EMPTY, dict[tuple[str, str], Date]()
    for number, day_rows in enumerate(days):
        day, rows = DAY + timedelta(number), with_items(day_rows)
        live, duplicates = pass_day(live, arrivals(*rows), day, window)
        survivors = {dup.item: dup.survivor for dup in duplicates}
        for item, picture, offer, listed in rows:
            if listed:
                assert offer in offers_of(live)[survivors.get(item, picture)]
                listed_on[(item, offer)] = day
        shelved = {offer for *_, offer, listed in rows if listed}
        for *_, offer, listed in rows:
            if not listed and offer not in shelved:
                listed_on = {key: seen for key, seen in listed_on.items() if key[1] != offer}
        due = {offer for (_, offer), seen in listed_on.items() if (day - seen).days < window}
        assert due <= set().union(*offers_of(live).values(), set())

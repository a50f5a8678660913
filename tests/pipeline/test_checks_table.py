"""The table of checks follows the library: offers come, move, are taken off the shelf, and leave with their picture."""

from __future__ import annotations

from datetime import date as Date
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.evict.liveness import UNCHECKED, Answer, RecheckRules, settle
from pipeline.window.checks import CHECKS_SCHEMA, follow, forgotten, locate, mentioned, state_of, with_state
from pipeline.window.live import LIVE_SCHEMA

EMPTY = CHECKS_SCHEMA.empty_table()
RULES = RecheckRules()


def day(number: int) -> Date:
    return Date(2026, 11, number)


def library(**pictures: list[tuple[str, int]]) -> pa.Table:
    """Return a library from picture to its offers: (sku, day on which it was last seen); its item is `i-<sku>`."""
    rows = [
        {
            "picture": picture,
            "offers": [
                {"merchant": "acme", "sku": sku, "item": f"i-{sku}", "seen": day(seen)} for sku, seen in sorted(offers)
            ],
        }
        for picture, offers in pictures.items()
    ]
    return pa.Table.from_pylist(rows, schema=LIVE_SCHEMA).select(["picture", "offers"])


def manifest(*skus: str) -> pa.Table:
    columns = {"item": [f"i-{sku}" for sku in skus], "location": [f"http://a/{sku}" for sku in skus]}
    more = {"kind": ["url"] * len(skus), "merchant": ["acme"] * len(skus), "sku": list(skus)}
    return pa.table({name: pa.array(values, pa.string()) for name, values in (columns | more).items()})


def handed(*rows: tuple[str, str, str]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    names = ("item", "picture", "survivor")
    return pa.table({name: pa.array(column, pa.string()) for name, column in zip(names, columns, strict=True)})


def by_sku(checks: pa.Table, *names: str) -> dict[str, Any]:
    return {row["sku"]: tuple(row[name] for name in names) for row in checks.to_pylist()}


def asked(checks: pa.Table, sku: str, answer: Answer, number: int) -> pa.Table:
    row = checks["sku"].to_pylist().index(sku)
    return with_state(checks, settle(state_of(checks), np.array([row]), [answer], number, RULES))


def test_a_new_offer_is_alive_as_of_its_last_sighting_and_was_never_asked():
    checks = follow(EMPTY, library(q=[("2", 1)], p=[("3", 1), ("1", 2)]), day(2))
    assert checks.schema == CHECKS_SCHEMA
    assert checks["sku"].to_pylist() == ["1", "2", "3"]
    assert by_sku(checks, "picture", "last_confirmed", "last_checked", "verdict", "tries") == {
        "1": ("p", day(2), None, "alive", 0),
        "2": ("q", day(1), None, "alive", 0),
        "3": ("p", day(1), None, "alive", 0),
    }
    assert state_of(checks).last_checked.tolist() == [UNCHECKED] * 3


def test_what_was_found_out_is_carried_on_and_a_later_sighting_goes_before_it():
    checks = locate(follow(EMPTY, library(p=[("1", 1), ("2", 1)]), day(1)), manifest("1", "2"), handed(), day(1))
    for sku in "12":
        checks = asked(checks, sku, Answer.GONE, 20_000)
    checks = follow(checks, library(p=[("1", 1), ("2", 3)]), day(4))
    known = by_sku(checks, "verdict", "gone_answers", "last_confirmed", "location")
    assert known == {"1": ("unknown", 1, day(1), "http://a/1"), "2": ("alive", 0, day(3), "http://a/2")}


def test_state_goes_to_columns_and_back_unchanged():
    checks = locate(follow(EMPTY, library(p=[("1", 1), ("2", 1)]), day(1)), manifest("1", "2"), handed(), day(1))
    checks = asked(asked(checks, "1", Answer.GONE, 20_000), "1", Answer.GONE, 20_001)
    assert by_sku(checks, "verdict", "gone_since")["1"] == ("dead_link", Date(2024, 10, 5))  # day 20,001 of 1970
    assert with_state(checks, state_of(checks)).equals(checks)


def test_an_offer_that_its_picture_lost_is_off_the_shelf_and_one_whose_picture_left_is_forgotten():
    before = follow(EMPTY, library(p=[("1", 1), ("2", 1)], q=[("3", 1)]), day(1))
    checks = follow(before, library(p=[("2", 1)]), day(2))
    assert by_sku(checks, "verdict", "gone_since") == {"1": ("off_shelf", day(2)), "2": ("alive", None)}
    assert forgotten(before, checks)["sku"].to_pylist() == ["3"]
    later = follow(checks, library(p=[("2", 1)]), day(3))
    assert by_sku(later, "verdict", "gone_since")["1"] == ("off_shelf", day(2))
    back = follow(later, library(p=[("1", 4), ("2", 1)]), day(4))
    assert by_sku(back, "verdict", "gone_since")["1"] == ("alive", None)


def test_places_and_pictures_come_from_the_day_of_the_last_sighting():
    checks = follow(EMPTY, library(p=[("1", 1), ("2", 2), ("3", 2)]), day(2))
    today = locate(checks, manifest("1", "2", "3"), handed(("i-2", "near", "p"), ("i-3", "far", "q")), day(2))
    assert by_sku(today, "location", "shown") == {
        "1": (None, None),
        "2": ("http://a/2", "near"),
        "3": ("http://a/3", "p"),  # it was handed to another picture, and was kept itself by this one
    }
    both = locate(today, manifest("1"), handed(("i-1", "p", "p")), day(1))
    assert by_sku(both, "location", "kind", "shown")["1"] == ("http://a/1", "url", "p")
    assert by_sku(both, "location", "shown")["2"] == ("http://a/2", "near")


def test_another_item_of_the_same_offer_has_a_place_of_its_own():
    checks = locate(follow(EMPTY, library(p=[("1", 1)]), day(1)), manifest("1"), handed(), day(1))
    moved = library(p=[("1", 2)])
    offers = moved["offers"].to_pylist()
    offers[0][0]["item"] = "i-new"
    moved = moved.set_column(1, "offers", pa.array(offers, LIVE_SCHEMA.field("offers").type))
    assert by_sku(follow(checks, moved, day(2)), "item", "location", "shown") == {"1": ("i-new", None, None)}


def test_an_offer_is_mentioned_by_merchant_and_sku_on_all_its_pictures():
    checks = follow(EMPTY, library(p=[("1", 1), ("2", 1)], q=[("1", 1)]), day(1))
    found = mentioned(checks, manifest("1"))
    assert [sku for sku, there in zip(checks["sku"].to_pylist(), found, strict=True) if there] == ["1", "1"]
    assert not mentioned(checks, manifest()).any()
    assert mentioned(EMPTY, manifest("1")).tolist() == []


def test_an_empty_library_has_no_checks():
    assert follow(EMPTY, library(), day(1)).num_rows == 0
    assert locate(EMPTY, manifest(), handed(), day(1)).equals(EMPTY)
    assert with_state(EMPTY, state_of(EMPTY)).equals(EMPTY)

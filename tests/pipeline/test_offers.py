"""Which offers of a picture belong to which of its objects: what is declared decides, and no offer is lost over it."""

from __future__ import annotations

from datetime import date as Date
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.window.live import LIVE_SCHEMA, OFFER
from pipeline.window.offers import categories_elsewhere, offers_of_category

DAY = Date(2026, 11, 1)
NAMES = ("hats", "mugs", "other")


def entry(*declared: str | None) -> dict[str, Any]:
    """Return a live entry with one offer for each declared category, in that order."""
    offers = [
        {"sku": str(n), "merchant": "m", "title": f"T{n}", "group": f"g{n}", "item": f"i{n}", "category": name}
        for n, name in enumerate(declared)
    ]
    return {"group": "own", "title": "Own", "offers": [{**offer, "seen": DAY} for offer in offers]}


def table(*entries: dict[str, Any]) -> pa.Table:
    schema = pa.schema([LIVE_SCHEMA.field(name) for name in ("group", "title", "offers")])
    return pa.Table.from_pylist(list(entries), schema=schema)


def chosen(entries: pa.Table, category: str, *elsewhere: list[str] | None) -> list[tuple[str, str, list[str]]]:
    """Return (group, title, skus) of each row."""
    rows = offers_of_category(entries, category, "other", elsewhere or [None] * entries.num_rows).to_pylist()
    return [(row["group"], row["title"], [offer["sku"] for offer in row["offers"]]) for row in rows]


def test_an_object_has_the_offers_that_were_declared_as_its_category() -> None:
    rows = table(entry("mugs", "hats", "hats"), entry("hats"))
    assert chosen(rows, "hats", ["mugs"], []) == [("g1", "T1", ["1", "2"]), ("g0", "T0", ["0"])]


def test_an_object_that_nobody_declared_so_has_all_offers_and_the_pictures_group() -> None:
    assert chosen(table(entry("mugs", "hats")), "shoes", ["mugs", "hats"]) == [("own", "Own", ["0", "1"])]


def test_an_offer_that_no_other_object_of_the_picture_fits_stays_with_this_one_behind_its_own() -> None:
    rows = table(entry("mugs", "hats", "shoes"))
    assert chosen(rows, "hats", []) == [("g1", "T1", ["1", "0", "2"])]
    assert chosen(rows, "hats", ["mugs"]) == [("g1", "T1", ["1", "2"])]
    assert chosen(rows, "hats") == [("g1", "T1", ["1"])]  # of a day that does not say what else was seen


def test_an_offer_without_a_category_is_one_of_the_fallback() -> None:
    rows = table(entry("hats", "", None))
    assert chosen(rows, "other", ["hats"]) == [("g1", "T1", ["1", "2"])]
    assert chosen(rows, "hats", ["other"]) == [("g0", "T0", ["0"])]


def test_no_object_is_no_row() -> None:
    assert chosen(table(), "hats") == []
    assert categories_elsewhere([], []) == []


OBJECTS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4)
DECLARED = st.lists(st.sampled_from([*NAMES, "shoes", ""]), min_size=1, max_size=4)


@given(pictures=st.lists(st.tuples(OBJECTS, DECLARED), min_size=1, max_size=4))
def test_every_offer_is_found_with_some_object_and_a_declared_one_with_all_of_its_category(
    pictures: list[tuple[list[str], list[str]]],
) -> None:
    placed = [(number, name) for number, (objects, _) in enumerate(pictures) for name in objects]
    elsewhere = categories_elsewhere([str(number) for number, _ in placed], [name for _, name in placed])
    for (number, name), others in zip(placed, elsewhere, strict=True):
        rest = list(pictures[number][0])
        rest.remove(name)
        assert others == sorted(set(rest))
    found: dict[int, set[str]] = {number: set() for number in range(len(pictures))}
    for category in NAMES:
        mine = [place for place, (_, name) in enumerate(placed) if name == category]
        rows = offers_of_category(
            table(*(entry(*pictures[placed[place][0]][1]) for place in mine)),
            category,
            "other",
            [elsewhere[place] for place in mine],
        ).to_pylist()
        for place, row in zip(mine, rows, strict=True):
            number = placed[place][0]
            skus = [offer["sku"] for offer in row["offers"]]
            declared = [name or "other" for name in pictures[number][1]]
            own = [str(n) for n, name in enumerate(declared) if name == category]
            assert skus[: len(own)] == own
            assert row["group"] == (f"g{own[0]}" if own else "own")
            found[number] |= set(skus)
    for number, (_, declared) in enumerate(pictures):
        assert found[number] == {str(n) for n in range(len(declared))}


def test_the_offers_keep_their_type() -> None:
    rows = offers_of_category(table(entry("hats")), "hats", "other", [[]])
    assert rows.schema.field("offers").type == pa.list_(OFFER)

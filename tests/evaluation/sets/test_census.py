"""The census against a count by SQL, and what each figure means by hand."""

from __future__ import annotations

import sqlite3
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.catalog import CatalogImage
from evaluation.census import census
from evaluation.system import Fact
from tests.evaluation.small_set import image

DAY = date(2026, 11, 20)
LATER, EARLIER = DAY + timedelta(1), DAY - timedelta(1)


def figures(facts: tuple[Fact, ...]) -> dict[str, float]:
    return {fact.metric: fact.value for fact in facts if fact.slice == "all"}


def of(facts: tuple[Fact, ...], metric: str, slice_name: str = "all") -> Fact:
    (fact,) = [one for one in facts if (one.metric, one.slice) == (metric, slice_name)]
    return fact


def test_a_whole_index_has_nothing_wrong():
    catalog = [image("1", "g1"), image("2", "g1"), image("3", "g2", "hats"), image("9", "x", "hats", role="noise")]
    held = [("1", "shoes", EARLIER), ("2", "shoes", DAY), ("3", "hats", DAY), ("9", "hats", DAY)]
    facts = census(catalog, held, day=DAY, min_copies=2)
    assert figures(facts) == {
        "live_groups": 2,
        "groups_with_zero_images": 0,
        "groups_below_m": 0,
        "orphan_ids": 0,
        "resurrected_takedowns": 0,
        "not_yet_live_ids": 0,
        "duplicate_ids": 0,
        "miscategorised_ids": 0,
        "missing_distractors": 0,
        "rows": 4,
    }
    assert of(facts, "rows", "category=hats").value == 2
    assert of(facts, "rows", f"day={EARLIER}").value == 1
    assert of(facts, "live_groups", "category=hats").value == 1
    assert len({(fact.metric, fact.slice) for fact in facts}) == len(facts)


CATALOG = [
    image("1", "g1"),
    image("2", "g2", "hats"),
    image("3", "g3", takedown_day=DAY),
    image("4", "g4", takedown_day=LATER),
    image("5", "g5", first_day=LATER),
    image("9", "x", role="same_style"),
]


@pytest.mark.parametrize(
    ("held", "metric", "value", "of_all", "examples"),
    [
        (["1", "2"], "groups_with_zero_images", 1, 3, ("g4",)),
        ([], "groups_with_zero_images", 3, 3, ("g1", "g2", "g4")),
        (["1", "77", "78"], "orphan_ids", 2, 3, ("77", "78")),
        (["1", "3", "4"], "resurrected_takedowns", 1, 3, ("3",)),
        (["5"], "not_yet_live_ids", 1, 1, ("5",)),
        (["1", "1", "1", "2", "2", "4"], "duplicate_ids", 2, 3, ("1", "2")),
        (["1", "2"], "missing_distractors", 1, 1, ("9",)),
        (["1", "2"], "miscategorised_ids", 1, 2, ("2",)),
    ],
)
def test_each_loss_is_counted_and_named(held, metric, value, of_all, examples):
    fact = of(census(CATALOG, [(name, "shoes", DAY) for name in held], day=DAY), metric)
    assert (fact.value, fact.n, fact.examples) == (value, of_all, examples)


def test_a_zeroed_category_shows_in_its_own_slice():
    facts = census(CATALOG, [("1", "shoes", DAY), ("4", "shoes", DAY)], day=DAY)
    assert of(facts, "groups_with_zero_images", "category=hats").value == 1
    assert of(facts, "groups_with_zero_images", "category=shoes").value == 0


def test_a_group_needs_m_copies_or_all_that_it_has():
    catalog = [image(f"{group}{copy}", group) for group in "ab" for copy in range(2 if group == "a" else 5)]
    held = [(name, "shoes", DAY) for name in ("a0", "a1", "b0", "b1")]
    assert of(census(catalog, held, day=DAY, min_copies=2), "groups_below_m").value == 0
    assert of(census(catalog, held, day=DAY, min_copies=3), "groups_below_m").examples == ("b",)


def test_a_survivor_holds_the_groups_of_the_duplicates_that_it_stands_for():
    catalog = [image("1", "g1"), image("2", "g2", "hats")]
    other = {"2": "1"}
    facts = census(catalog, [("1", "hats", DAY)], day=DAY, stands_for=other)
    assert figures(facts)["groups_with_zero_images"] == figures(facts)["miscategorised_ids"] == 0
    gone = census(catalog, [], day=DAY, stands_for=other)
    assert of(gone, "groups_with_zero_images").examples == ("g1", "g2")
    unknown = census([catalog[1]], [("1", "hats", DAY)], day=DAY, stands_for=other)
    assert figures(unknown)["orphan_ids"] == 0


def test_a_first_day_or_takedown_of_a_duplicate_is_not_its_survivors():
    catalog = [image("1", "g1"), image("2", "g2", takedown_day=EARLIER)]
    facts = census(catalog, [("1", "shoes", DAY)], day=DAY, stands_for={"2": "1"})
    assert figures(facts)["resurrected_takedowns"] == 0


days = st.none() | st.sampled_from([EARLIER, DAY, LATER])
entries = st.tuples(st.integers(0, 9), st.integers(0, 4), days, days)


@given(
    st.lists(entries, max_size=12, unique_by=lambda one: one[0]),
    st.lists(st.integers(0, 12), max_size=14),
    st.integers(1, 3),
)
def test_random_catalogues_are_counted_as_sql_counts_them(rows, held, least):
    catalog = [
        CatalogImage(image_id=str(name), group_id=f"g{group}", category="c", first_day=first, takedown_day=down)
        for name, group, first, down in rows
    ]
    found = figures(census(catalog, [(str(name), "c", DAY) for name in held], day=DAY, min_copies=least))
    with sqlite3.connect(":memory:") as base:
        base.execute("create table catalog (id text, grp text, first text, down text)")
        base.execute("create table held (id text)")
        columns = [
            (str(name), f"g{group}", *(one and one.isoformat() for one in (first, down)))
            for name, group, first, down in rows
        ]
        base.executemany("insert into catalog values (?, ?, ?, ?)", columns)
        base.executemany("insert into held values (?)", [(str(name),) for name in held])
        live = f"(first is null or first <= '{DAY}') and (down is null or down > '{DAY}')"
        groups = f"""select count(*) as live, sum(id in (select id from held)) as kept
                     from catalog where {live} group by grp"""
        expected = base.execute(
            f"""select (select count(*) from ({groups})),
                       (select count(*) from ({groups}) where kept = 0),
                       (select count(*) from ({groups}) where kept < min(live, {least})),
                       (select count(distinct id) from held where id not in (select id from catalog)),
                       (select count(distinct id) from held join catalog using (id) where down <= '{DAY}'),
                       (select count(*) from (select id from held group by id having count(*) > 1)),
                       (select count(*) from held)"""
        ).fetchone()
    base.close()
    names = ("live_groups", "groups_with_zero_images", "groups_below_m", "orphan_ids", "resurrected_takedowns")
    assert tuple(found[name] for name in (*names, "duplicate_ids", "rows")) == expected

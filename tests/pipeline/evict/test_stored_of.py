"""From the live table to the columns that are decided about."""

from __future__ import annotations

from datetime import date as Date
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from pipeline.evict.days import day_number
from pipeline.evict.groups import Space
from pipeline.evict.policy import EvictPolicy, Pins, ValueWeights
from pipeline.evict.stored import NEVER
from pipeline.evict.stored_of import Facts, stored_of
from reporting.errors import DataError
from tests.pipeline.evict.live_rows import DAY, Row, live_table
from tests.pipeline.evict.stored_rows import Picture
from tests.pipeline.evict.stored_rows import stored_of as pictures_stored

SHA = ["0" * 63 + digit for digit in "123"]
TODAY = day_number(DAY)


def test_days_are_counted_as_arrow_counts_them() -> None:
    days = [Date(1970, 1, 1), Date(2026, 11, 23), Date(1969, 12, 31)]
    assert pa.array(days).cast(pa.int32()).to_pylist() == [day_number(day) for day in days]


def test_rows_are_pictures_by_sha256_and_names_lead_back() -> None:
    live = live_table([Row(SHA[2], ["b"], age=3), Row(SHA[0], ["c", "b"], age=70), Row(SHA[1], [""])])
    stored, names = stored_of(live, EvictPolicy(), DAY, Facts())
    assert [names.picture(number) for number in stored.ids] == SHA
    assert stored.last_seen.tolist() == [TODAY - 70, TODAY, TODAY - 3]
    groups = [
        (names.picture(int(stored.ids[row])), names.group(group))
        for row, group in zip(stored.member_rows.tolist(), stored.member_groups.tolist(), strict=True)
    ]
    assert groups == [(SHA[0], "b"), (SHA[0], "c"), (SHA[1], f"picture:{SHA[1]}"), (SHA[2], "b")]
    assert names.ids_of([SHA[2], "elsewhere", SHA[0]]).tolist() == [0, 2]
    assert stored.categories == ("all",)
    assert stored.indexed.all()
    assert not stored.pinned.any()
    assert (stored.gone_since == NEVER).all()


def test_what_is_known_reaches_its_picture_and_only_it() -> None:
    facts = Facts(
        taken_down={SHA[0], "elsewhere"},
        indexed=[SHA[0], SHA[2]],
        gone_since={SHA[1]: DAY, "elsewhere": DAY},
        marked_on={SHA[2]: DAY - timedelta(days=1)},
        category={SHA[2]: "shoes", SHA[0]: "hats", "elsewhere": "mugs"},
        other_category="rest",
    )
    stored, _ = stored_of(live_table(Row(sha) for sha in reversed(SHA)), EvictPolicy(), DAY, facts)
    assert stored.taken_down.tolist() == [True, False, False]
    assert stored.indexed.tolist() == [True, False, True]
    assert stored.gone_since.tolist() == [NEVER, TODAY, NEVER]
    assert stored.marked_on.tolist() == [NEVER, NEVER, TODAY - 1]
    assert [stored.categories[number] for number in stored.category] == ["hats", "rest", "shoes"]


def test_facts_as_arrow_columns_say_the_same() -> None:
    live = live_table([Row(sha, age=5) for sha in SHA])
    as_dicts = Facts(frozenset(SHA[:1]), SHA[1:], {SHA[1]: DAY}, {SHA[2]: DAY}, {SHA[1]: "hats"}, clicks={SHA[0]: 3})
    as_columns = Facts(
        pa.array(SHA[:1]),
        pa.array(SHA[1:]),
        pa.table({"picture": [SHA[1]], "day": [DAY]}),
        pa.table({"picture": [SHA[2]], "day": [DAY]}),
        pa.table({"picture": [SHA[1]], "category": ["hats"]}),
        clicks=pa.table({"picture": [SHA[0]], "clicks": [3.0]}),
    )
    one, other = (stored_of(live, EvictPolicy(), DAY, facts)[0] for facts in (as_dicts, as_columns))
    for name in ("taken_down", "indexed", "gone_since", "marked_on", "category", "value"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist(), name
    assert one.categories == other.categories == ("all", "hats")


def test_pins_reach_pictures_and_all_pictures_of_a_group() -> None:
    policy = EvictPolicy(pins=Pins(pictures=(SHA[0],), groups=("g", "nowhere")))
    live = live_table([Row(SHA[0], ["a"]), Row(SHA[1], ["a", "g"]), Row(SHA[2], ["a"])])
    assert stored_of(live, policy, DAY, Facts())[0].pinned.tolist() == [True, True, False]


def test_the_value_takes_what_is_known_of_each_picture() -> None:
    policy = EvictPolicy(value=ValueWeights(freshness=0, clicks=1, quality=1, uniqueness=0))
    live = live_table(Row(sha) for sha in SHA)
    facts = Facts(clicks={SHA[0]: 7.0}, quality={SHA[0]: 0.5, SHA[1]: 1.0})
    # not clicked is no click; without a quality clicks alone count
    assert stored_of(live, policy, DAY, facts)[0].value.tolist() == [0.75, 0.5, 0.0]
    assert stored_of(live, policy, DAY, Facts())[0].value.tolist() == [0.0, 0.0, 0.0]


def test_vectors_make_look_alikes_and_uniqueness_wherever_their_rows_are() -> None:
    policy = EvictPolicy(near_duplicate=0.9, value=ValueWeights(freshness=0, clicks=0, quality=0, uniqueness=1))
    live = live_table([Row(SHA[2], first=1), Row(SHA[0], first=2), Row(SHA[1], first=3)])
    vectors = np.array([[0.6, 0.8], [1, 0], [0.6, 0.8]], np.float32)
    stored, names = stored_of(live, policy, DAY, Facts(spaces=[Space(np.array([1, 0, 2]), vectors[[1, 0, 2]])]))
    assert [names.group(group) for group in stored.member_groups] == [
        f"picture:{SHA[0]}",
        f"picture:{SHA[1]}",
        f"picture:{SHA[1]}",
    ]
    assert stored.value.tolist() == pytest.approx([0.4, 0.4, 0.4], abs=1e-6)


def test_uniqueness_is_that_of_each_picture_in_whatever_order_vectors_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 0, 10, 60 and 90 degrees, the first two of one product."""
    monkeypatch.setattr("pipeline.evict.value._BLOCK", 1)
    policy = EvictPolicy(value=ValueWeights(freshness=0, clicks=0, quality=0, uniqueness=1))
    live = live_table(
        Row(name, [group]) for name, group in (("d", "z"), ("a", "x"), ("c", "y"), ("b", "x"), ("e", "z"))
    )
    turned = np.radians([60, 90, 0, 10])
    vectors = np.stack([np.cos(turned), np.sin(turned)], 1).astype(np.float32)
    stored, _ = stored_of(live, policy, DAY, Facts(spaces=[Space(np.array([2, 0, 1, 3]), vectors)]))
    near = np.cos(np.radians([60, 50, 30, 30]))
    assert stored.value.tolist() == pytest.approx([*(1 - near), 0], abs=1e-6)  # of e nothing is known


def test_the_order_of_the_live_table_changes_nothing() -> None:
    rows = [Row(f"{place:02d}", [f"g{place % 4}", f"g{place % 3}"], age=place) for place in range(12)]
    chance = np.random.default_rng(1)
    one, _ = stored_of(live_table(rows), EvictPolicy(), DAY, Facts())
    other, _ = stored_of(live_table([rows[place] for place in chance.permutation(12)]), EvictPolicy(), DAY, Facts())
    for name in ("ids", "last_seen", "value", "member_rows", "member_groups"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist(), name


def test_a_picture_that_is_there_twice_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=f"picture {SHA[1]} is there twice"):
        stored_of(live_table([Row(SHA[1]), Row(SHA[0]), Row(SHA[1])]), EvictPolicy(), DAY, Facts())


def test_nothing_stored_is_nothing_to_decide() -> None:
    stored, names = stored_of(live_table([]), EvictPolicy(), DAY, Facts(taken_down={"a"}, clicks={}, quality={}))
    assert len(stored) == len(names.pictures) == len(names.groups) == 0


def test_stored_pictures_of_one_id_are_refused_in_whatever_order_they_come() -> None:
    rows = [Picture(3), Picture(7), Picture(5)]
    assert len(pictures_stored(rows)) == 3
    for twice in ([*rows, Picture(7)], [Picture(3), Picture(3)]):
        with pytest.raises(DataError, match=f"stored.ids: picture {twice[-1].id} is there twice"):
            pictures_stored(twice)

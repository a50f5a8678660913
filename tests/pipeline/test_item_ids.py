"""Lasting ids: the same thing gets the same id, every id is given once, and they only rise."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from pipeline.item_ids import allocate_ids
from reporting import tables as t
from reporting.errors import StoreError
from reporting.stores.sql import SqlStore
from tests.pipeline.claimers import allocate_all, compete

_runs = itertools.count()


def allocate(store: SqlStore, *pictures: str, detector: str = "whole-1", ordinal: int = 0) -> list[int]:
    with store.begin() as work:
        return allocate_ids(work, pictures, detector, ordinal)


def stored(store: SqlStore) -> dict[str, int]:
    with store.read() as connection:
        return {row[0]: row[1] for row in connection.execute(select(t.item_id.c.picture, t.item_id.c.id))}


def test_ids_begin_at_one_and_rise_in_the_order_asked(store: SqlStore) -> None:
    assert allocate(store, "b", "a", "c") == [1, 2, 3]
    assert allocate(store, "d", "e") == [4, 5]


def test_asking_again_gives_the_same_ids_in_any_order_and_company(store: SqlStore) -> None:
    assert allocate(store, "a", "b", "a") == [1, 2, 1]
    assert allocate(store, "b", "new", "a") == [2, 3, 1]
    assert allocate(store) == []


def test_another_detector_or_another_object_of_the_picture_is_another_item(store: SqlStore) -> None:
    found = [allocate(store, "a", detector=name, ordinal=n)[0] for name in ("whole-1", "boxes-2") for n in (0, 1)]
    assert found == [1, 2, 3, 4]
    assert allocate(store, "a", detector="boxes-2", ordinal=0) == [3]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.lists(st.integers(0, 12), max_size=6), max_size=6))
def test_ids_are_what_a_dictionary_would_give(sqlite_store: SqlStore, calls: list[list[int]]) -> None:
    run = next(_runs)
    known: dict[str, int] = {}
    highest = max(stored(sqlite_store).values(), default=0)
    for call in calls:
        pictures = [f"{run}-{number}" for number in call]
        for picture in pictures:
            if picture not in known:
                highest += 1
                known[picture] = highest
        assert allocate(sqlite_store, *pictures) == [known[picture] for picture in pictures]


def test_more_pictures_than_one_statement_holds_are_all_found_again(store: SqlStore) -> None:
    pictures = [f"p{number}" for number in range(1201)]
    first = allocate(store, *pictures)
    assert first == list(range(1, 1202))
    assert allocate(store, *reversed(pictures)) == first[::-1]


def test_a_rolled_back_allocation_leaves_nothing_and_others_ids_stay(store: SqlStore) -> None:
    kept = allocate(store, "kept")

    def die() -> None:
        with store.begin() as work:
            allocate_ids(work, ["kept", "lost"], "whole-1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die()
    assert stored(store) == {"kept": kept[0]}
    after = allocate(store, "next", "lost")
    assert len({*kept, *after}) == 3
    assert min(after) > kept[0]
    assert stored(store) == {"kept": kept[0], "next": after[0], "lost": after[1]}


def is_consistent(got: list[dict[str, int]], store: SqlStore) -> bool:
    """Tell whether all agree with the store, and the store gives no id twice."""
    known = stored(store)
    return all(one.items() <= known.items() for one in got) and len(set(known.values())) == len(known)


def test_concurrent_threads_agree_on_every_id(store: SqlStore) -> None:
    with ThreadPoolExecutor(6) as pool:
        got = list(pool.map(lambda number: allocate_all(store, f"thread-{number}"), range(6)))
    assert is_consistent(got, store)
    assert len(stored(store)) == 8 * (3 + 6 * 6)


def test_concurrent_processes_agree_on_every_id(store: SqlStore) -> None:
    got = compete("allocate", store.url, 4)
    assert is_consistent(got, store)
    assert len(stored(store)) == 8 * (3 + 4 * 6)
    for one in got:
        mine = [number for picture, number in one.items() if not picture.startswith("shared")]
        assert mine == sorted(mine)  # blocks rise in the order they were taken


def test_an_exhausted_counter_is_an_error_and_gives_nothing(store: SqlStore) -> None:
    allocate(store, "first")
    with store.begin() as work:
        work.connection.execute(update(t.counter).values(next=2**63 - 2))
    with pytest.raises(StoreError, match="3 more do not fit into 63 bits"):
        allocate(store, "a", "b", "c")
    assert stored(store) == {"first": 1}

"""Lasting ids: the same object gets the same id, every id is given once, and they only rise."""

from __future__ import annotations

import contextlib
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from pipeline.item_ids import ObjectRow, Registered, register_objects, resolve_ids
from pipeline.models.detections import Box, Detection
from reporting import tables as t
from reporting.errors import DataError, StoreError
from reporting.stores.sql import SqlStore
from tests.pipeline.claimers import compete, objects, register_all

_runs = itertools.count()


def register(store: SqlStore, detector: str = "boxes-1", **found: list[Detection]) -> dict[str, list[Registered]]:
    with store.begin() as work:
        return register_objects(work, detector, found)


def ids(store: SqlStore, detector: str = "boxes-1", **found: list[Detection]) -> dict[str, list[int]]:
    registered = register(store, detector, **found)
    return {picture: [one.id for one in mine] for picture, mine in registered.items()}


def stored(store: SqlStore) -> list[int]:
    """Return every id of the store in the order of (id), as the table has them."""
    with store.read() as connection:
        return list(connection.execute(select(t.item_id.c.id).order_by(t.item_id.c.id)).scalars())


def test_ids_begin_at_one_and_rise_by_picture_and_within_it_by_falling_score(store: SqlStore) -> None:
    assert ids(store, b=objects(2), a=objects(1), none=[], c=objects(3)) == {
        "b": [1, 2],
        "a": [3],
        "none": [],
        "c": [4, 5, 6],
    }
    assert ids(store, d=objects(1)) == {"d": [7]}


def test_ordinals_go_by_score_and_ties_by_box(store: SqlStore) -> None:
    weak, left, right = (
        Detection(Box(x, 0, x + 5, 5), score, "", ()) for x, score in ((0, 0.25), (1, 0.75), (2, 0.75))
    )
    (found,) = register(store, p=[weak, right, left]).values()
    assert [(one.ordinal, one.box.x0) for one in found] == [(0, 1), (1, 2), (2, 0)]


def test_a_retry_gets_the_stored_objects_whatever_it_found_itself(store: SqlStore) -> None:
    first = register(store, p=objects(3), q=objects(1))
    assert register(store, q=objects(2, seed=9), p=objects(1, seed=9)) == first
    assert register(store, p=[], q=[], new=[]) == {**first, "new": []}
    assert len(stored(store)) == 4


def test_what_is_returned_first_is_what_is_read_back_later(store: SqlStore) -> None:
    """Numbers of numpy too: float32 scores and int64 boxes, as a detector may have them."""
    box = Box(*np.array([1, 2, 30, 40]))
    one = Detection(box, np.float32(0.7), "hats", tuple(np.array([0.1, 0.9], np.float32)))  # type: ignore[arg-type]
    (first,), (second,) = register(store, p=[one])["p"], register(store, p=[])["p"]
    assert first == second
    assert second.score == float(np.float32(0.7))
    assert second.class_scores == (0.1, 0.9)


def test_another_detector_finds_other_objects_and_the_old_ids_resolve_for_ever(store: SqlStore) -> None:
    old = register(store, "boxes-1", p=objects(2))["p"]
    new = register(store, "boxes-2", p=objects(2, seed=5))["p"]
    assert [one.id for one in new] == [3, 4]
    assert register(store, "boxes-1", p=objects(2, seed=5))["p"] == old
    assert resolve_ids(store, [4, 1, 99, 4]) == {
        1: ObjectRow(1, "p", "boxes-1", 0, old[0].box, 1.0, "class-0"),
        4: ObjectRow(4, "p", "boxes-2", 1, new[1].box, 0.99, "class-1"),
    }


def test_an_id_of_before_there_were_boxes_resolves_and_gets_its_box_with_the_next_detection(store: SqlStore) -> None:
    with store.begin() as work:
        old = {"picture": "p", "detector": "whole-1", "ordinal": 0, "id": 7}
        work.connection.execute(insert(t.item_id), [old])
        work.connection.execute(insert(t.counter), [{"name": "item", "next": 8}])
    assert resolve_ids(store, [7]) == {7: ObjectRow(7, "p", "whole-1", 0, None, None, "")}
    whole = Detection(Box(0, 0, 64, 48), 1.0, "", ())
    assert ids(store, "whole-1", p=[whole], q=[whole]) == {"p": [7], "q": [8]}
    assert resolve_ids(store, [7])[7].box == whole.box
    assert register(store, "whole-1", p=[])["p"][0].box == whole.box


def test_more_pictures_than_one_statement_holds_are_all_found_again(store: SqlStore) -> None:
    found = {f"p{number}": objects(1) for number in range(1201)}
    first = ids(store, "boxes-1", **found)
    assert [number for (number,) in first.values()] == list(range(1, 1202))
    assert ids(store, "boxes-1", **dict(reversed(found.items()))) == first
    assert len(resolve_ids(store, range(2000))) == 1201


def register_and_die(store: SqlStore, detector: str, found: dict[str, list[Detection]]) -> None:
    """Die after the ids were made, and before they were committed."""
    with contextlib.suppress(KeyboardInterrupt), store.begin() as work:
        register_objects(work, detector, found)
        raise KeyboardInterrupt


def test_a_rolled_back_registration_leaves_nothing_and_others_ids_stay(store: SqlStore) -> None:
    (kept,) = ids(store, kept=objects(1))["kept"]
    register_and_die(store, "boxes-1", {"kept": objects(1), "lost": objects(4)})
    assert stored(store) == [kept]
    after = ids(store, next=objects(1), lost=objects(2))
    assert stored(store) == [kept, *after["next"], *after["lost"]]


@pytest.mark.parametrize(
    ("box", "score", "message"),
    [
        (Box(3, 3, 3, 9), 0.5, r"picture p: the detector's box \[3, 3, 3, 9\] is empty"),
        (Box(5, 0, 2, 9), 0.5, "is empty"),
        (Box(0, 0, 2, 9), float("nan"), "the detector's score nan of box .* is not in 0..1"),
        (Box(0, 0, 2, 9), 1.5, "is not in 0..1"),
    ],
)
def test_a_box_or_score_that_cannot_be_is_refused_and_registers_nothing(
    sqlite_store: SqlStore, box: Box, score: float, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        register(sqlite_store, good=objects(2), p=[Detection(box, score, "", ())])
    assert stored(sqlite_store) == []


@dataclass
class Model:
    """What the store must say, kept in a dictionary."""

    highest: int = 0
    known: dict[tuple[str, str], list[tuple[int, Box]]] = field(default_factory=dict)

    def register(self, detector: str, found: dict[str, list[Detection]]) -> dict[str, list[tuple[int, Box]]]:
        for picture, mine in found.items():
            if mine and (picture, detector) not in self.known:
                best = sorted(mine, key=lambda one: (-one.score, one.box))
                self.known[(picture, detector)] = [(self.highest + n, one.box) for n, one in enumerate(best, start=1)]
                self.highest += len(best)
        return {picture: self.known.get((picture, detector), []) for picture in found}


DETECTION = st.builds(
    lambda x, y, side, score: Detection(Box(x, y, x + side, y + side), score, "", ()),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(1, 9),
    st.sampled_from([0.25, 0.5, 0.75]),
)
CALL = st.tuples(
    st.sampled_from(["boxes-1", "boxes-2"]),
    st.dictionaries(st.integers(0, 6), st.lists(DETECTION, max_size=4, unique=True), max_size=4),
    st.booleans(),
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(CALL, max_size=8))
def test_registering_does_what_a_dictionary_would_do_over_retries_kills_and_new_detectors(
    sqlite_store: SqlStore, calls: list[tuple[str, dict[int, list[Detection]], bool]]
) -> None:
    run = next(_runs)
    model = Model(max(stored(sqlite_store), default=0))
    before = len(stored(sqlite_store))
    for detector, raw, killed in calls:
        found = {f"{run}-{number}": mine for number, mine in raw.items()}
        if killed:
            register_and_die(sqlite_store, detector, found)
            continue
        registered = register(sqlite_store, detector, **found)
        assert {picture: [(one.id, one.box) for one in mine] for picture, mine in registered.items()} == model.register(
            detector, found
        )
        assert all([one.ordinal for one in mine] == list(range(len(mine))) for mine in registered.values())
    given_out = [number for mine in model.known.values() for number, _ in mine]
    assert sorted(given_out) == stored(sqlite_store)[before:]
    for (picture, detector), mine in model.known.items():
        rows = resolve_ids(sqlite_store, [number for number, _ in mine])
        assert [(rows[number].picture, rows[number].detector, rows[number].box) for number, _ in mine] == [
            (picture, detector, box) for _, box in mine
        ]


def is_consistent(got: list[dict[str, list[int]]], store: SqlStore) -> bool:
    """Tell whether all were told the same of a picture, and every id stands once in the store."""
    told: dict[str, list[int]] = {}
    same = all(told.setdefault(picture, mine) == mine for one in got for picture, mine in one.items())
    return same and sorted(number for mine in told.values() for number in mine) == stored(store)


def rises(one: dict[str, list[int]]) -> bool:
    """Tell whether a process got its own ids in the order in which it asked."""
    mine = [number for picture, found in one.items() if not picture.startswith("shared") for number in found]
    return mine == sorted(mine)


PER_BLOCK = sum(place % 4 for place in range(9))
SHARED = sum(place % 4 for place in range(0, 9, 3))


def test_concurrent_threads_agree_on_every_id(store: SqlStore) -> None:
    with ThreadPoolExecutor(6) as pool:
        got = list(pool.map(lambda number: register_all(store, f"thread-{number}"), range(6)))
    assert is_consistent(got, store)
    assert len(stored(store)) == 8 * (SHARED + 6 * (PER_BLOCK - SHARED))


@pytest.mark.slow
def test_concurrent_processes_agree_on_every_id(store: SqlStore) -> None:
    got = compete("register", store.url, 4)
    assert is_consistent(got, store)
    assert len(stored(store)) == 8 * (SHARED + 4 * (PER_BLOCK - SHARED))
    assert all(map(rises, got))


def test_an_exhausted_counter_is_an_error_and_gives_nothing(store: SqlStore) -> None:
    ids(store, first=objects(1))
    with store.begin() as work:
        work.connection.execute(update(t.counter).values(next=2**63 - 2))
    with pytest.raises(StoreError, match="3 more do not fit into 63 bits"):
        ids(store, a=objects(1), b=objects(2))
    assert stored(store) == [1]

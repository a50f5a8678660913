"""Product groups of pictures: what offers name, and look-alikes where they name none."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.evict import groups as module
from pipeline.evict.groups import SLACK, Space, groups_of, look_alikes
from tests.pipeline.evict.live_rows import Row, live_table

NAMES = st.sampled_from(["", "a", "b", "ü", "picture:p1", "group:a", None])
ROWS = st.lists(st.tuples(st.lists(NAMES, max_size=3), NAMES), max_size=8)


def by_picture(live: pa.Table, **options: object) -> dict[str, set[str]]:
    """Return the names of each picture's groups."""
    found = groups_of(live, **options)  # type: ignore[arg-type]
    pictures, names = live["picture"].to_pylist(), found.names.to_pylist()
    assert names == sorted(set(names))
    assert (np.diff(found.member_rows) >= 0).all()
    groups: dict[str, set[str]] = {picture: set() for picture in pictures}
    for row, group in zip(found.member_rows.tolist(), found.member_groups.tolist(), strict=True):
        assert names[group] not in groups[pictures[row]], "a membership twice"
        groups[pictures[row]].add(names[group])
    return groups


def test_a_picture_belongs_to_the_groups_of_its_offers_and_without_one_to_its_own() -> None:
    live = live_table(
        [
            Row("p1", ["b", "a", "b"], "a"),
            Row("p2", [], "c"),  # without offers its own group speaks
            Row("p3", ["", None], "c"),
            Row("p4", ["a", ""]),  # one offer that names it is enough: the photograph is the same
            Row("p5", [], None),
        ]
    )
    assert by_picture(live) == {
        "p1": {"a", "b"},
        "p2": {"c"},
        "p3": {"picture:p3"},
        "p4": {"a"},
        "p5": {"picture:p5"},
    }


def test_no_merchant_can_name_his_product_as_another_pictures_own_group() -> None:
    live = live_table([Row("p1"), Row("p2", ["picture:p1"]), Row("p3", ["group:picture:p1"])])
    assert by_picture(live) == {
        "p1": {"picture:p1"},
        "p2": {"group:picture:p1"},
        "p3": {"group:group:picture:p1"},
    }
    found = groups_of(live)
    assert found.names.take(pa.array(found.numbers_of(["picture:p1", "nowhere"]))).to_pylist() == ["group:picture:p1"]


@given(ROWS, st.integers(1, 4), st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_groups_are_those_of_a_loop_whatever_the_order_and_the_chunks(
    rows: list[tuple[list[str | None], str | None]], chunk: int, chance: object
) -> None:
    def declared(name: str) -> str:
        return f"group:{name}" if name.startswith(("picture:", "group:")) else name

    expected = {
        f"p{place}": {declared(name) for name in (offers or [own]) if name} or {f"picture:p{place}"}
        for place, (offers, own) in enumerate(rows)
    }
    order = list(enumerate(rows))
    chance.shuffle(order)  # type: ignore[attr-defined]
    live = live_table(Row(f"p{place}", offers, own) for place, (offers, own) in order)
    pieces = [live.slice(start, chunk) for start in range(0, len(rows), chunk)] or [live]
    assert by_picture(pa.concat_tables(pieces)) == expected


def around(degrees: list[float]) -> NDArray[np.float32]:
    """Return vectors of the plane at some angles, of different lengths."""
    turned = np.radians(np.array(degrees))
    return (np.stack([np.cos(turned), np.sin(turned)], 1) * np.arange(1, len(degrees) + 1)[:, None]).astype(np.float32)


THIRTY = float(np.cos(np.radians(30)))


def test_look_alikes_form_no_chain() -> None:
    """0, 25, 50, 75 degrees: each within 30 of the next. 25 follows 0; 50 is too far from 0 and leads 75."""
    assert look_alikes(around([0, 25, 50, 75]), THIRTY).tolist() == [0, 0, 2, 2]


def test_a_look_alike_follows_the_nearest_leader_and_of_equally_near_ones_the_first() -> None:
    assert look_alikes(around([0, 50, 30, 20]), THIRTY).tolist() == [0, 1, 1, 0]
    assert look_alikes(np.eye(2, dtype=np.float32)[[0, 1, 0, 1]], 1.0).tolist() == [0, 1, 0, 1]
    both = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
    assert look_alikes(both, 0.7).tolist() == [0, 1, 0]


def test_the_first_of_equally_near_leaders_is_followed_across_chunks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 2)
    monkeypatch.setattr(module, "_CHUNK", 1)
    assert look_alikes(np.array([[1, 0], [0, 1], [1, 1]], np.float32), 0.7).tolist() == [0, 1, 0]


def test_equal_vectors_are_alike_at_a_cosine_of_one_whatever_float32_makes_of_them() -> None:
    vectors = np.repeat(np.random.default_rng(8).normal(size=(50, 7)).astype(np.float32), 2, axis=0)
    assert look_alikes(vectors, 1.0).tolist() == np.repeat(np.arange(0, 100, 2), 2).tolist()


def test_a_vector_without_length_is_like_no_other() -> None:
    vectors = np.array([[0, 0], [0, 0], [np.nan, 1], [np.inf, 1], [1, 0], [1, 0]], np.float32)
    assert look_alikes(vectors, 0.5).tolist() == [0, 1, 2, 3, 4, 4]


def leaders_by_loops(vectors: NDArray[np.float32], cosine: float) -> list[int]:
    """Return the same in loops and float64."""
    leaders: list[int] = []
    followed = []
    for row, vector in enumerate(vectors.astype(np.float64)):
        like = [float(vector @ vectors[one] / np.linalg.norm(vector) / np.linalg.norm(vectors[one])) for one in leaders]
        best = max(like, default=-2.0)
        if best >= cosine - SLACK:
            followed.append(leaders[like.index(best)])
        else:
            leaders.append(row)
            followed.append(row)
    return followed


@pytest.mark.parametrize("cosine", [0.4, 0.8, 0.95])
def test_look_alikes_are_those_of_a_loop_whatever_the_blocks(cosine: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 7)
    monkeypatch.setattr(module, "_CHUNK", 5)
    vectors = np.random.default_rng(3).normal(size=(150, 3)).astype(np.float32)
    found = look_alikes(vectors, cosine).tolist()
    assert found == leaders_by_loops(vectors, cosine)
    assert 3 < len(set(found)) < 150, "neither all alike nor all different"


def test_a_newcomer_leaves_the_clusters_before_it_as_they_are() -> None:
    vectors = np.random.default_rng(4).normal(size=(120, 3)).astype(np.float32)
    assert look_alikes(vectors, 0.9)[:80].tolist() == look_alikes(vectors[:80], 0.9).tolist()


def test_look_alikes_take_no_memory_of_all_pairs() -> None:
    vectors = np.random.default_rng(5).normal(size=(8000, 8)).astype(np.float32)
    tracemalloc.start()
    try:
        assert len(look_alikes(vectors, 0.97)) == 8000
        assert tracemalloc.get_traced_memory()[1] < 100e6, "all pairs would be 256 MB"
    finally:
        tracemalloc.stop()


def test_only_pictures_without_a_group_look_alike_and_the_oldest_names_them() -> None:
    rows = [Row("p1", ["a"], first=9), Row("p2", first=1), Row("p3", first=5), Row("p4", first=5), Row("p5", first=7)]
    live = live_table(rows)
    same = np.ones((4, 2), np.float32)
    found = by_picture(live, cosine=0.9, spaces=[Space(np.array([0, 1, 2, 3]), same)])
    assert found == {
        "p1": {"a"},
        "p2": {"picture:p3"},
        "p3": {"picture:p3"},
        "p4": {"picture:p3"},
        "p5": {"picture:p5"},  # has no vector
    }
    assert by_picture(live, cosine=None, spaces=[Space(np.arange(4), same)])["p2"] == {"picture:p2"}


def test_look_alikes_do_not_depend_on_the_order_of_rows() -> None:
    chance = np.random.default_rng(6)
    vectors = chance.normal(size=(60, 3)).astype(np.float32)
    rows = [Row(f"p{place:02d}", first=place % 5) for place in range(60)]
    expected = by_picture(live_table(rows), cosine=0.9, spaces=[Space(np.arange(60), vectors)])
    order = chance.permutation(60)
    turned = live_table([rows[place] for place in order])
    inside = chance.permutation(60)
    spaces = [Space(inside, vectors[order[inside]])]
    assert by_picture(turned, cosine=0.9, spaces=spaces) == expected
    assert len({name for names in expected.values() for name in names}) < 60


def test_pictures_of_two_spaces_never_look_alike() -> None:
    spaces = [Space(np.array([0]), np.ones((1, 2), np.float32)), Space(np.array([1]), np.ones((1, 3), np.float32))]
    live = live_table([Row("p1"), Row("p2")])
    assert by_picture(live, cosine=0.1, spaces=spaces) == {"p1": {"picture:p1"}, "p2": {"picture:p2"}}


def test_an_empty_table_has_no_groups() -> None:
    found = groups_of(live_table([]))
    assert len(found.names) == len(found.member_rows) == 0

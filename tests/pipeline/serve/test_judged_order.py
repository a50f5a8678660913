"""The gate judges what `/search` shows: by default nothing moves, re-rankers and takedowns count as they do there."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.release.withheld import Withheld, WithheldList, withheld, withhold
from pipeline.serve import rerankers
from pipeline.serve.generation import EVERY_LIST, Generation, Neighbour
from pipeline.serve.holder import Holder
from pipeline.serve.judged_order import items_shown
from pipeline.serve.query import Vectors
from pipeline.serve.ranking import RankSettings, search_ranked
from pipeline.serve.searching import Searcher, SearchQuery
from pipeline.serve.serve_settings import ServeSettings
from pipeline.serve.under_test import UnderTest
from tests.pipeline.searchable import FRONT, Library, make_library, release

BACKWARDS = "backwards"
NEWER = "newer-among-near-ties"
NOTHING = WithheldList()
AT = dt.datetime(2026, 11, 2, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def _backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rerankers.RERANKERS, BACKWARDS, lambda shown: list(shown)[::-1])


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    return make_library(tmp_path, monkeypatch)


def in_pairs(library: Library, ranking: RankSettings | None = None) -> Generation:
    """Release the library with the items of each category as products of two, offered by each item's own shop."""
    entries = dict(library.generation.entries)
    for category, entry in entries.items():
        rows = library.lake.read_table(entry.items_path).to_pylist()
        for place, row in enumerate(rows):
            row["group"] = f"{category}-{place // 2}"
        path = f"{category}/paired.parquet"
        library.lake.write_table(path, pa.Table.from_pylist(rows))
        sha256 = hashlib.sha256(library.lake.read_bytes(path)).hexdigest()
        entries[category] = entry.model_copy(update={"items_path": path, "items_sha256": sha256})
    release(library.lake, entries, FRONT, ranking or RankSettings())
    return Generation(library.lake, entries, FRONT, ranking or RankSettings())


def subject(generation: Generation, hidden: WithheldList = NOTHING) -> UnderTest:
    return UnderTest("it", generation, {}, tuple, withheld=hidden)


def served(library: Library, generation: Generation, k: int, hidden: WithheldList = NOTHING) -> list[list[Any]]:
    data = [library.items[number].data for number in (1, 3, 5)]
    sides = subject(generation, hidden).ask(data, ["even", "odd", "even"], k, told=False)
    assert not any(isinstance(one, str) for one in sides)
    return [list(one[0]) for one in sides]


def searched(library: Library, k: int) -> list[list[tuple[str, tuple[int, ...]]]]:
    """Return (product, ids of its items) of what `/search` answers."""
    root = Path(library.lake.full(""))
    holder = Holder(root)
    assert holder.refresh().outcome == "swapped"
    searcher = Searcher(holder, ServeSettings(feedback=None), lambda: withheld(root))
    answers = [searcher.by_picture(library.items[number].data, SearchQuery(k)) for number in (1, 3, 5)]
    return [[(one.group, one.items) for one in reply.results] for reply in answers]


def as_results(library: Library, found: Sequence[tuple[str, float, str]]) -> list[tuple[str, tuple[str, ...]]]:
    """Return (product, its pictures) in the order of their first pictures."""
    products: dict[str, list[str]] = {}
    for picture, _, group in found:
        products.setdefault(group, []).append(picture)
    return [(group, tuple(pictures)) for group, pictures in products.items()]


def pictures_of(library: Library, answers: list[list[tuple[str, tuple[int, ...]]]]) -> Any:
    sha256 = {number: hashlib.sha256(item.data).hexdigest() for number, item in library.items.items()}
    return [[(group, tuple(sha256[number] for number in ids)) for group, ids in of_one] for of_one in answers]


@pytest.mark.parametrize("k", [1, 3, 6])
def test_by_default_the_gate_is_told_the_nearest_items_to_the_bit_and_no_picture_of_a_product_is_lost(
    library: Library, k: int
) -> None:
    generation = in_pairs(library)
    data = [library.items[number].data for number in (1, 2, 5)]
    sides = subject(generation).ask(data, ["even", "even", "odd"], k, told=False)
    looked = generation.look(data)
    oracle = [("even",), ("even",), ("odd",)]
    for place in range(4):
        where, nprobe = oracle if place % 2 else looked.wanted, EVERY_LIST if place > 1 else None
        plain = generation.search_in(looked.vectors, where, k, nprobe)
        for one, hits in zip(sides, plain, strict=True):
            assert not isinstance(one, str)
            found = [(generation.item(hit)["picture"], hit.distance.hex(), hit.group) for hit in hits]
            assert [(picture, far.hex(), group) for picture, far, group in one[place]] == found
            assert len(found) == k


@pytest.mark.parametrize("k", [1, 2, 6])
@pytest.mark.parametrize("names", [(BACKWARDS,), (NEWER, BACKWARDS)])
def test_with_a_reranker_the_gate_is_told_what_search_answers(library: Library, k: int, names: Any) -> None:
    generation = in_pairs(library, RankSettings(rerankers=names))
    told = served(library, generation, k)
    assert [as_results(library, one) for one in told] == pictures_of(library, searched(library, k))
    for one in told:
        distances = [far for _, far, _ in one]
        assert distances == sorted(set(distances))  # who sorts by distance keeps the order


def test_a_reranker_moves_what_the_gate_is_told(library: Library) -> None:
    plain, turned = (
        [[picture for picture, _, _ in one] for one in served(library, in_pairs(library, ranking), 6)]
        for ranking in (RankSettings(), RankSettings(rerankers=(BACKWARDS,)))
    )
    assert turned == [one[::-1] for one in plain]


@pytest.mark.parametrize("names", [(), (BACKWARDS,)])
@pytest.mark.parametrize("kind", ["item", "picture", "group", "offer"])
def test_what_is_withheld_is_not_told_and_the_rest_is_what_search_answers(
    library: Library, kind: Any, names: Any
) -> None:
    generation = in_pairs(library, RankSettings(rerankers=names, overfetch=1))
    sha256 = hashlib.sha256(library.items[1].data).hexdigest()
    value = {"item": "1", "picture": sha256, "group": "even-0", "offer": "acme/s1"}[kind]
    withhold(generation.lake.folder(), Withheld(kind=kind, value=value, by="ana", why="a test of it", at=AT))
    hidden = withheld(generation.lake.folder())
    told = served(library, generation, 2, hidden)
    assert [as_results(library, one) for one in told] == pictures_of(library, searched(library, 2))
    asked_in_even = told[0] + told[2]  # the picture's second object is an item of `odd`
    assert sha256 not in {picture for picture, _, _ in asked_in_even}
    assert all(len(as_results(library, one)) == 2 for one in told)  # what is left moves up
    if not names:
        plain = served(library, generation, 6)
        assert all(
            {far for _, far, _ in one} <= {far for _, far, _ in old} for one, old in zip(told, plain, strict=True)
        )


def test_the_latency_of_the_gate_is_that_of_the_whole_chain(library: Library) -> None:
    """An unknown re-ranker is only met behind the search."""
    generation = dataclasses.replace(in_pairs(library), ranking=RankSettings(rerankers=(BACKWARDS,)))
    assert len(subject(generation).seconds([library.items[1].data] * 2, 3)) == 2
    broken = dataclasses.replace(generation, ranking=RankSettings(rerankers=("nobody",)))
    with pytest.raises(Exception, match="re-ranker"):
        subject(broken).seconds([library.items[1].data], 3)


@st.composite
def shops(draw: st.DrawFn) -> tuple[list[Neighbour], dict[int, dict[str, Any]], WithheldList]:
    count = draw(st.integers(0, 10))
    steps = draw(st.lists(st.sampled_from([0.0, 0.002, 0.1]), min_size=count, max_size=count))
    hits, rows = [], {}
    for number, distance in enumerate(math.fsum(steps[: at + 1]) for at in range(count)):
        group = draw(st.sampled_from(["", "a", "b", "c"]))
        other = {"merchant": "zoo", "sku": f"s{number}", "group": draw(st.sampled_from("abc")), "title": "t"}
        own = {"merchant": "acme", "sku": f"s{number}", "group": group, "title": "t"}
        seen = dt.date(2026, 11, draw(st.integers(1, 3)))
        rows[number] = {"picture": f"p{number}", "title": "t", "offers": [own, other], "last_seen": seen}
        hits.append(Neighbour(number, group, distance, "shoes"))
    few = st.frozensets(st.integers(0, 9), max_size=2)
    offers = frozenset((merchant, f"s{number}") for merchant in ("acme", "zoo") for number in draw(few))
    return hits, rows, WithheldList(items=draw(few), groups=draw(st.frozensets(st.sampled_from("abc"))), offers=offers)


@settings(max_examples=60)
@given(shops(), st.integers(1, 4), st.integers(1, 2), st.booleans(), st.sampled_from([(), (NEWER,)]))
def test_products_in_order_of_their_first_item_are_the_results_and_none_of_their_items_is_missing(
    case: Any, k: int, overfetch: int, group: bool, names: tuple[str, ...]
) -> None:
    hits, rows, hidden = case
    ranking = RankSettings(group=group, rerankers=names, overfetch=overfetch)

    def rows_of(some: Sequence[Neighbour]) -> list[Mapping[str, Any]]:
        return [rows[one.id] for one in some]

    def fetch(count: int) -> Sequence[Neighbour]:
        nearest: Sequence[Neighbour] = hits[:count]
        return nearest

    told = items_shown(fetch, ranking, k, withheld=hidden, rows_of=rows_of)
    if not names and not hidden.hides_anything:
        assert told == hits[:k]
        return
    results = search_ranked(fetch, ranking, k, withheld=hidden, rows_of=rows_of)
    found: dict[Any, list[int]] = {}
    for one in told:
        found.setdefault(one.group or one.id if group else one.id, []).append(one.id)
    assert list(found.values()) == [[item.id for item in one.items] for one in results]
    distances = [one.distance for one in told]
    if names:
        assert distances == sorted(set(distances))
    else:
        assert told == [one._replace(group=hit.group) for hit in told for one in hits if one.id == hit.id]


def test_an_order_is_said_in_distances_that_differ_by_next_to_nothing() -> None:
    hits = [Neighbour(number, "", far, "shoes") for number, far in ((1, 0.1), (2, 0.101), (3, 0.1015), (4, 0.5))]
    rows = {
        number: {"picture": "p", "title": "t", "offers": [{}], "last_seen": dt.date(2026, 11, day)}
        for number, day in ((1, 1), (2, 3), (3, 3), (4, 1))
    }
    told = items_shown(
        lambda count: hits[:count],
        RankSettings(rerankers=(NEWER,)),
        4,
        withheld=NOTHING,
        rows_of=lambda some: [rows[one.id] for one in some],
    )
    assert [one.id for one in told] == [2, 3, 1, 4]
    assert [one.distance for one in told] == [0.101, 0.1015, math.nextafter(0.1015, 1), 0.5]


def test_vectors_are_made_once_however_often_is_fetched(library: Library) -> None:
    generation = in_pairs(library, RankSettings(rerankers=(BACKWARDS,), overfetch=1))
    data = [library.items[number].data for number in (1, 5)]
    looked = generation.look(data)
    assert isinstance(looked.vectors, Vectors)
    library.models.forget_calls()
    subject(generation).ask(data, ["even", "even"], 2, told=False)
    calls = {name: sum(one.calls) for name, one in library.models.embedders.items()}
    assert calls == {"one": 2, "two": 2}

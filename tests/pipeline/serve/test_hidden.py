"""What takedowns hide is not served, and the gate neither misses it nor overlooks it where it is served after all."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.catalog import CatalogImage
from evaluation.census import census
from pipeline.release.withheld import WithheldList
from pipeline.serve.generation import Neighbour
from pipeline.serve.hidden import OfRecord, hidden_ids, of_record
from pipeline.serve.ranking import RankSettings, rank
from pipeline.serve.under_test import UnderTest, held
from pipeline.tasks.candidate import CatalogRow
from tests.pipeline.searchable import Library, make_library

DAY = dt.date(2026, 11, 1)
NOTHING = WithheldList()


def offer(name: str, group: str) -> dict[str, Any]:
    merchant, _, sku = name.partition("/")
    return {"merchant": merchant, "sku": sku, "group": group, "title": "t"}


def row(number: int, picture: str, group: str, *offers: dict[str, Any]) -> dict[str, Any]:
    return {"id": number, "picture": picture, "group": group, "title": "t", "offers": list(offers)}


class Table:
    """An item table, as far as it is read here."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = list(rows)

    def shelf(self) -> Any:
        import pyarrow as pa

        table = pa.Table.from_pylist(self.rows)
        return SimpleNamespace(
            lake=SimpleNamespace(read_table=lambda _, columns: table.select(columns)),
            entry=SimpleNamespace(items_path="items.parquet"),
        )


def listed(picture: str, group: str, name: str, survivor: str = "") -> CatalogRow:
    merchant, _, sku = name.partition("/")
    return CatalogRow(group, picture, "shoes", (merchant, sku), survivor or picture)


def withholding(**named: Sequence[Any]) -> WithheldList:
    sets: dict[str, Any] = {name: frozenset(values) for name, values in named.items()}
    return WithheldList(**sets)


TABLE = Table(
    row(1, "p1", "g1", offer("acme/1", "g1")),
    row(2, "p2", "g2", offer("acme/2", "g2"), offer("zoo/2", "g3")),  # p3 gave way to it
    row(3, "p4", "g4", offer("acme/4", "g4")),  # two objects of one picture
    row(4, "p4", "g4", offer("acme/4", "g4")),
)
CATALOG = [
    listed("p1", "g1", "acme/1"),
    listed("p2", "g2", "acme/2"),
    listed("p3", "g3", "zoo/2", "p2"),
    listed("p4", "g4", "acme/4"),
    listed("p5", "g5", "acme/5"),  # lost
]
LIVE = [OfRecord(one.group, one.sha256, one.category) for one in CATALOG]


@pytest.mark.parametrize(
    ("hidden", "down", "left_out", "ids"),
    [
        (NOTHING, [], [], []),
        (withholding(groups=["g1"]), ["p1"], [], [1]),
        (withholding(offers=[("acme", "1")]), ["p1"], [], [1]),
        (withholding(pictures=["p1"]), ["p1"], [], [1]),
        (withholding(items=[1]), ["p1"], [], [1]),
        (withholding(items=[3]), [], [], [3]),  # its other object is still found
        (withholding(items=[3, 4]), ["p4"], [], [3, 4]),
        (withholding(groups=["g2"]), [], ["p2"], []),  # p2 goes on showing g3
        (withholding(groups=["g3"]), ["p3"], [], []),
        (withholding(groups=["g2", "g3"]), ["p2", "p3"], [], [2]),
        (withholding(pictures=["p2"]), ["p2", "p3"], [], [2]),  # p3 is only held as p2
        (withholding(pictures=["p3"]), ["p3"], [], []),
        (withholding(groups=["g5"]), ["p5"], [], []),
    ],
)
def test_the_catalogue_says_what_is_taken_down_and_a_picture_that_still_stands_for_another_product_is_not(
    hidden: WithheldList, down: list[str], left_out: list[str], ids: list[int]
) -> None:
    found = of_record(CATALOG, [TABLE.shelf()], hidden, DAY)
    gone = [*down, *left_out]
    expected = [one for one in LIVE if one.sha256 not in gone]
    expected += [one._replace(takedown_day=DAY) for one in LIVE if one.sha256 in down]
    assert found == expected
    assert hidden_ids(TABLE.shelf(), hidden) == set(ids)


names = st.sampled_from("abc")
offers = st.builds(lambda sku, group: offer(f"acme/{sku}", group), names, names)
rows = st.lists(st.tuples(names, names, st.lists(offers, min_size=1, max_size=3)), max_size=6)


@settings(max_examples=60)
@given(
    rows,
    st.builds(
        WithheldList,
        items=st.frozensets(st.integers(0, 5), max_size=2),
        pictures=st.frozensets(names, max_size=1),
        groups=st.frozensets(names, max_size=2),
        offers=st.frozensets(st.tuples(st.just("acme"), names), max_size=2),
    ),
)
def test_an_id_is_hidden_just_when_the_rank_stage_shows_nothing_of_it(drawn: Any, hidden: WithheldList) -> None:
    table = Table(*(row(number, picture, group, *of) for number, (picture, group, of) in enumerate(drawn)))
    hits = [Neighbour(one["id"], one["group"], 0.1, "shoes") for one in table.rows]
    single = RankSettings(group=False)
    ranked = rank(hits, single, 99, withheld=hidden, rows_of=lambda some: [table.rows[one.id] for one in some])
    if table.rows:
        assert hidden_ids(table.shelf(), hidden) == {one.id for one in hits} - {one.hit.id for one in ranked}
    for one in ranked:
        left = hidden.offers_left(one.hit.id, one.row["picture"], one.hit.group, one.row["offers"])
        assert tuple(one.offers) == left


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    return make_library(tmp_path, monkeypatch)


def test_a_takedown_of_the_set_is_resurrected_unless_it_is_withheld(library: Library) -> None:
    taken = hashlib.sha256(library.items[1].data).hexdigest()
    sha256s = {hashlib.sha256(item.data).hexdigest(): item for item in library.items.values()}
    images = [
        CatalogImage(
            image_id=sha256,
            group_id=f"g{item.id}",
            category=item.category,
            sha256=sha256,
            takedown_day=DAY if sha256 == taken else None,
        )
        for sha256, item in sha256s.items()
    ]

    def counted(hidden: WithheldList) -> dict[str, tuple[float, tuple[str, ...]]]:
        subject = UnderTest("it", library.generation, {}, tuple, withheld=hidden)
        facts = census(images, subject.held(), day=DAY)
        return {one.metric: (one.value, one.examples) for one in facts if one.slice == "all"}

    def resurrected(hidden: WithheldList) -> tuple[float, tuple[str, ...]]:
        return counted(hidden)["resurrected_takedowns"]

    assert resurrected(NOTHING) == (1, (taken,))
    assert resurrected(withholding(pictures=[taken])) == (0, ())
    assert resurrected(withholding(items=[1])) == (1, (taken,))  # its other object still shows the picture
    clean = counted(withholding(items=[1, 2]))
    assert (clean["resurrected_takedowns"], clean["groups_with_zero_images"]) == ((0, ()), (0, ()))
    assert clean["rows"][0] == 5  # of six pictures
    assert len(list(held(library.generation))) == 6

"""What the command line answers goes through the same stage as the server's: takedowns, products, offers."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.release.rollback import rollback
from pipeline.release.withheld import Withheld, WithheldList, withhold
from pipeline.serve.answer import answer, answer_all, ask_ranked, results_of
from pipeline.serve.generation import Generation
from pipeline.serve.ranking import RankSettings
from tests.pipeline.searchable import FRONT, Library, make_library, release

NOON = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    return make_library(tmp_path, monkeypatch)


def take_down(library: Library, kind: str, value: str, *, lifted: bool = False) -> None:
    line = Withheld.model_validate(
        {"kind": kind, "value": value, "by": "ann", "why": "asked for", "at": NOON, "lifted": lifted}
    )
    withhold(Path(library.lake.full("")), line)


@pytest.mark.parametrize("kind", ["item", "picture", "group", "offer"])
def test_what_was_taken_down_is_not_answered_and_comes_back_when_it_is_lifted(library: Library, kind: str) -> None:
    item = library.items[1]
    value = {
        "item": "1",
        "picture": hashlib.sha256(item.data).hexdigest(),
        "group": "g1",
        "offer": "acme/s1",
    }[kind]
    query = library.picture("query.png", item.data)
    before = answer(library.lake, query, 3).results
    assert before[0].item == 1
    take_down(library, kind, value)
    after = answer(library.lake, query, 3).results
    assert [hit.item for hit in after] == [hit.item for hit in answer(library.lake, query, 4).results][:3]
    assert 1 not in {hit.item for hit in after}
    assert len(after) == 3  # what is left moves up
    take_down(library, kind, value, lifted=True)
    assert answer(library.lake, query, 3).results == before


def in_one_group(library: Library) -> Generation:
    """Release the library again with all items of `even` but the last as one product."""
    entry = library.generation.entries["even"]
    rows = library.lake.read_table(entry.items_path).to_pylist()
    for row in rows[:-1]:
        row["group"] = "shoe"
    library.lake.write_table("even/grouped.parquet", pa.Table.from_pylist(rows))
    sha256 = hashlib.sha256(library.lake.read_bytes("even/grouped.parquet")).hexdigest()
    grouped = entry.model_copy(update={"items_path": "even/grouped.parquet", "items_sha256": sha256})
    entries = {**library.generation.entries, "even": grouped}
    release(library.lake, entries, FRONT)
    return Generation(library.lake, entries, FRONT)


def test_items_of_one_product_are_one_result_with_all_their_offers(library: Library) -> None:
    generation = in_one_group(library)
    query = library.picture("query.png", library.items[1].data)
    ids = [hit.id for hit in generation.search([library.items[1].data], 6)[0]]
    found = answer(library.lake, query, 2)
    last = max(ids)
    assert [hit.group for hit in found.results] == ["shoe", f"g{last}"] if ids[0] != last else [f"g{last}", "shoe"]
    product = next(hit for hit in found.results if hit.group == "shoe")
    members = [number for number in ids if number != last]
    assert list(product.items) == members
    assert [offer.sku for offer in product.offers] == [f"s{number}" for number in members]
    assert product.item == members[0]


def test_a_product_of_very_many_items_does_not_starve_the_answer(library: Library) -> None:
    generation = in_one_group(library)
    narrow = Generation(library.lake, generation.entries, FRONT, RankSettings(overfetch=1))
    pictures = [library.items[1].data, b"no picture", library.items[5].data]
    library.models.forget_calls()
    first, broken, second = ask_ranked(narrow, pictures, 2, None, None, WithheldList())
    assert not isinstance(first, Exception)
    assert not isinstance(second, Exception)
    assert isinstance(broken, Exception)
    assert {len(results_of(ranked)) for _, ranked in (first, second)} == {2}
    assert library.models.embedders["one"].calls == [2]  # fetched again, not embedded again


def test_many_pictures_are_ranked_as_one_by_one(library: Library) -> None:
    in_one_group(library)
    paths = [library.picture(f"{number}.png", library.items[number].data) for number in (1, 3, 5)]
    assert answer_all(library.lake, paths, 3) == [answer(library.lake, path, 3) for path in paths]


@pytest.mark.parametrize("kind", ["item", "picture", "group", "offer"])
def test_a_rollback_to_a_release_from_before_the_takedown_still_hides_it(library: Library, kind: str) -> None:
    item, root = library.items[1], Path(library.lake.full(""))
    query = library.picture("query.png", item.data)
    entries = library.generation.entries
    release(library.lake, {"odd": entries["odd"]}, FRONT)  # as without what is taken down
    names = {"item": "1", "picture": hashlib.sha256(item.data).hexdigest(), "group": "g1", "offer": "acme/s1"}
    take_down(library, kind, names[kind])
    back = rollback(root, 1, by="ann", why="the new one is worse", at=NOON)
    assert (back.number, back.categories.keys()) == (3, entries.keys())
    found = answer(library.lake, query, 4)
    assert found.generation == 3
    assert found.results
    assert 1 not in {hit.item for hit in found.results}
    take_down(library, kind, names[kind], lifted=True)
    assert answer(library.lake, query, 4).results[0].item == 1, "it is there, and was hidden"

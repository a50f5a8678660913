"""A shelf: the published bytes or nothing, and before they are written the same answers over the shards."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from examples.serve.drawn_release import unit_vectors
from pipeline.index.lists import index_vectors, read_rows, rows_sha256
from pipeline.index.quantizer import fingerprint, from_bytes, to_bytes, train_quantizer
from pipeline.index.search import exact_search
from pipeline.index.shard import build_shard, describe_shard
from pipeline.lake import Lake
from pipeline.release.manifest import CategoryIndex, DayRows
from pipeline.release.objects import ObjectStore
from pipeline.serve.generation import Generation
from pipeline.serve.shelf import Shelf
from reporting.errors import ContractViolation, StoreError

DAYS = (dt.date(2026, 11, 1), dt.date(2026, 11, 2))
TAKEN = {DAYS[0]: np.arange(0, 300, 3, dtype=np.int64), DAYS[1]: np.arange(300, 600, dtype=np.int64)}
VECTORS = unit_vectors(8, 600, 12)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def entry(lake: Lake) -> CategoryIndex:
    """Two day shards of 300 rows, of which the first gives a third; the merged index is not written yet."""
    quantizer = to_bytes(train_quantizer(VECTORS, nlist=4))
    lake.write_bytes("quantizer.faiss", quantizer)
    days = {}
    for place, day in enumerate(DAYS):
        ids = np.arange(300 * place, 300 * (place + 1), dtype=np.int64)
        shard = build_shard(quantizer, ids, VECTORS[ids])
        manifest = describe_shard(shard, category="red", date=day, space_id="space-1")
        lake.write_bytes(f"shards/{day}/index.faiss", shard)
        lake.write_bytes(f"shards/{day}/shard.json", manifest.model_dump_json().encode())
        kept = read_rows(from_bytes(build_shard(quantizer, TAKEN[day], VECTORS[TAKEN[day]])))
        days[day] = DayRows(
            shard_path=f"shards/{day}",
            shard_sha256=manifest.sha256,
            rows=len(TAKEN[day]),
            rows_sha256=rows_sha256(kept),
        )
    rows = [{"id": int(i), "group": f"g{i}", "first_day": day} for day in DAYS for i in TAKEN[day]]
    lake.write_table("items.parquet", pa.Table.from_pylist(rows))
    ids = np.concatenate(list(TAKEN.values()))
    merged = build_shard(quantizer, ids, VECTORS[ids])
    items = ObjectStore(Path(lake.full(""))).put_file(Path(lake.full("items.parquet")))
    return CategoryIndex(
        model="one@1",
        space_id="space-1",
        index_path="merged.faiss",
        index_sha256=ObjectStore(Path(lake.full(""))).put_bytes(merged),
        items_path="items.parquet",
        items_sha256=items,
        rows=len(ids),
        nprobe=2,
        fingerprint=fingerprint(from_bytes(quantizer)),
        quantizer_path="quantizer.faiss",
        days=days,
    )


def written(entry: CategoryIndex) -> CategoryIndex:
    sha256 = entry.index_sha256
    return entry.model_copy(update={"index_path": f"objects/{sha256[:2]}/{sha256}"})


def test_before_and_after_the_merge_the_answers_are_the_same(lake: Lake, entry: CategoryIndex) -> None:
    queries = unit_vectors(9, 50, 12)
    virtual, physical = (Generation(lake, {"red": one}) for one in (entry, written(entry)))
    for nprobe in (1, 2, 4):
        for generation in (virtual, physical):
            shelf = generation.shelves["red"]
            generation.shelves["red"] = shelf.with_entry(shelf.entry.model_copy(update={"nprobe": nprobe}))
        assert virtual.search_vectors(queries, ("red",), 7, "space-1") == physical.search_vectors(
            queries, ("red",), 7, "space-1"
        )
    for generation in (virtual, physical):
        alone = [generation.search_vectors(query[None], ("red",), 7, "space-1")[0] for query in queries]
        assert alone == generation.search_vectors(queries, ("red",), 7, "space-1")
    ids = np.concatenate(list(TAKEN.values()))
    exact = exact_search(ids, VECTORS[ids], queries, 7)[1].tolist()
    assert [[hit.id for hit in hits] for hits in virtual.search_vectors(queries, ("red",), 7, "space-1")] == exact


def test_a_virtual_shelf_holds_the_rows_that_were_taken_and_no_other(lake: Lake, entry: CategoryIndex) -> None:
    shelf = Shelf(lake, "red", entry)
    assert shelf.index.rows == entry.rows == len(shelf.items)
    assert index_vectors(shelf.index)[0].tolist() == np.concatenate(list(TAKEN.values())).tolist()


def test_a_shard_that_was_exchanged_is_refused_and_named(lake: Lake, entry: CategoryIndex) -> None:
    first, second = (entry.days[day] for day in DAYS)
    swapped = {DAYS[0]: first.model_copy(update={"shard_path": second.shard_path}), DAYS[1]: second}
    with pytest.raises(ContractViolation, match=str(DAYS[1])):
        _ = Shelf(lake, "red", entry.model_copy(update={"days": swapped})).index
    path = Path(lake.full(f"{first.shard_path}/index.faiss"))
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(ContractViolation, match="sha256"):
        _ = Shelf(lake, "red", entry).index


def test_a_file_that_is_not_the_published_one_is_refused_and_named(lake: Lake, entry: CategoryIndex) -> None:
    entry = written(entry)
    with pytest.raises(ContractViolation, match=r"objects/.*is damaged or was exchanged"):
        _ = Shelf(lake, "red", entry.model_copy(update={"index_sha256": "0" * 64})).index
    with pytest.raises(ContractViolation, match=r"items\.parquet.*is damaged or was exchanged"):
        _ = Shelf(lake, "red", entry.model_copy(update={"items_sha256": "0" * 64})).items
    with pytest.raises(ContractViolation, match="no path inside"):
        _ = Shelf(lake, "red", entry.model_copy(update={"index_path": "../elsewhere"})).index
    with pytest.raises(StoreError, match=r"gone\.parquet"):
        _ = Shelf(lake, "red", entry.model_copy(update={"items_path": "gone.parquet"})).items


def test_a_released_index_must_be_there_itself(lake: Lake, entry: CategoryIndex) -> None:
    Shelf(lake, "red", written(entry)).verify()
    with pytest.raises(StoreError, match=r"merged\.faiss"):
        Shelf(lake, "red", entry).verify()


def test_a_file_is_read_once_as_long_as_it_stays_as_it_was(
    lake: Lake, entry: CategoryIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.release.objects import require_content

    read: list[str] = []

    def counted(path: Path, sha256: str) -> None:
        read.append(path.name)
        require_content(path, sha256)

    monkeypatch.setattr("pipeline.serve.shelf.require_content", counted)
    shelf = Shelf(lake, "red", written(entry))
    shelf.verify()
    shelf.load()
    twin = shelf.with_entry(entry.model_copy(update={"nprobe": 3, "index_path": shelf.entry.index_path}))
    twin.verify()
    assert twin.index is shelf.index
    assert sorted(read) == sorted([entry.index_sha256, "items.parquet"])
    items = Path(lake.full("items.parquet"))
    items.write_bytes(items.read_bytes() + b"x")
    with pytest.raises(ContractViolation, match=r"items\.parquet"):
        twin.verify()

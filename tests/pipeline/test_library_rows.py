"""A library by the column, by the row and by its thumbnails: what a table read as a whole says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from pipeline.evict import farthest
from pipeline.evict.decide import decide
from pipeline.evict.farthest import Among
from pipeline.evict.policy import EvictPolicy
from pipeline.lake import Lake
from pipeline.library_rows import LibraryRows, LookDistance
from pipeline.partitions import Partition
from pipeline.window.live import LIVE_SCHEMA
from reporting.plans import Leaf
from tests.pipeline.evict.live_rows import DAY
from tests.pipeline.evict.stored_rows import Picture, stored_of

ROWS = 70_000
"""More than a row group."""


@pytest.fixture(scope="module")
def thumbs() -> NDArray[np.uint8]:
    found = np.random.default_rng(5).integers(0, 256, (ROWS, 192), np.uint8)
    found[::11] = 0  # there is none
    return found


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, thumbs: NDArray[np.uint8]) -> LibraryRows:
    lake = Lake(str(tmp_path_factory.mktemp("library")))
    offer = {"sku": "1", "merchant": "m", "group": "g", "category": "", "title": "T", "item": "i", "seen": DAY}
    columns: dict[str, Any] = {name: [None] * ROWS for name in LIVE_SCHEMA.names}
    columns |= {
        "picture": [f"{number:064x}" for number in range(ROWS)],
        "thumb": [None if number % 11 == 0 else one.tobytes() for number, one in enumerate(thumbs)],
        "offers": [[offer]] * ROWS,
        "bytes": list(range(ROWS)),
    }
    table = pa.table(columns, schema=LIVE_SCHEMA)
    parts = []
    for number, (start, stop) in enumerate([(0, 67_000), (67_000, ROWS)]):
        parts.append(Partition(Leaf("dedup", DAY, "", ""), "plan", 1, f"dedup/{number}"))
        lake.write_table(f"{parts[-1].folder}/live.parquet", table.slice(start, stop - start))
    return LibraryRows(lake, parts)


def test_only_the_columns_that_decide_are_read(library: LibraryRows) -> None:
    live = library.deciding()
    assert live.column_names == ["picture", "group", "first_day", "last_seen", "offers"]
    assert live["offers"][0].as_py() == [{"group": "g", "merchant": "m", "sku": "1", "category": ""}]
    assert live["picture"].to_pylist() == [f"{number:064x}" for number in range(ROWS)]
    assert library.schema == LIVE_SCHEMA


def test_rows_and_batches_are_numbered_through_all_files(library: LibraryRows) -> None:
    chosen = np.array([0, 9, 65_535, 65_536, 66_999, 67_000, 69_999])
    assert library.rows(chosen, ["bytes"])["bytes"].to_pylist() == chosen.tolist()
    batches = list(library.batches(["bytes"]))
    assert [one.start for one in batches] == [0, 65_536, 67_000]
    assert pa.concat_tables([one.table for one in batches])["bytes"].to_pylist() == list(range(ROWS))


@pytest.mark.parametrize("is_sorted", [True, False])
def test_distances_are_those_of_all_thumbnails_at_hand(
    library: LibraryRows, thumbs: NDArray[np.uint8], is_sorted: bool
) -> None:
    chance = np.random.default_rng(6)
    live_rows = None if is_sorted else chance.permutation(ROWS)
    mine = thumbs.astype(np.float64) if live_rows is None else thumbs[live_rows].astype(np.float64)
    distance = LookDistance(library, live_rows)
    assert distance(np.empty(0, np.int64), np.array([1])).shape == (0, 1)
    for told in (True, False, True):
        some, others = chance.integers(0, ROWS, 5), chance.integers(0, ROWS, 7)
        if told:
            distance.read_ahead(np.concatenate([some, others, others]))
        expected = np.abs(mine[some][:, None] - mine[others][None]).mean(axis=2) / 255
        assert distance(some, others) == pytest.approx(expected, abs=1e-6)
        part = np.array([3, *others])
        assert Among(distance, part)(np.array([1]), np.array([2])) == pytest.approx(
            np.abs(mine[others[:1]] - mine[others[1:2]]).mean(keepdims=True) / 255, abs=1e-6
        )


@pytest.mark.parametrize(("ahead", "reads"), [(1 << 22, 1), (16, 5)])
def test_a_day_reads_the_thumbnails_it_needs_ahead_and_decides_the_same(
    library: LibraryRows, thumbs: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, ahead: int, reads: int
) -> None:
    """Ten products with eight pictures each, of which two of the second half are in the window."""
    pictures = [
        Picture(number, 100 if number >= 40 and number % 8 < 2 else 0, (number // 8,), value=number % 5)
        for number in range(80)
    ]
    policy = EvictPolicy(window_days=10, min_per_group=3)
    asked: list[int] = []
    read = LibraryRows.thumbs

    def counted(self: LibraryRows, chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
        asked.append(len(chosen))
        return read(self, chosen)

    monkeypatch.setattr(LibraryRows, "thumbs", counted)
    monkeypatch.setattr(farthest, "AHEAD", ahead)
    mine = thumbs.astype(np.float32)

    def at_hand(some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float32]:
        apart: NDArray[np.float32] = np.abs(mine[some][:, None] - mine[others][None]).mean(axis=2) / 255
        return apart

    lazy = decide(stored_of(pictures), policy, 100, distance=LookDistance(library))
    whole = decide(stored_of(pictures), policy, 100, distance=at_hand)
    assert lazy.reason.tolist() == whole.reason.tolist()
    assert lazy.reason.tolist() != decide(stored_of(pictures), policy, 100).reason.tolist(), "looks decide something"
    assert (len(asked), sum(asked)) == (reads, 80)

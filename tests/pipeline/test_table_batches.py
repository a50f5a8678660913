"""Tables in pieces are the same rows as whole."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.lake import Lake
from pipeline.window.table_batches import count_rows, read_batches, read_schema, write_batches
from reporting.errors import StoreError

ROWS = 200_000
TABLE = pa.table(
    {
        "name": [f"n{number}" if number % 7 else None for number in range(ROWS)],
        "offers": [[{"sku": "s", "group": str(number % 5)}] * (number % 3) for number in range(ROWS)],
    }
)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    lake.write_table("whole.parquet", TABLE)
    return lake


@pytest.mark.parametrize("cuts", [[], [1, 70_000, 70_001, 140_000], list(range(1, ROWS, 17_000))])
def test_a_table_is_the_same_rows_in_the_same_bytes_however_it_is_cut(lake: Lake, cuts: list[int]) -> None:
    pieces = (TABLE.slice(first, last - first) for first, last in pairwise([0, *cuts, ROWS]))
    write_batches(lake, "pieces.parquet", TABLE.schema, pieces)
    assert lake.read_table("pieces.parquet").equals(TABLE)
    groups = pq.ParquetFile(lake.full("pieces.parquet")).metadata
    assert [groups.row_group(number).num_rows for number in range(4)] == [65_536] * 3 + [ROWS - 3 * 65_536]
    write_batches(lake, "one.parquet", TABLE.schema, [TABLE])
    assert Path(lake.full("pieces.parquet")).read_bytes() == Path(lake.full("one.parquet")).read_bytes()


def test_nothing_is_a_table_without_rows(lake: Lake) -> None:
    write_batches(lake, "none.parquet", TABLE.schema, [])
    assert lake.read_table("none.parquet").equals(TABLE.slice(0, 0))
    assert sum(one.table.num_rows for one in read_batches(lake, "none.parquet")) == 0
    assert count_rows(lake, "none.parquet") == 0


def test_row_groups_come_in_order_with_their_places_and_only_those_that_are_wanted(lake: Lake) -> None:
    found = list(read_batches(lake, "whole.parquet"))
    assert pa.concat_tables([one.table for one in found]).equals(TABLE)
    assert [one.start for one in found] == [0, 65_536, 131_072, 196_608]
    asked: list[tuple[int, int]] = []

    def second(start: int, stop: int) -> bool:
        asked.append((start, stop))
        return start <= 70_000 < stop

    (only,) = read_batches(lake, "whole.parquet", ["offers.list.element.group"], is_wanted=second)
    assert asked == [(0, 65_536), (65_536, 131_072), (131_072, 196_608), (196_608, ROWS)]
    assert only.table["offers"][0].as_py() == [{"group": str(65_536 % 5)}] * (65_536 % 3)
    assert (count_rows(lake, "whole.parquet"), read_schema(lake, "whole.parquet")) == (ROWS, TABLE.schema)


def test_a_lake_by_url_says_the_same() -> None:
    lake = Lake("memory://table-batches")
    lake.write_table("whole.parquet", TABLE)
    write_batches(lake, "pieces.parquet", TABLE.schema, [TABLE.slice(0, 9), TABLE.slice(9)])
    found = list(read_batches(lake, "pieces.parquet", ["name"], is_wanted=lambda _, stop: stop > 70_000))
    assert [one.start for one in found] == [65_536, 131_072, 196_608]
    assert pa.concat_tables([one.table for one in found])["name"].to_pylist() == TABLE["name"].to_pylist()[65_536:]
    assert (count_rows(lake, "whole.parquet"), read_schema(lake, "whole.parquet")) == (ROWS, TABLE.schema)


def test_a_file_that_is_damaged_or_gone_is_said(lake: Lake) -> None:
    lake.write_bytes("bad.parquet", b"no parquet")
    for name in ("bad.parquet", "gone.parquet"):
        for read in (count_rows, read_schema, lambda *of: list(read_batches(*of))):
            with pytest.raises(StoreError, match=f"{name}: a committed partition cannot be read"):
                read(lake, name)

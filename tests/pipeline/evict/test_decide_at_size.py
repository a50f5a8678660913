"""The catalogue of the benchmark, a thousandth of its size: engine and SQL decide the same about every picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.evict.decisions import Reason
from tests.benches import evict_path
from tests.benches.evict_rivals import ours, rival, write


@pytest.mark.parametrize("rows", [20_000])
def test_engine_and_sql_agree_on_a_catalogue_with_every_reason(tmp_path: Path, rows: int) -> None:
    assert write(tmp_path, rows, rows // 10) > rows
    found, expected = ours(tmp_path), rival(tmp_path)
    for name in ("sums", "reasons", "less"):
        assert found[name] == expected[name], name
    assert set(found["reasons"]) == {str(int(reason)) for reason in Reason}
    assert found["less"], "no budget was tight"


def test_from_files_to_the_audits_file_engine_and_sql_write_the_same_rows(tmp_path: Path) -> None:
    evict_path.write(tmp_path, 20_000, 2_000)
    found, expected = evict_path.ours(tmp_path), evict_path.rival(tmp_path)
    for name in ("groups", "sums", "reasons"):
        assert found[name] == expected[name], name
    mine, rows = (pq.read_table(tmp_path / f"{side}.parquet") for side in ("ours", "rival"))
    for name in mine.column_names:
        if name != "value":
            assert mine[name].to_pylist() == rows[name].to_pylist(), name
    assert np.allclose(mine["value"], rows["value"], atol=1e-6)

"""The catalogue of the benchmark, a thousandth of its size: engine and SQL decide the same about every picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.evict.decisions import Reason
from tests.benches.evict_rivals import ours, rival, write


@pytest.mark.parametrize("rows", [20_000])
def test_engine_and_sql_agree_on_a_catalogue_with_every_reason(tmp_path: Path, rows: int) -> None:
    assert write(tmp_path, rows, rows // 10) > rows
    found, expected = ours(tmp_path), rival(tmp_path)
    for name in ("sums", "reasons", "less"):
        assert found[name] == expected[name], name
    assert set(found["reasons"]) == {str(int(reason)) for reason in Reason}
    assert found["less"], "no budget was tight"

"""The grocery measurement by the gate: its table equals the one that the crop measurement counts another way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from examples.grocery.measure_crop import ranked
from examples.grocery.measure_gate import GATE, LIBRARIES, embedded, markdown, measure, pictures_of, write_run


@pytest.mark.data
@pytest.mark.slow
def test_hits_of_sets_and_run_files_equal_the_ranking_of_vectors(shared_data: Path, tmp_path: Path):
    every, data = 30, (shared_data / "grocery").resolve()
    found = measure(data, tmp_path, every, GATE)
    vectors = embedded(data, ["val", "iconic", "train"], every, tmp_path / "vectors.npz")
    asked = pictures_of(data, "val", every)
    for library in LIBRARIES:
        shown = pictures_of(data, library.pictures, every)
        right = ranked(
            vectors["val"], vectors[library.pictures], [one.product for one in shown], [one.product for one in asked]
        )
        metrics = found[library.name]["run"]["metrics"]
        for k in (1, 5, 10):
            assert metrics[f"hit@{k}"]["value"] == pytest.approx(right[:, :k].any(axis=1).mean())
        assert metrics["hit@1"]["n"] == len(asked) == 10
        folder = tmp_path / "verdicts" / library.name
        assert json.loads((folder / "verdict.json").read_text())["verdict"] == found[library.name]["verdict"]["verdict"]
        assert (folder / "report.html").is_file()
    table = markdown(found).splitlines()
    categories = {one.category for one in asked}
    assert [line.split(" | ")[0].removeprefix("| ") for line in table[2:]] == ["all", *sorted(categories)]


def test_a_run_file_has_the_nearest_pictures_first(tmp_path: Path):
    import pyarrow.parquet as pq

    write_run(tmp_path / "runs" / "a.parquet", "s@1", ["q"], ["x", "y"], np.array([[0.25, 0.75]], np.float32))
    table = pq.read_table(tmp_path / "runs" / "a.parquet")
    assert table.to_pylist() == [
        {"query_id": "q", "image_id": "y", "distance": 0.25},
        {"query_id": "q", "image_id": "x", "distance": 0.75},
    ]
    assert table.schema.metadata[b"set_id"] == b"s@1"

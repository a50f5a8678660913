"""Runbooks of others, replayed on SIFT: at every search step our shards give the ids of brute force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.index.merge import merge_digest, merge_to
from pipeline.index.opened import open_file
from pipeline.index.quantizer import to_bytes, train_quantizer
from pipeline.index.search import search_index
from pipeline.index.shard import build_shard
from pipeline.index.virtual import open_virtual
from tests.pipeline.runbook import Window, runbooks, tiled
from tests.pipeline.shard_parts import CATEGORY, SPACE

pytestmark = pytest.mark.data

NLIST = 16
QUERIES = 5
K = 10


@pytest.fixture(scope="module")
def sift(shared_data: Path) -> np.ndarray:
    return np.loadtxt(shared_data / "sift5k" / "sift-dataset-5k.tsv.gz", dtype=np.float32, ndmin=2)[:, :128]


def replay(sift: np.ndarray, steps: list[dict[str, Any]], folder: Path) -> int:
    """Replay a runbook; return how many searches there were."""
    last = max(value for step in steps for key, value in step.items() if key.endswith(("end", "ids_end")))
    vectors = tiled(sift, last)
    trained = to_bytes(train_quantizer(tiled(sift, 2000), nlist=NLIST))
    window = Window(trained, vectors)
    queries = tiled(sift[::-1], 1000, seed=1)
    searches = 0
    for searches in window.searches(steps):
        asked = queries[QUERIES * searches % 1000 :][:QUERIES]
        expected = window.brute_force(asked, K)
        _, found = search_index(open_virtual(trained, window.open_parts()), asked, K, NLIST)
        np.testing.assert_array_equal(found, expected, err_msg=f"search {searches}")
    ids, alive = window.alive()
    merged = merge_to(folder / "last", trained, window.parts(), category=CATEGORY, space_id=SPACE)
    assert merged == merge_digest(trained, window.parts()[::-1], category=CATEGORY, space_id=SPACE)
    assert (folder / "last").read_bytes() == build_shard(trained, ids, alive)
    _, found = search_index(open_file(folder / "last"), queries[:50], K, NLIST)
    np.testing.assert_array_equal(found, window.brute_force(queries[:50], K))
    return searches


@pytest.mark.parametrize(
    ("file", "name", "scale", "searches"),
    [
        ("simple_replace_runbook.yaml", "random-xs", 10, 4),
        ("clustered_runbook.yaml", "random-xs-clustered", 40, 32),
        ("delete_runbook.yaml", "random-xs-clustered", 20, 32),
        pytest.param("clustered_runbook.yaml", "msturing-10M-clustered", 100, 32, marks=pytest.mark.slow),
        pytest.param("delete_runbook.yaml", "msturing-10M-clustered", 100, 33, marks=pytest.mark.slow),
        pytest.param("msturing-10M_slidingwindow_runbook.yaml", "msturing-10M", 100, 100, marks=pytest.mark.slow),
    ],
)
def test_every_search_of_a_runbook_gives_the_ids_of_brute_force(
    shared_data, sift, tmp_path, file, name, scale, searches
):
    steps = runbooks(shared_data / "runbooks" / file, scale)[name]
    assert replay(sift, steps, tmp_path) == searches

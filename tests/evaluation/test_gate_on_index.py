"""Faults put into a real faiss index, not into its answers: the same rules of the gate notice them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evaluation.gate import judge
from evaluation.gate_spec import GateSpec
from evaluation.measure import measure
from evaluation.measured import Measured
from tests.evaluation.faiss_world import CELLS, Drawn, built, system
from tests.evaluation.gate_world import AS_OF, world

pytestmark = pytest.mark.slow
RULES: list[dict[str, Any]] = [
    {"id": "hit-ni", "kind": "noninferior", "metric": "hit@10", "margin_pp": 1, "vs": ["release"]},
    {"id": "recall-ni", "kind": "noninferior", "metric": "recall@10", "margin_pp": 1, "vs": ["release"]},
    {"id": "ann-loss", "kind": "ceiling", "metric": "label_loss@10", "max_pp": 2},
    {"id": "probe", "kind": "floor", "metric": "self_recall@5", "slice": "day=*", "min": 0.9},
    {"id": "no-lost-group", "kind": "invariant", "metric": "groups_with_zero_images"},
    {"id": "no-duplicates", "kind": "invariant", "metric": "duplicate_ids"},
]
SPEC = GateSpec.model_validate({"schema": "gate/1", "rules": RULES})


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    """Vectors of the small world."""
    return Drawn(world(300))


@pytest.fixture(scope="module")
def ids(drawn: Drawn) -> np.ndarray:
    """The number of each picture."""
    return np.arange(len(drawn.pictures))


@pytest.fixture(scope="module")
def release(drawn: Drawn, ids: np.ndarray) -> Measured:
    """The sound index, measured."""
    return measure(system(drawn, built(drawn, ids), probes=CELLS), drawn.evalset)


def failing(drawn: Drawn, release: Measured, found: Any) -> set[str]:
    said: dict[str, Any] = {"as_of": AS_OF, "tool": "test", "config_sha256": ""}
    verdict = judge(SPEC, drawn.evalset, measure(found, drawn.evalset), release=release, **said)
    return {rule.id for rule in verdict.rules if rule.status == "fail"}


def test_a_sound_index_built_again_passes_with_no_difference(drawn, ids, release):
    again = measure(system(drawn, built(drawn, ids), probes=CELLS), drawn.evalset)
    said: dict[str, Any] = {"as_of": AS_OF, "tool": "test", "config_sha256": ""}
    verdict = judge(SPEC, drawn.evalset, again, release=release, **said)
    assert verdict.verdict == "PASS", verdict.reason
    assert {rule.value for rule in verdict.rules if rule.vs} == {0}


def test_a_day_with_another_codebook_is_merged_by_faiss_in_silence_and_killed_by_the_gate(drawn, ids, release):
    index = built(drawn, ids, day_with_other_codes=int(drawn.days[0]))
    assert index.ntotal == len(ids), "faiss has merged them"
    assert {"probe", "hit-ni", "recall-ni", "ann-loss"} <= failing(drawn, release, system(drawn, index, probes=CELLS))


def test_one_probe_is_killed_by_the_loss_against_exact_search(drawn, ids, release):
    assert {"hit-ni", "recall-ni", "ann-loss"} <= failing(drawn, release, system(drawn, built(drawn, ids), probes=1))


def test_shuffled_ids_of_a_day_are_killed_by_its_self_probe(drawn, ids, release):
    shuffled = ids.copy()
    rows = np.flatnonzero(drawn.days == drawn.days[0])
    shuffled[rows] = np.roll(shuffled[rows], 1)
    found = failing(drawn, release, system(drawn, built(drawn, shuffled), probes=CELLS))
    assert {"probe", "hit-ni", "recall-ni"} <= found


def test_a_dropped_tail_is_killed_by_the_census(drawn, ids, release):
    sizes: dict[str, int] = {}
    for image in drawn.evalset.catalog:
        sizes[image.group_id] = sizes.get(image.group_id, 0) + 1
    tail = np.array([row for row, image in enumerate(drawn.evalset.catalog) if sizes[image.group_id] == 1])
    index = built(drawn, ids)
    index.remove_ids(tail)
    assert {"no-lost-group", "hit-ni"} <= failing(drawn, release, system(drawn, index, probes=CELLS))


def test_a_day_merged_twice_is_killed_by_the_census(drawn, ids, release):
    index = built(drawn, ids)
    rows = np.flatnonzero(drawn.days == drawn.days[0])
    index.add_with_ids(drawn.pictures[rows], ids[rows])
    assert "no-duplicates" in failing(drawn, release, system(drawn, index, probes=CELLS))

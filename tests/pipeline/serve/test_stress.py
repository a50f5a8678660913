"""The stress of examples/serve, small: generations are swapped under clients over real HTTP, and nothing is mixed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from examples.serve.drawn_release import Shape
from examples.serve.stress import Stage, Tally, count, set_stage, stress


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # nothing here asks what a power cut leaves
    return set_stage(tmp_path / "home", Shape(rows=200, dim=8, nlist=2, nprobe=1))


def test_no_answer_is_mixed_or_failed_while_generations_are_swapped(stage: Stage) -> None:
    tally, swaps, _ = stress(stage, clients=4, queries=40, every=0.005, publish_every=0.02, process=False)
    assert (tally.asked, tally.mixed, tally.failed, tally.examples) == (160, 0, 0, [])
    assert (swaps.refused, swaps.reasons) == (0, [])
    assert swaps.published >= 2
    assert swaps.swaps > swaps.published
    assert len(tally.generations) >= 2


def test_an_answer_of_another_generation_is_counted_as_mixed(stage: Stage) -> None:
    """The clients' own count: the same answer under the next number is wrong, and an error is a failure."""
    tally = Tally()
    results = ", ".join(f'{{"item": {item}, "distance": {distance}}}' for item, distance in stage.expected[0][3])
    for number in (1, 4, 2, 3):
        count(tally, stage, 3, 200, f'{{"generation": {number}, "results": [{results}]}}'.encode())
    count(tally, stage, 3, 429, b"{}")
    assert (tally.asked, tally.mixed, tally.failed) == (5, 2, 1)

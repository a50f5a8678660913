"""A candidate as the gate sees it: a searcher, a catalogue, and indexed pictures that must find themselves."""

from __future__ import annotations

from typing import Any

from pipeline.serve.generation import Generation
from pipeline.tasks.candidate import Candidate


def searcher_of(candidate: Candidate) -> Generation:
    """Return the whole answering chain over the candidate's indexes."""
    return Generation(candidate.lake, candidate.entries)


def probes(candidate: Candidate, count: int) -> list[tuple[str, int, str, bytes]]:
    """Return (picture, id, category, bytes) of at most `count` indexed pictures, spread evenly over the ids.

    Evenly instead of at random: the same index gives the same probe.
    """
    rows: list[tuple[str, dict[str, Any]]] = [
        (category, row)
        for category, shelf in sorted(searcher_of(candidate).shelves.items())
        for row in shelf.items.values()
    ]
    step = max(1, len(rows) // count)
    found = []
    for category, row in rows[::step][:count]:
        with candidate.lake.open_pack(row["pack"]) as pack:
            found.append((row["picture"], row["id"], category, pack.read(row["offset"], row["bytes"])))
    return found

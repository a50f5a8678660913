"""A candidate as the gate sees it: a searcher, a catalogue, and indexed pictures that must find themselves."""

from __future__ import annotations

from typing import Any

from pipeline.serve.generation import Generation
from pipeline.tasks.candidate import Candidate


def searcher_of(candidate: Candidate) -> Generation:
    """Return the whole answering chain: the candidate's front and indexes."""
    return Generation(candidate.lake, candidate.entries, candidate.front)


def probes(candidate: Candidate, count: int) -> list[tuple[str, int, str, bytes]]:
    """Return (picture, id, category, bytes) of at most `count` indexed pictures, spread evenly over the ids.

    Evenly instead of at random: the same index gives the same probe. The id is that of the picture's main object,
    which is what a search by the whole picture looks for; its other objects are no probes.
    """
    rows: list[tuple[str, dict[str, Any]]] = [
        (category, row)
        for category, shelf in sorted(searcher_of(candidate).shelves.items())
        for row in shelf.items.values()
        if not row.get("ordinal")
    ]
    step = max(1, len(rows) // count)
    found = []
    for category, row in rows[::step][:count]:
        with candidate.lake.open_pack(row["pack"]) as pack:
            found.append((row["picture"], row["id"], category, pack.read(row["offset"], row["bytes"])))
    return found

"""Replays of streaming runbooks (big-ann-benchmarks, NeurIPS'23) with day shards and merges.

An insert is a day's shard, never touched again. A deletion takes rows out of what the merge keeps; a replacement is a
deletion and a new shard with the old ids, which then lie in two shards of the window.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from pipeline.index.merge import ShardPart
from pipeline.index.part import OpenPart, open_part
from pipeline.index.shard import build_shard, describe_shard
from tests.pipeline.shard_parts import CATEGORY, SPACE


def runbooks(path: Path, scale: int) -> dict[str, list[dict[str, Any]]]:
    """Read every runbook of a file: its steps in turn, with all numbers divided by `scale`."""
    books = {}
    for name, steps in yaml.safe_load(path.read_text()).items():
        books[name] = [
            {key: value // scale if isinstance(value, int) else value for key, value in steps[number].items()}
            for number in sorted(key for key in steps if isinstance(key, int))
        ]
    return books


def tiled(vectors: NDArray[np.float32], rows: int, seed: int = 0) -> NDArray[np.float32]:
    """Repeat real vectors with a little noise up to so many rows, (rows, d) float32, L2-normalised."""
    noise = np.random.default_rng(seed).normal(0, 4, size=(rows, vectors.shape[1]))
    wide = vectors[np.arange(rows) % len(vectors)] + noise
    normalised: NDArray[np.float32] = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    return normalised


class Window:
    """The state of a replay.

    Attributes:
        quantizer: Empty trained index.
        vectors: All vectors that any step may insert, (n, d) float32.
        held: By id the number of the vector that it holds now; -1: none.
        shards: In turn each shard's index, its ids, and of each whether it still counts.
    """

    def __init__(self, quantizer: bytes, vectors: NDArray[np.float32]):
        self.quantizer, self.vectors = quantizer, vectors
        self.held = np.full(len(vectors), -1, np.int64)
        self.shards: list[tuple[ShardPart, NDArray[np.int64], NDArray[np.bool_]]] = []
        self._wide = vectors.astype(np.float64)
        self._open: dict[int, tuple[int, OpenPart]] = {}

    def searches(self, steps: list[dict[str, Any]]) -> Iterator[int]:
        """Do the steps, and hand back control at each search, with its number from 1."""
        number = 0
        for step in steps:
            match step["operation"]:
                case "insert":
                    self._insert(np.arange(step["start"], step["end"]), step["start"])
                case "delete":
                    self._delete(step["start"], step["end"])
                case "replace":
                    self._delete(step["tags_start"], step["tags_end"])
                    self._insert(np.arange(step["tags_start"], step["tags_end"]), step["ids_start"])
                case "search":
                    number += 1
                    yield number
                case other:
                    raise AssertionError(f"a runbook asks for {other}")

    def _insert(self, ids: NDArray[np.int64], first_vector: int) -> None:
        data = build_shard(self.quantizer, ids, self.vectors[first_vector : first_vector + len(ids)])
        day = dt.date(2026, 1, 1) + dt.timedelta(len(self.shards))
        part = ShardPart(describe_shard(data, category=CATEGORY, date=day, space_id=SPACE), data)
        self.shards.append((part, ids, np.ones(len(ids), np.bool_)))
        self.held[ids] = np.arange(first_vector, first_vector + len(ids))

    def _delete(self, start: int, stop: int) -> None:
        for _, ids, alive in self.shards:
            alive[(ids >= start) & (ids < stop)] = False
        self.held[start:stop] = -1

    def parts(self) -> list[ShardPart]:
        """Return what a merge would be asked for now; a shard of which nothing counts is not."""
        return [
            ShardPart(part.manifest, part.index, None if alive.all() else ids[alive])
            for part, ids, alive in self.shards
            if alive.any()
        ]

    def open_parts(self) -> list[OpenPart]:
        """Return the same, open; those that did not change stay open from search to search."""
        for number, (part, ids, alive) in enumerate(self.shards):
            count = int(alive.sum())
            if number not in self._open or self._open[number][0] != count:
                kept = ShardPart(part.manifest, part.index, None if alive.all() else ids[alive])
                self._open[number] = (count, open_part(kept))
        return [one for count, one in self._open.values() if count]

    def alive(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the ids that count, rising, and their vectors."""
        ids = np.flatnonzero(self.held >= 0)
        return ids, self.vectors[self.held[ids]]

    def brute_force(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Return the ids of the k nearest by (cosine distance as float32, id), (q, k) int64; from all rows."""
        ids = np.flatnonzero(self.held >= 0)
        distances = (1 - queries.astype(np.float64) @ self._wide.T)[:, self.held[ids]].clip(0, 2).astype(np.float32)
        found = np.full((len(queries), k), -1, np.int64)
        for place, row in enumerate(distances):
            worst = np.partition(row, k - 1)[k - 1] if len(row) > k else 2
            near = np.flatnonzero(row <= worst)  # with all that tie with the k-th
            nearest = ids[near[np.lexsort((ids[near], row[near]))[:k]]]
            found[place, : len(nearest)] = nearest
        return found

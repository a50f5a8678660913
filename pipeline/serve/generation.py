"""One generation: every category's index with its item table and the model whose space it holds."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.images.decode import DecodeLimits, PictureError, decode_rgb
from pipeline.index.quantizer import from_bytes
from pipeline.index.search import search_index
from pipeline.lake import Lake
from pipeline.models.catalog import open_embedder
from pipeline.models.embedder import Embedder
from pipeline.release.manifest import CategoryIndex
from reporting.errors import ConfigError, DataError, nearest


class Found(NamedTuple):
    """One neighbour: the id, its product group, 1 - cosine, and where it was found."""

    id: int
    group: str
    distance: float
    category: str


@dataclass(frozen=True)
class Shelf:
    """One category's index and items, loaded and verified on first use."""

    lake: Lake
    category: str
    entry: CategoryIndex

    @cached_property
    def index(self) -> Any:
        """The Faiss index.

        Raises:
            DataError: its bytes are not those of the manifest.
        """
        data = self.lake.read_bytes(self.entry.index_path)
        _verify(data, self.entry.index_sha256, self.lake.full(self.entry.index_path))
        return from_bytes(data, where=self.entry.index_path)

    @cached_property
    def items(self) -> dict[int, dict[str, Any]]:
        """The item table by id."""
        _verify(self.lake.read_bytes(self.entry.items_path), self.entry.items_sha256, self.entry.items_path)
        return {row["id"]: row for row in self.lake.read_table(self.entry.items_path).to_pylist()}


@dataclass(frozen=True)
class Generation:
    """A searchable set of indexes; immutable, so a query sees one state of the world."""

    lake: Lake
    entries: Mapping[str, CategoryIndex]
    shelves: dict[str, Shelf] = field(init=False)

    def __post_init__(self) -> None:
        shelves = {name: Shelf(self.lake, name, entry) for name, entry in self.entries.items()}
        object.__setattr__(self, "shelves", shelves)

    def search(self, pictures: Sequence[bytes], k: int, category: str | None = None) -> list[list[Found]]:
        """Return the k nearest items of each picture, by (distance, id); an undecodable picture gets [].

        Without a category every category is searched, each in its own feature space.

        Raises:
            ConfigError: no such category, with the nearest one.
        """
        decoded = [_decode(data) for data in pictures]
        answered = [number for number, image in enumerate(decoded) if image is not None]
        images = [image for image in decoded if image is not None]
        answers: list[list[Found]] = [[] for _ in pictures]
        if not images:
            return answers
        for model, shelves in self._by_model(category).items():
            vectors = _embedder(model, shelves).embed(images)
            for shelf in shelves:
                distances, ids = search_index(shelf.index, vectors, k, shelf.entry.nprobe)
                for row, number in enumerate(answered):
                    answers[number] += _found(shelf, distances[row], ids[row])
        return [sorted(found, key=lambda hit: (hit.distance, hit.id))[:k] for found in answers]

    def _by_model(self, category: str | None) -> dict[str, list[Shelf]]:
        if category is not None and category not in self.shelves:
            raise ConfigError(f"category {category!r} is not in this release; {nearest(category, self.shelves)}")
        chosen = [self.shelves[category]] if category is not None else list(self.shelves.values())
        groups: dict[str, list[Shelf]] = defaultdict(list)
        for shelf in chosen:
            if shelf.entry.rows:
                groups[shelf.entry.model].append(shelf)
        return groups

    def item(self, found: Found) -> dict[str, Any]:
        """Return the item row of a hit: offers, title, picture, pack."""
        return self.shelves[found.category].items[found.id]


def _embedder(model: str, shelves: Sequence[Shelf]) -> Embedder:
    embedder = open_embedder(model.partition("@")[0])
    for shelf in shelves:
        if shelf.entry.space_id != embedder.space_id:
            raise DataError(
                f"category {shelf.category!r} was indexed in feature space {shelf.entry.space_id}, the model {model} "
                f"answers in {embedder.space_id}; a query must not be answered across spaces: embed and index again"
            )
    return embedder


def _found(shelf: Shelf, distances: NDArray[np.float32], ids: NDArray[np.int64]) -> list[Found]:
    return [
        Found(int(i), shelf.items[int(i)]["group"], float(distance), shelf.category)
        for i, distance in zip(ids, distances, strict=True)
        if i >= 0
    ]


def _decode(data: bytes) -> NDArray[np.uint8] | None:
    try:
        return decode_rgb(data, min_side=256, limits=DecodeLimits())
    except PictureError:
        return None  # an unanswered query: the caller counts it


def _verify(data: bytes, sha256: str, where: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise DataError(f"{where}: sha256 {found[:16]} is not the published {sha256[:16]}; restore or publish it again")

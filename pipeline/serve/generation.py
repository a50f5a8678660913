"""One generation: every category's index with its item table and model, and the front that a query goes through."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.images.decode import PictureError
from pipeline.index.quantizer import from_bytes
from pipeline.index.search import search_index
from pipeline.lake import Lake
from pipeline.models.catalog import open_embedder
from pipeline.models.detections import Box
from pipeline.models.embedder import Embedder
from pipeline.release.manifest import CategoryIndex
from pipeline.serve.front import OpenFront, QueryFront
from pipeline.serve.query import QueryObject, Route, Vectors, decide_all, find_objects, route
from reporting.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    from pipeline.category.decision import Decision


EVERY_LIST = 1 << 30
"""An nprobe beyond every index's number of lists: all are probed."""


class Neighbour(NamedTuple):
    """One neighbour: the id, its product group, 1 - cosine, and where it was found."""

    id: int
    group: str
    distance: float
    category: str


class Asked(NamedTuple):
    """All about one query: what was searched for, as what, where, and what was found, nearest first."""

    object: QueryObject
    decision: Decision | None
    route: Route
    hits: list[Neighbour]


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

    def item(self, number: int) -> dict[str, Any]:
        """Return one item row.

        Raises:
            DataError: the index holds an id that the item table does not have: they do not belong together.
        """
        row = self.items.get(number)
        if row is None:
            raise DataError(
                f"{self.entry.items_path}: has no item {number}, which the index of {self.category!r} holds; the two "
                "do not belong together: merge that day again and release it"
            )
        return row


@dataclass(frozen=True)
class Generation:
    """A searchable set of indexes and their front; immutable, so a query sees one state of the world.

    Without a front a query is its whole picture, and every category is searched.
    """

    lake: Lake
    entries: Mapping[str, CategoryIndex]
    front: QueryFront | None = None
    shelves: dict[str, Shelf] = field(init=False)

    def __post_init__(self) -> None:
        shelves = {name: Shelf(self.lake, name, entry) for name, entry in self.entries.items()}
        object.__setattr__(self, "shelves", shelves)

    @cached_property
    def opened(self) -> OpenFront | None:
        """The front with its models; None where a query is its whole picture."""
        return None if self.front is None else OpenFront(self.front)

    def search(
        self, pictures: Sequence[bytes], k: int, category: str | None = None, box: Box | None = None
    ) -> list[list[Neighbour]]:
        """Return the k nearest items of each picture, by (distance, id); an undecodable picture gets [].

        The arguments and errors are those of `ask`.
        """
        asked = self.ask(pictures, k, category, box)
        return [[] if isinstance(one, PictureError) else one.hits for one in asked]

    def ask(
        self, pictures: Sequence[bytes], k: int, category: str | None = None, box: Box | None = None
    ) -> list[Asked | PictureError]:
        """Find each picture's object, predict its category, and search that category with its own model.

        All pictures go through the detector together, and through each model together.

        Args:
            pictures: Encoded pictures, as uploaded.
            k: Items wanted for each, >= 1.
            category: Search this one instead of the predicted one.
            box: Search this part of every picture instead of its most confident object.

        Returns:
            One for each picture, in order; the error of one that cannot be decoded.

        Raises:
            ConfigError: no such category, with the nearest one.
            UsageError: the box is empty or reaches out of a picture.
            DataError: the detector, the gallery or a model is another one than the indexes were built with.
        """
        if category is not None and category not in self.shelves:
            raise ConfigError(f"category {category!r} is not in this release; {nearest(category, self.shelves)}")
        objects = find_objects(self.opened, pictures, box)
        seen = [one for one in objects if isinstance(one, QueryObject)]
        vectors = Vectors([one.pixels for one in seen])
        decisions = decide_all(self.opened, seen, vectors)
        filled = [name for name, shelf in self.shelves.items() if shelf.entry.rows]
        routes = [route(category, decision, filled) for decision in decisions]
        hits = self.search_in(vectors, [one.categories for one in routes], k)
        asked = iter([Asked(*parts) for parts in zip(seen, decisions, routes, hits, strict=True)])
        return [one if isinstance(one, PictureError) else next(asked) for one in objects]

    def search_in(
        self, vectors: Vectors, wanted: Sequence[Sequence[str]], k: int, nprobe: int | None = None
    ) -> list[list[Neighbour]]:
        """Search each row of the vectors in its wanted categories, each model's rows embedded together.

        Args:
            vectors: Of the queries' pixels.
            wanted: Categories for each row; none of them gives no hits.
            k: Items wanted for each, >= 1.
            nprobe: Lists to probe instead of the release's own; `EVERY_LIST` is exact search over the same rows.
        """
        rows_of: dict[str, list[int]] = defaultdict(list)
        for row, categories in enumerate(wanted):
            for name in categories:
                rows_of[name].append(row)
        by_model: dict[str, list[Shelf]] = defaultdict(list)
        for name in rows_of:
            if self.shelves[name].entry.rows:  # a category that was asked for may be empty
                by_model[self.shelves[name].entry.model].append(self.shelves[name])
        found: list[list[Neighbour]] = [[] for _ in wanted]
        for model, shelves in by_model.items():
            embedder = _embedder(model, shelves)
            vectors.prepare(embedder, {row for shelf in shelves for row in rows_of[shelf.category]})
            for shelf in shelves:
                rows = rows_of[shelf.category]
                distances, ids = search_index(shelf.index, vectors.of(embedder, rows), k, nprobe or shelf.entry.nprobe)
                for place, row in enumerate(rows):
                    found[row] += _found(shelf, distances[place], ids[place])
        return [sorted(hits, key=lambda hit: (hit.distance, hit.id))[:k] for hits in found]

    def embedders(self) -> list[Embedder]:
        """Return the models that its filled categories are searched with, each once.

        Raises:
            DataError: a model answers in another space than the category was indexed in.
        """
        by_model: dict[str, list[Shelf]] = defaultdict(list)
        for shelf in self.shelves.values():
            if shelf.entry.rows:
                by_model[shelf.entry.model].append(shelf)
        return [_embedder(model, shelves) for model, shelves in sorted(by_model.items())]

    def item(self, found: Neighbour) -> dict[str, Any]:
        """Return the item row of a hit: offers, title, picture, pack, box."""
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


def _found(shelf: Shelf, distances: NDArray[np.float32], ids: NDArray[np.int64]) -> list[Neighbour]:
    return [
        Neighbour(int(i), shelf.item(int(i))["group"], float(distance), shelf.category)
        for i, distance in zip(ids, distances, strict=True)
        if i >= 0
    ]


def _verify(data: bytes, sha256: str, where: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise DataError(f"{where}: sha256 {found[:16]} is not the published {sha256[:16]}; restore or publish it again")

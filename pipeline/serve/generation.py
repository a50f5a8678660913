"""One generation: every category's index with its item table and model, and the front that a query goes through."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.images.decode import PictureError
from pipeline.index.search import search_index, search_one
from pipeline.lake import Lake
from pipeline.models.catalog import open_embedder
from pipeline.models.detections import Box
from pipeline.models.embedder import Embedder
from pipeline.release.manifest import CategoryIndex
from pipeline.serve.front import OpenFront, QueryFront
from pipeline.serve.query import QueryObject, Route, Vectors, decide_all, find_objects, route
from pipeline.serve.ranking import RankSettings
from pipeline.serve.shelf import Shelf
from pipeline.serve.turned_away import SpaceMismatch, WrongDimension
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
class Looked:
    """Queries before the search.

    Attributes:
        asked: One for each picture, in order, still without hits; the error of one that cannot be decoded.
        vectors: Of those without an error, in order; each is computed once, however often it is searched.
    """

    asked: list[Asked | PictureError]
    vectors: Vectors

    @property
    def wanted(self) -> list[tuple[str, ...]]:
        """Where each of those without an error is to be searched."""
        return [one.route.categories for one in self.asked if not isinstance(one, PictureError)]


@dataclass(frozen=True)
class Generation:
    """A searchable set of indexes and their front; immutable, so a query sees one state of the world.

    Without a front a query is its whole picture, and every category is searched.
    """

    lake: Lake
    entries: Mapping[str, CategoryIndex]
    front: QueryFront | None = None
    ranking: RankSettings = field(default_factory=RankSettings)
    shelves: dict[str, Shelf] = field(init=False)
    _models: dict[str, Embedder] = field(default_factory=dict, init=False, repr=False)
    """By name and version, those that `load` opened: they stay when another version comes in."""

    def __post_init__(self) -> None:
        shelves = {name: Shelf(self.lake, name, entry) for name, entry in self.entries.items()}
        object.__setattr__(self, "shelves", shelves)

    @cached_property
    def opened(self) -> OpenFront | None:
        """The front with its models; None where a query is its whole picture."""
        return None if self.front is None else OpenFront(self.front)

    @cached_property
    def spaces(self) -> frozenset[str]:
        """Feature spaces of the categories that hold anything."""
        return frozenset(entry.space_id for entry in self.entries.values() if entry.rows)

    def share(self, loaded: Iterable[Generation]) -> None:
        """Take over what other generations have loaded of the very same content; before anything is loaded here."""
        for other in loaded:
            for name, shelf in other.shelves.items():
                mine = self.shelves.get(name)
                if mine is not None and shelf.is_loaded and shelf.has_content_of(mine):
                    self.shelves[name] = shelf.with_entry(mine.entry)

    def bytes_to_load(self) -> int:
        """Return the size of the files that `load` would read; 0 for those that are loaded already."""
        return sum(shelf.size_bytes for shelf in self.shelves.values() if not shelf.is_loaded)

    def load(self) -> None:
        """Load and verify everything now; else each part is on its first use.

        Raises:
            StoreError: A file cannot be read.
            DataError: A file is not the published one, or a model is another one than the indexes were built with.
        """
        for shelf in self.shelves.values():
            shelf.load()
        for embedder, shelves in self._by_model():
            self._models.update((shelf.entry.model, embedder) for shelf in shelves)
        if self.opened is not None:
            _ = (self.opened.detector, self.opened.embedder)

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
        looked = self.look(pictures, category, box)
        found = iter(self.search_in(looked.vectors, looked.wanted, k))
        return [one if isinstance(one, PictureError) else one._replace(hits=next(found)) for one in looked.asked]

    def look(self, pictures: Sequence[bytes], category: str | None = None, box: Box | None = None) -> Looked:
        """Find each picture's object and say where it is to be searched; the first half of `ask`, with its errors."""
        if category is not None and category not in self.shelves:
            raise ConfigError(f"category {category!r} is not in this release; {nearest(category, self.shelves)}")
        objects = find_objects(self.opened, pictures, box)
        seen = [one for one in objects if isinstance(one, QueryObject)]
        vectors = Vectors([one.pixels for one in seen])
        decisions = decide_all(self.opened, seen, vectors)
        filled = [name for name, shelf in self.shelves.items() if shelf.entry.rows]
        asked = iter(
            Asked(one, decision, route(category, decision, filled), [])
            for one, decision in zip(seen, decisions, strict=True)
        )
        return Looked([one if isinstance(one, PictureError) else next(asked) for one in objects], vectors)

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
            embedder = self._embedder(model, shelves)
            vectors.prepare(embedder, {row for shelf in shelves for row in rows_of[shelf.category]})
            for shelf in shelves:
                rows = rows_of[shelf.category]
                nearest = _nearest(shelf, vectors.of(embedder, rows), k, nprobe or shelf.entry.nprobe)
                for row, hits in zip(rows, nearest, strict=True):
                    found[row] += hits
        return [sorted(hits, key=lambda hit: (hit.distance, hit.id))[:k] for hits in found]

    def search_vectors(
        self, vectors: NDArray[np.float32], categories: Sequence[str] | None, k: int, space_id: str
    ) -> list[list[Neighbour]]:
        """Search vectors that somebody else computed; each row in each of the categories.

        Args:
            vectors: (n, d) float32, L2-normalised.
            categories: Where to search; None: every category of that space.
            k: Items wanted for each, >= 1.
            space_id: Feature space of the vectors.

        Returns:
            The k nearest items of each row, by (distance, id).

        Raises:
            SpaceMismatch: A category holds another space; or none holds this one.
            ConfigError: No such category, with the nearest one.
            WrongDimension: The vectors have another dimension than the index.
            DataError: They are not normalised.
        """
        filled = [shelf for shelf in self._of_space(categories, space_id) if shelf.entry.rows]
        for shelf in filled:
            if vectors.shape[1] != shelf.index.dim:
                raise WrongDimension(vectors.shape[1], shelf.index.dim, space_id)
        by_shelf = [_nearest(shelf, vectors, k, shelf.entry.nprobe) for shelf in filled]
        if len(by_shelf) == 1:
            return by_shelf[0]
        found = zip(*by_shelf, strict=True) if by_shelf else repeat((), len(vectors))
        return [sorted(chain(*hits), key=lambda hit: (hit.distance, hit.id))[:k] for hits in found]

    def _of_space(self, categories: Sequence[str] | None, space_id: str) -> list[Shelf]:
        if categories is None:
            if space_id not in self.spaces:
                raise SpaceMismatch(space_id, self.spaces, "this generation")
            return [shelf for shelf in self.shelves.values() if shelf.entry.space_id == space_id]
        for name in categories:
            if name not in self.shelves:
                raise ConfigError(f"category {name!r} is not in this release; {nearest(name, self.shelves)}")
            if self.shelves[name].entry.space_id != space_id:
                raise SpaceMismatch(space_id, [self.shelves[name].entry.space_id], f"category {name!r}")
        return [self.shelves[name] for name in categories]

    def embedders(self) -> list[Embedder]:
        """Return the models that its filled categories are searched with, each once.

        Raises:
            DataError: a model answers in another space than the category was indexed in.
        """
        return [embedder for embedder, _ in self._by_model()]

    def _by_model(self) -> list[tuple[Embedder, list[Shelf]]]:
        by_model: dict[str, list[Shelf]] = defaultdict(list)
        for shelf in self.shelves.values():
            if shelf.entry.rows:
                by_model[shelf.entry.model].append(shelf)
        return [(self._embedder(model, shelves), shelves) for model, shelves in sorted(by_model.items())]

    def _embedder(self, model: str, shelves: Sequence[Shelf]) -> Embedder:
        embedder = self._models.get(model) or open_embedder(model, space_id=shelves[0].entry.space_id)
        for shelf in shelves:
            if shelf.entry.space_id != embedder.space_id:
                raise DataError(
                    f"category {shelf.category!r} was indexed in feature space {shelf.entry.space_id}, the model "
                    f"{model} answers in {embedder.space_id}; a query must not be answered across spaces: embed and "
                    "index again"
                )
        return embedder

    def item(self, found: Neighbour) -> dict[str, Any]:
        """Return the item row of a hit: offers, title, picture, pack, box."""
        return self.shelves[found.category].items[found.id]

    def rows_of(self, found: Sequence[Neighbour]) -> list[Mapping[str, Any]]:
        """Return the item row of each hit; those of one category are looked up together."""
        categories = {hit.category for hit in found}
        if len(categories) == 1:
            return self.shelves[categories.pop()].items.rows([hit.id for hit in found])
        rows: list[Mapping[str, Any]] = [{}] * len(found)
        for category in categories:
            places = [at for at, hit in enumerate(found) if hit.category == category]
            read = self.shelves[category].items.rows([found[at].id for at in places])
            for at, row in zip(places, read, strict=True):
                rows[at] = row
        return rows


def _nearest(shelf: Shelf, vectors: NDArray[np.float32], k: int, nprobe: int) -> list[list[Neighbour]]:
    """Return the k nearest items of each vector (n, d) on one shelf."""
    if len(vectors) == 1:
        return [_found(shelf, search_one(shelf.index, vectors, k, nprobe))]
    rows = zip(*search_index(shelf.index, vectors, k, nprobe), strict=True)
    return [
        _found(
            shelf, [(near, number) for near, number in zip(*map(np.ndarray.tolist, row), strict=True) if number >= 0]
        )
        for row in rows
    ]


def _found(shelf: Shelf, pairs: Sequence[tuple[float, int]]) -> list[Neighbour]:
    groups = shelf.groups([number for _, number in pairs])
    category = shelf.category
    return [Neighbour(number, group, near, category) for (near, number), group in zip(pairs, groups, strict=True)]

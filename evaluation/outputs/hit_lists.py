"""The lists that people look at: the first products of a query, each with the picture it is shown by.

A `Ranked` names groups and pictures apart. A product stands at the place of its nearest picture, so that picture is
found again by its distance, and among equal distances by the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date as Date

import numpy as np
from numpy.typing import NDArray

from evaluation.catalog import CatalogImage, Role
from evaluation.evalset import EvalSet
from evaluation.measured import Ranked

_CELLS = 4_000_000
"""Comparisons at a time: bounds the memory whatever the number of queries."""


@dataclass(frozen=True, slots=True)
class ShownHit:
    """One place of a list.

    Attributes:
        rank: From 1, among distinct products (or pictures, in a list of pictures).
        group_id: Of the product, "" in a list of pictures whose picture the catalogue does not know.
        image_id: The picture it is shown by.
        grade: 2 the same item, 1 an acceptable variant, 0 irrelevant.
        distance: Of that picture.
        category: The catalogue's, "" unknown.
        day: When the picture could first be found, else when it was last seen; None: unknown.
        kind: `product`, `same_style`, `noise`, `refused` (a labeller said no), `not_live` or `orphan`.
    """

    rank: int
    group_id: str
    image_id: str
    grade: int
    distance: float
    category: str
    day: Date | None
    kind: str


class Catalogue:
    """What the catalogue of record says of a picture by name, and what labellers refused."""

    def __init__(self, evalset: EvalSet, day: Date | None = None):
        self._day = day or evalset.gallery.as_of
        self.image_of: dict[str, CatalogImage] = {}
        self._groups: dict[str, set[str]] = {}
        for image in evalset.catalog:
            self.image_of.setdefault(image.image_id, image)
            self._groups.setdefault(image.image_id, set()).add(image.group_id)
        self._refused = {(label.query_id, label.group_id) for label in evalset.labels if label.grade == 0}

    def belongs(self, image_id: str, group_id: str) -> bool:
        """Say whether a picture is of a group; an unknown picture is its own."""
        return group_id in self._groups.get(image_id, (image_id,))

    def category(self, image_id: str) -> str:
        """Return the category of a picture, "" unknown."""
        image = self.image_of.get(image_id)
        return "" if image is None else image.category

    def day(self, image_id: str) -> Date | None:
        """Return the day of a picture: the first, else the last one on record."""
        image = self.image_of.get(image_id)
        return None if image is None else image.first_day or image.last_day

    def kind(self, query_id: str, image_id: str, group_id: str) -> str:
        """Say what a hit is that is not relevant (see `ShownHit.kind`)."""
        image = self.image_of.get(image_id)
        if image is None:
            return "orphan"
        if not image.is_live(self._day):
            return "not_live"
        return "refused" if (query_id, group_id) in self._refused else image.role.value

    def pictures(self, group_ids: Sequence[str], most: int) -> list[CatalogImage]:
        """Return the first live pictures of some groups by name, products of different groups taking turns."""
        wanted = set(group_ids)
        found: dict[str, list[CatalogImage]] = {}
        for image in self._by_group(wanted):
            found.setdefault(image.group_id, []).append(image)
        turns = max((len(images) for images in found.values()), default=0)
        taken = [images[turn] for turn in range(turns) for images in found.values() if turn < len(images)]
        return taken[:most]

    def _by_group(self, wanted: set[str]) -> list[CatalogImage]:
        live = [
            image
            for image in self.image_of.values()
            if image.group_id in wanted and image.role is Role.PRODUCT and image.is_live(self._day)
        ]
        return sorted(live, key=lambda image: (image.group_id, image.path == "", image.image_id))


def nearest_places(ranked: Ranked, limit: int, catalogue: Catalogue) -> NDArray[np.int64]:
    """Return where in its list of pictures each of the first groups has its nearest one; (n, <= limit), -1 beyond."""
    groups = ranked.group_distances[:, :limit]
    images = ranked.image_distances
    n, width = images.shape
    places = np.zeros(groups.shape, np.int64)
    step = max(1, _CELLS // max(1, width * groups.shape[1]))
    for at in range(0, n, step):
        # NaN beyond the ends compares false.
        places[at : at + step] = (images[at : at + step, None, :] < groups[at : at + step, :, None]).sum(axis=2)
    is_there = ranked.group_grades[:, :limit] >= 0
    after = np.take_along_axis(images, np.minimum(places + 1, width - 1), axis=1)
    for row, rank in np.argwhere(is_there & (places + 1 < width) & (after == groups)):
        places[row, rank] = _among_ties(ranked, int(row), int(rank), places, catalogue)
    return np.where(is_there, places, -1)


def _among_ties(ranked: Ranked, row: int, rank: int, places: NDArray[np.int64], catalogue: Catalogue) -> int:
    """Return the first picture of a group among those at its distance that no group before it is shown by."""
    names, distances = ranked.image_names[row], ranked.image_distances[row]
    start, group = int(places[row, rank]), str(ranked.group_names[row, rank])
    end = int(np.searchsorted(distances, distances[start], side="right"))
    taken = set(places[row, :rank].tolist())
    free = (place for place in range(start, end) if place not in taken)
    own = next((place for place in free if catalogue.belongs(str(names[place]), group)), None)
    if own is not None:
        return own
    # A group that only the system shows: the catalogue cannot say which of the pictures is its own.
    return next((place for place in range(start, end) if place not in taken), start)


def shown_groups(
    ranked: Ranked, row: int, places: Sequence[int] | NDArray[np.int64], query_id: str, catalogue: Catalogue
) -> list[ShownHit]:
    """Return the first products of one query, each with its nearest picture (`places`: a row of `nearest_places`)."""
    shown = []
    for rank, place in enumerate(int(one) for one in places):
        if place >= 0:
            hit = (str(ranked.group_names[row, rank]), str(ranked.image_names[row, place]))
            grade, distance = int(ranked.group_grades[row, rank]), float(ranked.group_distances[row, rank])
            shown.append(_shown(rank + 1, hit, (grade, distance), query_id, catalogue))
    return shown


def shown_pictures(ranked: Ranked, row: int, limit: int, query_id: str, catalogue: Catalogue) -> list[ShownHit]:
    """Return the first distinct pictures of one query."""
    shown = []
    for rank, name in enumerate(str(one) for one in ranked.image_names[row, :limit]):
        if ranked.image_grades[row, rank] >= 0:
            image = catalogue.image_of.get(name)
            hit = ("" if image is None else image.group_id, name)
            grade, distance = int(ranked.image_grades[row, rank]), float(ranked.image_distances[row, rank])
            shown.append(_shown(rank + 1, hit, (grade, distance), query_id, catalogue))
    return shown


def _shown(rank: int, hit: tuple[str, str], judged: tuple[int, float], query_id: str, catalogue: Catalogue) -> ShownHit:
    (group, image), (grade, distance) = hit, judged
    kind = "product" if grade > 0 else catalogue.kind(query_id, image, group)
    return ShownHit(rank, group, image, grade, distance, catalogue.category(image), catalogue.day(image), kind)


def first_relevant(ranked: Ranked, row: int, after: int, query_id: str, catalogue: Catalogue) -> ShownHit | None:
    """Return the first relevant product beyond a rank, with the place it has; None: there is none in the list."""
    beyond = np.flatnonzero(ranked.group_grades[row, after:] > 0)
    if not beyond.size:
        return None
    rank = after + int(beyond[0])
    one = row_of(ranked, row)
    places = nearest_places(one, rank + 1, catalogue)[0]
    return shown_groups(one, 0, np.where(np.arange(rank + 1) == rank, places, -1), query_id, catalogue)[0]


def row_of(ranked: Ranked, row: int) -> Ranked:
    """Return the lists of one query."""
    here = slice(row, row + 1)
    values: Mapping[str, object] = {
        name: None if (value := getattr(ranked, name)) is None else value[here] for name in Ranked.__dataclass_fields__
    }
    return Ranked(**values)  # type: ignore[arg-type]

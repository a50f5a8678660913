"""The catalogue of record: what a user should be able to find, whether or not the index holds it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from reporting.errors import DataError


@dataclass(frozen=True, slots=True)
class CatalogImage:
    """One findable picture of a product.

    Attributes:
        group: Product group; the unit of a label.
        sha256: Of the picture's bytes, hex.
        id: Id under which an index may return it; None if it never got one (it counts as findable and is
            always missed). A dropped duplicate has the id of its survivor.
    """

    group: str
    sha256: str
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    """The catalogue, looked up by id and by group. Build it with `catalog_of`.

    Attributes:
        groups_by_id: The groups that an id stands for: more than one if a picture shared by several
            products was stored once.
        hashes_by_id: The sha256 of the pictures that an id stands for.
        images_by_group: The findable pictures of a group: distinct ids, and the sha256 of those without one.
    """

    groups_by_id: Mapping[int, Set[str]]
    hashes_by_id: Mapping[int, Set[str]]
    images_by_group: Mapping[str, Set[int | str]]

    def findable_count(self, group: str, *, without_sha256: str | None = None) -> int:
        """Count the findable pictures of a group, leaving out a query's own picture; 0 for an unknown group."""
        return sum(
            without_sha256 is None or without_sha256 not in (self.hashes_by_id[key] if isinstance(key, int) else {key})
            for key in self.images_by_group.get(group, ())
        )


def catalog_of(images: Iterable[CatalogImage]) -> Catalog:
    """Index a catalogue's pictures.

    Two entries with one id are one findable picture (an index returns it once). Entries without an id are one
    for each sha256.

    Raises:
        DataError: An id is negative or an entry has no group.
    """
    groups: defaultdict[int, set[str]] = defaultdict(set)
    hashes: defaultdict[int, set[str]] = defaultdict(set)
    findable: defaultdict[str, set[int | str]] = defaultdict(set)
    for image in images:
        if not image.group:
            raise DataError(f"catalogue: picture {image.sha256} has no product group; give each its own")
        if image.id is not None and image.id < 0:
            raise DataError(f"catalogue: id {image.id} of group {image.group} is negative; use None for no id")
        findable[image.group].add(image.sha256 if image.id is None else image.id)
        if image.id is not None:
            groups[image.id].add(image.group)
            hashes[image.id].add(image.sha256)
    return Catalog(dict(groups), dict(hashes), dict(findable))

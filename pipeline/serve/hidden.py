"""What takedowns hide of a set of indexes, and what they take out of the catalogue that it is judged by.

A withheld item is not served, whatever the index holds; a product of which everything is withheld is not lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date as Date
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pipeline.release.withheld import WithheldList
    from pipeline.serve.shelf import Shelf
    from pipeline.tasks.candidate import CatalogRow, Offer

_COLUMNS = ["id", "picture", "group", "offers"]
_BLOCK = 4096  # rows made into Python objects at a time


class OfRecord(NamedTuple):
    """A picture of the catalogue of record: product, sha256, declared category, and since when it must not be shown."""

    group: str
    sha256: str
    category: str
    takedown_day: Date | None = None


def hidden_ids(shelf: Shelf, withheld: WithheldList) -> frozenset[int]:
    """Return the ids of the item table that no answer shows."""
    if not withheld.hides_anything:
        return frozenset()
    return frozenset(row["id"] for row in _rows(shelf) if not _left(row, withheld))


def of_record(
    catalog: Sequence[CatalogRow], shelves: Iterable[Shelf], withheld: WithheldList, day: Date
) -> list[OfRecord]:
    """Return the catalogue with what is withheld as taken down.

    A picture counts as taken down for a product when each of its offers of that product is withheld: by the offer, the
    group or the picture's own bytes, or because the indexes hold it only in rows that are hidden (a withheld item, or
    a withheld picture that it gave way to as a duplicate). A picture that another offer may still show was not taken
    down: it only no longer stands for this product, and is left out for it.

    Args:
        catalog: Every listed offer's pictures.
        shelves: What is judged.
        withheld: What must not be shown.
        day: Day of what is judged: takedowns count from now on, and so for this release.
    """
    if not withheld.hides_anything:
        return [OfRecord(row.group, row.sha256, row.category) for row in catalog]
    held, shown = _pairs(shelves, withheld)
    live = [row for row in catalog if not _is_gone(row, held, shown, withheld)]
    still = {picture for picture, _ in shown} - withheld.pictures | {row.sha256 for row in live}
    down = [row for row in catalog if row.sha256 not in still]
    return [
        *(OfRecord(row.group, row.sha256, row.category) for row in live),
        *(OfRecord(row.group, row.sha256, row.category, day) for row in down),
    ]


_Pairs = set[tuple[str, "Offer"]]


def _is_gone(row: CatalogRow, held: _Pairs, shown: _Pairs, withheld: WithheldList) -> bool:
    if row.group in withheld.groups or row.offer in withheld.offers or row.sha256 in withheld.pictures:
        return True
    own = (row.sha256, row.offer)
    served_as = own if own in held else (row.survivor, row.offer)
    return served_as in held and served_as not in shown


def _pairs(shelves: Iterable[Shelf], withheld: WithheldList) -> tuple[_Pairs, _Pairs]:
    """Return each (picture, offer) that the item tables hold, and those of them that may be shown."""
    held: _Pairs = set()
    shown: _Pairs = set()
    for shelf in shelves:
        for row in _rows(shelf):
            held |= {(row["picture"], (one["merchant"], one["sku"])) for one in row["offers"]}
            shown |= {(row["picture"], (one["merchant"], one["sku"])) for one in _left(row, withheld)}
    return held, shown


def _left(row: dict[str, Any], withheld: WithheldList) -> tuple[Any, ...]:
    return withheld.offers_left(row["id"], row["picture"], row["group"], row["offers"])


def _rows(shelf: Shelf) -> Iterator[dict[str, Any]]:
    for batch in shelf.lake.read_table(shelf.entry.items_path, _COLUMNS).to_batches(_BLOCK):
        yield from batch.to_pylist()

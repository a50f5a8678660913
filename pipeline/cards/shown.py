"""Which of many rows a gallery shows, and one item of it as a plain mapping (`dashboards/page/cards.py`: Shown)."""

from __future__ import annotations

from typing import Any

from pipeline.cards.album import Album, Spot


def spread(count: int, shown: int) -> list[int]:
    """Return the places of at most `shown` of `count` rows, rising, evenly spread, the first and the last among them.

    Example:
        >>> spread(10, 4), spread(3, 8), spread(9, 1), spread(0, 4)
        ([0, 3, 6, 9], [0, 1, 2], [0], [])
    """
    if count <= shown:
        return list(range(count))
    return [place * (count - 1) // max(1, shown - 1) for place in range(shown)]


def shown_item(album: Album, item: str, spot: Spot, *, detail: str, package: str = "", category: str = "") -> Any:
    """Return an item with its picture, or with the reason why there is none to show."""
    return {
        "item": item,
        "package": package,
        "category": category,
        "detail": detail,
        "offer": spot.offer,
        "picture": album.picture(spot),
    }

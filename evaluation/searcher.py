"""What an evaluation asks of the system that it judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result.

    Attributes:
        id: 63-bit id of the found object; -1 (what an index pads with) is dropped by the ranking.
        group: Product group that the system shows for it.
        distance: 1 - cosine, in [0, 2], lower is nearer.
    """

    id: int
    group: str
    distance: float


class Searcher(Protocol):
    """The whole answering chain: decode, embed, route, search, rank and filter."""

    def search(self, pictures: Sequence[bytes], k: int, category: str | None = None) -> list[list[Hit]]:
        """Search for each picture.

        Args:
            pictures: Encoded pictures, as uploaded.
            k: Hits wanted for each; fewer may come.
            category: Search this category only; None lets the system route by itself.

        Returns:
            One list for each picture, in order. An empty list means that this query was not answered
            (undecodable, timed out, error). Raise only if nothing at all can be answered.
        """
        ...

"""Why a query is not answered: each error says what it came with and what is here, for a server to pass on."""

from __future__ import annotations

from collections.abc import Iterable

from reporting.errors import FunnelgateError, StoreError


class SpaceMismatch(FunnelgateError):
    """A query vector of one feature space for indexes of others (HTTP 409); it is never answered across spaces.

    Attributes:
        found: Space of the query.
        expected: Spaces that are here, sorted.
    """

    def __init__(self, found: str, expected: Iterable[str], where: str) -> None:
        """Build the message; `where` names the generation or category."""
        self.found = found
        self.expected = tuple(sorted(set(expected)))
        known = ", ".join(map(repr, self.expected)) or "none"
        super().__init__(
            f"the query is of feature space {found!r}, {where} answers in {known}; vectors of two "
            "spaces must not be compared: embed the query with the model of that space"
        )


class WrongDimension(FunnelgateError):
    """A query vector of another length than those of its feature space (HTTP 422).

    Attributes:
        found: Numbers in the query.
        expected: Numbers in a vector of that space.
    """

    def __init__(self, found: int, expected: int, space_id: str) -> None:
        """Build the message."""
        self.found, self.expected = found, expected
        super().__init__(
            f"the query has {found} numbers, a vector of feature space {space_id!r} has {expected}: embed the query "
            "with the model of that space"
        )


class UnknownGeneration(FunnelgateError):
    """A query for a generation that is not loaded (HTTP 409).

    Attributes:
        found: Number asked for.
        held: Numbers that are loaded, sorted.
    """

    def __init__(self, found: int, held: Iterable[int]) -> None:
        """Build the message."""
        self.found = found
        self.held = tuple(sorted(held))
        known = " and ".join(map(str, self.held)) or "none"
        super().__init__(
            f"generation {found} is not loaded, {known} is; ask GET /generation for what is served now, or leave the "
            "generation out"
        )


class NotReady(StoreError):
    """No generation serves yet (HTTP 503)."""


class QueryExpired(StoreError):
    """A query held its generation for so long that it was unloaded (HTTP 504); its answer must not be used."""

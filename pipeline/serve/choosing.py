"""Which of the generations that are held answers a query: during the change of a model both do, each in its space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.serve.turned_away import SpaceMismatch

if TYPE_CHECKING:
    from pipeline.serve.loader import Served


def choose(held: Sequence[Served], space_id: str | None, category: str | None = None) -> int:
    """Return the place of the generation that answers.

    A picture is for the active one. A vector with a category goes to the first whose index of that category is of the
    vector's space. A vector without one goes to the active one if that has the space; but if a category has left the
    space since the release before (it changed its model), to that release, as long as it is held: it answers from
    every category that the vector's client knows, the active one only from some. A category that the active release
    does not have, or has emptied, has not left the space: it is gone for everybody. Neither does a release answer in
    the place of one that was rolled back to.

    Args:
        held: Those that may answer, the active one first; at least one.
        space_id: Feature space of the query's vector; None: it is a picture.
        category: The one that the vector is to be searched in; None: every one of its space.

    Raises:
        SpaceMismatch: None has the space, or none has it in that category.
    """
    if space_id is None:
        return 0
    if category is not None:
        return _by_category(held, space_id, category)
    places = [at for at, one in enumerate(held) if space_id in one.spaces]
    if not places:
        raise SpaceMismatch(space_id, [space for one in held for space in one.spaces], _named(held))
    older = [at for at in places[1:] if _has_left(held[places[0]], held[at], space_id)]
    return (older or places)[0]


def _by_category(held: Sequence[Served], space_id: str, category: str) -> int:
    spaces = {
        at: one.manifest.categories[category].space_id
        for at, one in enumerate(held)
        if category in one.manifest.categories
    }
    if not spaces:  # the search names the nearest category there is
        return 0
    at = next((at for at, space in spaces.items() if space == space_id), None)
    if at is None:
        raise SpaceMismatch(space_id, spaces.values(), f"category {category!r} of {_named(held)}")
    return at


def _has_left(now: Served, before: Served, space_id: str) -> bool:
    """Say whether a category that was filled in this space before is filled in another one now."""
    if before.number > now.number or now.manifest.rollback_to is not None:
        return False
    entries = now.manifest.categories
    return any(
        entry.rows and entry.space_id == space_id and name in entries and entries[name].rows
        and entries[name].space_id != space_id
        for name, entry in before.manifest.categories.items()
    )  # fmt: skip


def _named(held: Sequence[Served]) -> str:
    return f"generation {' and '.join(str(one.number) for one in held)}"

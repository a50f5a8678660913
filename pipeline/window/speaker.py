"""Which offer names a picture's product once some of its offers are gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def speaker_of(group: str, title: str, left: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the offer that names the product from now on; None: an offer of that group and title is still there.

    It is the first one of the same product, or the first of all where none of that product is left: a title is never
    shown that only a lost offer had.

    Args:
        group: Product group so far.
        title: Title so far.
        left: The offers that are left, at least one, in order; each with `title` and perhaps `group` (else: the same).

    Example:
        >>> speaker_of("shoe", "Red", [{"title": "Hat", "group": "hat"}, {"title": "Rot", "group": "shoe"}])
        {'title': 'Rot', 'group': 'shoe'}
    """
    same = [one for one in left if one.get("group", group) == group]
    if any(one["title"] == title for one in same):
        return None
    return (same or left)[0]

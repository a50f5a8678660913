"""Rank and filter: what happens to neighbours before they are an answer; its settings are part of the generation.

In this order: what was taken down, delisted or is dead goes, offer by offer; what is left is re-ranked; items of one
product become one result with the offers of all of them; the first k results are the answer. A pure stage, the same
for the command line and the server: equal neighbours, settings and takedowns give equal results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from pipeline.window.speaker import speaker_of

if TYPE_CHECKING:
    from pipeline.release.withheld import WithheldList
    from pipeline.serve.generation import Neighbour

Name = Annotated[str, Field(min_length=1)]
RowsOf: TypeAlias = "Callable[[Sequence[Neighbour]], Sequence[Mapping[str, Any]]]"
_WIDER = 4
_ROUNDS = 3  # of fetching: overfetch, and 4 and 16 times as much where filters starve the answer


class RankSettings(BaseModel):
    """How neighbours become results; hashed among what the gate judges.

    Attributes:
        version: Of the stage's rules; another number, other rules.
        group: Show each product group once, by its nearest item, with the offers of all its items.
        rerankers: Names of re-rankers, applied in this order; see `pipeline.serve.rerankers`.
        overfetch: Neighbours fetched for each result wanted, >= 1, so that grouping and filters do not starve it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    group: bool = True
    rerankers: tuple[Name, ...] = ()
    overfetch: int = Field(default=4, ge=1, le=64)


class Ranked(NamedTuple):
    """One result.

    Attributes:
        hit: The item that speaks for it: the first of its items after re-ranking.
        row: That item's row of the item table.
        group: Product group, by an offer that is still there; "" where it is unknown.
        title: Of the product, likewise.
        offers: Of all its items that may be shown, each (merchant, sku) once, the first item's first.
        items: All its items that were found, the one that speaks for it first.
    """

    hit: Neighbour
    row: Mapping[str, Any]
    group: str
    title: str
    offers: tuple[Mapping[str, Any], ...]
    items: tuple[Neighbour, ...]


def rank(
    neighbours: Sequence[Neighbour],
    settings: RankSettings,
    k: int,
    *,
    withheld: WithheldList,
    rows_of: RowsOf,
) -> list[Ranked]:
    """Filter, re-rank, group by product, cut.

    Args:
        neighbours: Nearest first, by (distance, id); each id once.
        settings: Of the generation.
        k: Results wanted, >= 1.
        withheld: What must not be shown, as of now.
        rows_of: Rows of the item table of some neighbours, in order (columns `picture`, `title`, `offers`, ...).

    Returns:
        At most k results. Without re-rankers by rising (distance, id); with grouping each known group once.

    Raises:
        ConfigError: There is no re-ranker of a name.
    """
    hides = withheld.hides_anything
    if not hides and not settings.rerankers:  # nothing moves: the rows of k products will do
        neighbours = _first_products(neighbours, k) if settings.group else neighbours[:k]
    rows = rows_of(neighbours)
    if hides:
        allowed = [_allowed(hit, row, withheld) for hit, row in zip(neighbours, rows, strict=True)]
        shown = [one for one in allowed if one is not None]
    else:
        shown = [
            Ranked(hit, row, hit.group, row["title"], tuple(row["offers"]), (hit,))
            for hit, row in zip(neighbours, rows, strict=True)
        ]
    if settings.rerankers:
        from pipeline.serve.rerankers import reranked

        shown = list(reranked(shown, settings.rerankers))
    return (_by_product(shown) if settings.group else shown)[:k]


def search_ranked(
    fetch: Callable[[int], Sequence[Neighbour]],
    settings: RankSettings,
    k: int,
    *,
    withheld: WithheldList,
    rows_of: RowsOf,
) -> list[Ranked]:
    """Fetch `overfetch` neighbours for each result and rank them; fetch more where too few results are left.

    A product with very many pictures, or a takedown of one, can fill the first neighbours. They are fetched at most
    three times, four times as many each time; then the answer is what there is.

    Args:
        fetch: Returns the n nearest neighbours; fewer: there are no more.
        settings: Of the generation.
        k: Results wanted, >= 1.
        withheld: What must not be shown, as of now.
        rows_of: As for `rank`.
    """
    wanted = k * settings.overfetch
    ranked: list[Ranked] = []
    for _ in range(_ROUNDS):
        neighbours = fetch(wanted)
        ranked = rank(neighbours, settings, k, withheld=withheld, rows_of=rows_of)
        if len(ranked) == k or len(neighbours) < wanted:
            break
        wanted *= _WIDER
    return ranked


def _first_products(neighbours: Sequence[Neighbour], k: int) -> Sequence[Neighbour]:
    """Return the items of the first k products, in order."""
    first: set[str | int] = set()
    kept = []
    for one in neighbours:
        key = one.group or one.id
        if key in first:
            kept.append(one)
        elif len(first) < k:
            first.add(key)
            kept.append(one)
    return kept


def _allowed(hit: Neighbour, row: Mapping[str, Any], withheld: WithheldList) -> Ranked | None:
    """Return a neighbour with what of it may be shown; None: nothing.

    Offers go one by one; an item without one goes. Where the offer that named the product went, the next one speaks
    for the item (`speaker_of`, as in the live window).
    """
    every = row["offers"]
    offers = withheld.offers_left(hit.id, row["picture"], hit.group, every)
    if not offers:
        return None
    title = row["title"]
    speaker = None if len(offers) == len(every) else speaker_of(hit.group, title, offers)
    if speaker is None:
        return Ranked(hit, row, hit.group, title, offers, (hit,))
    return Ranked(hit, row, speaker.get("group", hit.group), speaker["title"], offers, (hit,))


def shown_group(item: int, row: Mapping[str, Any], withheld: WithheldList) -> str | None:
    """Return the product group that an answer would show for a row of the item table; None: it would not show it."""
    from pipeline.serve.generation import Neighbour

    allowed = _allowed(Neighbour(item, str(row["group"]), 0.0, ""), row, withheld)
    return None if allowed is None else allowed.group


def _by_product(ordered: Sequence[Ranked]) -> list[Ranked]:
    """Join the items of each product; an unknown group ("") is no product that two items could share."""
    members: dict[str | int, list[Ranked]] = {}
    for one in ordered:
        members.setdefault(one.group or one.hit.id, []).append(one)
    return [of_it[0] if len(of_it) == 1 else _joined(of_it) for of_it in members.values()]


def _joined(of_it: Sequence[Ranked]) -> Ranked:
    offers: dict[tuple[str, str], Mapping[str, Any]] = {}
    for one in of_it:
        for offer in one.offers:
            offers.setdefault((offer["merchant"], offer["sku"]), offer)
    return of_it[0]._replace(offers=tuple(offers.values()), items=tuple(one.hit for one in of_it))

"""What the gate's list holds after rank and filter: the items behind the results that `/search` would show.

The gate judges items, not products: a product stays in its list with every item of it that was found, where it stands
after re-ranking. So nothing moves where nothing re-ranks and nothing is withheld, and else the products in order of
their first item are the results that a user sees (`pipeline.serve.ranking`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pipeline.serve.ranking import RankSettings, RowsOf, rank, search_ranked

if TYPE_CHECKING:
    from pipeline.release.withheld import WithheldList
    from pipeline.serve.generation import Generation, Neighbour
    from pipeline.serve.query import Vectors


def search_shown(
    generation: Generation,
    vectors: Vectors,
    wanted: Sequence[Sequence[str]],
    k: int,
    *,
    withheld: WithheldList,
    nprobe: int | None = None,
) -> list[list[Neighbour]]:
    """Search as `Generation.search_in`, and rank and filter by the generation's own settings.

    Args:
        generation: What answers.
        vectors: Of the queries.
        wanted: Categories for each.
        k: Results wanted for each, >= 1.
        withheld: What must not be shown.
        nprobe: As for `Generation.search_in`.

    Returns:
        For each query what `items_shown` says.
    """
    settings = generation.ranking
    if not changes_order(settings, withheld):
        return generation.search_in(vectors, wanted, k, nprobe)
    first = k * settings.overfetch
    nearest = generation.search_in(vectors, wanted, first, nprobe)

    def fetch(row: int, count: int) -> list[Neighbour]:
        if count <= first:
            return nearest[row][:count]
        alone = [categories if place == row else () for place, categories in enumerate(wanted)]
        return generation.search_in(vectors, alone, count, nprobe)[row]

    return [
        items_shown(partial(fetch, row), settings, k, withheld=withheld, rows_of=generation.rows_of)
        for row in range(len(wanted))
    ]


def changes_order(settings: RankSettings, withheld: WithheldList) -> bool:
    """Tell whether rank and filter can do more than group."""
    return bool(settings.rerankers) or withheld.hides_anything


def items_shown(
    fetch: Callable[[int], Sequence[Neighbour]],
    settings: RankSettings,
    k: int,
    *,
    withheld: WithheldList,
    rows_of: RowsOf,
) -> list[Neighbour]:
    """Return the items of the first k results, in the order of the re-rankers; arguments as `search_ranked`.

    Returns:
        The k nearest as they were fetched, where nothing re-ranks and nothing is withheld. Else every item found of
        the results that `search_ranked` shows for the same arguments, each with the product it is shown under. With
        re-rankers distances rise strictly, as the order is theirs: one that would not is set to the next float64
        above the item before it.

    Raises:
        ConfigError: There is no re-ranker of a name.
    """
    if not changes_order(settings, withheld):
        return list(fetch(k))
    found: list[Neighbour] = []

    def remembered(count: int) -> Sequence[Neighbour]:
        found[:] = fetch(count)
        return found

    results = search_ranked(remembered, settings, k, withheld=withheld, rows_of=rows_of)
    members = {item.id for one in results for item in one.items}
    single = settings.model_copy(update={"group": False})
    ordered = rank(found, single, max(1, len(found)), withheld=withheld, rows_of=rows_of)
    hits = [one.hit._replace(group=one.group) for one in ordered if one.hit.id in members]
    return _rising(hits) if settings.rerankers else hits


def _rising(hits: Sequence[Neighbour]) -> list[Neighbour]:
    """Say the order in the distances: who judges a list sorts it by them."""
    before, risen = -math.inf, []
    for hit in hits:
        before = hit.distance if hit.distance > before else math.nextafter(before, math.inf)
        risen.append(hit._replace(distance=before))
    return risen

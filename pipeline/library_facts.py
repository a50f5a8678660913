"""What is known of the library's pictures when a day is decided: taken down, gone, in an index, marked, their look."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import date as Date
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.groups import Space
from pipeline.evict.liveness import gone_since
from pipeline.evict.stored_of import Facts
from pipeline.release.withheld import WithheldList
from pipeline.window.library import CARRIER

if TYPE_CHECKING:
    from pipeline.evict.farthest import Distance
    from pipeline.lake import Lake
    from pipeline.partitions import Partition, Partitions

AUDIT = "eviction.parquet"
_DAYS_BACK = 30


def marks_before(partitions: Partitions, day: Date) -> list[Partition]:
    """Return the partition of the nearest earlier day's evict, which has the marks, in a list; [] where none has."""
    for earlier in partitions.days_before(CARRIER, day, count=_DAYS_BACK):
        found = partitions.of_task(CARRIER, earlier)
        if found:
            return found
    return []


def facts_of(
    lake: Lake,
    partitions: Partitions,
    live: Any,
    day: Date,
    *,
    marked: Collection[Partition],
    checked: Collection[Partition],
    withheld: WithheldList,
) -> tuple[Facts, frozenset[str]]:
    """Gather what `pipeline.evict.stored_of` asks for.

    Args:
        lake: Holds the partitions.
        partitions: As the plan sees them.
        live: The library before the decisions, `LIVE_SCHEMA`.
        day: The day.
        marked: From `marks_before`.
        checked: Partitions of the day's recheck; none where the graph has no such task.
        withheld: What is taken down.

    Returns:
        The facts, and the pictures of days whose indexes are not all there yet: nobody knows whether they are indexed,
        so they must stay and represent nobody.
    """
    indexed, unsure = _indexed(lake, partitions, live, day)
    gone: dict[str, Date] = {}
    for part in checked:
        gone |= gone_since(lake.read_table(f"{part.folder}/checks.parquet", ["picture", "gone_since"]))
    down, lost = _withheld(live, withheld)
    facts = Facts(
        taken_down=down,
        indexed=indexed,
        gone_since=gone | {picture: min(since, gone.get(picture, since)) for picture, since in lost.items()},
        marked_on=_marks(lake, marked),
        category=_declared(live),
        other_category="other",
        quality=_shares(live),
    )
    return facts, unsure


def _marks(lake: Lake, marked: Collection[Partition]) -> dict[str, Date]:
    found: dict[str, Date] = {}
    for part in marked:
        table = lake.read_table(f"{part.folder}/{AUDIT}", ["picture", "marked_on"])
        table = table.filter(table["marked_on"].is_valid())
        found |= dict(zip(table["picture"].to_pylist(), table["marked_on"].to_pylist(), strict=True))
    return found


def _indexed(lake: Lake, partitions: Partitions, live: Any, day: Date) -> tuple[frozenset[str], frozenset[str]]:
    """Return the pictures that an index of an earlier day holds, and those of days whose indexes are not all there."""
    indexed: set[str] = set()
    unsure: set[str] = set()
    firsts = live["first_day"].to_pylist()
    pictures = live["picture"].to_pylist()
    for first in sorted({one for one in firsts if one < day}):
        found = partitions.of_task("index", first)
        wanted = {part.leaf.category for part in partitions.of_task("embed", first)}
        for part in found:
            indexed.update(lake.read_table(f"{part.folder}/items.parquet", ["picture"])["picture"].to_pylist())
        if not wanted or wanted - {part.leaf.category for part in found}:
            unsure.update(picture for picture, one in zip(pictures, firsts, strict=True) if one == first)
    return frozenset(indexed - unsure), frozenset(unsure)


def _withheld(live: Any, withheld: WithheldList) -> tuple[frozenset[str], dict[str, Date]]:
    """Return the pictures that are taken down, and those that nobody sells any more with the day they went.

    A picture goes when none of its offers may be shown; one object of it that is withheld by its id stays hidden by the
    server and keeps no other object back.
    """
    if not withheld.hides_anything:
        return frozenset(), {}
    takedowns = _only(withheld, {"takedown"})
    down: set[str] = set()
    lost: dict[str, Date] = {}
    latest = max((one.at.date() for one in withheld.entries), default=Date.min)
    for picture, group, offers in zip(
        *(live[name].to_pylist() for name in ("picture", "group", "offers")), strict=True
    ):
        if not takedowns.offers_left(-1, picture, group, offers):
            down.add(picture)
        elif not withheld.offers_left(-1, picture, group, offers):
            lost[picture] = latest
    return frozenset(down), lost


def _only(withheld: WithheldList, reasons: Collection[str]) -> WithheldList:
    chosen = tuple(one for one in withheld.entries if one.reason in reasons)

    def named(kind: str) -> Iterable[str]:
        return (one.value for one in chosen if one.kind == kind)

    return WithheldList(
        pictures=frozenset(named("picture")),
        groups=frozenset(named("group")),
        offers=frozenset((merchant, sku) for merchant, _, sku in (value.partition("/") for value in named("offer"))),
        entries=chosen,
    )


def _shares(live: Any) -> dict[str, float]:
    """Return one over the number of products that each picture shows: a set shows each of them small."""
    columns = (live["picture"].to_pylist(), live["offers"].to_pylist())
    return {
        picture: 1 / max(1, len({one["group"] for one in offers})) for picture, offers in zip(*columns, strict=True)
    }


def without_own_groups(live: Any) -> Any:
    """Return the library where an offer whose source names no product has none; collect calls it merchant/sku."""
    rows = live.to_pylist()
    for one in rows:
        for offer in one["offers"]:
            if offer["group"] == f"{offer['merchant']}/{offer['sku']}":
                one["group"] = "" if one["group"] == offer["group"] else one["group"]
                offer["group"] = ""
    return live.from_pylist(rows, schema=live.schema)


def look_alikes(lake: Lake, partitions: Partitions, live: Any, day: Date) -> list[Space]:
    """Return the vectors of the library's pictures without a product group, of one feature space each.

    Of a picture of several objects the surest one counts. A picture whose vector is gone, or not there yet, is in none:
    it is then a product of its own, which is the safe side.

    Args:
        lake: Holds the partitions.
        partitions: As the plan sees them.
        live: `LIVE_SCHEMA`, from `without_own_groups`.
        day: Pictures of earlier days have vectors.
    """
    rows = {picture: number for number, picture in enumerate(live["picture"].to_pylist())}
    nameless: dict[Date, list[str]] = defaultdict(list)
    for picture, group, offers, first in zip(
        *(live[name].to_pylist() for name in ("picture", "group", "offers", "first_day")), strict=True
    ):
        if first < day and not group and not any(one["group"] for one in offers):
            nameless[first].append(picture)
    found: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(dict)
    for first, pictures in sorted(nameless.items()):
        spaces = _spaces_of(lake, partitions.of_task("index", first))
        for part in partitions.of_task("embed", first):
            for one in _main_objects(lake, part, pictures):
                found[part.leaf.category, spaces.get(part.leaf.category, "")].setdefault(rows[one[0]], one[1])
    return [
        Space(np.fromiter(some, np.int64), np.array(list(some.values()), np.float32))
        for (_, space), some in sorted(found.items())
        if space
    ]


def _spaces_of(lake: Lake, indexes: Iterable[Partition]) -> dict[str, str]:
    """Return the feature space of each category's shard of a day."""
    found = {}
    for part in indexes:
        if lake.exists(f"{part.folder}/shard.json"):
            found[part.leaf.category] = str(json.loads(lake.read_bytes(f"{part.folder}/shard.json"))["space_id"])
    return found


def _main_objects(lake: Lake, part: Partition, pictures: Collection[str]) -> Iterator[tuple[str, list[float]]]:
    """Yield (picture, vector) of the chosen pictures' objects in a package, the surest first."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = lake.read_table(f"{part.folder}/items.parquet", ["picture", "ordinal", "vector"])
    table = table.filter(pc.is_in(table["picture"], value_set=pa.array(list(pictures), pa.string()))).sort_by("ordinal")
    yield from zip(table["picture"].to_pylist(), table["vector"].to_pylist(), strict=True)


def _declared(live: Any) -> dict[str, str]:
    """Return the category that the first offer of each picture was declared as, where it was."""
    import pyarrow.compute as pc

    first = pc.list_element(live["offers"].combine_chunks(), 0)
    names = pc.struct_field(first, "category").to_pylist()
    return {picture: name for picture, name in zip(live["picture"].to_pylist(), names, strict=True) if name}


def look_distance(live: Any) -> Distance:
    """Return the distance of pictures by their colour thumbnails, between rows of `stored_of(live, ...)`.

    The mean absolute difference of 8 x 8 x 3 values, in [0, 1]. Thumbnails and not embeddings: they are at hand for
    every stored picture whatever model embeds its category, and stay when features are deleted.
    """
    import pyarrow.compute as pc

    order = np.asarray(pc.sort_indices(live["picture"]), np.int64)
    data = b"".join(one or bytes(192) for one in live["thumb"].to_pylist())
    thumbs = np.frombuffer(data, np.uint8).reshape(-1, 192)[order]

    def distance(some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float32]:
        a, b = thumbs[some].astype(np.float32), thumbs[others].astype(np.float32)
        found: NDArray[np.float32] = np.abs(a[:, None, :] - b[None, :, :]).mean(axis=2, dtype=np.float32) / 255
        return found

    return distance

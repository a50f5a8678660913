"""What is known of the library's pictures when a day is decided: taken down, gone, in an index, marked, their look."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import date as Date
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.days import day_number
from pipeline.evict.groups import Space
from pipeline.evict.liveness import gone_since
from pipeline.evict.places import Places
from pipeline.evict.stored import NEVER
from pipeline.evict.stored_of import ByRow, Facts
from pipeline.library_value import index_rows
from pipeline.release.withheld import WithheldList
from pipeline.window.library import CARRIER

if TYPE_CHECKING:
    from pipeline.lake import Lake
    from pipeline.partitions import Partition, Partitions

AUDIT = "eviction.parquet"
_DAYS_BACK = 30
Mask = NDArray[np.bool_]


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
) -> Facts:
    """Gather what `pipeline.evict.stored_of` asks for.

    Pictures of days whose indexes are not all there yet are pinned: nobody knows whether they are indexed, so they must
    stay and represent nobody.

    Args:
        lake: Holds the partitions.
        partitions: As the plan sees them.
        live: The library before the decisions, see `LibraryRows.deciding`.
        day: The day.
        marked: From `marks_before`.
        checked: Partitions of the day's recheck; none where the graph has no such task.
        withheld: What is taken down.
    """
    places = Places(live["picture"])
    held = _indexed(lake, partitions, live, day, places, withheld.takedowns.items)
    gone = _gone(lake, checked, places)
    down, lost = _withheld(live, withheld)
    if lost.any():
        latest = max((one.at.date() for one in withheld.entries), default=Date.min)
        gone[lost] = np.minimum(gone[lost], day_number(latest))
    return Facts(
        taken_down=ByRow(down),
        indexed=ByRow(held.indexed),
        pinned=ByRow(held.unsure),
        gone_since=ByRow(gone),
        marked_on=_marks(lake, marked),
        category=ByRow(_declared(live)),
        other_category="other",
        quality=ByRow(_shares(live)),
        uniqueness=held.uniqueness,
    )


def _marks(lake: Lake, marked: Collection[Partition]) -> Any:
    """Return the pictures that were marked with the day of it, an Arrow table."""
    import pyarrow as pa

    from pipeline.window.table_batches import read_batches

    tables = [pa.table({"picture": pa.array([], pa.large_string()), "marked_on": pa.array([], pa.date32())})]
    for part in marked:
        for batch in read_batches(lake, f"{part.folder}/{AUDIT}", ["picture", "marked_on"]):
            some = batch.table.filter(batch.table["marked_on"].is_valid())
            tables.append(some.cast(tables[0].schema))
    return pa.concat_tables(tables)


def _gone(lake: Lake, checked: Collection[Partition], places: Places) -> NDArray[np.int32]:
    """Return the day since which each row has no offer that is alive or unknown, NEVER where it has."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from pipeline.window.table_batches import read_batches

    rows, days = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    for part in checked:
        for batch in read_batches(lake, f"{part.folder}/checks.parquet", ["picture", "gone_since"]):
            found = places.rows_of(batch.table["picture"])
            since = np.asarray(pc.fill_null(batch.table["gone_since"].cast(pa.int32()), int(NEVER)), np.int32)
            rows.append(found[found >= 0])
            days.append(since[found >= 0])
    return gone_since(np.concatenate(rows), np.concatenate(days), len(places))


class _Held(NamedTuple):
    """What the indexes of earlier days say of each row."""

    indexed: Mask
    """An index holds an object of it."""
    unsure: Mask
    """Of a day whose indexes are not all there."""
    uniqueness: ByRow | None
    """That of its most unique object, NaN where none is known; None: of no row."""


def _indexed(
    lake: Lake, partitions: Partitions, live: Any, day: Date, places: Places, hidden: Collection[int]
) -> _Held:
    """Ask the indexes of all days of which there is a picture; `hidden` objects count as gone from them."""
    import pyarrow.compute as pc

    indexed, unsure = np.zeros(len(places), np.bool_), np.zeros(len(places), np.bool_)
    uniqueness = np.full(len(places), np.nan, np.float32)
    for first in _days_before(live, day):
        found = partitions.of_task("index", first)
        wanted = {part.leaf.category for part in partitions.of_task("embed", first)}
        for part in found:
            table = index_rows(lake, part, hidden)
            rows = places.rows_of(table["picture"])
            indexed[rows[rows >= 0]] = True
            figures = np.asarray(table["uniqueness"].to_numpy(), np.float32)  # null: NaN, which is never the greater
            np.fmax.at(uniqueness, rows[rows >= 0], figures[rows >= 0])
        if not wanted or wanted - {part.leaf.category for part in found}:
            unsure |= np.asarray(pc.equal(live["first_day"], first), np.bool_)
    known = not bool(np.isnan(uniqueness).all())
    return _Held(indexed & ~unsure, unsure, ByRow(uniqueness) if known else None)


def _days_before(live: Any, day: Date) -> list[Date]:
    """Return the days before `day` of which the library has a picture, rising."""
    import pyarrow.compute as pc

    return sorted(one for one in pc.unique(live["first_day"]).to_pylist() if one < day)


def taken_down_of(live: Any, withheld: WithheldList) -> Collection[str]:
    """Return the pictures of a library (columns picture, group, offers) that are taken down: no offer may be shown."""
    import pyarrow as pa

    pictures: list[str] = live["picture"].filter(pa.array(_withheld(live, withheld)[0])).to_pylist()
    return pictures


def _withheld(live: Any, withheld: WithheldList) -> tuple[Mask, Mask]:
    """Tell of each row whether it is taken down, and whether nobody sells it any more.

    A picture goes when none of its offers may be shown; one object of it that is withheld by its id stays hidden by the
    server and keeps no other object back.
    """
    import pyarrow as pa

    down, lost = np.zeros(live.num_rows, np.bool_), np.zeros(live.num_rows, np.bool_)
    if not withheld.hides_anything:
        return down, lost
    takedowns = _only(withheld, {"takedown"})
    rows = np.flatnonzero(_touched(live, withheld))
    for row, one in zip(rows.tolist(), live.take(pa.array(rows)).to_pylist(), strict=True):
        if not takedowns.offers_left(-1, one["picture"], one["group"], one["offers"]):
            down[row] = True
        elif not withheld.offers_left(-1, one["picture"], one["group"], one["offers"]):
            lost[row] = True
    return down, lost


def _touched(live: Any, withheld: WithheldList) -> Mask:
    """Tell of each row whether anything of it may be withheld: the rule itself is only asked about these."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def is_in(values: Any, names: Iterable[str]) -> Any:
        return pc.is_in(values, value_set=pa.array(sorted(names), values.type))

    touched = np.array(is_in(live["picture"], withheld.pictures), np.bool_)
    merchants, skus = ({offer[place] for offer in withheld.offers} for place in (0, 1))
    for offers in _offers_of(live):
        mine = pc.and_(is_in(offers.of("merchant"), merchants), is_in(offers.of("sku"), skus))
        named = np.asarray(pc.or_(is_in(offers.of("group"), withheld.groups), mine), np.bool_)
        touched[offers.rows[named]] = True
        touched[offers.start : offers.start + len(offers.counts)] |= offers.counts == 0
    return touched


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


class _Offers(NamedTuple):
    """The offers of a run of rows, one after the other, k of them."""

    start: int
    """The first of the rows."""
    counts: NDArray[np.int64]
    """Offers of each row."""
    rows: NDArray[np.int64]
    """Row of each offer, (k,), rising."""
    flat: Any
    """Arrow struct array (k,)."""

    def of(self, name: str) -> Any:
        """Return a field of each offer."""
        import pyarrow.compute as pc

        return pc.struct_field(self.flat, name)


def _offers_of(live: Any) -> Iterator[_Offers]:
    """Yield the offers of a library, chunk by chunk: its text may not fit one array of 32-bit offsets."""
    import pyarrow.compute as pc

    start = 0
    for chunk in live["offers"].chunks:
        counts = np.asarray(pc.fill_null(pc.list_value_length(chunk), 0), np.int64)
        yield _Offers(start, counts, np.repeat(np.arange(start, start + len(chunk)), counts), pc.list_flatten(chunk))
        start += len(chunk)


def _shares(live: Any) -> NDArray[np.float64]:
    """Return one over the number of products that each row's picture shows: a set shows each of them small."""
    import pyarrow as pa
    import pyarrow.compute as pc

    products = np.ones(live.num_rows)
    for offers in _offers_of(live):
        several = np.flatnonzero(np.repeat(offers.counts, offers.counts) > 1)
        groups = pc.dictionary_encode(offers.of("group").take(pa.array(several)), null_encoding="encode").indices
        low = np.int64(max(len(several), 1)).item().bit_length()
        pairs = np.sort(offers.rows[several] << low | np.asarray(groups, np.int64))
        rows = pairs[np.diff(pairs, prepend=-1) > 0] >> low
        products[rows] = 0
        np.add.at(products, rows, 1)
    return 1 / products


def _declared(live: Any) -> Any:
    """Return the category that the first offer of each row was declared as, null where it was not; Arrow (n,)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = []
    for offers in _offers_of(live):
        names = offers.of("category")
        firsts = names.take(pa.array(np.cumsum(offers.counts) - offers.counts, mask=offers.counts == 0))
        found.append(pc.if_else(pc.equal(firsts, ""), pa.scalar(None, names.type), firsts))
    return pa.chunked_array(found, pa.string())


def without_own_groups(live: Any) -> Any:
    """Return the library where an offer whose source names no product has none; collect calls it merchant/sku."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lists, groups = [], []
    for offers in _offers_of(live):
        named = offers.of("group")
        own = pc.fill_null(
            pc.equal(named, pc.binary_join_element_wise(offers.of("merchant"), offers.of("sku"), "/")), False
        )
        group = live["group"].slice(offers.start, len(offers.counts)).combine_chunks()
        same = pc.fill_null(pc.equal(named, group.take(pa.array(offers.rows - offers.start))), False)
        nameless = np.zeros(len(group), np.bool_)
        nameless[offers.rows[np.asarray(pc.and_(own, same), np.bool_)] - offers.start] = True
        groups.append(pc.if_else(pa.array(nameless), "", group))
        fields = list(offers.flat.type)
        columns = [pc.if_else(own, "", named) if one.name == "group" else offers.of(one.name) for one in fields]
        edges = pa.array(np.concatenate([[0], np.cumsum(offers.counts)]), pa.int32())
        lists.append(pa.ListArray.from_arrays(edges, pa.StructArray.from_arrays(columns, fields=fields)))
    schema = live.schema
    for name, chunks in (("group", groups), ("offers", lists)):
        column = pa.chunked_array([one.cast(schema.field(name).type) for one in chunks], schema.field(name).type)
        live = live.set_column(schema.get_field_index(name), schema.field(name), column)
    return live


def look_alikes(lake: Lake, partitions: Partitions, live: Any, day: Date) -> list[Space]:
    """Return the vectors of the library's pictures without a product group, of one feature space each.

    Of a picture of several objects the surest one counts. A picture whose vector is gone, or not there yet, is in none:
    it is then a product of its own, which is the safe side.

    Args:
        lake: Holds the partitions.
        partitions: As the plan sees them.
        live: From `without_own_groups`.
        day: Pictures of earlier days have vectors.
    """
    import pyarrow.compute as pc

    places = Places(live["picture"])
    nameless = _nameless(live)
    found: dict[tuple[str, str], list[_Vectors]] = defaultdict(list)
    for first in _days_before(live, day):
        wanted = nameless & np.asarray(pc.equal(live["first_day"], first), np.bool_)
        if not wanted.any():
            continue
        spaces = _spaces_of(lake, partitions.of_task("index", first))
        for part in partitions.of_task("embed", first):
            space = spaces.get(part.leaf.category)
            if space:
                some = _main_objects(lake, part, places, wanted)
                found[part.leaf.category, space] += [some] if len(some.rows) else []
    return [_space(some) for _, some in sorted(found.items()) if some]


def _nameless(live: Any) -> Mask:
    """Tell of each row whether neither it nor an offer of it names a product."""
    import pyarrow.compute as pc

    def is_named(names: Any) -> Mask:
        return np.asarray(pc.fill_null(pc.not_equal(names, ""), False), np.bool_)

    named = is_named(live["group"]).copy()
    for offers in _offers_of(live):
        named[offers.rows[is_named(offers.of("group"))]] = True
    return ~named


class _Vectors(NamedTuple):
    """Vectors of rows, the surest object of a row first."""

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]


def _space(some: list[_Vectors]) -> Space:
    rows = np.concatenate([one.rows for one in some])
    vectors = np.concatenate([one.vectors for one in some])
    first = np.sort(np.unique(rows, return_index=True)[1])
    return Space(rows[first], vectors[first])


def _spaces_of(lake: Lake, indexes: Iterable[Partition]) -> dict[str, str]:
    """Return the feature space of each category's shard of a day."""
    found = {}
    for part in indexes:
        if lake.exists(f"{part.folder}/shard.json"):
            found[part.leaf.category] = str(json.loads(lake.read_bytes(f"{part.folder}/shard.json"))["space_id"])
    return found


def _main_objects(lake: Lake, part: Partition, places: Places, wanted: Mask) -> _Vectors:
    """Return the vectors of the wanted rows' objects in a package, the surest first; those let go are not there."""
    import pyarrow as pa

    table = lake.read_table(f"{part.folder}/items.parquet", ["picture", "ordinal", "vector"])
    table = table.filter(table["vector"].is_valid())
    rows = places.rows_of(table["picture"])
    lines = np.flatnonzero((rows >= 0) & wanted[rows])
    lines = lines[np.argsort(np.asarray(table["ordinal"])[lines], kind="stable")]
    if not len(lines):
        return _Vectors(lines, np.empty((0, 0), np.float32))
    vectors = table["vector"].take(pa.array(lines)).combine_chunks()
    return _Vectors(rows[lines], np.asarray(vectors.flatten(), np.float32).reshape(len(lines), -1))

"""What a day's tasks dropped, reason by reason, and beside it some of what they kept: a few pictures of each.

Counts are of the rows that the tasks wrote, so that they can be held against what they booked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date as Date
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from pipeline.cards.album import Album, Spot
from pipeline.cards.evictions import evicted_galleries
from pipeline.cards.shown import shown_item, spread
from pipeline.cards.spots import Spots
from pipeline.partitions import Partition, Partitions
from pipeline.release.withheld import withheld
from pipeline.window.library import CARRIER

if TYPE_CHECKING:
    from pipeline.lake import Lake
    from pipeline.place import Place

PER_REASON: Final = 8
LIMIT_BYTES: Final = 2_400_000
"""Of all pictures of a day, as they stand in its page, which is to stay under 5 MB."""
_KEEPERS: Final = ("quality", "dedup", "listing", "detect", "crop")
"""Tasks whose rows say where the picture lies, of which some that they kept are shown."""
_BY_DAY: Final = ("tail", "merge")
"""Tasks that drop objects of earlier days, each with its day as the detail."""
_STORED: Final = ("recheck", "reclaim")
"""Tasks that drop what the library holds: offers of its pictures, or the bytes of these."""
_BITS: Final = 64


Where = TypeVar("Where")


class _Row(NamedTuple):
    """A row of a partition."""

    part: Partition
    row: dict[str, Any]


def day_galleries(place: Place, day: Date) -> list[dict[str, Any]]:
    """Return the galleries of a day, as what counts has it: task by task, what was dropped first.

    A reason without a row has no gallery; nor has a task that did not run.
    """
    partitions = Partitions(place.store, place.topology, None)
    maker = _Maker(place.lake, partitions, day)
    found: list[_Chosen] = []
    evicted: dict[str, list[dict[str, Any]]] = {}
    for task in place.topology.tasks:
        parts = partitions.of_task(task, day)
        if task == CARRIER and parts:
            evicted = {task: evicted_galleries(maker.album, maker.spots, place, parts, PER_REASON)}
            continue
        dropped = maker.dropped(parts)
        found += dropped
        if task in _KEEPERS and (dropped or task == _KEEPERS[-1]):
            found += maker.kept(task, parts)
    made = {task: list(some) for task, some in groupby(found, lambda one: one.task)}
    spots = maker.arrived([one for one in found if one.reason])
    galleries = {task: [maker.gallery(one, spots) for one in some] for task, some in made.items()} | evicted
    return [one for task in place.topology.tasks for one in galleries.get(task, ())]


@dataclass(frozen=True)
class _Chosen:
    """The rows of a gallery, before their pictures are looked for."""

    task: str
    reason: str
    count: int
    rows: Sequence[_Row]


class _Maker:
    """Makes the galleries of a day's tasks."""

    def __init__(self, lake: Lake, partitions: Partitions, day: Date):
        self._lake = lake
        self._partitions = partitions
        self._day = day
        self.album = Album(lake, LIMIT_BYTES, withheld(lake.folder()) if lake.is_local else None)
        self.spots = Spots(lake, partitions)

    def dropped(self, parts: Sequence[Partition]) -> list[_Chosen]:
        """Return some rows of each reason, by its name."""
        import pyarrow.compute as pc

        files = {part: f"{part.folder}/dropped.parquet" for part in parts}
        tables = {part: self._lake.read_table(file) for part, file in files.items() if self._lake.exists(file)}
        reasons = sorted({reason for table in tables.values() for reason in table["reason"].unique().to_pylist()})
        found = []
        for reason in reasons:
            mine = {part: table.filter(pc.equal(table["reason"], reason)) for part, table in tables.items()}
            counts = {part: table.num_rows for part, table in mine.items()}
            rows = [_Row(part, mine[part].slice(at, 1).to_pylist()[0]) for part, at in _chosen(counts)]
            found.append(_Chosen(rows[0].part.leaf.task, reason, sum(counts.values()), rows))
        return found

    def kept(self, task: str, parts: Sequence[Partition]) -> Iterator[_Chosen]:
        """Yield some rows that a task handed on, if there are any."""
        from pipeline.window.table_batches import count_rows

        files = {file: part for part in parts for file in self._kept_files(part)}
        counts = {file: count_rows(self._lake, file) for file in files}
        rows = [_Row(files[file], _row_at(self._lake, file, at)) for file, at in _chosen(counts)]
        if rows:
            yield _Chosen(task, "", sum(counts.values()), rows)

    def arrived(self, found: Sequence[_Chosen]) -> dict[Date, dict[str, Spot]]:
        """Return where the pictures of all rows lie that are named by what arrived on a day: one look for each day."""
        rows = [(one.task, row) for one in found if one.task not in _STORED for row in one.rows]
        packages = {row.part.leaf.subinstance for _, row in rows}
        within = None if "all" in packages else packages
        spots = {}
        for day, names in _by_day(self._day, rows).items():
            spots[day] = self.spots.of_items(day, names, within if day == self._day else None)
        return spots

    def gallery(self, one: _Chosen, arrived: Mapping[Date, Mapping[str, Spot]]) -> dict[str, Any]:
        """Return a gallery with its pictures."""
        made = {"task": one.task, "reason": one.reason, "count": one.count}
        if not one.reason:
            note = f"Some of what {one.task} kept, evenly spread, to hold against what it dropped."
            return {**made, "shown": [self._kept_item(row) for row in one.rows], "note": note}
        stored = self._of_stored(one) if one.task in _STORED else {}
        shown = []
        for part, row in one.rows:
            day = _arrival(one.task, row, self._day)
            known = stored if one.task in _STORED else {} if day is None else arrived.get(day, {})
            spot = known.get(row["item"], Spot(missing="its row is not known any more"))
            shown.append(shown_item(self.album, row["item"], spot, detail=row["detail"], **_where(part)))
        return {**made, "shown": self._paired(one.rows, shown) if one.task == "dedup" else shown}

    def _kept_files(self, part: Partition) -> list[str]:
        one = f"{part.folder}/items.parquet"
        if self._lake.exists(one):
            return [one]
        packages = self._partitions.packages(part.planid, self._day)
        split = [f"{part.folder}/items-{package}.parquet" for package in packages]
        return [file for file in split if self._lake.exists(file)]

    def _kept_item(self, one: _Row) -> dict[str, Any]:
        row = one.row
        is_crop = "crop_pack" in row
        pack, offset, size = (row[f"crop_{name}" if is_crop else name] for name in ("pack", "offset", "bytes"))
        said = {"title": row["title"] or "", "group": row["group"] or "", "picture": row["picture"]}
        spot = Spot(pack, offset, size, offer=f"{row['merchant']}/{row['sku']}", **said)
        name = row["object"] if is_crop else row["item"]
        made: dict[str, Any] = shown_item(self.album, name, spot, detail="", **_where(one.part))
        return made

    def _of_stored(self, one: _Chosen) -> Mapping[str, Spot]:
        """Return where the pictures of the library lie that a task names by another name."""
        if one.task == "recheck":
            return self._of_offers(one.rows)
        return self.spots.of_pictures(self._day, {row["item"] for _, row in one.rows})

    def _of_offers(self, rows: Sequence[_Row]) -> dict[str, Spot]:
        """Return the spots of offers of stored pictures, which recheck names by the item that brought them."""
        wanted = {row["item"] for _, row in rows}
        pictures: dict[str, str] = {}
        for part in {part.folder: part for part, _ in rows}.values():
            table = self._lake.read_table(f"{part.folder}/checks.parquet", ["item", "picture"])
            pictures |= {row["item"]: row["picture"] for row in _among(table, "item", wanted)}
        spots = self.spots.of_pictures(self._day, set(pictures.values()))
        return {item: spots[picture] for item, picture in pictures.items() if picture in spots}

    def _paired(self, rows: Sequence[_Row], made: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Put each duplicate's survivor beside it, with the bits in which the two hashes differ."""
        wanted = {row["item"] for _, row in rows}
        pairs: dict[str, dict[str, Any]] = {}
        for folder in {part.folder for part, _ in rows}:
            table = self._lake.read_table(f"{folder}/handover.parquet")
            pairs |= {row["item"]: row for row in _among(table, "item", wanted)}
        spots = self.spots.of_pictures(self._day, {pair["survivor"] for pair in pairs.values()})
        for one in made:
            pair = pairs.get(one["item"])
            if pair is not None:
                spot = spots.get(pair["survivor"], Spot(missing="not in the library any more"))
                one |= {"other": self.album.picture(spot), "distance": pair["distance"], **_words(pair)}
        return made


def _words(pair: Mapping[str, Any]) -> dict[str, str]:
    """Return what is said of a pair: which day the survivor is of, and how near the two are."""
    day = pair["survivor_day"]
    since = "of the same day" if day is None else f"stored since {day.isoformat()}"
    near = f"{pair['distance']} of {_BITS} bits differ" if pair["reason"] == "near_duplicate" else "the same bytes"
    return {"other_says": f"survivor, {since}", "detail": f"{near}; its offers go to {pair['survivor'][:12]}"}


def _chosen(counts: Mapping[Where, int]) -> Iterator[tuple[Where, int]]:
    """Yield (where, row) of a few rows, evenly spread over all of them."""
    places = iter([*spread(sum(counts.values()), PER_REASON), None])
    place, start = next(places), 0
    for where, count in counts.items():
        while place is not None and place < start + count:
            yield where, place - start
            place = next(places)
        start += count


def _row_at(lake: Lake, file: str, at: int) -> dict[str, Any]:
    """Return one row of a file; only its row group is read."""
    from pipeline.window.table_batches import read_batches

    wanted: Callable[[int, int], bool] = lambda start, stop: start <= at < stop  # noqa: E731
    (batch,) = read_batches(lake, file, is_wanted=wanted)
    found: dict[str, Any] = batch.table.slice(at - batch.start, 1).to_pylist()[0]
    return found


def _among(table: Any, by: str, wanted: set[str]) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    found: list[dict[str, Any]] = table.filter(
        pc.is_in(table[by], value_set=pa.array(sorted(wanted), pa.string()))
    ).to_pylist()
    return found


def _where(part: Partition) -> dict[str, str]:
    return {"package": part.leaf.subinstance, "category": part.leaf.category}


def _by_day(day: Date, rows: Sequence[tuple[str, _Row]]) -> dict[Date, set[str]]:
    """Return the names of rows, each with its task, by the day on which they arrived."""
    found: dict[Date, set[str]] = {}
    for task, (_, row) in rows:
        arrived = _arrival(task, row, day)
        if arrived is not None:
            found.setdefault(arrived, set()).add(row["item"])
    return found


def _arrival(task: str, row: Mapping[str, Any], day: Date) -> Date | None:
    return _iso(row["detail"]) if task in _BY_DAY else day


def _iso(text: str) -> Date | None:
    try:
        return Date.fromisoformat(text)
    except ValueError:  # taken down by its id: nobody noted its day
        return None

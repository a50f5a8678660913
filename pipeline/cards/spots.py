"""Where the pictures of some rows lie: found by the item, by the object, or by the picture's hash."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date as Date
from typing import TYPE_CHECKING, Any, Final

from pipeline.cards.album import Spot
from reporting.logs import redact

if TYPE_CHECKING:
    from pipeline.lake import Lake
    from pipeline.partitions import Partition, Partitions

_SAID: Final = ("item", "title", "merchant", "sku", "group", "location")
_STORED: Final = ("item", "picture", "title", "merchant", "sku", "group", "pack", "offset", "bytes")
_OBJECT: Final = ("object", "item", "x0", "y0", "x1", "y1")
_LONG: Final = 40
_LIVE: Final = ("picture", "title", "group", "pack", "offset", "bytes")


class Spots:
    """Finds pictures as what counts on each day has them.

    Args:
        lake: Holds the partitions.
        partitions: Says which of them count.
    """

    def __init__(self, lake: Lake, partitions: Partitions):
        self._lake = lake
        self._partitions = partitions
        self._found: dict[tuple[str, Date], list[Partition]] = {}

    def of_items(self, day: Date, names: Collection[str], packages: Collection[str] | None = None) -> dict[str, Spot]:
        """Return the spots of items (`ITEM`) and objects (`ITEM#ORDINAL`) of a day, as far as they are known.

        Args:
            day: When they arrived.
            names: Of items and objects.
            packages: Where they are, as far as that is known; None: anywhere.
        """
        items = {name.partition("#")[0] for name in names}
        spots = {row["item"]: _never_stored(row) for row in self._source_rows(day, items, packages)}
        stored = self._rows(self._of("download", day, packages), _STORED, "item", items)
        spots |= {row["item"]: _spot(row) for row in stored}
        boxes = self._boxes(day, {name for name in names if "#" in name}, packages)
        return {
            name: spots[item]._replace(box=boxes.get(name))
            for name in names
            if (item := name.partition("#")[0]) in spots
        }

    def of_pictures(self, day: Date, pictures: Collection[str]) -> dict[str, Spot]:
        """Return the spots of pictures by their sha256: of the library as dedup left it, else of the day's arrivals."""
        live = self._rows(self._of("dedup", day, None), _LIVE, "picture", pictures, file="live.parquet")
        spots = {row["picture"]: _spot(row) for row in live}
        rest = set(pictures) - spots.keys()
        stored = self._rows(self._of("download", day, None), _STORED, "picture", rest)
        return spots | {row["picture"]: _spot(row) for row in stored}

    def _boxes(self, day: Date, objects: Collection[str], packages: Collection[str] | None) -> dict[str, Any]:
        from pipeline.models.detections import Box

        rows = self._rows(self._of("detect", day, packages), _OBJECT, "object", objects)
        return {row["object"]: Box(*(row[name] for name in ("x0", "y0", "x1", "y1"))) for row in rows}

    def _of(self, task: str, day: Date, packages: Collection[str] | None) -> list[Partition]:
        if (task, day) not in self._found:
            self._found[task, day] = self._partitions.of_task(task, day)
        found = self._found[task, day]
        return found if packages is None else [one for one in found if one.leaf.subinstance in packages]

    def _source_rows(
        self, day: Date, items: Collection[str], packages: Collection[str] | None
    ) -> Iterator[dict[str, Any]]:
        for part in self._of("collect", day, None):
            for package in self._partitions.packages(part.planid, day):
                if packages is None or package in packages:
                    yield from self._rows([part], _SAID, "item", items, file=f"package-{package}.parquet")

    def _rows(
        self,
        parts: Iterable[Partition],
        columns: tuple[str, ...],
        by: str,
        wanted: Collection[str],
        *,
        file: str = "items.parquet",
    ) -> Iterator[dict[str, Any]]:
        """Yield the rows of some partitions whose column `by` is among the wanted; none is read for nothing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        left = set(wanted)
        for part in parts:
            path = f"{part.folder}/{file}"
            if not left or not self._lake.exists(path):
                continue
            table = self._lake.read_table(path, list(columns))
            for row in table.filter(pc.is_in(table[by], value_set=pa.array(sorted(left), pa.string()))).to_pylist():
                left.discard(row[by])
                yield row


def _spot(row: Mapping[str, Any]) -> Spot:
    return Spot(
        row["pack"],
        row["offset"],
        row["bytes"],
        title=row["title"] or "",
        offer=_offer(row),
        group=row["group"] or "",
        picture=row["picture"],
    )


def _never_stored(row: Mapping[str, Any]) -> Spot:
    return Spot(
        title=row["title"] or "",
        offer=_offer(row),
        group=row["group"] or "",
        missing=f"no picture was stored: {_named(row['location'])}",
    )


def _named(location: str) -> str:
    """Return an address as it is, without a password in it; of a path its end, the rest being the same for all."""
    if "://" in location or len(location) <= _LONG:
        return redact(location)
    return f"...{location[-_LONG:]}"


def _offer(row: Mapping[str, Any]) -> str:
    return "/".join(filter(None, (row.get("merchant"), row.get("sku"))))

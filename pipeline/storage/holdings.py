"""The files of old days that hold bytes of pictures: pictures, crops, vectors, of every plan that wrote some."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date as Date
from typing import Final, Literal, NamedTuple

from sqlalchemy import select

from pipeline.instance_states import DONE
from pipeline.lake import Lake
from pipeline.window.library import CARRIER, RECHECK
from reporting import tables as t
from reporting.plans import PlanState
from reporting.stores.sql import SqlStore

Kind = Literal["pictures", "crops", "vectors"]
KINDS: Final[tuple[Kind, ...]] = ("pictures", "crops", "vectors")
WRITERS: Final[dict[str, Kind]] = {
    "download": "pictures",
    "crop": "crops",
    "categorise": "vectors",
    "embed": "vectors",
}
_READERS: Final = (
    *("quality", "hash", "dedup", "listing", "detect", "crop", "categorise", "embed", "train", "index"),
    *(RECHECK, CARRIER),
)
"""Tasks that read such bytes, or stand between two that do; and those that have yet to say what the library holds."""
_PACKS: Final[dict[Kind, str]] = {"pictures": "pictures.bin", "crops": "crops.bin"}


class Holding(NamedTuple):
    """A file with bytes of pictures, and the table whose rows say of which.

    Attributes:
        kind: What the bytes are.
        date: Day of the leaf that wrote it.
        file: The pack, or the Parquet file with the vectors; relative to the lake.
        table: Parquet file with a row for each place; with vectors it is the file itself.
    """

    kind: Kind
    date: Date
    file: str
    table: str


def holdings(store: SqlStore, lake: Lake, of: Collection[Kind], last: Date) -> Iterator[Holding]:
    """Yield the files of all days up to `last`, oldest day first, in the same order each time.

    Those of superseded plans too: their bytes lie there as well. A file that is gone, and a day from before its task
    was, hold nothing.

    Args:
        store: Instances.
        lake: A folder.
        of: Kinds that are asked for.
        last: The newest day that counts.
    """
    c = t.instance.c
    tasks = [task for task, kind in WRITERS.items() if kind in of]
    columns = (c.date, c.task, c.category, c.subinstance, c.planid, c.artifact)
    asked = select(*columns).where(c.task.in_(tasks), c.state == DONE, c.date <= last).order_by(*columns[:5])
    with store.read() as connection:
        rows = connection.execute(asked).all()
    for day, task, *_, folder in rows:
        yield from _files(lake, WRITERS[task], day, folder)


def _files(lake: Lake, kind: Kind, day: Date, folder: str) -> Iterator[Holding]:
    place = lake.folder() / folder
    if kind == "vectors":
        for path in sorted(place.glob("items*.parquet")):  # categorise writes one a category
            yield Holding(kind, day, f"{folder}/{path.name}", f"{folder}/{path.name}")
        return
    table = f"{folder}/items.parquet"
    if (place / _PACKS[kind]).is_file() and (lake.folder() / table).is_file():
        yield Holding(kind, day, f"{folder}/{_PACKS[kind]}", table)


def days_at_work(store: SqlStore, last: Date) -> set[Date]:
    """Return the days up to `last` that are being done: a leaf that reads bytes, or the library, is still owed."""
    c = t.instance.c
    plans = {plan.planid: plan for plan in store.plans()}
    asked = select(c.date, c.planid).where(c.task.in_(_READERS), c.state != DONE, c.date <= last).distinct()
    with store.read() as connection:
        rows = connection.execute(asked).all()
    return {day for day, planid in rows if planid in plans and plans[planid].state is PlanState.OPEN}

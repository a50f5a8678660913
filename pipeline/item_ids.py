"""Lasting 63-bit ids of objects: rising, allocated in blocks from one counter, persisted before use.

The same (picture, detector, ordinal) gets its id again, whichever plan or attempt asks: at-least-once execution gives
exactly one id. What was registered first stands, boxes and scores included: a retry on a machine that rounds otherwise
must not give the ids other objects. Another detector version finds new objects with new ids; the old ones stay.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import bindparam, insert, select, update

from pipeline.models.detections import Box, Detection
from reporting import tables as t
from reporting.errors import DataError, StoreError
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import SqlUnitOfWork, insert_new

_COUNTER = "item"
_LAST = 2**63 - 1
_CHUNK = 500
"""Parameters in one IN list: SQLite's default limit is 999 in old builds."""
_DIGITS = 6
"""Of class probabilities as they are stored: there is one for each class of each object."""
_c = t.item_id.c


class Registered(NamedTuple):
    """One object of a picture with its lasting id."""

    id: int
    ordinal: int
    """Its place among the detector's objects of the picture, from 0 for the most confident one."""
    box: Box
    score: float
    label: str
    class_scores: tuple[float, ...]


class ObjectRow(NamedTuple):
    """What an id stands for."""

    id: int
    picture: str
    """sha256 of the bytes."""
    detector: str
    """Name and version of what found it."""
    ordinal: int
    box: Box | None
    """None: registered before there were boxes, the picture is the object."""
    score: float | None
    label: str


def register_objects(
    work: SqlUnitOfWork, detector_version: str, found: Mapping[str, Sequence[Detection]]
) -> dict[str, list[Registered]]:
    """Return the objects of each picture with their ids: the stored ones where there are any, else those found.

    Ids are one rising block, in the order of the pictures given and in each by falling score (ties by box).

    Args:
        work: the transaction that persists the ids.
        detector_version: name and version of what found the objects, at most 64 characters.
        found: sha256 of a picture to what was found in it. A picture without objects registers nothing, but still
            returns what was registered for it before.

    Raises:
        DataError: a box is empty, or a score is not a number in [0, 1].
        StoreError: the counter has run out.
    """
    fresh = {picture: _in_order(picture, objects) for picture, objects in found.items()}
    first = _lock_counter(work)
    known = _stored(work, detector_version, fresh)
    added = {picture: objects for picture, objects in fresh.items() if objects and picture not in known}
    count = sum(map(len, added.values()))
    if count:
        _take_block(work, first, count)
        ids = iter(range(first, first + count))
        new = {picture: [one._replace(id=next(ids)) for one in objects] for picture, objects in added.items()}
        work.connection.execute(insert(t.item_id), list(_rows(detector_version, new)))
        known |= new
    return {picture: known.get(picture, []) for picture in found}


def resolve_ids(store: SqlStore, ids: Iterable[int]) -> dict[int, ObjectRow]:
    """Return what ids stand for, of whichever detector; an id that was never given is left out."""
    resolved: dict[int, ObjectRow] = {}
    columns = (_c.id, _c.picture, _c.detector, _c.ordinal, _c.score, _c.label, *_box_columns())
    with store.read() as connection:
        for chunk in _chunks(dict.fromkeys(ids)):
            for row in connection.execute(select(*columns).where(_c.id.in_(chunk))):
                box = None if row.x0 is None else Box(row.x0, row.y0, row.x1, row.y1)
                resolved[row.id] = ObjectRow(
                    row.id, row.picture, row.detector, row.ordinal, box, row.score, row.label or ""
                )
    return resolved


def _in_order(picture: str, objects: Sequence[Detection]) -> list[Registered]:
    """Return a picture's objects by falling score, still without ids."""
    for one in objects:
        if one.box.width <= 0 or one.box.height <= 0:
            raise DataError(f"picture {picture}: the detector's box {list(one.box)} is empty; mend or replace it")
        if not (math.isfinite(one.score) and 0 <= one.score <= 1):
            raise DataError(
                f"picture {picture}: the detector's score {one.score} of box {list(one.box)} is not in 0..1"
            )
    ordered = sorted(objects, key=lambda one: (-one.score, one.box))
    return [_plain(ordinal, one) for ordinal, one in enumerate(ordered)]


def _plain(ordinal: int, one: Detection) -> Registered:
    """Return an object as it will be read back: a driver may take no numpy numbers."""
    scores = tuple(round(float(score), _DIGITS) for score in one.class_scores)
    return Registered(0, ordinal, Box(*map(int, one.box)), float(one.score), one.label, scores)


def _lock_counter(work: SqlUnitOfWork) -> int:
    """Make other allocators wait, so that looking up and adding is one step; return the next free id."""
    work.connection.execute(insert_new(work.connection.dialect.name, t.counter), {"name": _COUNTER, "next": 1})
    found = work.connection.execute(select(t.counter.c.next).where(t.counter.c.name == _COUNTER).with_for_update())
    return int(found.scalar_one())


def _take_block(work: SqlUnitOfWork, first: int, count: int) -> None:
    # Checked before it is stored: PostgreSQL would refuse the sum, SQLite would round it.
    if first + count > _LAST:
        raise StoreError(f"the item counter is at {first}; {count} more do not fit into 63 bits, none were given")
    work.connection.execute(update(t.counter).where(t.counter.c.name == _COUNTER).values(next=first + count))


def _stored(
    work: SqlUnitOfWork, detector: str, found: Mapping[str, Sequence[Registered]]
) -> dict[str, list[Registered]]:
    """Return what was registered for the pictures, by ordinal; what has no box yet gets the one found now."""
    stored: dict[str, list[Registered]] = defaultdict(list)
    boxed: list[dict[str, Any]] = []
    columns = (_c.picture, _c.id, _c.ordinal, _c.score, _c.label, _c.class_scores, *_box_columns())
    for chunk in _chunks(found):
        rows = work.connection.execute(
            select(*columns).where(_c.picture.in_(chunk), _c.detector == detector).order_by(_c.picture, _c.ordinal)
        )
        for row in rows:
            if row.x0 is not None:
                box, scores = Box(row.x0, row.y0, row.x1, row.y1), tuple(json.loads(row.class_scores))
                stored[row.picture].append(Registered(row.id, row.ordinal, box, row.score, row.label, scores))
            elif row.ordinal < len(found[row.picture]):
                now = found[row.picture][row.ordinal]._replace(id=row.id)
                stored[row.picture].append(now)
                boxed.append({"b_id": row.id, **_values(now)})
    if boxed:
        work.connection.execute(
            update(t.item_id).where(_c.id == bindparam("b_id")).values({name: bindparam(name) for name in _VALUES}),
            boxed,
        )
    return dict(stored)


_VALUES = ("x0", "y0", "x1", "y1", "score", "label", "class_scores")


def _values(one: Registered) -> dict[str, Any]:
    scores = json.dumps(one.class_scores)
    return {**one.box._asdict(), "score": one.score, "label": one.label, "class_scores": scores}


def _rows(detector: str, new: Mapping[str, Sequence[Registered]]) -> Iterator[dict[str, Any]]:
    for picture, objects in new.items():
        for one in objects:
            yield {"picture": picture, "detector": detector, "ordinal": one.ordinal, "id": one.id, **_values(one)}


def _box_columns() -> tuple[Any, ...]:
    return _c.x0, _c.y0, _c.x1, _c.y1


def _chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(values)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk

"""Lasting 63-bit ids: rising, allocated in blocks from one counter, persisted before use.

The same (picture, detector, ordinal) gets its id again, whichever plan or attempt asks: at-least-once
execution gives exactly one id.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import insert, select, update

from reporting import tables as t
from reporting.errors import StoreError
from reporting.stores.sql_work import SqlUnitOfWork, insert_new

_COUNTER = "item"
_LAST = 2**63 - 1
_CHUNK = 500  # parameters in one IN list: SQLite's default limit is 999 in old builds


def allocate_ids(work: SqlUnitOfWork, pictures: Sequence[str], detector: str, ordinal: int = 0) -> list[int]:
    """Return one id for each picture, in order; equal pictures get equal ids.

    Args:
        work: the transaction that persists the ids.
        pictures: sha256 of each picture's bytes.
        detector: name and version of what found the object.
        ordinal: which of the detector's objects in the picture.

    Raises:
        StoreError: the counter has run out.
    """
    first = _lock_counter(work)
    known = _known(work, pictures, detector, ordinal)
    fresh = [picture for picture in dict.fromkeys(pictures) if picture not in known]
    if fresh:
        _take_block(work, first, len(fresh))
        added = {picture: first + offset for offset, picture in enumerate(fresh)}
        work.connection.execute(
            insert(t.item_id),
            [{"picture": picture, "detector": detector, "ordinal": ordinal, "id": i} for picture, i in added.items()],
        )
        known |= added
    return [known[picture] for picture in pictures]


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


def _known(work: SqlUnitOfWork, pictures: Sequence[str], detector: str, ordinal: int) -> dict[str, int]:
    c = t.item_id.c
    found: dict[str, int] = {}
    for start in range(0, len(pictures), _CHUNK):
        chunk = pictures[start : start + _CHUNK]
        rows = work.connection.execute(
            select(c.picture, c.id).where(c.picture.in_(chunk), c.detector == detector, c.ordinal == ordinal)
        )
        found |= {row[0]: row[1] for row in rows}
    return found

"""A promoted copy that arrives: it is kept as new in its survivor's place, and takes the survivor's offers over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.evict.promote import Promotion
from pipeline.window.duplicates import Duplicate
from pipeline.window.live import LIVE_SCHEMA


def stand_ins(found: Sequence[Promotion], rows: pa.Table, before: pa.Table) -> list[Promotion]:
    """Return the promotions whose copy arrives today, and whose survivor does not.

    A copy that does not arrive is not there to be indexed: its survivor stays, for its offers are alive.

    Args:
        found: Of the day before.
        rows: The day's listed rows: item and picture.
        before: The library before the day.
    """
    arrived = set(zip(rows["item"].to_pylist(), rows["picture"].to_pylist(), strict=True))
    pictures, stored = {picture for _, picture in arrived}, set(before["picture"].to_pylist())
    return [
        one
        for one in found
        if (one.item, one.picture) in arrived
        and one.survivor in stored
        and one.survivor not in pictures
        and one.picture not in stored
    ]


def without_survivors(before: pa.Table, standing: Sequence[Promotion]) -> pa.Table:
    """Return the library without the pictures in whose place others stand: those are then nobody's duplicates."""
    gone = pa.array([one.survivor for one in standing], pa.string())
    return before.filter(pc.invert(pc.is_in(before["picture"], value_set=gone)))


def take_over(
    live: pa.Table, before: pa.Table, standing: Sequence[Promotion], duplicates: Sequence[Duplicate], rows: pa.Table
) -> pa.Table:
    """Return the library after the day with the survivors' living offers handed to what stands in their place.

    An offer that the stand-in has already stays as it is; one that the day took off the shelf is not handed on. A
    stand-in that is itself a duplicate of another picture hands on to that one.

    Args:
        live: The library after the day (`advance` of `without_survivors`), sorted by picture.
        before: The library before the day, with the survivors.
        standing: What `stand_ins` found.
        duplicates: Of the day.
        rows: All of the day's rows: merchant, sku, listed.
    """
    if not standing:
        return live
    said = list(zip(*(rows[name].to_pylist() for name in ("merchant", "sku", "listed")), strict=True))
    off = {row[:2] for row in said if not row[2]} - {row[:2] for row in said if row[2]}
    leaders = {dup.item: dup.survivor for dup in duplicates}
    targets = pa.array([leaders.get(one.item, one.picture) for one in standing], pa.string())
    changes = pc.is_in(live["picture"], value_set=targets)
    entries = {entry["picture"]: entry for entry in live.filter(changes).to_pylist()}
    survivors = pa.array([one.survivor for one in standing], pa.string())
    known = before.filter(pc.is_in(before["picture"], value_set=survivors)).select(["picture", "offers"])
    offers = dict(zip(known["picture"].to_pylist(), known["offers"].to_pylist(), strict=True))
    for one, target in zip(standing, targets.to_pylist(), strict=True):
        _hand_on(entries[target], [of for of in offers[one.survivor] if _key(of) in one.offers and _key(of) not in off])
    changed = pa.Table.from_pylist(list(entries.values()), schema=LIVE_SCHEMA)
    return pa.concat_tables([live.filter(pc.invert(changes)), changed]).sort_by("picture")


def _hand_on(entry: dict[str, Any], offers: list[dict[str, Any]]) -> None:
    mine = {_key(offer) for offer in entry["offers"]}
    entry["offers"] = sorted([*entry["offers"], *(of for of in offers if _key(of) not in mine)], key=_key)


def _key(offer: dict[str, Any]) -> tuple[str, str]:
    return offer["merchant"], offer["sku"]

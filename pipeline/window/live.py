"""The live window: every picture that stands for at least one offer seen in the last days."""

from __future__ import annotations

from datetime import date as Date
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.tasks.categorise import category_name
from pipeline.window.duplicates import Duplicate
from pipeline.window.speaker import speaker_of

OFFER = pa.struct(
    [
        ("sku", pa.string()),
        ("merchant", pa.string()),
        ("title", pa.string()),
        ("group", pa.string()),
        ("item", pa.string()),
        ("category", pa.string()),  # as the merchant declared it; "" where he did not
        ("seen", pa.date32()),
    ]
)
LIVE_SCHEMA = pa.schema(
    [
        ("picture", pa.string()),
        ("item", pa.string()),
        ("group", pa.string()),
        ("title", pa.string()),
        ("first_day", pa.date32()),
        ("last_seen", pa.date32()),
        ("offers", pa.list_(OFFER)),
        ("dhash", pa.uint64()),
        ("thumb", pa.binary(8 * 8 * 3)),
        ("pack", pa.string()),
        ("offset", pa.int64()),
        ("bytes", pa.int64()),
    ]
)


def expire(live: pa.Table, day: Date, window_days: int) -> pa.Table:
    """Return what is still in the window on a day: last seen within `window_days`, that day included."""
    oldest = day - timedelta(days=window_days - 1)
    return live.filter(pc.greater_equal(live["last_seen"], pa.scalar(oldest, pa.date32())))


def advance(live: pa.Table, rows: pa.Table, duplicates: list[Duplicate], day: Date) -> pa.Table:
    """Return the window after a day: survivors added, offers handed over, off-shelf offers taken away.

    Args:
        live: the window before, expired.
        rows: all of the day's rows, listed or not, sorted by item.
        duplicates: what `find_duplicates` said of the listed ones.
        day: the day.

    An item whose last offer went off the shelf leaves the window (so that its picture can come back as new).
    """
    entries: dict[str, dict[str, Any]] = {entry["picture"]: entry for entry in live.to_pylist()}
    leaders = {dup.item: dup.survivor for dup in duplicates}
    delisted: set[tuple[str, str]] = set()
    relisted: set[tuple[str, str]] = set()
    arrivals = rows.to_pylist()
    for row in arrivals:
        (relisted if row["listed"] else delisted).add((row["merchant"], row["sku"]))
        if row["listed"] and row["item"] not in leaders:
            entries[row["picture"]] = _entry(row, day)
    for row in arrivals:
        if row["listed"] and row["item"] in leaders:
            _hand_over(entries[leaders[row["item"]]], row, day)
    _take_away(entries, delisted - relisted)
    kept = [entries[picture] for picture in sorted(entries) if entries[picture]["offers"]]
    return pa.Table.from_pylist(kept, schema=LIVE_SCHEMA)


def _entry(row: dict[str, Any], day: Date) -> dict[str, Any]:
    taken = {
        name: row[name] for name in ("picture", "item", "group", "title", "dhash", "thumb", "pack", "offset", "bytes")
    }
    return {**taken, "first_day": day, "last_seen": day, "offers": [_offer(row, day)]}


def _offer(row: dict[str, Any], day: Date) -> dict[str, Any]:
    said = {name: row[name] for name in ("sku", "merchant", "title", "group", "item")}
    return {**said, "category": category_name(row["category"], ""), "seen": day}


def _hand_over(entry: dict[str, Any], row: dict[str, Any], day: Date) -> None:
    """Give a dropped duplicate's offer to its survivor; the same offer again only becomes younger."""
    same = (row["merchant"], row["sku"])
    others = [offer for offer in entry["offers"] if (offer["merchant"], offer["sku"]) != same]
    entry["offers"] = sorted([*others, _offer(row, day)], key=lambda offer: (offer["merchant"], offer["sku"]))
    entry["last_seen"] = day


def _take_away(entries: dict[str, dict[str, Any]], delisted: set[tuple[str, str]]) -> None:
    """Remove offers that went off the shelf; where the one that named it went, the next speaks."""
    if not delisted:
        return
    for entry in entries.values():
        left = [offer for offer in entry["offers"] if (offer["merchant"], offer["sku"]) not in delisted]
        if left and len(left) < len(entry["offers"]):
            speaker = speaker_of(entry["group"], entry["title"], left)
            if speaker is not None:
                entry |= {name: speaker[name] for name in ("item", "group", "title")}
        entry["offers"] = left

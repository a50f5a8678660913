"""The table `checks`: one row for each offer of each stored picture, with what is known of its being alive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date as Date
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.evict.liveness import UNCHECKED, Offers, Verdict
from pipeline.evict.promote import Promotion
from pipeline.evict.stored import NEVER

CHECKS_SCHEMA: Final = pa.schema(
    [
        ("merchant", pa.string()),
        ("sku", pa.string()),
        ("picture", pa.string()),  # the stored one, with which the offer is found
        ("item", pa.string()),
        ("shown", pa.string()),  # the offer's own picture: another than `picture` where it was a near duplicate
        ("location", pa.string()),  # null: not known
        ("kind", pa.string()),
        ("last_confirmed", pa.date32()),  # seen in a manifest, or found alive
        ("last_checked", pa.date32()),  # null: never
        ("verdict", pa.string()),
        ("gone_since", pa.date32()),  # null: it is not gone
        ("gone_answers", pa.int16()),
        ("tries", pa.int16()),
    ]
)
PROMOTIONS_SCHEMA: Final = pa.schema(
    [
        *((name, pa.string()) for name in Promotion._fields[:-1]),
        ("offers", pa.list_(pa.struct([("merchant", pa.string()), ("sku", pa.string())]))),
    ]
)
_KEY: Final = ("merchant", "sku", "picture")
_BETWEEN: Final = "\x1f"  # in no cell of a manifest (pipeline/sources.py)
_LABELS: Final = pa.array([one.label for one in Verdict])
_VALUES: Final = np.array([int(one) for one in Verdict], np.int8)


def offers_of_library(live: pa.Table) -> pa.Table:
    """Return one row for each offer of each picture: merchant, sku, picture, item and seen (date32).

    Args:
        live: `LIVE_SCHEMA`, or its columns picture and offers.
    """
    lists = live["offers"].combine_chunks()
    flat = pc.list_flatten(lists)
    columns = {name: pc.struct_field(flat, name) for name in ("merchant", "sku", "item", "seen")}
    pictures = live["picture"].combine_chunks().take(pc.list_parent_indices(lists))
    names = ("merchant", "sku", "picture", "item", "seen")
    return pa.table({name: pictures if name == "picture" else columns[name] for name in names})


def follow(before: pa.Table, live: pa.Table, day: Date) -> pa.Table:
    """Return the checks of the offers that the library has on a day, sorted by merchant, sku and picture.

    What was known of an offer is carried on; where dedup has seen it since, that goes before. A new one is alive as
    of its last sighting. An offer that its picture has lost, while the picture stays, went off the shelf, and its row
    stays with the picture. Rows of pictures that left the library are forgotten.

    Args:
        before: `CHECKS_SCHEMA`, of the nearest earlier day; empty on the first.
        live: The library, columns picture and offers.
        day: Of the library.

    Returns:
        `CHECKS_SCHEMA`; location, kind and shown are null for new items (`locate` fills them).
    """
    offers = offers_of_library(live)
    place = pc.index_in(_keys(offers), value_set=_keys(before))
    old = before.take(place)
    seen = offers["seen"].combine_chunks()
    later = pc.fill_null(pc.greater(seen, old["last_confirmed"]), True)
    same = pc.fill_null(pc.equal(old["item"], offers["item"]), False)
    columns: dict[str, Any] = {name: offers[name] for name in (*_KEY, "item")}
    columns |= {name: pc.if_else(same, old[name], None) for name in ("shown", "location", "kind")}
    columns |= {
        "last_confirmed": pc.max_element_wise(old["last_confirmed"], seen),
        "last_checked": old["last_checked"],
        "verdict": pc.if_else(later, Verdict.ALIVE.label, old["verdict"]),
        "gone_since": pc.if_else(later, None, old["gone_since"]),
        "gone_answers": pc.if_else(later, pa.scalar(0, pa.int16()), old["gone_answers"]),
        "tries": pc.if_else(later, pa.scalar(0, pa.int16()), old["tries"]),
    }
    known = pa.table([columns[name] for name in CHECKS_SCHEMA.names], schema=CHECKS_SCHEMA)
    unclaimed = np.ones(before.num_rows, np.bool_)
    unclaimed[place.drop_null().to_numpy()] = False
    lost = _off_shelf(before.filter(pa.array(unclaimed)), live, day)
    return pa.concat_tables([known, lost]).sort_by([(name, "ascending") for name in _KEY])


def _off_shelf(unclaimed: pa.Table, live: pa.Table, day: Date) -> pa.Table:
    """Return the rows of offers that pictures of the library no longer have, as off the shelf."""
    # The few against the many, then the other way round: a hash of all pictures would cost more than all else here.
    still = live["picture"].filter(pc.is_in(live["picture"], value_set=pc.unique(unclaimed["picture"])))
    lost = unclaimed.filter(pc.is_in(unclaimed["picture"], value_set=still.combine_chunks()))
    changed = {
        "verdict": pa.array([Verdict.OFF_SHELF.label] * lost.num_rows, pa.string()),
        "gone_since": pc.fill_null(lost["gone_since"], day),
    }
    return pa.table([changed.get(name, lost[name]) for name in CHECKS_SCHEMA.names], schema=CHECKS_SCHEMA)


def forgotten(before: pa.Table, checks: pa.Table) -> pa.Table:
    """Return the rows that were known and not gone before, and are in the checks no more."""
    dropped = pc.invert(pc.is_in(_keys(before), value_set=_keys(checks)))
    return before.filter(pc.and_(dropped, before["gone_since"].is_null()))


def locate(checks: pa.Table, rows: pa.Table, handed: pa.Table, day: Date) -> pa.Table:
    """Return the checks with the places and pictures that a day's files tell of, for what was last confirmed that day.

    Args:
        checks: `CHECKS_SCHEMA`.
        rows: Of the day's manifest: item, location, kind.
        handed: Of its hand-overs: item, picture (the dropped one's own), survivor.
        day: Theirs.
    """
    today = pc.equal(checks["last_confirmed"], pa.scalar(day, pa.date32()))
    place = pc.if_else(today, pc.index_in(checks["item"], value_set=rows["item"].combine_chunks()), None)
    keys = _joined(checks, "item", "picture")
    by_survivor = pc.if_else(today, pc.index_in(keys, value_set=_joined(handed, "item", "survivor")), None)
    own = pc.if_else(place.is_valid(), checks["picture"], None)  # where it was not handed over it was kept itself
    found = {
        "location": pc.coalesce(checks["location"], rows["location"].take(place)),
        "kind": pc.coalesce(checks["kind"], rows["kind"].take(place)),
        "shown": pc.coalesce(handed["picture"].take(by_survivor), checks["shown"], own),
    }
    return pa.table([found.get(name, checks[name]) for name in CHECKS_SCHEMA.names], schema=CHECKS_SCHEMA)


def mentioned(checks: pa.Table, rows: pa.Table) -> NDArray[np.bool_]:
    """Tell for each row of the checks whether its merchant and sku are among some rows of a manifest, (n,) bool."""
    found = pc.is_in(_joined(checks, "merchant", "sku"), value_set=_joined(rows, "merchant", "sku"))
    return np.asarray(found.to_numpy(zero_copy_only=False), np.bool_)


def state_of(checks: pa.Table) -> Offers:
    """Return the state of the rows, in their order."""
    return Offers(
        last_confirmed=_days(checks["last_confirmed"], UNCHECKED),
        last_checked=_days(checks["last_checked"], UNCHECKED),
        verdict=_VALUES[pc.index_in(checks["verdict"], value_set=_LABELS).to_numpy()],
        gone_since=_days(checks["gone_since"], NEVER),
        gone_answers=np.asarray(checks["gone_answers"].to_numpy(), np.int16),
        tries=np.asarray(checks["tries"].to_numpy(), np.int16),
        askable=np.asarray(checks["location"].is_valid().to_numpy(), np.bool_),
    )


def with_state(checks: pa.Table, offers: Offers) -> pa.Table:
    """Return the rows with another state, that of `state_of` changed."""
    labels = _LABELS.take(pa.array(np.searchsorted(_VALUES, offers.verdict)))
    changed = {
        "last_confirmed": _dates(offers.last_confirmed, UNCHECKED),
        "last_checked": _dates(offers.last_checked, UNCHECKED),
        "verdict": labels,
        "gone_since": _dates(offers.gone_since, NEVER),
        "gone_answers": pa.array(offers.gone_answers),
        "tries": pa.array(offers.tries),
    }
    return pa.table([changed.get(name, checks[name]) for name in CHECKS_SCHEMA.names], schema=CHECKS_SCHEMA)


def promotion_table(found: Sequence[Promotion]) -> pa.Table:
    """Return promotions as `PROMOTIONS_SCHEMA`, one row each, in their order."""
    rows = [one._asdict() | {"offers": [{"merchant": who, "sku": sku} for who, sku in one.offers]} for one in found]
    return pa.Table.from_pylist(rows, schema=PROMOTIONS_SCHEMA)


def promotions_of(table: pa.Table) -> list[Promotion]:
    """Return the promotions of a table, in its order: what `promotion_table` was made of."""
    rows = table.select(PROMOTIONS_SCHEMA.names).to_pylist()
    offers = [tuple((one["merchant"], one["sku"]) for one in row["offers"]) for row in rows]
    return [Promotion(**{**row, "offers": own}) for row, own in zip(rows, offers, strict=True)]


def _keys(table: pa.Table) -> pa.Array:
    return _joined(table, *_KEY)


def _joined(table: pa.Table, *names: str) -> pa.Array:
    # Large: a million offers' keys are 100 MB, and an Arrow string array ends at 2 GB.
    parts = [table[name].cast(pa.large_string()) for name in names]
    return pc.binary_join_element_wise(*parts, pa.scalar(_BETWEEN, pa.large_string())).combine_chunks()


def _days(column: pa.ChunkedArray, missing: np.int32) -> NDArray[np.int32]:
    numbers = pc.fill_null(column.cast(pa.int32()), pa.scalar(int(missing), pa.int32()))
    return np.asarray(numbers.to_numpy(), np.int32)


def _dates(days: NDArray[np.int32], missing: np.int32) -> pa.Array:
    return pa.array(days, pa.int32(), mask=days == missing).cast(pa.date32())

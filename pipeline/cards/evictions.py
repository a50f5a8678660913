"""What evict decided on a day, as its audit has it: for each reason some pictures, each beside the one that stays."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date as Date
from typing import TYPE_CHECKING, Any, Final

from pipeline.cards.album import Album, Spot
from pipeline.cards.shown import shown_item, spread
from pipeline.cards.spots import Spots
from pipeline.evict.audit import explain_row
from pipeline.evict.decisions import Reason
from pipeline.library_facts import AUDIT
from pipeline.partitions import Partition, Partitions
from pipeline.release.withheld import withheld
from pipeline.window.library import CARRIER

if TYPE_CHECKING:
    from pipeline.lake import Lake
    from pipeline.place import Place

PER_REASON: Final = 12
LIMIT_BYTES: Final = 2_400_000
_GOING_FIRST: Final = sorted(Reason, key=lambda reason: (reason.keeps, reason))
_MEASURES: Final = {
    "groups": "products alive",
    "groups_at_risk": "products with one picture left",
    "window": "pictures in the window",
    "tail": "pictures in the tail",
    "marked": "pictures marked to go",
    "tail_fill_max": "fullest tail, share of its budget",
}


def eviction_card(place: Place, day: Date) -> dict[str, Any] | None:
    """Return what evict decided on a day: what goes first, then what stays; None where it has not run.

    The audit is read, nothing is decided again. A reason without a picture has no section.
    """
    partitions = Partitions(place.store, place.topology, None)
    parts = _of_evict(place, partitions, day)
    if not parts:
        return None
    hidden = withheld(place.lake.folder()) if place.lake.is_local else None
    album, spots = Album(place.lake, LIMIT_BYTES, hidden), Spots(place.lake, partitions)
    sections = _sections(place.lake, album, spots, parts, list(_GOING_FIRST), PER_REASON)
    return {"date": day, "sections": sections, "facts": _facts(place, parts)}


def evicted_galleries(
    album: Album, spots: Spots, place: Place, parts: Sequence[Partition], shown: int
) -> list[dict[str, Any]]:
    """Return a gallery of each reason for which pictures went on a day; `shown` of each at most."""
    going = [reason for reason in _GOING_FIRST if not reason.keeps]
    found = _sections(place.lake, album, spots, parts, going, shown)
    return [{"task": CARRIER, **{name: one[name] for name in ("reason", "count", "shown")}} for one in found]


def _of_evict(place: Place, partitions: Partitions, day: Date) -> list[Partition]:
    return partitions.of_task(CARRIER, day) if CARRIER in place.topology.tasks else []


def _sections(
    lake: Lake, album: Album, spots: Spots, parts: Sequence[Partition], reasons: Sequence[Reason], most: int
) -> list[dict[str, Any]]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    audit = pa.concat_tables([lake.read_table(f"{part.folder}/{AUDIT}") for part in parts])
    day = parts[0].leaf.date
    found = []
    for reason in reasons:
        places = np.flatnonzero(pc.equal(audit["reason"], reason.label).to_numpy())
        if len(places):
            rows = audit.take(places[spread(len(places), most)]).to_pylist()
            shown = _shown(album, spots, day, rows)
            found.append({"reason": reason.label, "keeps": reason.keeps, "count": len(places), "shown": shown})
    return found


def _shown(album: Album, spots: Spots, day: Date, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    wanted = {row[name] for row in rows for name in ("picture", "better") if row[name] is not None}
    known = spots.of_pictures(day, wanted)
    gone = Spot(missing="not in the library any more")
    made = []
    for row in rows:
        better = row["better"]
        text = explain_row(row).replace(better, better[:12]) if better else explain_row(row)
        one = shown_item(album, row["picture"], known.get(row["picture"], gone), detail=text, category=row["category"])
        if better is not None:
            one |= {"other": album.picture(known.get(better, gone)), "other_says": "stays instead"}
        made.append(one)
    return made


def _facts(place: Place, parts: Sequence[Partition]) -> list[tuple[str, str]]:
    """Return what the task measured of itself, in words."""
    from reporting.key import RunKey

    part = parts[0]
    record = place.store.get_record(RunKey(**part.leaf._asdict(), planid=part.planid))
    measured = {} if record is None else record.metrics
    return [(words, f"{measured[name]:,.4g}") for name, words in _MEASURES.items() if name in measured]

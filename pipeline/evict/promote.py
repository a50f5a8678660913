"""A dropped copy in its survivor's place: near duplicates hand their offers to a picture that may die before them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.evict.liveness import Verdict

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = ("picture", "merchant", "sku", "item", "shown", "location", "kind", "last_confirmed", "verdict")
_GONE = frozenset(one.label for one in Verdict if one >= Verdict.DEAD_LINK)


class Promotion(NamedTuple):
    """One stored picture that no shop shows any more, and the copy of it that is to be stored instead.

    Attributes:
        survivor: sha256 of the stored picture.
        picture: sha256 of the copy, as it was when it was dropped.
        item: Item id of the copy.
        location: Where the copy is found.
        kind: `url` or `path`.
        merchant: Whose copy it is.
        sku: Of which offer.
        offers: (merchant, sku) of all the survivor's offers that are not gone, sorted: the copy takes them over.
    """

    survivor: str
    picture: str
    item: str
    location: str
    kind: str
    merchant: str
    sku: str
    offers: tuple[tuple[str, str], ...]


def promotions(checks: pa.Table) -> list[Promotion]:
    """Return the copies that are to be stored in their survivors' place, sorted by survivor.

    A picture gives way where all the offers that showed this very picture are gone (at least one has), and an offer
    that was handed to it with a picture of its own is alive; one of unknown standing is no reason. Of several copies
    the one confirmed last is chosen, then the lowest item id. No offer is lost: the copy takes over all that are not
    gone.

    Args:
        checks: `CHECKS_SCHEMA`, in any order.
    """
    import pyarrow.compute as pc

    apart = pc.and_(pc.not_equal(checks["shown"], checks["picture"]), pc.equal(checks["verdict"], Verdict.ALIVE.label))
    apart = pc.and_(apart, checks["location"].is_valid())
    survivors = pc.unique(checks.filter(apart)["picture"])
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in checks.filter(pc.is_in(checks["picture"], value_set=survivors)).select(_COLUMNS).to_pylist():
        found[row["picture"]].append(row)
    judged = (_promotion(survivor, rows) for survivor, rows in sorted(found.items()))
    return [one for one in judged if one is not None]


def _promotion(survivor: str, rows: list[dict[str, Any]]) -> Promotion | None:
    own = [row["verdict"] for row in rows if row["shown"] == survivor]
    if not own or not _GONE.issuperset(own):
        return None
    copies = [row for row in rows if _may_stand_in(row, survivor)]
    best = min(copies, key=lambda row: (-row["last_confirmed"].toordinal(), row["item"]))
    left = sorted({(row["merchant"], row["sku"]) for row in rows if row["verdict"] not in _GONE})
    told = {name: best[name] for name in ("item", "location", "kind", "merchant", "sku")}
    return Promotion(survivor=survivor, picture=best["shown"], offers=tuple(left), **told)


def _may_stand_in(row: Mapping[str, Any], survivor: str) -> bool:
    return row["shown"] != survivor and row["verdict"] == Verdict.ALIVE.label and row["location"] is not None

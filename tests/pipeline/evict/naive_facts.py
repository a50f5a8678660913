"""What is known of a library, in plain loops over Python objects: the oracle of the columns computed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date as Date
from typing import Any

from pipeline.evict.decisions import Decisions, Reason
from pipeline.evict.stored import NEVER, Stored
from pipeline.evict.stored_of import Names
from pipeline.release.withheld import Withheld, WithheldList


def gone_since(checks: Any) -> dict[str, Date]:
    """Return for each picture with no offer alive or unknown the day on which its last offer went."""
    days: dict[str, list[Date | None]] = {}
    for row in checks.select(["picture", "gone_since"]).to_pylist():
        days.setdefault(row["picture"], []).append(row["gone_since"])
    return {name: max(one for one in some if one) for name, some in days.items() if all(some)}


def shares(live: Any) -> dict[str, float]:
    """Return one over the number of products that each picture shows."""
    return {row["picture"]: 1 / max(1, len({offer["group"] for offer in row["offers"]})) for row in live.to_pylist()}


def declared(live: Any) -> dict[str, str]:
    """Return the category that the first offer of each picture was declared as, where it was."""
    firsts = {row["picture"]: next(iter(row["offers"]), {"category": ""})["category"] for row in live.to_pylist()}
    return {picture: name for picture, name in firsts.items() if name}


def withheld(live: Any, entries: Sequence[Withheld]) -> tuple[set[str], set[str]]:
    """Return the pictures that are taken down, and those of which all offers are withheld for whatever reason."""
    down = _hidden(live, [one for one in entries if one.reason == "takedown"]) if entries else set()
    return down, _hidden(live, entries) - down if entries else set()


def _hidden(live: Any, entries: Sequence[Withheld]) -> set[str]:
    names = {kind: [one.value for one in entries if one.kind == kind] for kind in ("picture", "group", "offer")}
    rule = WithheldList(
        pictures=frozenset(names["picture"]),
        groups=frozenset(names["group"]),
        offers=frozenset((value.split("/", 1)[0], value.split("/", 1)[1]) for value in names["offer"]),
        entries=tuple(entries),
    )
    rows = live.to_pylist()
    return {one["picture"] for one in rows if not rule.offers_left(-1, one["picture"], one["group"], one["offers"])}


def without_own_groups(live: Any) -> Any:
    """Return the library where an offer that is called merchant/sku names no product."""
    rows = live.to_pylist()
    for one in rows:
        for offer in one["offers"]:
            if offer["group"] == f"{offer['merchant']}/{offer['sku']}":
                one["group"] = "" if one["group"] == offer["group"] else one["group"]
                offer["group"] = ""
    return live.from_pylist(rows, schema=live.schema)


def audit(stored: Stored, decisions: Decisions, names: Names) -> list[dict[str, Any]]:
    """Return the rows of the audit, one decision after the other."""
    stays = (decisions.keep & (decisions.rank > 0)).tolist()
    members = list(zip(stored.member_rows.tolist(), stored.member_groups.tolist(), strict=True))
    rows = []
    for at in range(len(stored)):
        group, rank, better = int(decisions.group[at]), int(decisions.rank[at]), int(decisions.better[at])
        reason = Reason(decisions.reason[at])
        rows.append(
            {
                "picture": names.picture(stored.ids[at]),
                "category": stored.categories[stored.category[at]],
                "reason": reason.label,
                "why": Reason(decisions.why[at]).label,
                "keep": reason.keeps,
                "rank": rank,
                "group": names.group(group) if rank else None,
                "group_kept": sum(stays[row] for row, one in members if one == group) if rank else 0,
                "better": names.picture(better) if better >= 0 else None,
                "last_seen": _day(stored.last_seen[at]),
                "value": float(stored.value[at]),
                "marked_on": _day(decisions.marked_on[at]),
            }
        )
    return rows


def _day(number: int) -> Date | None:
    return None if number == NEVER else Date.fromordinal(int(number) + Date(1970, 1, 1).toordinal())

"""The graph, the counts and the faults of `tests.checks.world`: items move as counts through cells.

A cell is a category of a subinstance. Faults change counts where they happen, and what comes later follows from that.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date as Date
from functools import cache
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reporting.digest import Digest
from reporting.key import ALL
from reporting.plans import Leaf
from reporting.topology import Topology

CATEGORIES = ("bags", "hats", "shoes")
SUBINSTANCES = ("0001", "0002", "0003")

CHAIN: dict[str, dict[str, float]] = {
    "collect": {"duplicate_row": 0.05},
    "download": {"dead_link": 0.04, "timeout": 0.02},
    "quality": {"blurred": 0.05, "too_small": 0.03},
    "detect": {"no_object": 0.03},
    "crop": {"decode_error": 0.02},
    "categorise": {},
    "embed": {"undecodable": 0.01},
    "index": {},
}
"""What each task drops, as reason to rate, in the order the items go through."""

ORDER = (*CHAIN, "merge", "release")

_GRAINS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("download", "quality", "detect", "crop"), ("subinstance",)),
    **dict.fromkeys(("categorise", "embed"), ("category", "subinstance")),
    **dict.fromkeys(("index", "merge"), ("category",)),
}
_UNITS = {"collect": "row", "download": "picture", "quality": "picture", "detect": "object", "crop": "object"}
_UNITS |= {"categorise": "object", "embed": "vector", "index": "vector", "merge": "vector", "release": "index"}
_MIX = np.outer([0.5, 1.0, 1.5], [0.8, 1.0, 1.2])
"""Share of each cell (category, subinstance) in the rows of a day; the mean is 1."""

Cells = NDArray[np.int64]
"""(categories, subinstances)."""

Mask = NDArray[np.bool_]

Kind = Literal["lost", "ruined", "shrunk", "failing", "late", "other_ids", "version", "unbooked"]


def _topology() -> Topology:
    tasks: dict[str, dict[str, Any]] = {}
    for before, task in pairwise(("collect", *ORDER)):
        tasks[task] = {
            "unit_in": _UNITS[before],
            "unit_out": _UNITS[task],
            "grain": _GRAINS.get(task, ()),
            "owner": "on-call",
            "drop_reasons": [*CHAIN.get(task, {})],
        }
    tasks["categorise"]["runs_per"] = ("subinstance",)
    tasks["download"]["metrics"] = ["bytes"]
    tasks["detect"]["metrics"] = ["objects_per_picture"]
    for task, deadline in {"collect": "02:00", "merge": "05:00", "release": "06:00"}.items():
        tasks[task]["deadline"] = deadline
    edges: list[dict[str, Any]] = [{"from": a, "to": b} for a, b in pairwise(CHAIN)]
    edges += [{"from": "quality", "to": "crop", "ratio": [0.5, 6]}]
    edges += [{"from": "index", "to": "merge", "law": "window"}, {"from": "merge", "to": "release", "law": "after"}]
    return Topology.model_validate({"tasks": tasks, "edges": edges})


TOPOLOGY = _topology()
"""collect, download, quality, detect, crop, categorise, embed, index: each equal to the next; index -> merge by
window, merge -> release after; and quality -> crop in the band [0.5, 6] of objects a picture (there are about 1.25)."""


class Step(NamedTuple):
    """One task's day by cell."""

    input: Cells
    dropped: dict[str, Cells]
    failed: Cells
    output: Cells
    produced: Cells
    gone: Mask
    """Cells whose items a fault has lost: who has no others never runs."""
    other: Mask
    """Cells whose items are not those that were handed on."""
    units: tuple[str, str]
    """What ids name, coming in and going out."""


class Fault(NamedTuple):
    """One thing that goes wrong in one task on one day."""

    kind: Kind
    task: str
    on: Date
    where: tuple[tuple[str, str], ...]
    """Dimension and value; a dimension that is not named is not restricted."""
    amount: float = 0
    """A share, seconds or items, as the kind has it."""
    text: tuple[str, str] = ("", "")

    def mask(self) -> Mask:
        """Return the cells it touches."""
        where = dict(self.where)
        category = [where.get("category", value) == value for value in CATEGORIES]
        subinstance = [where.get("subinstance", value) == value for value in SUBINSTANCES]
        return np.outer(category, subinstance)

    def meets(self, leaf: Leaf) -> bool:
        """Tell whether it touches a leaf, or some items of it."""
        return leaf[:2] == (self.task, self.on) and all(getattr(leaf, dim) in (v, ALL) for dim, v in self.where)


def flow(seed: int, rows: float, faults: Iterable[Fault], date: Date) -> dict[str, Step]:
    """Return what each task of CHAIN books of a day: a function of its arguments alone."""
    chance = np.random.default_rng([seed, date.toordinal()])
    size = rows * (0.7 if date.weekday() >= 5 else 1)
    items = np.rint(size * _MIX * chance.normal(1, 0.02, _MIX.shape)).astype(np.int64)
    gone = other = np.zeros(_MIX.shape, bool)
    unit = "row"
    steps: dict[str, Step] = {}
    for task, rates in CHAIN.items():
        noise = chance.random((len(rates), *_MIX.shape))
        fails = np.zeros(_MIX.shape)
        for fault in (fault for fault in faults if (fault.task, fault.on) == (task, date)):
            mask = fault.mask()
            items = items - np.ceil(items * mask * fault.amount * (fault.kind == "shrunk")).astype(np.int64)
            fails = fails + mask * fault.amount * (fault.kind == "failing")
            gone = gone | (mask & (fault.kind == "ruined"))
            other = other | (mask & (fault.kind == "other_ids"))
        items = np.where(gone, 0, items)
        rated = zip(rates.items(), noise, strict=True)
        dropped = {reason: (items * rate * (0.5 + drawn)).astype(np.int64) for (reason, rate), drawn in rated}
        kept = items - sum(dropped.values(), np.zeros(_MIX.shape, np.int64))
        failed = (kept * fails).astype(np.int64)
        output = kept - failed
        produced = output + output // 3 if task == "detect" else output
        handed_on = "object" if task == "detect" else unit
        steps[task] = Step(items, dropped, failed, output, produced, gone, other, (unit, handed_on))
        items, unit = produced, handed_on
    return steps


def cells_of(leaf: Leaf) -> Any:
    """Return the index of a leaf's cells."""
    return np.ix_(
        [n for n, value in enumerate(CATEGORIES) if leaf.category in (ALL, value)],
        [n for n, value in enumerate(SUBINSTANCES) if leaf.subinstance in (ALL, value)],
    )


def digest_of(date: Date, unit: str, counts: Cells, other: Mask, leaf: Leaf) -> str:
    """Return the digest of a leaf's items; the first n of a cell are always the same."""
    chosen = np.zeros(counts.shape, bool)
    chosen[cells_of(leaf)] = True
    found = Digest()
    for c, s in np.argwhere(chosen):
        name = f"other-{unit}" if other[c, s] else unit
        found += _digest_of_first(f"{name}/{date}/{CATEGORIES[c]}/{SUBINSTANCES[s]}", int(counts[c, s]))
    return str(found)


@cache
def _digest_of_first(prefix: str, count: int) -> Digest:
    return Digest.of(f"{prefix}/{n}" for n in range(count))

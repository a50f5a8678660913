"""Books made by moving single items through a graph: closed by construction, so an oracle of the balance."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import date as Date
from typing import Any, NamedTuple

from reporting.balance import Balance, Books, balance
from reporting.key import ALL
from reporting.plans import Leaf, Plan
from reporting.record import TaskRecord
from reporting.testing import DAY, MOMENT, make_plan, make_record
from reporting.topology import DIMENSIONS, Edge, TaskSpec, Topology

CATEGORIES, PACKAGES = ("hats", "shoes"), ("0001", "0002")


class Item(NamedTuple):
    """One thing that moves through the graph."""

    category: str
    subinstance: str


def graph(edges: Sequence[tuple[str, str] | dict[str, Any]], **grains: Sequence[str]) -> Topology:
    """Return a topology from the grains of its tasks and its edges."""
    return Topology.model_validate(
        {
            "tasks": {
                name: TaskSpec(unit_in="a", unit_out="a", grain=tuple(grain), drop_reasons=("blurred",))  # type: ignore[arg-type]
                for name, grain in grains.items()
            },
            "edges": [edge if isinstance(edge, dict) else Edge(source=edge[0], target=edge[1]) for edge in edges],
        }
    )


def with_tail() -> Topology:
    """Return index -> tail -> merge and index -> merge, all windows; the tail takes in again what it handed on."""
    found = graph(
        [{"from": a, "to": b, "law": "window"} for a, b in (("index", "tail"), ("index", "merge"), ("tail", "merge"))],
        **dict.fromkeys(("index", "tail", "merge"), ("category",)),
    )
    again = found.task("tail").model_copy(update={"waits_for_previous_day": True, "continues": "tail"})
    return found.model_copy(update={"tasks": found.tasks | {"tail": again}})


CHAIN = graph(
    [("collect", "hash"), ("hash", "dedup"), ("dedup", "split"), ("split", "embed"), ("embed", "index")],
    collect=(),
    hash=("subinstance",),
    dedup=(),
    split=("category", "subinstance"),
    embed=("category", "subinstance"),
    index=("category",),
)
"""Every kind of step: split by package, joined again, fanned out by category, joined per category."""


def leaf_of_item(topology: Topology, task: str, item: Item, day: Date = DAY) -> Leaf:
    """Return the leaf in which a task books an item."""
    grain = topology.task(task).grain
    return Leaf(task, day, *(getattr(item, dim) if dim in grain else ALL for dim in DIMENSIONS))


def closed_records(
    topology: Topology, items: Sequence[Item], seed: int, day: Date = DAY, planid: str = "daily"
) -> list[TaskRecord]:
    """Move items along the edges; each task drops some at random. Every leaf is booked, also with nothing in it."""
    chance = random.Random(seed)
    everywhere = [Item(category, package) for category in CATEGORIES for package in PACKAGES]
    kept: dict[str, list[Item]] = {}
    records = []
    for task in topology.order:
        sources = topology.upstream(task)
        came = kept[sources[0].source] if sources else list(items)
        kept[task] = [item for item in came if chance.random() < 0.8]
        taken = Counter(leaf_of_item(topology, task, item, day) for item in came)
        passed = Counter(leaf_of_item(topology, task, item, day) for item in kept[task])
        leaves = sorted({leaf_of_item(topology, task, item, day) for item in everywhere})
        records += [booked(leaf, planid, taken[leaf], taken[leaf] - passed[leaf]) for leaf in leaves]
    return records


def booked(leaf: Leaf, planid: str, taken: int, dropped: int = 0, **changes: Any) -> TaskRecord:
    """Return the record of a leaf."""
    return make_record(
        leaf.task,
        date=leaf.date,
        category=leaf.category,
        subinstance=leaf.subinstance,
        planid=planid,
        input=taken,
        dropped={"blurred": dropped},
        **changes,
    )


def close(
    topology: Topology,
    records: Sequence[TaskRecord],
    plans: Sequence[Plan] | None = None,
    *,
    expected: dict[str, set[Leaf]] | None = None,
    consumed: Sequence[TaskRecord] = (),
    all_plans: bool = False,
) -> Balance:
    """Balance records; without plans under one complete daily plan."""
    if plans is None:
        plans = [make_plan(dates=sorted({record.key.date for record in records}) or [DAY], completed_at=MOMENT)]
    books = Books(records=list(records), plans=list(plans), expected=expected or {}, consumed=list(consumed))
    return balance(topology, books, all_plans=all_plans)


def unexplained(found: Balance) -> int:
    """Return the one line."""
    return sum(row.unexplained for row in found.rows)


def changed(record: TaskRecord, by: int) -> TaskRecord:
    """Return a record that took in more or fewer items and dropped as many more or fewer: its own books close."""
    return make_record(
        record.key.task,
        date=record.key.date,
        category=record.key.category,
        subinstance=record.key.subinstance,
        planid=record.key.planid,
        input=record.input + by,
        dropped={"blurred": record.dropped_total + by},
    )


ITEMS = [Item(CATEGORIES[n % 2], PACKAGES[n // 2 % 2]) for n in range(40)]

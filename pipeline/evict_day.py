"""One day's decisions about the library, by whomever they are asked for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import date as Date
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.evict.days import day_number
from pipeline.evict.decide import decide
from pipeline.evict.decisions import Decisions
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import Stored
from pipeline.evict.stored_of import Names, stored_of
from pipeline.library_facts import facts_of, look_alikes, look_distance, without_own_groups
from pipeline.partitions import Partition, Partitions
from pipeline.release.withheld import WithheldList

if TYPE_CHECKING:
    from pipeline.evict.farthest import Distance
    from pipeline.lake import Lake


class Decided(NamedTuple):
    """A day's library and what is decided about it."""

    day: Date
    live: Any
    """`LIVE_SCHEMA`, before the decisions."""
    policy: EvictPolicy
    stored: Stored
    names: Names
    decisions: Decisions
    distance: Distance


def decide_day(
    lake: Lake,
    partitions: Partitions,
    live: Any,
    day: Date,
    policy: EvictPolicy,
    *,
    marked: Collection[Partition],
    checked: Collection[Partition],
    hidden: WithheldList,
) -> Decided:
    """Decide about a library.

    Args:
        lake: Holds the partitions.
        partitions: As the plan sees them.
        live: The library as dedup left it.
        day: The day.
        policy: By which.
        marked: Partition with the marks of before, see `marks_before`.
        checked: Partitions of the day's recheck.
        hidden: What is taken down.

    Raises:
        TailFull: a budget cannot hold even one picture of each product.
    """
    facts, unsure = facts_of(lake, partitions, live, day, marked=marked, checked=checked, withheld=hidden)
    if policy.near_duplicate is not None:
        live = without_own_groups(live)
        facts = replace(facts, spaces=look_alikes(lake, partitions, live, day))
    pins = policy.pins.model_copy(update={"pictures": tuple(sorted({*policy.pins.pictures, *unsure}))})
    kept = policy.model_copy(update={"pins": pins})
    stored, names = stored_of(live, kept, day, facts)
    distance = look_distance(live)
    return Decided(day, live, kept, stored, names, decide(stored, kept, day_number(day), distance=distance), distance)

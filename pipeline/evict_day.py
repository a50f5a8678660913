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
from pipeline.evict.value import valued_as
from pipeline.library_facts import facts_of, look_alikes, without_own_groups
from pipeline.library_rows import LibraryRows, LookDistance
from pipeline.library_value import signalled
from pipeline.partitions import Partition, Partitions
from pipeline.release.withheld import WithheldList

if TYPE_CHECKING:
    from pipeline.evict.farthest import Distance
    from pipeline.evict.signals import SignalsUsed
    from pipeline.lake import Lake


class Decided(NamedTuple):
    """A day's library and what is decided about it."""

    day: Date
    library: LibraryRows
    """Before the decisions."""
    policy: EvictPolicy
    stored: Stored
    names: Names
    decisions: Decisions
    distance: Distance
    signals: SignalsUsed | None
    """The file whose clicks and qualities it was decided with; None: there is none."""


def decide_day(
    lake: Lake,
    partitions: Partitions,
    library: LibraryRows,
    day: Date,
    policy: EvictPolicy,
    *,
    marked: Collection[Partition],
    checked: Collection[Partition],
    hidden: WithheldList,
    valued: Any = None,
) -> Decided:
    """Decide about a library.

    Args:
        lake: Holds the partitions.
        partitions: As the plan sees them.
        library: As dedup left it.
        day: The day.
        policy: By which.
        marked: Partition with the marks of before, see `marks_before`.
        checked: Partitions of the day's recheck.
        hidden: What is taken down.
        valued: The day's audit, for a second look: pictures have the values that it says. None: they are computed.

    Raises:
        TailFull: a budget cannot hold even one picture of each product.
        DataError: The file with the day's clicks is wrong.
    """
    live = library.deciding()
    facts = facts_of(lake, partitions, live, day, marked=marked, checked=checked, withheld=hidden)
    said = None if valued is not None else signalled(policy, live, day)
    facts = facts if said is None else said.joined(facts)
    if policy.near_duplicate is not None:
        live = without_own_groups(live)
        facts = replace(facts, spaces=look_alikes(lake, partitions, live, day))
    stored, names = stored_of(live, policy, day, facts)
    del live, facts  # a few hundred bytes a picture, which the decisions do not need
    if valued is not None:
        stored = valued_as(stored, names.places, valued)
    distance = LookDistance(library, names.live_rows)
    decisions = decide(stored, policy, day_number(day), distance=distance)
    signals = None if said is None else said.used(names.places)
    return Decided(day, library, policy, stored, names, decisions, distance, signals)

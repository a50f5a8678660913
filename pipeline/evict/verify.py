"""Proof of a day's eviction from what the index holds and the catalogue alone: G1 to G6, and where each is broken.

The evictor's decisions are not believed. Only G6 looks into its audit, and G3 for one thing: which pictures it says it
has marked today. There is no other source for that; and it excuses nothing that was marked on an earlier day already,
so what is marked for ever is found. Ranks and values are not computed again: what G1, G3 and G4 say of each group is
what every ranking by the rule would leave. What the ranking itself would do again is `second_pass`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date as Date
from itertools import islice
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from pipeline.evict.audit import checked_audit
from pipeline.evict.carried import rows_of
from pipeline.evict.catalogue import record_of
from pipeline.evict.days import day_number
from pipeline.evict.decide import decide
from pipeline.evict.decisions import Decisions
from pipeline.evict.farthest import Among, Distance
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import Stored
from pipeline.evict.stored_of import Names
from pipeline.evict.verify_audit import broken_audit
from pipeline.evict.verify_rules import Broken, HeldObject, broken_rules, marked_today, taken_down_objects

Guarantee = Literal["G1", "G2", "G3", "G4", "G5", "G6"]
LIMIT = 100


class Violation(BaseModel):
    """One broken guarantee.

    Attributes:
        guarantee: Which.
        what: The picture (sha256), group or category that breaks it; empty in the line that counts those left off.
        where: Where it is: an index, a group, a row of the audit.
        message: What was found and what was expected.
    """

    model_config = ConfigDict(frozen=True)

    guarantee: Guarantee
    what: str
    where: str
    message: str


class Verification(BaseModel):
    """Which guarantees hold; a field is true where there is no violation of it.

    Attributes:
        violations: All of them, at most `LIMIT` of each guarantee and then a line that counts the others; in the order
            of guarantees.
    """

    model_config = ConfigDict(frozen=True)

    G1: bool
    G2: bool
    G3: bool
    G4: bool
    G5: bool
    G6: bool
    violations: tuple[Violation, ...]

    @property
    def holds(self) -> bool:
        """Whether all do."""
        return not self.violations


def verify(
    held: Any,
    catalogue: Any,
    policy: EvictPolicy,
    day: Date,
    audit: Any,
    *,
    taken_down: Collection[str] = frozenset(),
    goes_again: Collection[str] = frozenset(),
    objects: Sequence[HeldObject] = (),
    limit: int = LIMIT,
) -> Verification:
    """Compute the guarantees of a day again (issue 9; reference/evaluation-index-eviction.md 4.7).

    Args:
        held: Rows of the indices after the decisions, see `record_of`.
        catalogue: `catalogue_schema`: what was stored before them.
        policy: By which they were made.
        day: On which.
        audit: `audit_schema`: the rows that they left.
        taken_down: Pictures of every takedown, also of those that the catalogue no longer has.
        objects: Those in the indices that are taken down by their id.
        goes_again: Pictures that the rule would let go on the same day of what is held (`second_pass`).
        limit: Violations that are listed of each guarantee, >= 1.

    Raises:
        DataError: A table lacks a column, or the catalogue contradicts itself.
    """
    audit = checked_audit(audit)
    record = record_of(held, catalogue, policy, day)
    marked = marked_today(record, audit, day_number(day))
    broken = broken_rules(record, policy, day_number(day), marked, taken_down, goes_again)
    broken.append(taken_down_objects(objects))
    broken += broken_audit(record, policy, day_number(day), audit)
    found = {name: [one for one in broken if one.guarantee == name] for name in ("G1", "G2", "G3", "G4", "G5", "G6")}
    return Verification(
        **{name: not any(len(one.places) for one in some) for name, some in found.items()},
        violations=tuple(violation for some in found.values() for violation in _listed(some, limit)),
    )


def _listed(broken: list[Broken], limit: int) -> Iterator[Violation]:
    total = sum(len(one.places) for one in broken)
    every = ((one, place) for one in broken for place in one.places.tolist())
    for one, place in islice(every, limit):
        what, where, message = one.tell(place)
        yield Violation(guarantee=one.guarantee, what=what, where=where, message=message)
    if total > limit:
        yield Violation(
            guarantee=broken[0].guarantee, what="", where="", message=f"and {total - limit} more, not listed"
        )


def second_pass(
    stored: Stored,
    decisions: Decisions,
    names: Names,
    held: Iterable[str],
    policy: EvictPolicy,
    day: Date,
    *,
    distance: Distance | None = None,
) -> list[str]:
    """Return the pictures, sorted, that the rule lets go when it is run again, on the same day, on what is held.

    By G4 there are none. A picture that was marked today stays marked, as on every second look of one day.

    Args:
        stored: n rows, before the day's decisions.
        decisions: The day's; only their marks are taken over, what stays is taken from `held`.
        names: Of the ids.
        held: Pictures in the indices after the decisions. What is in no index yet stays out of it, or is there anyway.
        policy: By which they were made.
        day: On which.
        distance: As `decide` was given it.

    Raises:
        TailFull: What is held does not fit the budget.
    """
    from dataclasses import replace

    there = np.isin(stored.ids, names.ids_of(held))
    rows = np.flatnonzero(there | (~stored.indexed & decisions.keep))
    left = rows_of(replace(stored, marked_on=decisions.marked_on), rows)
    between = None if distance is None else Among(distance, rows)
    again = decide(left, policy, day_number(day), distance=between)
    return sorted(names.picture(number) for number in left.ids[~again.keep].tolist())

"""Two places for generations and the rules by which they change: pure, so that every history of it can be tried.

    EMPTY -> LOADING -> WARMING -> READY <-> ACTIVE    swap and rollback are one move: the two change places
      ^         |          |         |
      +---------+----------+         +-> DRAINING -> EMPTY when its last query has ended

Invariants (4.6 of evaluation-index-eviction.md, issue 8): I1 exactly one is ACTIVE after the first start; I2 a query
runs on one generation; I3 its space is the generation's; I4 a slot is emptied only without queries, or by a deadline
that fails them; I5 swap and rollback are one move; I6 nothing is loaded that memory has no room for; I7 nothing
becomes READY before it was verified, probed and answered its golden queries. I1, I4 and I5 are kept here; I2 and I3 by
the `Lease` that `pipeline.serve.holder` hands out; I6 and I7 by `pipeline.serve.loader`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from pipeline.serve.turned_away import QueryExpired
from reporting.errors import FunnelgateError


class State(StrEnum):
    """What a slot is at."""

    EMPTY = "empty"
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    ACTIVE = "active"
    DRAINING = "draining"


class WrongMove(FunnelgateError):
    """A move that this state does not have: a fault of the caller's, never of a query's."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One place for a generation.

    Attributes:
        state: What it is at.
        number: Release held or being loaded, None where it is empty.
        queries: That run on it now, >= 0.
        epoch: How often it was emptied; a lease of an earlier epoch is void.
    """

    state: State = State.EMPTY
    number: int | None = None
    queries: int = 0
    epoch: int = 0

    @property
    def serves(self) -> bool:
        """Whether a query may start on it."""
        return self.state in (State.READY, State.ACTIVE)


@dataclass(frozen=True, slots=True)
class Lease:
    """One query's hold on one slot, from its start to its end."""

    slot: int
    epoch: int
    number: int


@dataclass(frozen=True, slots=True)
class Slots:
    """Both slots; every move returns new ones or raises `WrongMove` and leaves these as they are.

    Attributes:
        slots: The two.
        last: Greatest number that was ever ACTIVE, 0 for none: no number up to it is loaded again (no downgrade).
    """

    slots: tuple[Slot, Slot] = (Slot(), Slot())
    last: int = 0

    @property
    def active(self) -> int | None:
        """Place of the ACTIVE slot, None before the first start."""
        return self._place(State.ACTIVE)

    @property
    def spare(self) -> int | None:
        """Place of the READY slot, None without one."""
        return self._place(State.READY)

    def of(self, number: int) -> int | None:
        """Return the place of the slot that serves this release, None without one."""
        return next((at for at, slot in enumerate(self.slots) if slot.serves and slot.number == number), None)

    def load(self, number: int) -> Slots:
        """EMPTY to LOADING.

        Raises:
            WrongMove: no slot is empty, something is loading already, or the number is not above every earlier one.
        """
        at = self._place(State.EMPTY)
        if at is None or self._place(State.LOADING, State.WARMING) is not None:
            raise WrongMove(f"release {number} cannot be loaded: the slots are {self}")
        highest = max(self.last, *(slot.number or 0 for slot in self.slots))
        if number <= highest:
            raise WrongMove(f"release {number} is not above {highest}, which is or was held; numbers only rise")
        return self._with(at, replace(self.slots[at], state=State.LOADING, number=number))

    def warm(self) -> Slots:
        """LOADING to WARMING."""
        return self._moved(State.LOADING, State.WARMING)

    def ready(self) -> Slots:
        """WARMING to READY."""
        return self._moved(State.WARMING, State.READY)

    def fail(self) -> Slots:
        """LOADING or WARMING to EMPTY: what was being loaded is given up."""
        at = self._place(State.LOADING, State.WARMING)
        if at is None:
            raise WrongMove(f"nothing is loading that could fail: the slots are {self}")
        return self._with(at, _emptied(self.slots[at]))

    def swap(self) -> Slots:
        """READY to ACTIVE, and ACTIVE, where there is one, to READY; a rollback is the same."""
        at, before = self.spare, self.active
        if at is None:
            raise WrongMove(f"no generation is ready to be swapped in: the slots are {self}")
        moved = self._with(at, replace(self.slots[at], state=State.ACTIVE))
        if before is not None:
            moved = moved._with(before, replace(self.slots[before], state=State.READY))
        return replace(moved, last=max(self.last, self.slots[at].number or 0))

    def drain(self) -> Slots:
        """READY to DRAINING: no query starts on it any more; to EMPTY at once where none runs."""
        at = self.spare
        if at is None or self.active is None:
            raise WrongMove(f"no generation can be drained, the active one never is: the slots are {self}")
        slot = self.slots[at]
        return self._with(at, replace(slot, state=State.DRAINING) if slot.queries else _emptied(slot))

    def expire(self) -> Slots:
        """DRAINING to EMPTY though queries run on it: each of them fails at its end."""
        at = self._place(State.DRAINING)
        if at is None:
            raise WrongMove(f"nothing is draining: the slots are {self}")
        return self._with(at, _emptied(self.slots[at]))

    def pin(self, at: int) -> tuple[Slots, Lease]:
        """Start a query on a slot that serves."""
        slot = self.slots[at]
        if not slot.serves or slot.number is None:
            raise WrongMove(f"slot {at} is {slot.state}, no query may start on it")
        return self._with(at, replace(slot, queries=slot.queries + 1)), Lease(at, slot.epoch, slot.number)

    def unpin(self, lease: Lease) -> Slots:
        """End a query; the last one of a DRAINING slot empties it.

        Raises:
            QueryExpired: the slot was emptied before the query's end.
        """
        slot = self.slots[lease.slot]
        if slot.epoch != lease.epoch:
            raise QueryExpired(
                f"the query held generation {lease.number} beyond the deadline for unloading it; ask again"
            )
        slot = replace(slot, queries=slot.queries - 1)
        over = slot.state is State.DRAINING and not slot.queries
        return self._with(lease.slot, _emptied(slot) if over else slot)

    def _place(self, *states: State) -> int | None:
        return next((at for at, slot in enumerate(self.slots) if slot.state in states), None)

    def _moved(self, before: State, after: State) -> Slots:
        at = self._place(before)
        if at is None:
            raise WrongMove(f"no slot is {before}, so none becomes {after}: the slots are {self}")
        return self._with(at, replace(self.slots[at], state=after))

    def _with(self, at: int, slot: Slot) -> Slots:
        first, second = self.slots
        return replace(self, slots=(slot, second) if at == 0 else (first, slot))


def _emptied(slot: Slot) -> Slot:
    return Slot(epoch=slot.epoch + 1)


Move = Callable[[Slots], Slots]


def broken(slots: Slots) -> list[str]:
    """Return which invariants the two slots break by themselves; [] for none.

    Example:
        >>> broken(Slots((Slot(State.ACTIVE, 1), Slot(State.ACTIVE, 2)), last=2))
        ['I1: 2 slots are active']
    """
    states = [slot.state for slot in slots.slots]
    actives = states.count(State.ACTIVE)
    said = []
    if actives != (1 if slots.last else 0):
        said.append(f"I1: {actives} slots are active")
    for at, slot in enumerate(slots.slots):
        if (slot.number is None) != (slot.state is State.EMPTY):
            said.append(f"I7: slot {at} is {slot.state} with release {slot.number}")
        if slot.queries < 0 or (slot.queries and slot.state in (State.EMPTY, State.LOADING, State.WARMING)):
            said.append(f"I4: slot {at} is {slot.state} under {slot.queries} queries")
    numbers = [slot.number for slot in slots.slots if slot.number is not None]
    if len(set(numbers)) != len(numbers):
        said.append(f"I5: release {numbers[0]} is held twice")
    return said

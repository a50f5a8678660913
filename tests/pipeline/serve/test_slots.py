"""The slots' rules: no history of moves breaks an invariant, and a move that a state does not have is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.serve.slots import Lease, Slot, Slots, State, WrongMove, broken
from pipeline.serve.turned_away import QueryExpired


class Histories(RuleBasedStateMachine):
    """Any order of moves; what must come out is kept beside it in the plainest way."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots()
        self.served: list[int] = []  # numbers in the order in which they became active
        self.running: list[Lease] = []
        self.expired: list[Lease] = []

    def states(self) -> list[State]:
        return [slot.state for slot in self.slots.slots]

    def holding(self, *states: State) -> bool:
        return any(state in states for state in self.states())

    @rule(rise=st.integers(-2, 3))
    def load(self, rise: int) -> None:
        number = max([*self.served, *(slot.number or 0 for slot in self.slots.slots)], default=0) + rise
        if rise < 1 or State.EMPTY not in self.states() or self.holding(State.LOADING, State.WARMING):
            with pytest.raises(WrongMove):
                self.slots.load(number)
        else:
            self.slots = self.slots.load(number)

    @precondition(lambda self: self.slots.spare is None and State.EMPTY in self.states())
    @rule()
    def bring_in(self) -> None:
        """The whole way at once, without which few histories get far."""
        if not self.holding(State.LOADING, State.WARMING):
            self.load(1)
        if self.holding(State.LOADING):
            self.warm()
        self.ready()
        self.swap()

    @precondition(lambda self: self.holding(State.LOADING))
    @rule()
    def warm(self) -> None:
        self.slots = self.slots.warm()

    @precondition(lambda self: self.holding(State.WARMING))
    @rule()
    def ready(self) -> None:
        self.slots = self.slots.ready()

    @precondition(lambda self: self.holding(State.LOADING, State.WARMING))
    @rule()
    def fail(self) -> None:
        self.slots = self.slots.fail()

    @precondition(lambda self: self.holding(State.READY))
    @rule()
    def swap(self) -> None:
        before = self.slots
        self.slots = before.swap()
        assert before.spare is not None
        self.served.append(before.slots[before.spare].number or 0)
        if before.active is not None:  # I5: the same move leads back
            again = self.slots.swap()
            assert again.slots == before.slots

    @precondition(lambda self: self.holding(State.READY) and self.holding(State.ACTIVE))
    @rule()
    def drain(self) -> None:
        self.slots = self.slots.drain()

    @precondition(lambda self: self.holding(State.DRAINING))
    @rule()
    def expire(self) -> None:
        at = self.states().index(State.DRAINING)
        self.slots = self.slots.expire()
        self.expired += [lease for lease in self.running if lease.slot == at]
        self.running = [lease for lease in self.running if lease.slot != at]

    @precondition(lambda self: self.holding(State.READY, State.ACTIVE))
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        at = data.draw(st.sampled_from([at for at, slot in enumerate(self.slots.slots) if slot.serves]))
        self.slots, lease = self.slots.pin(at)
        self.running.append(lease)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        lease = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.slots = self.slots.unpin(lease)

    @precondition(lambda self: self.expired)
    @rule()
    def end_an_expired_one(self) -> None:
        with pytest.raises(QueryExpired, match=f"generation {self.expired[-1].number}"):
            self.slots.unpin(self.expired.pop())

    @rule()
    def crash(self) -> None:
        """A restart begins with nothing; what served is known from the pointer alone."""
        self.slots = Slots()
        self.served, self.running, self.expired = [], [], []

    @invariant()
    def no_invariant_is_broken(self) -> None:
        assert broken(self.slots) == []
        assert self.slots.last == max(self.served, default=0)

    @invariant()
    def the_active_one_is_what_was_swapped_in_last(self) -> None:
        number = None if self.slots.active is None else self.slots.slots[self.slots.active].number
        assert number == (self.served[-1] if self.served else None)

    @invariant()
    def every_running_query_has_its_generation(self) -> None:
        for at, slot in enumerate(self.slots.slots):
            mine = [lease for lease in self.running if lease.slot == at]
            assert slot.queries == len(mine)
            assert all(lease.number == slot.number for lease in mine)  # I2, I4


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)

ACTIVE, READY = Slot(State.ACTIVE, 2), Slot(State.READY, 1)
EMPTY = Slot()


@pytest.mark.parametrize(
    ("slots", "move"),
    [
        (Slots(), Slots.swap),
        (Slots(), Slots.drain),
        (Slots(), Slots.warm),
        (Slots(), Slots.ready),
        (Slots(), Slots.fail),
        (Slots(), Slots.expire),
        (Slots(), lambda slots: slots.pin(0)[0]),
        (Slots((ACTIVE, EMPTY), last=2), Slots.drain),
        (Slots((READY, EMPTY)), Slots.drain),
        (Slots((ACTIVE, READY), last=2), lambda slots: slots.load(3)),
        (Slots((ACTIVE, EMPTY), last=2), lambda slots: slots.load(2)),
        (Slots((EMPTY, EMPTY), last=2), lambda slots: slots.load(1)),
    ],
)
def test_a_move_that_the_state_does_not_have_is_refused(slots: Slots, move: Callable[[Slots], Slots]) -> None:
    with pytest.raises(WrongMove):
        move(slots)


@pytest.mark.parametrize(
    ("slots", "said"),
    [
        (Slots((ACTIVE, ACTIVE), last=2), "I1"),
        (Slots((READY, EMPTY), last=2), "I1"),
        (Slots((ACTIVE, EMPTY)), "I1"),
        (Slots((ACTIVE, Slot(State.LOADING, 3, queries=1)), last=2), "I4"),
        (Slots((ACTIVE, Slot(State.EMPTY, 3)), last=2), "I7"),
        (Slots((ACTIVE, Slot(State.READY, 2)), last=2), "I5"),
    ],
)
def test_broken_slots_are_named_as_such(slots: Slots, said: str) -> None:
    assert any(line.startswith(said) for line in broken(slots))

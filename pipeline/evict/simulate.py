"""A year of forgetting: the plain window, keep-all and our rule side by side on equal arrivals (reference 4.7)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.decide import decide
from pipeline.evict.decisions import Reason
from pipeline.evict.farthest import Distance
from pipeline.evict.labelled_search import judge, queries_of
from pipeline.evict.looks import Looks
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.simulate_result import TITLES, Kept, PolicyName, Sample, Simulation
from pipeline.evict.stored import Stored
from pipeline.evict.tail import TailFull
from pipeline.evict.world import Days, Ids, World
from pipeline.evict.world_state import Library, Mask, WorldState, stored_today

K = 10
SAMPLE_EVERY = 28
"""Days: four weeks, so that every sample is of the same day of the week."""
QUERIES_EACH = 300
"""Of a slice and day: the standard error of a share is 3 points at most."""


class Outcome(NamedTuple):
    """What a policy did with what it had stored.

    Attributes:
        keep: (n,) bool, in the order of `Stored`.
        marked_on: (n,) int32.
        reason: Why, (n,) int8; None where a policy has no reasons.
    """

    keep: Mask
    marked_on: Days
    reason: NDArray[np.int8] | None = None


Keeper = Callable[[Stored, int, EvictPolicy, Distance], Outcome]
Watch = Callable[[PolicyName, WorldState, Stored, Outcome], None]
"""Told each policy's outcome of each day, before what it drops is forgotten."""


def plain_window(stored: Stored, day: int, policy: EvictPolicy, _: Distance) -> Outcome:
    """Keep what was last seen within the window, and nothing else: first in, first out."""
    return Outcome((stored.last_seen > day - policy.window_days) & ~stored.taken_down, stored.marked_on)


def keep_all(stored: Stored, _day: int, _policy: EvictPolicy, _: Distance) -> Outcome:
    """Keep everything but what is taken down."""
    return Outcome(~stored.taken_down, stored.marked_on)


def ours(stored: Stored, day: int, policy: EvictPolicy, distance: Distance) -> Outcome:
    """Keep what `decide` says."""
    decided = decide(stored, policy, day, distance=distance)
    return Outcome(decided.keep, decided.marked_on, decided.reason)


KEEPERS: Mapping[PolicyName, Keeper] = {"window": plain_window, "keep_all": keep_all, "ours": ours}


def simulate(
    world: World,
    looks: Looks,
    policy: EvictPolicy,
    *,
    k: int = K,
    sample_every: int = SAMPLE_EVERY,
    queries_each: int = QUERIES_EACH,
    watch: Watch | None = None,
    on_day: Callable[[int], None] = lambda _: None,
) -> Simulation:
    """Run the three policies through a year; equal arguments give an equal result.

    On each day: takedowns, regroupings and ends come first, then arrivals are booked, rechecks tell what is gone, and
    each policy decides. What a policy has forgotten is stored again when it is offered again. All three honour
    takedowns. The groups and pictures that `policy.pins` names are not of this world: it has pins of its own.

    Args:
        world: The year.
        looks: Vectors of its pictures and queries.
        policy: Ours. Its budgets hold for the world's categories: those that it names, and one for all others.
        k: Of recall and hit@k, >= 1.
        sample_every: Days between searches, >= 1; the last day has some in any case.
        queries_each: Searches of a slice on such a day, at most, >= 1.
        watch: See `Watch`.
        on_day: Told the number of each day that is done, from 1.

    Raises:
        TailFull: A budget is too small for what must stay; with the day.
    """
    state = WorldState(world)
    runs = {name: _Run(name, looks, policy, watch) for name in TITLES}
    live_groups = []
    for events in world.days:
        state.advance(events)
        live = _groups_of(state, state.findable())
        live_groups.append(int(live.sum()))
        for run in runs.values():
            run.step(state, events.booked, live)
        if _is_search_day(state.day + 1, len(world.days), sample_every):
            queries = queries_of(state, looks, queries_each)
            for run in runs.values():
                run.samples.append(judge(state, run.library, looks, queries, k))
        on_day(state.day + 1)
    return Simulation(
        days=len(world.days),
        source=looks.source,
        world=world.settings,
        policy=policy,
        k=k,
        sightings=world.sightings,
        pictures=int(state.booked.sum()),
        live_groups=tuple(live_groups),
        unseen_groups=_unseen(state, policy),
        policies={name: run.kept() for name, run in runs.items()},
        dropped=_by_reason(runs["ours"].dropped),
    )


class _Run:
    """One policy's year so far."""

    def __init__(self, name: PolicyName, looks: Looks, policy: EvictPolicy, watch: Watch | None) -> None:
        self.library = Library(len(looks.pictures))
        self.samples: list[Sample] = []
        self.dropped: Counter[int] = Counter()
        self._name, self._looks, self._policy, self._watch = name, looks, policy, watch
        self._categories = (*sorted(policy.tail_budget.keys() - {"*"}), "other")
        self._rows: list[int] = []
        self._coverage: list[float] = []
        self._lost = 0

    def step(self, state: WorldState, arrivals: Ids, live: Mask) -> None:
        """Take a day's arrivals, forget, and add the day to the curves; `live` are the groups that are live."""
        self.library.take(arrivals, state.day)
        stored = stored_today(state, self.library, self._policy, self._categories)
        try:
            outcome = KEEPERS[self._name](stored, state.day, self._policy, _distance(stored, self._looks))
        except TailFull as error:
            raise TailFull(f"day {state.day + 1} of the simulation: {error}") from error
        if self._watch is not None:
            self._watch(self._name, state, stored, outcome)
        if outcome.reason is not None:
            self.dropped.update(outcome.reason[~outcome.keep].tolist())
        self.library.keep(stored.ids, outcome.keep, outcome.marked_on)
        self._note(state, live)

    def _note(self, state: WorldState, live: Mask) -> None:
        findable = state.findable()
        covered = _groups_of(state, findable[self.library.stored[findable]])
        groups = int(live.sum())
        self._lost = int((live & ~covered).sum())
        self._rows.append(int(self.library.stored.sum()))
        self._coverage.append(1.0 - self._lost / groups if groups else 1.0)

    def kept(self) -> Kept:
        return Kept(
            rows=tuple(self._rows), coverage=tuple(self._coverage), lost=self._lost, samples=tuple(self.samples)
        )


def _is_search_day(day: int, days: int, every: int) -> bool:
    """Say whether products are searched for at the end of a day: the last one, and every so many before it."""
    return day == days or (day % every == 0 and days - day >= every / 2)


def _groups_of(state: WorldState, pictures: NDArray[np.int64]) -> Mask:
    """Return which groups of the world these pictures stand for, (n,) bool."""
    there = np.zeros(len(state.group), np.bool_)
    there[state.members(pictures).groups] = True
    return there


def _unseen(state: WorldState, policy: EvictPolicy) -> int:
    """Return how many live groups were last seen before the window."""
    pictures = state.findable()
    recent = pictures[state.last_seen[pictures] > state.day - policy.window_days]
    return int((_groups_of(state, pictures) & ~_groups_of(state, recent)).sum())


def _distance(stored: Stored, looks: Looks) -> Distance:
    """Return 1 - cosine between stored rows."""

    def distance(some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float32]:
        apart: NDArray[np.float32] = 1 - looks.pictures[stored.ids[some]] @ looks.pictures[stored.ids[others]].T
        return apart

    return distance


def _by_reason(dropped: Counter[int]) -> dict[str, int]:
    return {Reason(number).label: dropped[number] for number in sorted(dropped)}

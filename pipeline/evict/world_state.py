"""The catalogue of record on a day of a made-up year, and what a policy has stored of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import NEVER, Stored
from pipeline.evict.value import value_of
from pipeline.evict.world import NO_PRODUCT, Days, Ids, World, WorldDay

Mask = NDArray[np.bool_]


class Members(NamedTuple):
    """Which picture stands for which product, and in which group it is today: m memberships, by rising `rows`.

    Attributes:
        rows: Place among the pictures that were asked for, (m,) int64.
        groups: (m,) int64.
        products: (m,) int64.
    """

    rows: Ids
    groups: Ids
    products: Ids


class WorldState:
    """What has been booked up to a day, the same for every policy; p pictures, n products.

    Attributes:
        booked: Pictures that have arrived, (p,) bool.
        last_seen: Day of the latest offer that is booked, (p,) int32; meaningless before.
        gone_since: Day since which truly no offer is alive, (p,) int32; NEVER.
        known_gone: The same as far as a recheck has noticed, (p,) int32: all that a policy is told.
        taken_down: (p,) bool.
        group: Of each product today, (n,) int64.
        arrivals: Offers booked of each product, (n,) int64.
    """

    def __init__(self, world: World) -> None:
        count = len(world.pictures)
        self.world = world
        self.booked = np.zeros(count, np.bool_)
        self.last_seen = np.full(count, -1, np.int32)
        self.gone_since = np.full(count, NEVER)
        self.known_gone = np.full(count, NEVER)
        self.taken_down = np.zeros(count, np.bool_)
        self.group = world.products.group.copy()
        self.arrivals = np.zeros(len(self.group), np.int64)
        self.day = -1

    def advance(self, events: WorldDay) -> None:
        """Book the next day.

        An offer that was seen when all others were gone brings its picture back; one that was seen before they went,
        and is booked late, does not.
        """
        self.day += 1
        self.taken_down[events.taken_down] = True
        self.group[events.regrouped[:, 0]] = events.regrouped[:, 1]
        going = events.gone[self.gone_since[events.gone] == NEVER]
        self.gone_since[going] = self.day
        self.booked[events.booked] = True
        np.maximum.at(self.last_seen, events.booked, events.seen)
        np.add.at(self.arrivals, self.world.pictures.product[events.booked], 1)
        back = events.booked[events.seen >= self.gone_since[events.booked]]
        self.gone_since[back] = NEVER
        self.known_gone[back] = NEVER
        pictures, since = events.noticed[:, 0], events.noticed[:, 1]
        still = (self.gone_since[pictures] == since) & (self.known_gone[pictures] == NEVER)
        self.known_gone[pictures[still]] = self.day

    def findable(self) -> Ids:
        """Return the pictures by which a product could be found if all were kept, rising.

        Booked, truly alive, not taken down, with an object for an index.
        """
        is_live = self.booked & (self.gone_since == NEVER) & ~self.taken_down
        return np.flatnonzero(is_live & self.world.pictures.has_object)

    def members(self, pictures: Ids) -> Members:
        """Return the memberships of some pictures; one of a second product that ended counts no more."""
        products = self.world.pictures.product[pictures]
        second = self.world.pictures.second[pictures]
        groups, others = self.group[products], self.group[second]
        counts = (second != NO_PRODUCT) & (others != groups) & (self.world.products.death[second] > self.day)
        which = np.column_stack([np.ones(len(pictures), np.bool_), counts])
        rows = np.repeat(np.arange(len(pictures)), which.sum(axis=1))
        return Members(rows, np.column_stack([groups, others])[which], np.column_stack([products, second])[which])


class Library:
    """What one policy has stored; p pictures of the world, by their numbers.

    Attributes:
        stored: (p,) bool.
        since: Day on which each was stored (again), (p,) int32: it is in an index from the day after.
        marked_on: As in `Stored`, (p,) int32.
    """

    def __init__(self, count: int) -> None:
        self.stored = np.zeros(count, np.bool_)
        self.since = np.full(count, NEVER)
        self.marked_on = np.full(count, NEVER)

    def take(self, arrivals: Ids, day: int) -> None:
        """Store what arrives; what is stored already only becomes younger, which the catalogue knows."""
        new = arrivals[~self.stored[arrivals]]
        self.stored[new] = True
        self.since[new] = day

    def keep(self, pictures: Ids, kept: Mask, marked_on: Days) -> None:
        """Forget what is not kept of `pictures`, and note the marks of the rest."""
        self.stored[pictures] = kept
        self.marked_on[pictures] = np.where(kept, marked_on, NEVER)

    def searchable(self, state: WorldState) -> Ids:
        """Return what an answer may show: stored, with an object, not known to be gone (serving drops those)."""
        shown = self.stored & state.world.pictures.has_object & (state.known_gone == NEVER)
        return np.flatnonzero(shown)


def stored_today(state: WorldState, library: Library, policy: EvictPolicy, categories: tuple[str, ...]) -> Stored:
    """Return what there is to decide about; `ids` are the numbers of pictures, groups those of the world.

    Args:
        state: After `advance`.
        library: After `take`.
        policy: Its value weights; uniqueness is not known here and weighs nothing.
        categories: Names; a product's is its group's number modulo their count.
    """
    pictures = np.flatnonzero(library.stored)
    made = state.world.pictures
    members = state.members(pictures)
    return Stored(
        ids=pictures,
        last_seen=state.last_seen[pictures],
        gone_since=state.known_gone[pictures],
        marked_on=library.marked_on[pictures],
        taken_down=state.taken_down[pictures],
        pinned=made.pinned[pictures],
        indexed=made.has_object[pictures] & (library.since[pictures] < state.day),
        value=value_of(
            policy.value,
            state.day,
            state.last_seen[pictures],
            clicks=made.clicks[pictures],
            quality=made.quality[pictures],
        ),
        category=(state.world.products.group[made.product[pictures]] % len(categories)).astype(np.int32),
        member_rows=members.rows,
        member_groups=members.groups,
        categories=categories,
    )

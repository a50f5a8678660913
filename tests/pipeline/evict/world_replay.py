"""A made-up year once more, in dicts and loops, and what must hold of a policy that goes through it.

Shares nothing with the simulator but the list of events: neither its state of the world nor the rule.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from pipeline.evict.policy import EvictPolicy
from pipeline.evict.simulate import Outcome
from pipeline.evict.stored import Stored
from pipeline.evict.world import World
from pipeline.evict.world_state import WorldState


@dataclass
class Replay:
    """One policy's year: what it has stored by its own account, and what is wrong with that, one line each.

    `degraded` is whether a budget may leave a group with one picture.
    """

    world: World
    policy: EvictPolicy
    degraded: bool = False
    wrong: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    coverage: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.day = -1
        self.stored: set[int] = set()
        self.new: set[int] = set()
        self.seen: dict[int, int] = {}
        self.gone: dict[int, int] = {}
        self.known: dict[int, int] = {}
        self.taken: set[int] = set()
        self.group = dict(enumerate(self.world.products.group.tolist()))

    def watch(self, _: str, __: WorldState, stored: Stored, outcome: Outcome) -> None:
        """Take the next day: what there was to decide about, and what was decided."""
        self._advance()
        if self.stored != set(stored.ids.tolist()):
            self._say("decided about other pictures than were stored or arrived")
        kept = set(stored.ids[outcome.keep].tolist())
        marked = {
            key for key, on in zip(stored.ids.tolist(), outcome.marked_on.tolist(), strict=True) if on == self.day
        }
        self._check(kept, marked)
        self._note(kept)
        self.stored = kept

    def _advance(self) -> None:
        self.day += 1
        events = self.world.days[self.day]
        self.taken |= set(events.taken_down.tolist())
        self.group |= dict(events.regrouped.tolist())
        for picture in events.gone.tolist():
            self.gone.setdefault(picture, self.day)
        self.new = set(events.booked.tolist()) - self.stored
        self.stored |= set(events.booked.tolist())
        revived = set()
        for picture, on in zip(events.booked.tolist(), events.seen.tolist(), strict=True):
            self.seen[picture] = max(on, self.seen.get(picture, -1))
            if on >= self.gone.get(picture, self.day + 1):
                revived.add(picture)
        for picture in revived:
            del self.gone[picture]
            self.known.pop(picture, None)
        for picture, since in events.noticed.tolist():
            if self.gone.get(picture) == since:
                self.known.setdefault(picture, self.day)

    def groups_of(self, pictures: set[int]) -> dict[int, set[int]]:
        """Return group -> those of `pictures` that it has."""
        found: dict[int, set[int]] = defaultdict(set)
        shown = self.world.pictures
        for picture in pictures:
            found[self.group[int(shown.product[picture])]].add(picture)
            second = int(shown.second[picture])
            if second >= 0 and self.world.products.death[second] > self.day:
                found[self.group[second]].add(picture)
        return found

    def _check(self, kept: set[int], marked: set[int]) -> None:
        shown, policy = self.world.pictures, self.policy
        alive = {one for one in self.stored if one not in self.known and one not in self.taken}
        recent = {one for one in self.stored if self.day - self.seen[one] < policy.window_days}
        live = {one for one in alive if shown.has_object[one] and one not in self.new}
        groups = self.groups_of(live)
        for group, members in groups.items():
            least = 1 if self.degraded else min(policy.min_per_group, len(members))
            if len(members & kept) < least:
                self._say(f"G1: group {group} keeps {len(members & kept)} of {len(members)}")
        if gone := (recent & alive) - kept:
            self._say(f"G2: {gone} are in the window and go")
        pinned = {one for one in self.stored if shown.pinned[one]}
        settled = (kept & recent) | (kept & pinned) | (kept & set(self.known))
        if len(kept) > len(settled) + len(marked & kept) + policy.cap * len(groups):
            self._say(f"G3: {len(kept)} rows stay")
        if kept & self.taken:
            self._say(f"G5: {kept & self.taken} are taken down and stay")

    def _note(self, kept: set[int]) -> None:
        truly = {one for one in self.seen if one not in self.gone and one not in self.taken}
        groups = self.groups_of({one for one in truly if self.world.pictures.has_object[one]})
        covered = sum(bool(members & kept) for members in groups.values())
        self.rows.append(len(kept))
        self.coverage.append(covered / len(groups) if groups else 1.0)

    def _say(self, what: str) -> None:
        self.wrong.append(f"day {self.day}: {what}")

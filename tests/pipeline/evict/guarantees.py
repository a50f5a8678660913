"""What must hold of any eviction, whoever decided it: G1 to G5 counted in plain loops over pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from pipeline.evict.policy import EvictPolicy
from tests.pipeline.evict.stored_rows import Picture


def broken(
    before: list[Picture], after: list[Picture], policy: EvictPolicy, day: int, degraded: Iterable[str] = ()
) -> list[str]:
    """Return what is broken on a day, each `G1: ...`; none where all guarantees hold.

    Args:
        before: What was stored, with what is now known of it.
        after: What stays, with its marks.
        policy: That applied.
        day: On which it did.
        degraded: Categories said to be without room for m of each group.
    """
    return [*_groups(before, after, policy, day, set(degraded)), *_rows(before, after, policy, day)]


def live(picture: Picture, day: int) -> bool:
    """Whether it may represent a group."""
    gone = picture.gone_since is not None and picture.gone_since <= day
    return picture.indexed and not gone and not picture.taken_down


def _groups(
    before: list[Picture], after: list[Picture], policy: EvictPolicy, day: int, degraded: set[str]
) -> Iterator[str]:
    kept = {picture.id for picture in after}
    groups: dict[int, list[Picture]] = defaultdict(list)
    for picture in before:
        for group in set(picture.groups) if live(picture, day) else ():
            groups[group].append(picture)
    for group, members in groups.items():
        left = sum(picture.id in kept for picture in members)
        has_room = degraded.isdisjoint(picture.category for picture in members)
        if left < (min(policy.min_per_group, len(members)) if has_room else 1):
            yield f"G1: group {group} keeps {left} of {len(members)}"
    settled = [one for one in after if _recent(one, policy, day) or one.pinned or not _alive(one, day)]
    marked = [one for one in after if one.marked_on == day]
    if len(after) > len(settled) + len(marked) + policy.cap * len(groups):
        yield f"G3: {len(after)} rows stay"


def _rows(before: list[Picture], after: list[Picture], policy: EvictPolicy, day: int) -> Iterator[str]:
    kept = {picture.id for picture in after}
    for one in before:
        if _recent(one, policy, day) and _alive(one, day) and not one.taken_down and one.id not in kept:
            yield f"G2: {one.id} is in the window and goes"
        if one.taken_down and one.id in kept:
            yield f"G5: {one.id} is taken down and stays"
    for category in {picture.category for picture in before}:
        budget = policy.budget_of(category)
        tail = [
            one
            for one in after
            if one.category == category
            and one.marked_on is None
            and not (_alive(one, day) and _recent(one, policy, day))
            and (_alive(one, day) or one.pinned)
        ]
        if budget is not None and len(tail) > budget:
            yield f"G3: the tail of {category} has {len(tail)} rows"
    if len(kept) < len(after) or not kept <= {picture.id for picture in before}:
        yield "G6: a row stays twice, or one that was never stored"


def _alive(picture: Picture, day: int) -> bool:
    return picture.gone_since is None or picture.gone_since > day


def _recent(picture: Picture, policy: EvictPolicy, day: int) -> bool:
    return day - picture.last_seen < policy.window_days

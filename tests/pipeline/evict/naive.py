"""The rule of eviction in dicts and loops: written from the words of issue 9, to compare the engine with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from pipeline.evict.decisions import Reason
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.tail import TailFull
from tests.pipeline.evict.stored_rows import Picture

Apart = Callable[[int, int], float]
"""How far two pictures are apart, by their ids."""


class Said(NamedTuple):
    """What is decided about one picture."""

    reason: Reason
    why: Reason
    rank: int = 0
    group: int = -1
    better: int = -1
    marked_on: int | None = None


def naive(
    pictures: list[Picture], policy: EvictPolicy, day: int, apart: Apart | None = None
) -> tuple[dict[int, Said], dict[str, int]]:
    """Return what is decided about each picture, by id, and the degraded categories."""
    said = {p.id: alone for p in pictures if (alone := _without_groups(p, policy, day))}
    live = [p for p in pictures if p.indexed and not p.taken_down and (p.gone_since is None or p.gone_since > day)]
    stays = {p.id for p in live if day - p.last_seen < policy.window_days or p.pinned}
    groups: dict[int, list[Picture]] = defaultdict(list)
    for p in sorted(live, key=lambda p: (day - p.last_seen >= policy.window_days, not p.pinned, *_worth(p))):
        for group in set(p.groups):
            groups[group].append(p)
    ranks: dict[int, tuple[int, int]] = {}
    for group in sorted(groups):
        if apart is not None:
            groups[group] = _differing(groups[group], stays, policy.cap, apart)
        for rank, p in enumerate(groups[group], 1):
            ranks[p.id] = min(ranks.get(p.id, (rank, group)), (rank, group))
    room: dict[str, float] = {p.category: policy.budget_of(p.category) or float("inf") for p in pictures}
    for p in pictures:
        room[p.category] -= p.id in said and said[p.id].reason == Reason.PINNED
    why: dict[int, Reason] = {}
    for p in sorted((p for p in live if p.id not in stays), key=lambda p: (ranks[p.id][0], *_worth(p))):
        rank = ranks[p.id][0]
        over = rank > 1 and room[p.category] <= 0
        why[p.id] = Reason.OVER_BUDGET if over else Reason.REPRESENTATIVE
        if rank > policy.cap:
            why[p.id] = Reason.SUPERSEDED
        room[p.category] -= why[p.id] == Reason.REPRESENTATIVE
    if any(rows < 0 for rows in room.values()):
        raise TailFull("full")
    stays |= {key for key, reason in why.items() if reason == Reason.REPRESENTATIVE}
    degraded: dict[str, int] = {}
    for members in groups.values():
        left = sum(p.id in stays for p in members)
        for p in members if left < min(policy.min_per_group, len(members)) else []:
            if why.get(p.id) == Reason.OVER_BUDGET:
                degraded[p.category] = min(left, degraded.get(p.category, left))
    for p in live:
        rank, group = ranks[p.id]
        if why.get(p.id, Reason.REPRESENTATIVE) == Reason.REPRESENTATIVE:
            said[p.id] = Said(*2 * (why.get(p.id) or said[p.id].reason,), rank, group)
        else:
            earlier = p.marked_on is not None and p.marked_on < day
            reason = why[p.id] if earlier else Reason.MARKED
            said[p.id] = Said(reason, why[p.id], rank, group, groups[group][0].id, p.marked_on if earlier else day)
    return said, degraded


def _without_groups(p: Picture, policy: EvictPolicy, day: int) -> Said | None:
    gone = p.gone_since is not None and p.gone_since <= day
    for reason, holds in (
        (Reason.TAKEDOWN, p.taken_down),
        (Reason.WINDOW, not gone and day - p.last_seen < policy.window_days),
        (Reason.PINNED, p.pinned),
        (Reason.DELISTED, gone and day - (p.gone_since or 0) > policy.delist_days),
        (Reason.GONE_LATELY, gone),
        (Reason.NOT_INDEXED, not p.indexed),
    ):
        if holds:
            return Said(reason, reason)
    return None


def _worth(p: Picture) -> tuple[float, int, int]:
    return -p.value, -p.last_seen, p.id


def _differing(members: list[Picture], stays: set[int], cap: int, apart: Apart) -> list[Picture]:
    """Return a group's pictures with those in front that differ from all in front of them."""
    front = [p for p in members if p.id in stays]
    rest = members[len(front) :]
    if len(front) >= cap or len(members) <= cap:
        return members
    chosen, looked_at = front[:16], rest[:16]
    picked: list[Picture] = []
    for _ in range(min(cap - len(front), len(looked_at))):
        nearest = {p.id: min((apart(p.id, other.id) for other in chosen + picked), default=0.0) for p in looked_at}
        picked.append(max(looked_at, key=lambda p: nearest[p.id]))
        looked_at.remove(picked[-1])
    return front + picked + looked_at + rest[16:]

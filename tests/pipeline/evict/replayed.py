"""Streaming runbooks (big-ann-benchmarks) as days of a catalogue that evict decides about.

What a runbook inserts arrives; what it deletes dies as a story says: by takedown, by its offers, or only of age. What
the runbook itself says is there is kept beside it, as bits: that is the oracle.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.decide import decide
from pipeline.evict.decisions import Decisions
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import NEVER, Stored
from pipeline.index.merge import ShardPart
from pipeline.index.part import OpenPart, open_part
from pipeline.index.shard import build_shard, describe_shard
from tests.pipeline.shard_parts import CATEGORY, SPACE

Step = dict[str, Any]
Ids = NDArray[np.int64]
Products = Callable[[Ids], Ids]
Death = Literal["takedown", "delisted", "age"]


class Catalogue:
    """What is stored, in columns; each day evict decides about all of it.

    Attributes:
        policy: That applies.
        live: By id whether the runbook says that it is there, (n,) bool.
        arrived: By id whether it ever was, (n,) bool.
        day: Of the last step, from 0; one ends with its insert.
    """

    def __init__(self, policy: EvictPolicy, ids: int, products: Products, death: Death):
        self.policy, self.products, self.death = policy, products, death
        self.live, self.arrived = np.zeros(ids, np.bool_), np.zeros(ids, np.bool_)
        self.day = 0
        self._ends = False
        self.columns: dict[str, NDArray[Any]] = {
            "ids": np.zeros(0, np.int64),
            "last_seen": np.zeros(0, np.int32),
            "gone_since": np.zeros(0, np.int32),
            "marked_on": np.zeros(0, np.int32),
            "taken_down": np.zeros(0, np.bool_),
        }

    @property
    def ids(self) -> Ids:
        """What is stored, rising."""
        return np.sort(self.columns["ids"])

    def do(self, step: Step) -> None:
        """Let a step happen; whoever calls decides when evict runs."""
        if step["operation"] == "search":
            return
        if self._ends:
            self.day, self._ends = self.day + 1, False
        match step["operation"]:
            case "insert":
                self._arrive(np.arange(step["start"], step["end"]))
            case "delete":
                self._die(step["start"], step["end"])
            case "replace":  # the same pictures, seen again: their day is built again, see `Shards`
                at = self._between(step["tags_start"], step["tags_end"])
                self.columns["last_seen"][at] = self.day
                self._ends = True
            case other:
                raise AssertionError(f"a runbook asks for {other}")

    def evict(self) -> Decisions:
        """Decide about all that is stored, and let go what must."""
        decided = decide(self.stored(), self.policy, self.day)
        keep = decided.keep
        self.columns["marked_on"] = decided.marked_on
        self.columns = {name: column[keep] for name, column in self.columns.items()}
        return decided

    def stored(self) -> Stored:
        """Return what evict sees: all of it indexed, none pinned."""
        rows = len(self.columns["ids"])
        return Stored(
            **self.columns,
            pinned=np.zeros(rows, np.bool_),
            indexed=np.ones(rows, np.bool_),
            value=worth(self.columns["ids"]),
            category=np.zeros(rows, np.int32),
            member_rows=np.arange(rows),
            member_groups=self.products(self.columns["ids"]),
            categories=(CATEGORY,),
        )

    def _arrive(self, ids: Ids) -> None:
        assert not self.live[ids].any(), "a runbook inserts what is there"
        new: dict[str, Any] = {
            "ids": ids,
            "last_seen": self.day,
            "gone_since": NEVER,
            "marked_on": NEVER,
            "taken_down": False,
        }
        for name, column in self.columns.items():
            more = np.broadcast_to(np.asarray(new[name], column.dtype), len(ids))
            self.columns[name] = np.concatenate([column, more])
        self.live[ids] = self.arrived[ids] = self._ends = True

    def _die(self, start: int, stop: int) -> None:
        at = self._between(start, stop)
        match self.death:
            case "takedown":
                self.columns["taken_down"][at] = True
            case "delisted":
                self.columns["gone_since"][at] = self.day - 1
            case "age":
                assert (self.columns["last_seen"][at] < self.day).all()
        self.live[start:stop] = False

    def _between(self, start: int, stop: int) -> NDArray[np.bool_]:
        ids = self.columns["ids"]
        found: NDArray[np.bool_] = (ids >= start) & (ids < stop)
        return found


def worth(ids: Ids) -> NDArray[np.float32]:
    """Return what each picture is worth, with many ties; it has nothing to do with the order of ids."""
    return (ids * 7919 % 13 / 13).astype(np.float32)


class Shards:
    """Day shards of real vectors; one is built again where pictures of its day are replaced.

    Attributes:
        held: By id the number of its vector, (n,) int64.
    """

    def __init__(self, trained: bytes, vectors: NDArray[np.float32]):
        self.trained, self.vectors = trained, vectors
        self.held = np.full(len(vectors), -1, np.int64)
        self._days: list[tuple[Ids, ShardPart]] = []
        self._open: dict[int, OpenPart] = {}

    def do(self, step: Step) -> None:
        """Build what a step asks for; a deletion asks for nothing."""
        match step["operation"]:
            case "insert":
                ids = np.arange(step["start"], step["end"])
                self.held[ids] = ids
                self._days.append((ids, self._built(len(self._days), ids)))
            case "replace":
                tags = np.arange(step["tags_start"], step["tags_end"])
                self.held[tags] = np.arange(step["ids_start"], step["ids_end"])
                for day, (ids, _) in enumerate(self._days):
                    if np.isin(ids, tags).any():
                        self._days[day] = ids, self._built(day, ids)

    def _built(self, day: int, ids: Ids) -> ShardPart:
        data = build_shard(self.trained, ids, self.vectors[self.held[ids]])
        date = dt.date(2026, 1, 1) + dt.timedelta(day)
        return ShardPart(describe_shard(data, category=CATEGORY, date=date, space_id=SPACE), data)

    def parts(self, stored: Ids) -> list[ShardPart]:
        """Return what a merge is asked for of each day: the ids that evict has left, which rise."""
        found = []
        for ids, shard in self._days:
            first, end = np.searchsorted(stored, [ids[0], ids[-1] + 1])  # a day's ids are a range of its own
            keep = stored[first:end]
            if len(keep):
                found.append(ShardPart(shard.manifest, shard.index, None if len(keep) == len(ids) else keep))
        return found

    def opened(self, stored: Ids) -> list[OpenPart]:
        """Return the same, open; a day of which nothing has changed stays open."""
        found = []
        for part in self.parts(stored):
            day = part.manifest.date.toordinal()
            known = self._open.get(day)
            if known is None or not _same(known.part, part):
                self._open[day] = known = open_part(part)
            found.append(known)
        return found


def _same(one: ShardPart, other: ShardPart) -> bool:
    if one.keep_ids is None or other.keep_ids is None:
        return one.manifest == other.manifest and one.keep_ids is other.keep_ids
    return one.manifest == other.manifest and np.array_equal(one.keep_ids, other.keep_ids)

"""evict: which stored pictures stay when the window moves on; the last copies of a product never go.

It takes over the library from dedup and hands it to the next day's dedup and to the merge. Every decision is a row with
its reason (`eviction.parquet`); the rule is `pipeline.evict.decide`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ConfigDict

from pipeline.evict.audit import audit_blocks, audit_schema, explain_row
from pipeline.evict.days import day_number
from pipeline.evict.decisions import Reason
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.tail import TailFull, fullest
from pipeline.evict_day import Decided, decide_day
from pipeline.item_hashes import digest_of, item_hashes
from pipeline.library_facts import AUDIT, marks_before
from pipeline.library_rows import LibraryRows
from pipeline.release.withheld import withheld
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, write_drops
from pipeline.window.library import RECHECK
from pipeline.window.table_batches import write_batches


class Settings(EvictPolicy):
    """The policy, as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def run(leaf: LeafContext, settings: Settings) -> None:
    """Decide about every picture of the library; write the audit, and the library that is left.

    Raises:
        TailFull: a category's tail cannot hold even one picture of each product; nothing is evicted.
    """
    library = LibraryRows(leaf.lake, leaf.inputs("dedup"))
    hashes = item_hashes(library.pictures)
    leaf.books.take(digest_of(hashes))
    found = _decided(leaf, settings, library)
    write_drops(leaf, _write_audit(leaf, found))
    keep = found.names.by_live_row(found.decisions.keep)
    write_batches(leaf.lake, f"{leaf.folder}/library.parquet", library.schema, _left(library, keep))
    leaf.books.keep(digest_of(hashes[keep]))
    _measure(leaf, found)


def _write_audit(leaf: LeafContext, found: Decided) -> list[Drop]:
    """Write the audit block by block; return what goes."""
    drops: list[Drop] = []

    def blocks() -> Iterator[pa.Table]:
        for block in audit_blocks(found.stored, found.decisions, found.names):
            gone = block.filter(pc.invert(block["keep"])).to_pylist()
            drops.extend((row["picture"], row["reason"], explain_row(row)) for row in gone)
            yield block

    write_batches(leaf.lake, f"{leaf.folder}/{AUDIT}", audit_schema(), blocks())
    return drops


def _left(library: LibraryRows, keep: NDArray[np.bool_]) -> Iterator[pa.Table]:
    """Yield the rows that stay, as they were."""
    for start, table in library.batches():
        yield table.filter(pa.array(keep[start : start + table.num_rows]))


def _decided(leaf: LeafContext, settings: Settings, library: LibraryRows) -> Decided:
    marked = marks_before(leaf.partitions, leaf.key.date)
    leaf.remember(marked)
    try:
        found = decide_day(
            leaf.lake,
            leaf.partitions,
            library,
            leaf.key.date,
            settings,
            marked=marked,
            checked=leaf.inputs(RECHECK) if RECHECK in leaf.topology.tasks else [],
            hidden=withheld(leaf.lake.folder()),
        )
    except TailFull as full:
        leaf.books.measure("tail_fill_max", full.fill)
        raise
    if found.signals is not None:
        leaf.books.use("signals", found.signals.version)
    return found


def _measure(leaf: LeafContext, found: Decided) -> None:
    """Book how many stay for what reason, how many products live, and how many of them have one picture.

    Counted over what is stored and not over what is indexed: which indexes are there yet is a matter of moments where
    several days run side by side, and books are the same however they ran.
    """
    stored, decisions = found.stored, found.decisions
    reasons = np.bincount(decisions.reason, minlength=max(Reason) + 1)
    lives = (stored.gone_since > day_number(found.day)) & ~stored.taken_down
    pictures = np.bincount(stored.member_groups[lives[stored.member_rows]])
    leaf.books.measure("window", int(reasons[Reason.WINDOW]))
    leaf.books.measure("tail", int(reasons[Reason.PINNED] + reasons[Reason.REPRESENTATIVE]))
    leaf.books.measure("marked", int(reasons[Reason.MARKED]))
    in_tail = (decisions.reason == Reason.PINNED) | (decisions.reason == Reason.REPRESENTATIVE)
    leaf.books.measure("tail_fill_max", fullest(stored, found.policy, in_tail))
    leaf.books.measure("with_clicks", 0 if found.signals is None else found.signals.with_clicks)
    leaf.books.measure("with_quality", 0 if found.signals is None else found.signals.with_quality)
    leaf.books.measure("groups", int((pictures > 0).sum()))
    leaf.books.measure("groups_at_risk", int((pictures == 1).sum()))

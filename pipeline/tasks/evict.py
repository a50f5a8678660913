"""evict: which stored pictures stay when the window moves on; the last copies of a product never go.

It takes over the library from dedup and hands it to the next day's dedup and to the merge. Every decision is a row with
its reason (`eviction.parquet`); the rule is `pipeline.evict.decide`.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict

from pipeline.evict.audit import audit_table, explain_row
from pipeline.evict.days import day_number
from pipeline.evict.decisions import Reason
from pipeline.evict.policy import EvictPolicy
from pipeline.evict_day import Decided, decide_day
from pipeline.library_facts import AUDIT, marks_before
from pipeline.release.withheld import withheld
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import write_drops
from pipeline.window.library import RECHECK


class Settings(EvictPolicy):
    """The policy, as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def run(leaf: LeafContext, settings: Settings) -> None:
    """Decide about every picture of the library; write the audit, and the library that is left.

    Raises:
        TailFull: a category's tail cannot hold even one picture of each product; nothing is evicted.
    """
    live = leaf.read("dedup", "live")
    leaf.books.take(live["picture"].to_pylist())
    found = _decided(leaf, settings, live)
    audit = audit_table(found.stored, found.decisions, found.names)
    leaf.write(AUDIT.removesuffix(".parquet"), audit)
    gone = audit.filter(pc.invert(audit["keep"]))
    write_drops(leaf, [(row["picture"], row["reason"], explain_row(row)) for row in gone.to_pylist()])
    left = live.filter(pc.is_in(live["picture"], value_set=audit.filter(audit["keep"])["picture"].cast(pa.string())))
    leaf.write("library", left)
    leaf.books.keep(left["picture"].to_pylist())
    _measure(leaf, found)


def _decided(leaf: LeafContext, settings: Settings, live: pa.Table) -> Decided:
    marked = marks_before(leaf.partitions, leaf.key.date)
    leaf.remember(marked)
    return decide_day(
        leaf.lake,
        leaf.partitions,
        live,
        leaf.key.date,
        settings,
        marked=marked,
        checked=leaf.inputs(RECHECK) if RECHECK in leaf.topology.tasks else [],
        hidden=withheld(leaf.lake.folder()),
    )


def _measure(leaf: LeafContext, found: Decided) -> None:
    """Book how many stay for what reason, how many products live, and how many of them have one picture.

    Counted over what is stored and not over what is indexed: which indexes are there yet is a matter of moments where
    several days run side by side, and books are the same however they ran.
    """
    stored, decisions = found.stored, found.decisions
    reasons = np.bincount(decisions.reason, minlength=max(Reason) + 1)
    lives = (stored.gone_since > day_number(found.day)) & ~stored.taken_down
    pictures = np.unique(stored.member_groups[lives[stored.member_rows]], return_counts=True)[1]
    leaf.books.measure("window", int(reasons[Reason.WINDOW]))
    leaf.books.measure("tail", int(reasons[Reason.PINNED] + reasons[Reason.REPRESENTATIVE]))
    leaf.books.measure("marked", int(reasons[Reason.MARKED]))
    leaf.books.measure("groups", len(pictures))
    leaf.books.measure("groups_at_risk", int((pictures == 1).sum()))

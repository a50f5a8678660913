"""What one task handed on and another took in, group by group: the ground of the kinds that compare two tasks.

Pure. Groups are those of the dimensions that both ends split by; what law holds between the two sides says how much
of a group is left over. The rules are those of `reporting.balance`, whose `unexplained` is the sum of what is left
over; only where a repair counts while the daily plan is still at work does this wait for a leaf that the balance
already misses.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date as Date
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from checks.kinds.base import Table
from checks.view import Group, View, group_of
from reporting.measures import value_of
from reporting.plans import Leaf
from reporting.record import TaskRecord
from reporting.topology import DIMENSIONS, Dimension, Law, Topology

Ratio = tuple[float, float]
"""[low, high], both allowed."""


class Known(StrEnum):
    """How much is known of a group."""

    ALL = "all"
    """It can be judged; a leaf that is still missing will not come."""
    WAITING = "waiting"
    """A leaf is missing and its plan is still at work."""
    NOTHING = "nothing"
    """No leaf has reported, on neither side."""
    UNMEASURED = "unmeasured"
    """A record does not hold the measure."""


class Comparison(NamedTuple):
    """Two tasks and what must hold between them."""

    instance: str
    """Name of the instance that judges the pair as a whole."""
    source: str
    target: str
    grain: tuple[Dimension, ...]
    """Dimensions within which it must hold; groups are values of these."""
    handed: str = "produced"
    """Measure of the source."""
    taken: str = "input"
    """Measure of the target."""
    law: Law = Law.EQUAL
    ratio: Ratio | None = None


class Row(NamedTuple):
    """One group of a comparison."""

    group: Group
    known: Known
    before: tuple[Leaf, ...]
    after: tuple[Leaf, ...]
    missing: tuple[Leaf, ...] = ()
    """Leaves of either side without a record."""
    handed: float = 0
    taken: float = 0
    wanted: float = 0
    """What the target should have taken in: the nearest number that leaves nothing over."""
    residual: float = 0
    """How much is left over, >= 0."""
    notes: tuple[str, ...] = ()
    """Of a window: the partitions of which another number was read than was handed on."""


def rows_of(view: View, compared: Comparison) -> list[Row]:
    """Return the groups of a comparison on the view's day, sorted; [] where neither task has any leaf."""
    if compared.law is Law.WINDOW:
        return list(_window(view, compared))
    before, after = (view.grouped(task, compared.grain) for task in (compared.source, compared.target))
    return [
        _row(view, compared, group, tuple(before.get(group, ())), tuple(after.get(group, ())))
        for group in sorted({*before, *after})
    ]


def _row(view: View, compared: Comparison, group: Group, before: Sequence[Leaf], after: Sequence[Leaf]) -> Row:
    leaves = (*before, *after)
    row = Row(group, Known.ALL, tuple(before), tuple(after), tuple(x for x in leaves if x not in view.counting))
    if any(view.is_open(leaf) for leaf in (row.missing if before and after else leaves)):
        return row._replace(known=Known.WAITING)
    if len(row.missing) == len(leaves):
        return row._replace(known=Known.NOTHING)
    handed, taken = _sum(view, before, compared.handed), _sum(view, after, compared.taken)
    if handed is None or taken is None:
        return row._replace(known=Known.UNMEASURED)
    wanted = handed if compared.ratio is None else nearest_within(handed, taken, compared.ratio)
    return row._replace(handed=handed, taken=taken, wanted=wanted, residual=abs(wanted - taken))


def _sum(view: View, leaves: Iterable[Leaf], measure: str) -> float | None:
    values = [value_of(record, measure) for record in view.records_of(leaves) if record is not None]
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def nearest_within(handed: float, taken: float, ratio: Ratio) -> float:
    """Return the number nearest to `taken` that is within a band around `handed`.

    Bounds are read as they are written: 100 x 0.29 is 29. Whole numbers stay whole: at least 1.5 items are 2.

    Args:
        handed: >= 0.
        taken: >= 0.
        ratio: [low, high] of taken / handed, both allowed; high may be infinite.

    Example:
        >>> nearest_within(3, 1, (0.5, 2)), nearest_within(100, 29, (0, 0.29)), nearest_within(10, 23, (0.5, 2))
        (2.0, 29.0, 20.0)
    """
    whole = float(handed).is_integer() and float(taken).is_integer()
    low = Fraction(handed) * Fraction(str(ratio[0]))
    if taken < low:
        return float(math.ceil(low) if whole else low)
    if math.isinf(ratio[1]):
        return float(taken)
    high = Fraction(handed) * Fraction(str(ratio[1]))
    return float(math.floor(high) if whole else high) if taken > high else float(taken)


_Partition = tuple[str, Date, str]
"""(task, day, plan)."""
_ForGroup = tuple[str, Date, str, Group]
"""A partition and the group of the target that a part of it is for."""


class _Windows(NamedTuple):
    """What of a target's windows one comparison answers for."""

    mine: frozenset[str]
    """Sources whose readings it compares with what they had handed on."""
    others: frozenset[str]
    """Sources that other comparisons answer for."""
    has_sum: bool
    """Whether it also compares the target's input with all that was read: of several windows the first does."""


def _windows(topology: Topology, compared: Comparison) -> _Windows:
    """Divide a target's sources among its windows; the first answers for what the target takes in again of its own."""
    sources = topology.window_sources(compared.target)
    has_sum = compared.source == sources[0]
    mine = {compared.source, *({compared.target} & {*sources} if has_sum else ())}
    return _Windows(frozenset(mine), frozenset(sources) - mine, has_sum)


def _window(view: View, compared: Comparison) -> Iterator[Row]:
    """Yield a row for each leaf of the target: what it read of each partition, and what that had handed on."""
    windows = _windows(view.topology, compared)
    produced = _produced((*view.records, *view.other_days), view.topology, windows.mine, compared.target)
    grain = [dim for dim in DIMENSIONS if dim in view.topology.task(compared.target).grain]
    for leaf in view.leaves.get(compared.target, ()):
        row = Row(group_of(leaf, grain), Known.ALL, (), (leaf,))
        record = view.counting.get(leaf)
        if record is None:
            known = Known.WAITING if view.is_open(leaf) else Known.NOTHING
            yield row._replace(known=known, missing=(leaf,))
        else:
            groups = {task: group_of(leaf, view.topology.shared_grain(task, compared.target)) for task in windows.mine}
            yield _read(row, record, windows, produced, groups)


def _read(
    row: Row, record: TaskRecord, windows: _Windows, produced: Mapping[_ForGroup, int], groups: Mapping[str, Group]
) -> Row:
    """Return what a record read of its sources, and what these had handed on to its group."""
    read: Counter[_Partition] = Counter()  # a partition read twice is one reading of twice as much
    for consumed in record.consumed:
        if consumed.task in windows.mine:
            read[consumed.task, consumed.date, consumed.planid] += consumed.count
    there = {partition: produced.get((*partition, groups[partition[0]]), 0) for partition in read}
    elsewhere = sum(consumed.count for consumed in record.consumed if consumed.task in windows.others)
    taken = record.input - elsewhere if windows.has_sum else read.total()
    handed, residual = sum(there.values()), abs(read.total() - taken)
    residual += sum(abs(there[partition] - count) for partition, count in read.items())
    notes = tuple(
        f"{task + ' ' if len(windows.mine) > 1 else ''}{day} {planid}: read {count:,}, handed on {there[part]:,}"
        for part, count in sorted(read.items())
        if there[part] != count
        for task, day, planid in [part]
    )
    wanted = handed if handed != taken else handed + residual
    return row._replace(handed=handed, taken=taken, wanted=wanted, residual=residual, notes=notes)


def _produced(
    records: Iterable[TaskRecord], topology: Topology, sources: Collection[str], target: str
) -> Mapping[_ForGroup, int]:
    """Return what each partition of some sources had handed on, by the group of the target that it is for."""
    sums: dict[_ForGroup, int] = defaultdict(int)
    for record in {record.key: record for record in records if record.key.task in sources}.values():
        grain = topology.shared_grain(record.key.task, target)
        group = tuple(getattr(record.key, dimension) for dimension in grain)
        sums[record.key.task, record.key.date, record.key.planid, group] += record.produced
    return sums


def table_of(dimensions: Sequence[str], rows: Iterable[tuple[Group, float, float]], *, exact: bool) -> Table | None:
    """Return a table for the localisation from rows of (values, actual, expected).

    Returns:
        None where no place can be named: no dimension, no row, or a number below 0.
    """
    found = list(rows)
    numbers = np.array([(actual, expected) for _, actual, expected in found], dtype=np.float64).reshape(-1, 2)
    if not dimensions or not found or numbers.min() < 0:
        return None
    values = tuple(values for values, _, _ in found)
    return Table(tuple(dimensions), values, numbers[:, 0].copy(), numbers[:, 1].copy(), exact)


def table_of_rows(view: View, compared: Comparison, rows: Sequence[Row]) -> Table | None:
    """Return where what is left over sits: groups, or leaves of the target where all of it is due to missing ones.

    Where several leaves of a group are missing, each should have taken in an equal part of what the group lacks.
    """
    judged = [row for row in rows if row.known is Known.ALL]
    grain = [dim for dim in DIMENSIONS if dim in view.topology.task(compared.target).grain]
    broken = [row for row in judged if row.residual]
    if compared.law is not Law.WINDOW and broken and all(_lacks_leaves(row) for row in broken):
        leaves = [one for row in judged for one in _leaf_rows(view, compared, row, grain)]
        return table_of(grain, leaves, exact=True)
    dimensions = grain if compared.law is Law.WINDOW else compared.grain
    return table_of(dimensions, ((row.group, row.taken, row.wanted) for row in judged), exact=True)


def _lacks_leaves(row: Row) -> bool:
    return row.wanted > row.taken and any(leaf in row.after for leaf in row.missing)


def _leaf_rows(
    view: View, compared: Comparison, row: Row, grain: Sequence[Dimension]
) -> Iterator[tuple[Group, float, float]]:
    parts = parts_of_missing(row)
    for leaf in row.after:
        record = view.counting.get(leaf)
        taken = 0.0 if record is None else value_of(record, compared.taken) or 0.0
        yield group_of(leaf, grain), taken, parts.get(leaf, taken)


def parts_of_missing(row: Row) -> dict[Leaf, float]:
    """Return what each missing leaf of the target should have taken in, in equal parts of what the group lacks."""
    missing = [leaf for leaf in row.after if leaf in row.missing]
    return {leaf: max(0.0, row.wanted - row.taken) / len(missing) for leaf in missing}

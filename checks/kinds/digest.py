"""Digest: what one task took in are the very items that another handed on; equal counts of other items are caught."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict

from checks.comparisons import of_edges
from checks.kinds.base import Check, Finding, Instance
from checks.leaves import MOST, counted, names_of, place_of, planids_of
from checks.reported import unit_of
from checks.result import Status
from checks.selection import Edges, Except, GroupBy, edge_name, edges_of, instance_name
from checks.sides import Comparison, Known, Row, rows_of, table_of
from checks.view import Group, View
from reporting.digest import EMPTY_DIGEST, Digest
from reporting.errors import ConfigError
from reporting.plans import Leaf
from reporting.record import TaskRecord
from reporting.topology import Dimension, Law, Topology


class DigestCheck(Check):
    """`{kind: digest, edges: "*"}`: on edges of law equal, the digests of what was handed on and taken in agree.

    Digests merge (`reporting.digest`), so that both sides are compared within each group of the dimensions that both
    ends split by, however many leaves either has there. A group with a record without a digest cannot be judged: that
    does not count unless `required`. `value` and `expected` are items in the groups that were judged: those of groups
    whose digests agree, and all that were handed on.
    """

    model_config = ConfigDict(populate_by_name=True)

    kind: Literal["digest"]
    edges: Edges = "*"
    """Which edges, as `a -> b`; `"*"` is all of law equal, and one that is named must have that law."""
    except_: Except = ()
    """Edges to leave out, or tasks: then all edges that touch them."""
    group_by: GroupBy = ()
    """Dimensions to judge within, those that both ends split by; default: each edge as a whole."""
    required: bool = False
    """Whether a record without a digest makes the run inconclusive."""

    def expand(self, topology: Topology) -> list[Instance]:
        """See `Check.expand`: an instance for each edge."""
        return [
            Instance(self.id, self.kind, one.instance, one.target, one.source, self._by(one))
            for one in self._comparisons(topology)
        ]

    def judge(self, view: View) -> Iterator[Finding]:
        """See `Check.judge`: one finding for each edge, or for each of its groups."""
        for compared in self._comparisons(view.topology):
            by = self._by(compared)
            places = [compared.grain.index(dimension) for dimension in by]
            groups: dict[Group, list[_Sides]] = {}
            for row in rows_of(view, compared):
                groups.setdefault(tuple(row.group[at] for at in places), []).append(_sides(view, row))
            for group, members in sorted(groups.items()):
                yield self._of_group(view, compared, (by, group), members)
            if not groups:
                yield self._of_group(view, compared, ((), ()), [])

    def _by(self, compared: Comparison) -> tuple[Dimension, ...]:
        return tuple(dimension for dimension in self.group_by if dimension in compared.grain)

    def _comparisons(self, topology: Topology) -> list[Comparison]:
        where = f"check {self.id}"
        edges = edges_of(topology, self.edges, self.except_, f"{where}: edges")
        unequal = [edge for edge in edges if edge.law is not Law.EQUAL]
        if unequal and self.edges != "*":
            raise ConfigError(
                f"{where}: edges: {edge_name(unequal[0])} has the law `{unequal[0].law.value}`; digests can only agree"
                " under `equal`; take it out"
            )
        found = of_edges(topology, [edge for edge in edges if edge.law is Law.EQUAL])
        for dimension in self.group_by:
            if found and not any(dimension in one.grain for one in found):
                raise ConfigError(
                    f"{where}: no edge has two ends that both split by {dimension}; take it out of `group_by`"
                )
        return found

    def _of_group(
        self, view: View, compared: Comparison, group: tuple[Sequence[Dimension], Group], sides: Sequence[_Sides]
    ) -> Finding:
        judged = [one for one in sides if one.why_not is None]
        broken = [one for one in judged if not one.agree]
        status, counts = Status.FAIL if broken else Status.PASS, True
        if not broken and (len(judged) < len(sides) or not sides):
            status, counts = Status.NOT_EVALUATED, self._counts(view, compared, sides)
        numbers: dict[str, Any] = {}
        if judged:
            handed_on = sum(one.handed_on.count for one in judged)
            agreed = sum(one.taken.count for one in judged if one.agree)
            numbers = {"value": agreed, "expected": handed_on, "numerator": agreed, "denominator": handed_on}
        unit = unit_of(view.topology.task(compared.target), "input")
        before = [leaf for one in sides for leaf in one.row.before]
        after = [leaf for one in sides for leaf in one.row.after]
        rows = ((one.row.group, float(one.agree * one.items), float(one.items)) for one in judged)
        return Finding(
            instance_name(compared.instance, *group),
            place_of(view, compared.target, after, source=compared.source, by=group[0], group=group[1]),
            status,
            _reason(compared, sides, broken, unit),
            tolerance=0 if judged else None,
            counts=counts,
            unit=unit,
            table=table_of(compared.grain, rows, exact=True) if broken else None,
            details={**_details(compared, sides, broken), "planids": planids_of(view, (*before, *after))},
            **numbers,
        )

    def _counts(self, view: View, compared: Comparison, sides: Sequence[_Sides]) -> bool:
        """Tell whether what could not be judged makes the run inconclusive."""
        if not sides:
            return not any(view.is_open(Leaf(task, view.date)) for task in (compared.source, compared.target))
        reasons = {one.why_not for one in sides if one.why_not is not None}
        return "missing" in reasons or (self.required and "no digest" in reasons)


class _Sides(NamedTuple):
    """One group with the digests of its two sides."""

    row: Row
    why_not: Literal["waiting", "missing", "no digest"] | None
    handed_on: Digest = EMPTY_DIGEST
    taken: Digest = EMPTY_DIGEST
    without: tuple[Leaf, ...] = ()
    """Leaves whose record has no digest on this side."""

    @property
    def items(self) -> int:
        """Items that are concerned."""
        return max(self.handed_on.count, self.taken.count)

    @property
    def agree(self) -> bool:
        """Whether both sides are the same items."""
        return self.handed_on == self.taken


def _sides(view: View, row: Row) -> _Sides:
    if row.known is Known.WAITING:
        return _Sides(row, "waiting")
    if row.missing or not row.before or not row.after:
        return _Sides(row, "missing")
    before, without = _merged((leaf, view.counting[leaf], "digest_out") for leaf in row.before)
    after, without_in = _merged((leaf, view.counting[leaf], "digest_in") for leaf in row.after)
    without += without_in
    return _Sides(row, "no digest" if without else None, before, after, tuple(without))


def _merged(records: Iterable[tuple[Leaf, TaskRecord, str]]) -> tuple[Digest, list[Leaf]]:
    """Return the digest of all items, and the leaves whose record has none; without items none is needed."""
    merged, without = EMPTY_DIGEST, []
    for leaf, record, side in records:
        text = getattr(record, side)
        items = record.input if side == "digest_in" else record.produced
        if text is not None:
            merged += Digest.parse(text)
        elif items:
            without.append(leaf)
    return merged, without


def _reason(compared: Comparison, sides: Sequence[_Sides], broken: Sequence[_Sides], unit: str) -> str:
    source, target = compared.source, compared.target
    if broken:
        equal = [one for one in broken if one.handed_on.count == one.taken.count]
        within = f" in {len(broken)} of {len(sides)} groups" if len(sides) > 1 else ""
        if equal:
            items = counted(sum(one.taken.count for one in equal), unit)
            return f"equal counts, different ids: {items} of {target} are not those that {source} handed on{within}"
        taken, handed_on = (sum(getattr(one, side).count for one in broken) for side in ("taken", "handed_on"))
        return f"{source} handed on {handed_on:,} and {target} took in {counted(taken, unit)}, other ones{within}"
    if not sides:
        return f"neither {source} nor {target} has a record"
    for why, told in (
        ("missing", "a leaf has no record"),
        ("no digest", "a record has no digest"),
        ("waiting", "waiting for a leaf, and the plan is still open"),
    ):
        if number := sum(one.why_not == why for one in sides):
            return f"{told} in {number} of {counted(len(sides), 'groups')}"
    return f"{target} took in the very {counted(sum(one.taken.count for one in sides), unit)} that {source} handed on"


def _details(compared: Comparison, sides: Sequence[_Sides], broken: Sequence[_Sides]) -> dict[str, Any]:
    worst = sorted(broken, key=lambda one: (-one.items, one.row.group))[:MOST]
    without = [leaf for one in sides for leaf in one.without]
    found: dict[str, Any] = {}
    if broken:
        found["groups_broken"] = len(broken)
        found["groups"] = [
            {
                "group": dict(zip(compared.grain, one.row.group, strict=True)),
                "digest_out": str(one.handed_on),
                "digest_in": str(one.taken),
            }
            for one in worst
        ]
    if without:
        found |= {"without_digest": names_of(without), "without_digest_count": len(without)}
    return found

"""Reconcile: what one task took in is what another handed on, on an edge, between two tasks, or along a whole path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

from pydantic import ConfigDict, model_validator

from checks.comparisons import Pair, Path, of_edges, of_pair, of_path
from checks.kinds.base import Check, Finding, Instance, Levels, Tolerance
from checks.leaves import MOST, counted, names_of, place_of, planids_of
from checks.reported import unit_of
from checks.result import Status
from checks.selection import Edges, Except, GroupBy, edge_name, edges_of, instance_name
from checks.sides import Comparison, Known, Row, rows_of, table_of_rows
from checks.view import Group, View
from reporting.errors import ConfigError
from reporting.plans import Leaf
from reporting.topology import DIMENSIONS, Dimension, Law, Topology


class Reconcile(Check):
    """`{kind: reconcile, edges: "*"}`, or `pair: {from: a, to: b}`, or `path: {from: a, to: z, ratio: [0.5, 1]}`.

    On each edge its law must hold (`reporting.topology.Law`) within each group of the dimensions that both ends split
    by; what is left over in the groups is summed in absolute values, for signed ones cancel. Edges of law `after`
    count nothing. `value` is what was taken in and `expected` what should have been: what was handed on, or for a
    ratio the nearest number within the band.

    A leaf that is missing while its plan is at work is waited for (`not_evaluated`, does not count); after that all
    that should have gone through it is missing. Nothing reported on either side is `not_evaluated`, and 0 on both
    sides a pass.
    """

    model_config = ConfigDict(populate_by_name=True)

    kind: Literal["reconcile"]
    edges: Edges = "*"
    """Which edges, as `a -> b`; `"*"` is all that count something. Not together with `pair` or `path`."""
    except_: Except = ()
    """Edges to leave out, or tasks: then all edges that touch them."""
    pair: Pair | None = None
    """Two tasks to compare instead of edges."""
    path: Path | None = None
    """A way whose yield to judge instead of edges."""
    group_by: GroupBy = ()
    """Dimensions to judge within, those that both ends split by; default: each edge as a whole."""
    tolerance: Tolerance = Tolerance()
    """By how much may be left over, of what is expected."""
    levels: Levels = Levels()
    """By the share of what is left over in what is expected."""

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        named = [name for name in ("pair", "path") if getattr(self, name) is not None]
        named += [name for name in ("edges", "except_") if name in self.model_fields_set]
        if ("pair" in named or "path" in named) and len(named) > 1:
            raise ValueError(f"{' and '.join(named).replace('_', '')} stand together; a check has one of them")
        return self

    def expand(self, topology: Topology) -> list[Instance]:
        """See `Check.expand`: an instance for each edge, or the one of the pair or path."""
        compared = self._comparisons(topology)
        for dimension in self.group_by:
            if compared and not any(dimension in one.grain for one in compared):
                raise ConfigError(
                    f"check {self.id}: on no side of {', '.join(one.instance for one in compared)} both ends split by"
                    f" {dimension}; take it out of `group_by`"
                )
        return [Instance(self.id, self.kind, one.instance, one.target, one.source, self._by(one)) for one in compared]

    def judge(self, view: View) -> Iterator[Finding]:
        """See `Check.judge`: one finding for each edge, or for each of its groups."""
        for compared in self._comparisons(view.topology):
            rows = rows_of(view, compared)
            by = self._by(compared)
            if not rows:
                yield _nothing(view, compared)
                continue
            groups: dict[Group, list[Row]] = {}
            places = _places(view, compared, by)
            for row in rows:
                groups.setdefault(tuple(row.group[at] for at in places), []).append(row)
            for group, members in sorted(groups.items()):
                yield self._of_group(view, compared, (by, group), members)

    def _by(self, compared: Comparison) -> tuple[Dimension, ...]:
        return tuple(dimension for dimension in self.group_by if dimension in compared.grain)

    def _comparisons(self, topology: Topology) -> list[Comparison]:
        where = f"check {self.id}"
        if self.pair is not None:
            return [of_pair(topology, self.pair, f"{where}: pair")]
        if self.path is not None:
            return [of_path(topology, self.path, f"{where}: path")]
        edges = edges_of(topology, self.edges, self.except_, f"{where}: edges")
        idle = [edge for edge in edges if edge.law is Law.AFTER]
        if idle and self.edges != "*":
            raise ConfigError(
                f"{where}: edges: {edge_name(idle[0])} has the law `after`, under which nothing is counted; take it out"
            )
        return of_edges(topology, [edge for edge in edges if edge.law is not Law.AFTER])

    def _of_group(
        self, view: View, compared: Comparison, group: tuple[Sequence[Dimension], Group], rows: Sequence[Row]
    ) -> Finding:
        judged = [row for row in rows if row.known is Known.ALL]
        handed, taken = sum(row.handed for row in judged), sum(row.taken for row in judged)
        wanted, left_over = sum(row.wanted for row in judged), sum(row.residual for row in judged)
        tolerance = self.tolerance.around(wanted)
        status, counts = self.levels.of(left_over, wanted, tolerance), True
        if status is Status.PASS and len(judged) < len(rows):
            status = Status.NOT_EVALUATED
            counts = any(row.known not in (Known.ALL, Known.WAITING) for row in rows)
        broken = status in (Status.WARN, Status.FAIL)
        leaves = [leaf for row in rows for leaf in (*row.before, *row.after)]
        return Finding(
            instance_name(compared.instance, *group),
            place_of(view, compared.target, _targets(rows), source=compared.source, by=group[0], group=group[1]),
            status,
            _reason(view, compared, rows, status),
            value=taken if judged else None,
            expected=wanted if judged else None,
            tolerance=tolerance if judged else None,
            numerator=taken if judged else None,
            denominator=handed if judged else None,
            counts=counts,
            unit=unit_of(view.topology.task(compared.target), compared.taken),
            table=table_of_rows(view, compared, judged) if broken else None,
            details={**_details(view, compared, rows), "planids": planids_of(view, leaves)},
        )


def _places(view: View, compared: Comparison, by: Sequence[Dimension]) -> list[int]:
    """Return where a row's group has the dimensions of `by`: a window's rows are leaves of the target."""
    grain = view.topology.task(compared.target).grain if compared.law is Law.WINDOW else compared.grain
    return [[dim for dim in DIMENSIONS if dim in grain].index(dimension) for dimension in by]


def _targets(rows: Sequence[Row]) -> list[Leaf]:
    after = [leaf for row in rows for leaf in row.after]
    return after or [leaf for row in rows for leaf in row.before]


def _nothing(view: View, compared: Comparison) -> Finding:
    """Return that neither task has any leaf: waited for while the plan that would have them is at work."""
    ends = [Leaf(task, view.date) for task in (compared.source, compared.target)]
    waiting = any(view.is_open(leaf) for leaf in ends)
    return Finding(
        compared.instance,
        place_of(view, compared.target, ends[1:], source=compared.source),
        Status.NOT_EVALUATED,
        f"neither {compared.source} nor {compared.target} has a record"
        + (", the plan is still open" if waiting else ""),
        counts=not waiting,
        unit=unit_of(view.topology.task(compared.target), compared.taken),
    )


def _reason(view: View, compared: Comparison, rows: Sequence[Row], status: Status) -> str:
    source, target = compared.source, compared.target
    unit = unit_of(view.topology.task(target), compared.taken)
    if status is Status.NOT_EVALUATED:
        return _unjudged(compared, rows)
    judged = [row for row in rows if row.known is Known.ALL]
    handed, taken = sum(row.handed for row in judged), sum(row.taken for row in judged)
    left_over = sum(row.residual for row in judged)
    said = (
        f"{source} {_verb(compared.handed)} {handed:,.12g} and {target} {_verb(compared.taken)} {counted(taken, unit)}"
    )
    if compared.ratio is not None:
        share = f" ({taken / handed:.4g})" if handed else ""
        said += f"{share}, allowed is {compared.ratio[0]:g} to {compared.ratio[1]:g}"
    if not left_over:
        return said
    broken = sum(1 for row in judged if row.residual)
    within = f" in {broken} of {len(judged)} groups" if len(judged) > 1 else ""
    return f"{said}: {counted(left_over, unit)} unexplained{within}"


def _verb(measure: str) -> str:
    return {"produced": "handed on", "input": "took in"}.get(measure, f"has {measure} of")


def _unjudged(compared: Comparison, rows: Sequence[Row]) -> str:
    missing = {leaf for row in rows for leaf in row.missing if row.known is not Known.ALL}
    number = {known: sum(row.known is known for row in rows) for known in Known}
    if number[Known.UNMEASURED]:
        measures = f"{compared.handed} of {compared.source} or {compared.taken} of {compared.target}"
        return f"a record does not hold {measures} in {number[Known.UNMEASURED]} of {len(rows)} groups"
    if number[Known.NOTHING]:
        return f"neither side has reported in {number[Known.NOTHING]} of {len(rows)} groups: {_first(missing)}"
    waited_for = _first(missing) if missing else f"the leaves of {compared.source} or {compared.target}"
    return f"waiting for {waited_for}; the plan is still open"


def _first(leaves: set[Leaf]) -> str:
    names = names_of(leaves)
    return ", ".join(names[:3]) + (f" and {len(leaves) - 3} more" if len(leaves) > 3 else "")


def _details(view: View, compared: Comparison, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the worst groups, what is missing, and of a window the partitions that were read wrong."""
    worst = sorted((row for row in rows if row.residual), key=lambda row: (-row.residual, row.group))
    grain = view.topology.task(compared.target).grain if compared.law is Law.WINDOW else compared.grain
    dimensions = [dim for dim in DIMENSIONS if dim in grain]
    groups: list[dict[str, Any]] = []
    for row in worst[:MOST]:
        numbers = {"handed_on": row.handed, "taken": row.taken, "unexplained": row.residual}
        named = {"group": dict(zip(dimensions, row.group, strict=True)), **numbers}
        groups.append({**named, **({"partitions": list(row.notes)} if row.notes else {})})
    missing = [leaf for row in rows for leaf in row.missing]
    found: dict[str, Any] = {"law": compared.law.value, "unexplained": sum(row.residual for row in rows)}
    if worst:
        found |= {"groups": groups, "groups_broken": len(worst)}
    if missing:
        found |= {"missing": names_of(missing), "missing_count": len(missing)}
    return found

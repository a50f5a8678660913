"""The edges of the task graph on one day: what one end handed on, what the other took in, and do they agree. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from dashboards.page.facts import Relation
from reporting.balance import Residual
from reporting.record import TaskRecord
from reporting.topology import Edge, Law, Topology


def relations(
    topology: Topology, counting: Sequence[TaskRecord], residuals: Iterable[Residual]
) -> tuple[Relation, ...]:
    """Return every edge in the order of the topology; `counting` and `residuals` are of one day's effective plans."""
    produced, taken = Counter[str](), Counter[str]()
    read = Counter[tuple[str, str]]()
    there = {record.key.task for record in counting}
    for record in counting:
        produced[record.key.task] += record.produced
        taken[record.key.task] += record.input
        for consumed in record.consumed:
            read[consumed.task, record.key.task] += consumed.count
    unexplained = Counter[Edge]()
    for residual in residuals:
        for edge in edges_of(topology, residual):
            unexplained[edge] += residual.residual
    found = []
    for edge in topology.edges:
        is_window = edge.law is Law.WINDOW
        handed = read[edge.source, edge.target] if is_window else produced[edge.source]
        took = read[edge.source, edge.target] if is_window else taken[edge.target]
        state = _state(edge, there, unexplained[edge])
        found.append(Relation(edge, handed, took, unexplained[edge], state))
    return tuple(found)


def _state(edge: Edge, there: set[str], unexplained: int) -> str:
    if unexplained:
        return "broken"
    ends = {edge.source, edge.target} & there
    if not ends:
        return "absent"
    if edge.law is Law.AFTER:
        return "order"
    # A window may well be read on a day on which its source wrote nothing.
    return "balanced" if edge.target in there and (len(ends) == 2 or edge.law is Law.WINDOW) else "waiting"


def edges_of(topology: Topology, residual: Residual) -> list[Edge]:
    """Return the edges on which a residual sits; none where it is a task's own books. A window's sum is on all of its.

    `Residual.where` is `source -> target group`; no name of a task holds `>`, so that its parts cannot be confused.
    """
    source, arrow, rest = residual.where.partition(" -> ")
    if not arrow:
        return []
    targets = [task for task in topology.tasks if rest == task or rest.startswith(f"{task} ")]
    target = max(targets, key=len, default="")
    if source == " + ".join(topology.window_sources(target) if target else ()):
        return [edge for edge in topology.upstream(target) if edge.law is Law.WINDOW]
    return [edge for edge in topology.edges if (edge.source, edge.target) == (source, target)]

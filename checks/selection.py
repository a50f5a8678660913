"""Which tasks, edges and groups a check is about: `"*"` or names, less those under `except`.

Pure: names are resolved against the topology before there is any record, and a name that is not there is an error
that tells the nearest one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from reporting.errors import ConfigError
from reporting.topology import DIMENSIONS, Dimension, Edge, Law, Topology

CARRIES: frozenset[Law] = frozenset({Law.EQUAL, Law.RATIO})
"""Laws under which the items of one day go from one task to the next within that day."""


def _star_or_names(value: Any) -> Any:
    """Refuse in one sentence what the two branches of the union would refuse in one each."""
    if value == "*" and isinstance(value, str):
        return value
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise ValueError(f'expected "*" or a list of names, got {value!r}')
    if not value:
        raise ValueError('an empty list selects nothing; name something, or write "*"')
    if "*" in value:
        raise ValueError('"*" stands alone, not in a list; leave names out with `except`')
    return tuple(value)


def _in_order(value: tuple[Dimension, ...]) -> tuple[Dimension, ...]:
    return tuple(dimension for dimension in DIMENSIONS if dimension in value)


Selected = Literal["*"] | tuple[str, ...]
"""All, or those named."""

Tasks = Annotated[Selected, BeforeValidator(_star_or_names)]
"""Field of a check: `tasks: "*"` or `tasks: [detect, crop]`. Default: `"*"`."""

Edges = Annotated[Selected, BeforeValidator(_star_or_names)]
"""Field of a check: `edges: "*"` or `edges: ["detect -> crop"]`; blanks around the arrow do not matter."""

Except = Annotated[tuple[str, ...], Field(alias="except")]
"""Field of a check, `except_: Except = ()`: what `"*"` or the list leaves out; written `except` in the file."""

GroupBy = Annotated[tuple[Dimension, ...], AfterValidator(_in_order)]
"""Field of a check: dimensions to judge within, kept in the order of `reporting.topology.DIMENSIONS`, each once."""


def edge_name(edge: Edge) -> str:
    """Return `source->target`, as instances and reports call an edge.

    Example:
        >>> edge_name(Edge(source="detect", target="crop"))
        'detect->crop'
    """
    return f"{edge.source}->{edge.target}"


def instance_name(subject: str, by: Iterable[str] = (), group: Iterable[str] = ()) -> str:
    """Return the name of an instance: its subject, and the group within it where there is one.

    Example:
        >>> instance_name("detect->crop", ("subinstance",), ("0003",))
        'detect->crop subinstance=0003'
    """
    return " ".join([subject, *(f"{dimension}={value}" for dimension, value in zip(by, group, strict=True))])


def tasks_of(topology: Topology, selected: Selected, except_: Collection[str], where: str) -> tuple[str, ...]:
    """Return the tasks that are meant, in topological order, each once.

    Args:
        topology: The task graph.
        selected: `"*"` or names.
        except_: Names to leave out.
        where: Place in the file for errors: `check volume: tasks`.

    Raises:
        ConfigError: a name is no task, with the nearest; or `except` leaves nothing.
    """
    named = topology.order if selected == "*" else selected
    for name in (*named, *except_):
        if name not in topology.tasks:
            raise ConfigError.unknown_name("task", name, topology.tasks, where)
    return _left(tuple(task for task in topology.order if task in named and task not in except_), where)


def edges_of(topology: Topology, selected: Selected, except_: Collection[str], where: str) -> tuple[Edge, ...]:
    """Return the edges that are meant, in declared order; edges of every law, `after` too.

    Args:
        topology: The task graph.
        selected: `"*"` or names as `a -> b` or `a->b`; a name means all edges from a to b.
        except_: Names of edges to leave out, or of tasks: then all edges that touch the task.
        where: Place in the file for errors: `check funnel: edges`.

    Raises:
        ConfigError: a name is no edge, with the nearest; or `except` leaves nothing.
    """
    known = {edge_name(edge) for edge in topology.edges}
    wanted = known if selected == "*" else {_edge(name, known, where) for name in selected}
    out_tasks = {name for name in except_ if name in topology.tasks}
    out = {_edge(name, known, where) for name in except_ if name not in out_tasks}
    found = (
        edge
        for edge in topology.edges
        if edge_name(edge) in wanted - out and edge.source not in out_tasks and edge.target not in out_tasks
    )
    return _left(tuple(found), where)


def _edge(name: str, known: Collection[str], where: str) -> str:
    """Return an edge's name as `edge_name` writes it."""
    written = "->".join(part.strip() for part in name.split("->"))
    if written not in known:
        raise ConfigError.unknown_name("edge", name, known, where)
    return written


def _left(found: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not found:
        raise ConfigError(f"{where}: nothing is left to check; name something, or take it out of `except`")
    return found


def task_after(topology: Topology, source: str, target: str) -> bool:
    """Tell whether edges (of any law) lead from `source` to `target`; a task is not after itself."""
    return source != target and target in topology.closure((source,))


def path_between(topology: Topology, source: str, target: str, laws: Collection[Law] = CARRIES) -> tuple[str, ...]:
    """Return the tasks on all ways from `source` to `target`, both included, in topological order.

    Args:
        topology: The task graph.
        source: Where the ways begin.
        target: Where they end.
        laws: Edges that count; the default are those along which the items of one day go within that day.

    Returns:
        () where no way leads there; (source,) where both are the same.
    """
    edges = [edge for edge in topology.edges if edge.law in laws]
    ahead, behind = {source}, {target}
    for task in topology.order:
        if any(edge.source in ahead for edge in edges if edge.target == task):
            ahead.add(task)
    for task in reversed(topology.order):
        if any(edge.target in behind for edge in edges if edge.source == task):
            behind.add(task)
    return tuple(task for task in topology.order if task in ahead & behind) if target in ahead else ()


def grain_within(topology: Topology, tasks: Iterable[str], by: Collection[Dimension]) -> tuple[Dimension, ...]:
    """Return those of `by` that all the tasks split their records by, in the order of DIMENSIONS."""
    grains = [topology.task(task).grain for task in tasks]
    return tuple(dim for dim in DIMENSIONS if dim in by and all(dim in grain for grain in grains))


def require_grain(topology: Topology, tasks: Collection[str], by: Collection[Dimension], where: str) -> None:
    """Refuse a `group_by` by which none of the tasks splits: it would quietly do nothing.

    Raises:
        ConfigError: names the dimension and what the tasks do split by.
    """
    for dimension in by:
        if not any(dimension in topology.task(task).grain for task in tasks):
            raise ConfigError(
                f"{where}: none of {', '.join(tasks)} splits its records by {dimension}; take it out of `group_by`"
            )

"""Which two tasks are compared, and how: edges, any two related tasks, or the ends of a path, from the file's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from checks.selection import CARRIES, edge_name, grain_within, path_between, task_after
from checks.sides import Comparison, Ratio
from reporting.errors import ConfigError
from reporting.measures import parse_measure
from reporting.topology import DIMENSIONS, Edge, Law, Topology


class _Ends(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    source: Annotated[str, Field(alias="from")]
    """The task that hands on."""
    target: Annotated[str, Field(alias="to")]
    """The task that takes in."""


def _in_order(ratio: Ratio | None) -> None:
    if ratio is not None and not 0 <= ratio[0] <= ratio[1]:
        raise ValueError(f"ratio {list(ratio)} must be 0 <= low <= high")


class Pair(_Ends):
    """Any two tasks of which one is after the other, or both are after a third."""

    measure_from: str = "produced"
    """Of `from`; see `reporting.measures`."""
    measure_to: str = "input"
    """Of `to`."""
    ratio: Ratio | None = None
    """[low, high] of to / from; null: both are equal."""

    @model_validator(mode="after")
    def _ratio_is_a_band(self) -> Self:
        _in_order(self.ratio)
        return self


class Path(_Ends):
    """A way along edges of law equal and ratio: its yield is produced(to) / input(from)."""

    ratio: Ratio
    """[low, high] of the yield."""

    @model_validator(mode="after")
    def _ratio_is_a_band(self) -> Self:
        _in_order(self.ratio)
        return self


def of_edges(topology: Topology, edges: Sequence[Edge]) -> list[Comparison]:
    """Return edges as comparisons; a second edge between the same two tasks is named with its number."""
    found: list[Comparison] = []
    for edge in edges:
        twins = sum((one.source, one.target) == (edge.source, edge.target) for one in found)
        name = edge_name(edge) + (f" #{twins + 1}" if twins else "")
        grain = topology.common_grain(edge)
        found.append(Comparison(name, edge.source, edge.target, grain, law=edge.law, ratio=edge.ratio))
    return found


def of_pair(topology: Topology, pair: Pair, where: str) -> Comparison:
    """Return two related tasks as a comparison; measures that are not the usual ones are part of its name.

    Raises:
        ConfigError: a task or measure is unknown, with the nearest, or the tasks are not related.
    """
    source, target = _tasks(topology, pair, where)
    related = task_after(topology, source, target) or task_after(topology, target, source)
    if not related and not any(
        task_after(topology, x, source) and task_after(topology, x, target) for x in topology.tasks
    ):
        raise ConfigError(
            f"{where}: no edges lead from {source} to {target}, nor to both from one task; compare others"
        )
    parse_measure(pair.measure_from, topology.task(source), f"{where}.measure_from")
    parse_measure(pair.measure_to, topology.task(target), f"{where}.measure_to")
    plain = (pair.measure_from, pair.measure_to) == ("produced", "input")
    name = f"{source}->{target}" if plain else f"{source}.{pair.measure_from}->{target}.{pair.measure_to}"
    law = Law.EQUAL if pair.ratio is None else Law.RATIO
    grain = grain_within(topology, (source, target), DIMENSIONS)
    return Comparison(name, source, target, grain, pair.measure_from, pair.measure_to, law, pair.ratio)


def of_path(topology: Topology, path: Path, where: str) -> Comparison:
    """Return the ends of a way as a comparison, within the dimensions that all tasks on the way split by.

    Raises:
        ConfigError: a task is unknown, with the nearest, or no way carries a day's items there.
    """
    source, target = _tasks(topology, path, where)
    on_the_way = path_between(topology, source, target)
    if len(on_the_way) < 2:
        laws = " and ".join(sorted(law.value for law in CARRIES))
        raise ConfigError(
            f"{where}: no edges of law {laws} lead from {source} to {target}, so that a day's items do not go that way;"
            f" expected one of: {', '.join(topology.closure((source,))[1:]) or 'none'}"
        )
    grain = grain_within(topology, on_the_way, DIMENSIONS)
    return Comparison(f"{source}->...->{target}", source, target, grain, "input", "produced", Law.RATIO, path.ratio)


def _tasks(topology: Topology, ends: _Ends, where: str) -> tuple[str, str]:
    for key, name in (("from", ends.source), ("to", ends.target)):
        if name not in topology.tasks:
            raise ConfigError.unknown_name("task", name, topology.tasks, f"{where}.{key}")
    if ends.source == ends.target:
        raise ConfigError(f"{where}: from and to are both {ends.source}; expected two tasks")
    return ends.source, ends.target

"""The task graph (`pipeline.yaml`): what the funnel, the balance, the checks and the scheduler all read."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from reporting.errors import ConfigError
from reporting.key import Name
from reporting.yaml_source import YamlSource, load_yaml

Dimension = Literal["category", "subinstance"]
DIMENSIONS: tuple[Dimension, ...] = ("category", "subinstance")


_name = TypeAdapter(Name)


def _metric_name(value: str) -> str:
    """Refuse what could not name a metric; one `*` at the end is allowed, and means any name with this beginning."""
    _name.validate_python(value.removesuffix("*"))
    return value


MetricName = Annotated[str, AfterValidator(_metric_name)]
"""A metric's name, or with `*` at its end the beginning of several: `declared_as_*`."""


class Law(StrEnum):
    """How the two ends of an edge relate."""

    EQUAL = "equal"
    """to.input == from.produced on the common grain of effective plans."""
    RATIO = "ratio"
    """to.input / from.produced lies in the edge's `ratio` (units change)."""
    WINDOW = "window"
    """to.input == the sum of what `consumed` names, over several days and all window edges that lead to it; where `to`
    continues itself, what it had handed on the day before is one more source."""
    AFTER = "after"
    """Order only; nothing is counted."""


class TaskSpec(BaseModel):
    """One task: its units, its grain, and the closed lists of what it may book."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit_in: str
    """What it takes in: row, picture, vector, query, ..."""
    unit_out: str
    """What it hands on; `produced` counts in it."""
    grain: tuple[Dimension, ...] = ()
    """Dimensions its records split by; `all` stands in the others."""
    runs_per: tuple[Dimension, ...] | None = None
    """Dimensions its work splits by; default the grain. Narrower for a fan-out, which books several leaves."""
    deadline: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] | None = None
    """HH:MM in `timezone`: when its records of the day should be there."""
    owner: str | None = None
    """Who is to be told when it is late or wrong."""
    drop_reasons: tuple[Name, ...] = ()
    """The closed list of reasons it may book a dropped item under."""
    metrics: tuple[MetricName, ...] = ()
    """The closed list of further numbers it may book; a name that ends in `*` allows all that begin as it does."""
    waits_for_previous_day: bool = False
    """The day before (if its plan is open) must have done this task first: it carries state over days."""
    continues: Name | None = None
    """The task whose state of the day before this one takes up, and waits for likewise; default its own. Its own name
    says more: what it handed on the day before is items that it takes in again, and books as read."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The task's own settings; the pipeline validates them with the task's model."""

    @property
    def work_grain(self) -> tuple[Dimension, ...]:
        """Dimensions by which instances (units of work) are made."""
        return self.grain if self.runs_per is None else self.runs_per


class Edge(BaseModel):
    """`to` reads what `from` handed on."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    source: Annotated[str, Field(alias="from")]
    """The task that hands on."""
    target: Annotated[str, Field(alias="to")]
    """The task that reads."""
    law: Law = Law.EQUAL
    """How their counts relate: equal, in a ratio, over a window of days, or not at all (order only)."""
    ratio: tuple[float, float] | None = None
    """[low, high] of to.input / from.produced; only with law ratio."""

    @model_validator(mode="before")
    @classmethod
    def _ratio_is_a_law(cls, data: Any) -> Any:
        if isinstance(data, dict) and "ratio" in data and "law" not in data:
            return {**data, "law": Law.RATIO}
        return data

    @model_validator(mode="after")
    def _ratio_has_bounds(self) -> Self:
        if (self.law is Law.RATIO) != (self.ratio is not None):
            raise ValueError("law ratio needs `ratio: [low, high]`, and only it has one")
        if self.ratio is not None and not 0 <= self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio {list(self.ratio)} must be 0 <= low <= high")
        return self


class Topology(BaseModel):
    """Tasks in declared order and the edges between them: an acyclic graph, every task reachable."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    version: Literal[1] = 1
    """Of this file's format."""
    timezone: str = "UTC"
    """The business day's zone; records carry a date without zone."""
    categories: tuple[Name, ...] = ()
    """The closed list the categoriser may answer; empty: those of each day's source."""
    tasks: dict[Name, TaskSpec]
    """Name to declaration; the order here is the order of tables."""
    edges: tuple[Edge, ...] = ()
    """Who reads from whom."""

    @model_validator(mode="after")
    def _is_a_graph(self) -> Self:
        for index, edge in enumerate(self.edges):
            for end in (edge.source, edge.target):
                if end not in self.tasks:
                    raise ConfigError.unknown_name(
                        "task", end, self.tasks, f"edges.{index} ({edge.source} -> {edge.target})"
                    )
        for name, task in self.tasks.items():
            if task.continues is not None and task.continues not in self.tasks:
                raise ConfigError.unknown_name("task", task.continues, self.tasks, f"tasks.{name}.continues")
        _ = self.order  # raises on a cycle
        roots = [task for task in self.tasks if not self.upstream(task)]
        if len(self.tasks) > 1:
            lonely = [task for task in roots if not self.downstream(task)]
            if lonely:
                raise ConfigError(f"tasks.{lonely[0]}: no edge leads to or from it; add one under `edges`")
        return self

    @classmethod
    def load(cls, path: Path) -> Topology:
        """Read and validate `pipeline.yaml`.

        Raises:
            ConfigError: with file:line, key and the nearest valid name.
        """
        return cls.from_source(load_yaml(path))

    @classmethod
    def from_source(cls, source: YamlSource) -> Topology:
        """Validate parsed YAML; errors about names get the line of the edge or task they stand in."""
        try:
            return source.to_model(cls)
        except ConfigError as error:
            text = str(error)
            head = text.split(":", 1)[0].split(" ", 1)[0]
            location = tuple(int(part) if part.isdigit() else part for part in head.split("."))
            if location in source.lines and location:
                raise ConfigError(f"{source.where(location)}: {text}") from None
            raise

    def task(self, name: str) -> TaskSpec:
        """Return a task's declaration.

        Raises:
            ConfigError: no such task, with the nearest name.
        """
        try:
            return self.tasks[name]
        except KeyError:
            raise ConfigError.unknown_name("task", name, self.tasks, "pipeline.yaml") from None

    def upstream(self, task: str) -> list[Edge]:
        """Edges that lead to a task, in declared order."""
        return [edge for edge in self.edges if edge.target == task]

    def downstream(self, task: str) -> list[Edge]:
        """Edges that lead from a task, in declared order."""
        return [edge for edge in self.edges if edge.source == task]

    def continues_itself(self, task: str) -> bool:
        """Tell whether a task takes in again what it handed on the day before."""
        return self.task(task).continues == task

    def window_sources(self, task: str) -> tuple[str, ...]:
        """Return the tasks whose items of several days make up a task's input; () where no window leads to it."""
        sources = tuple(edge.source for edge in self.upstream(task) if edge.law is Law.WINDOW)
        return (*sources, task) if sources and self.continues_itself(task) else sources

    def common_grain(self, edge: Edge) -> tuple[Dimension, ...]:
        """Dimensions both ends of an edge split their records by: where the edge must balance."""
        return self.shared_grain(edge.source, edge.target)

    def shared_grain(self, one: str, other: str) -> tuple[Dimension, ...]:
        """Dimensions that two tasks both split their records by."""
        mine, theirs = self.task(one).grain, self.task(other).grain
        return tuple(dim for dim in DIMENSIONS if dim in mine and dim in theirs)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Tasks sorted so that every edge points forward; declared order where edges leave a choice.

        Raises:
            ConfigError: the edges form a cycle, which is named.
        """
        waiting = {task: {edge.source for edge in self.upstream(task)} for task in self.tasks}
        done: list[str] = []
        while waiting:
            ready = next((task for task, needs in waiting.items() if needs <= set(done)), None)
            if ready is None:
                raise ConfigError(f"edges: the tasks {' -> '.join(_cycle(waiting))} form a cycle; remove one edge")
            done.append(ready)
            del waiting[ready]
        return tuple(done)

    def closure(self, tasks: tuple[str, ...]) -> tuple[str, ...]:
        """Return the tasks and everything downstream of them, in topological order."""
        wanted = set(tasks)
        for task in self.order:
            if any(edge.source in wanted for edge in self.upstream(task)):
                wanted.add(task)
        return tuple(task for task in self.order if task in wanted)


def _cycle(waiting: Mapping[str, set[str]]) -> list[str]:
    """Return one cycle, its first task repeated at the end; every waiting task needs another waiting one."""
    path = [next(iter(waiting))]
    while True:
        before = min(task for task in waiting[path[-1]] if task in waiting)
        if before in path:
            return [before, *reversed(path[path.index(before) :])]
        path.append(before)

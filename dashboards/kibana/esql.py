"""The pieces that queries share. Only what Elasticsearch 8.19 knows too, so that every query is run for real in tests.

A query is a list of commands put together by `pipe`. Names of tasks and metrics come from the topology and are quoted
by `quoted`; what a person chooses on a dashboard never becomes text of a query: Kibana sends it as a filter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import NamedTuple

from reporting.elastic.names import Kind, pattern_of
from reporting.topology import Topology

LOGS = "funnelgate-logs-*"
"""Filebeat's indices, whatever the prefix (`elk/filebeat.yml`)."""

MOST_ROWS = 10_000
"""What one answer may have; without a LIMIT of its own Elasticsearch cuts it at 1,000."""

IN_TIME = "WHERE date >= DATE_TRUNC(1 day, TO_DATETIME(?_tstart)) AND date <= TO_DATETIME(?_tend)"
"""The dashboard's time range. A business day is a date without time: one that the range begins within belongs to it."""

TIME_PARAMETERS = ("_tstart", "_tend")
"""What Kibana itself fills in."""

_PLAIN = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*$")


class Names(NamedTuple):
    """What a board is made for: the indices' prefix and the task graph."""

    prefix: str
    topology: Topology

    def source(self, *kinds: Kind) -> str:
        """Return the command that reads the indices of some kinds."""
        return "FROM " + ", ".join(pattern_of(self.prefix, kind) for kind in kinds)

    def has(self, task: str, metric: str | None = None) -> bool:
        """Tell whether the graph has a task, and the task a metric."""
        spec = self.topology.tasks.get(task)
        return spec is not None and (metric is None or metric in spec.metrics)


def board_id(prefix: str, short: str) -> str:
    """Return a dashboard's id in Kibana: lower-case letters, digits, `_` and `-` only.

    Example:
        >>> board_id("shop.test", "funnel")
        'shop-test-funnel'
    """
    return f"{prefix.replace('.', '-')}-{short}"


def pipe(*commands: str) -> str:
    """Return a query: one command a line, and at its end a LIMIT where it has none.

    Example:
        >>> print(pipe("FROM a", "SORT b"))
        FROM a
        | SORT b
        | LIMIT 10000
    """
    limited = commands if commands[-1].startswith("LIMIT ") else (*commands, f"LIMIT {MOST_ROWS}")
    return "\n| ".join(limited)


def quoted(text: str) -> str:
    """Return a string literal.

    Example:
        >>> quoted('a "b"')
        '"a \\\\"b\\\\""'
    """
    return json.dumps(text, ensure_ascii=False)


def field(name: str) -> str:
    """Return a field's name, in backticks where it is not made of letters, digits, underscores and dots.

    Example:
        >>> field("metrics.hit_at_1"), field("metrics.p50-ms")
        ('metrics.hit_at_1', '`metrics.p50-ms`')
    """
    return name if _PLAIN.match(name) else "`" + name.replace("`", "``") + "`"


def counted(names: Names, *kinds: Kind) -> tuple[str, ...]:
    """Return the commands that read records (or other leaves) of the time range, those of effective plans only.

    A re-run so never counts twice: `<prefix>-effective` says which plan counts for a leaf.
    """
    return (names.source(*(kinds or (Kind.RECORDS,))), IN_TIME, *joined(names), "WHERE planid == effective_planid")


def joined(names: Names) -> tuple[str, ...]:
    """Return the command that adds `effective_planid` and `provisional` to each leaf."""
    return (f"LOOKUP JOIN {pattern_of(names.prefix, Kind.EFFECTIVE)} ON effective_key",)


def stage_label(names: Names, task: str) -> str:
    """Return a task's label: its place in the graph makes any order by name the order of work.

    Raises:
        ValueError: the graph does not have the task.
    """
    return f"{names.topology.order.index(task) + 1:02d} {task}"


def stage(names: Names, column: str = "task", into: str = "stage") -> str:
    """Return the command that labels tasks by their place in the graph; one that it lacks comes last."""
    labels = ((task, stage_label(names, task)) for task in names.topology.order)
    cases = ", ".join(f"{column} == {quoted(task)}, {quoted(label)}" for task, label in labels)
    return f'EVAL {into} = CASE({cases}, CONCAT("99 ", {column}))'


def tasks(names: Iterable[str]) -> str:
    """Return the command that keeps some tasks."""
    return f"WHERE task IN ({', '.join(map(quoted, names))})"


def ratio(part: str, whole: str) -> str:
    """Return an expression: a share, null where the whole is 0 (two longs divided would be a long)."""
    return f"CASE({whole} > 0, TO_DOUBLE({part}) / {whole}, null)"


def pairs(column: str, name: str, count: str) -> tuple[str, ...]:
    """Return the commands that make one row of each `name=count` of a column; rows without any are lost."""
    return (
        f"MV_EXPAND {column}",
        f"WHERE {column} IS NOT NULL",
        f'DISSECT {column} "%{{{name}}}=%{{{count}}}"',
        f"EVAL {count} = TO_LONG({count})",
    )

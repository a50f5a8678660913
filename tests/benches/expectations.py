"""The comparisons of test_bench_checks written as SQL for Great Expectations, as its users write them.

Every query returns the rows that are wrong. A query may be asked about one task or edge, or about all at once. What
it knows of plans is less than ours: the daily plan of a day counts, whatever was run again.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date as Date
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

Edge = tuple[str, str]


@dataclass(frozen=True)
class Sheet:
    """A day, and where a query may look. `{batch}` is Great Expectations' name of the table.

    Attributes:
        day: The judged day.
        days: How many days before it drift is measured against.
    """

    day: Date
    days: int = 56

    def of_day(self, tasks: Sequence[str]) -> str:
        """Return the condition that a record is of the day and some tasks; the primary key finds it."""
        return f"planid = 'daily-{self.day}' AND date = '{self.day}' AND task IN ({_listed(tasks)})"

    def before(self, tasks: Sequence[str]) -> str:
        """Return the condition that a record is of the days before."""
        planids = [f"daily-{self.day - timedelta(days=back)}" for back in range(1, self.days + 1)]
        return f"planid IN ({_listed(planids)}) AND task IN ({_listed(tasks)})"

    def books(self, *tasks: str) -> str:
        return (
            f"SELECT task, category, subinstance FROM {{batch}} WHERE {self.of_day(tasks)}"
            " AND input <> output + dropped_total + failed_total"
        )

    def failed(self, *tasks: str) -> str:
        return self._of_tasks(tasks, "sum(failed_total) > 0.01 * sum(input)")

    def dropped(self, *tasks: str) -> str:
        return self._of_tasks(tasks, "sum(dropped_total) > 0.5 * sum(input)")

    def versions(self, field: str, *tasks: str) -> str:
        version = f"json_extract(body, '$.versions.{field}')"
        return self._of_tasks(tasks, f"count(DISTINCT {version}) > 1 OR count({version}) < count(*)")

    def _of_tasks(self, tasks: Sequence[str], wrong: str) -> str:
        return f"SELECT task FROM {{batch}} WHERE {self.of_day(tasks)} GROUP BY task HAVING {wrong}"

    def arrived(self, *tasks: str) -> str:
        leaf = "task, category, subinstance"
        return (
            f"SELECT {leaf} FROM expected_leaf WHERE {self.of_day(tasks)}"
            f" EXCEPT SELECT {leaf} FROM {{batch}} WHERE {self.of_day(tasks)}"
        )

    def on_time(self, *deadlines: tuple[str, str]) -> str:
        late = " OR ".join(
            f"(task = '{task}' AND json_extract(body, '$.finished_at') > '{due}')" for task, due in deadlines
        )
        return f"SELECT task FROM {{batch}} WHERE {self.of_day([task for task, _ in deadlines])} AND ({late})"

    def edges(self, *edges: Edge) -> str:
        return self._of_edges(edges, "produced", "-input", "count(side) <> 2 OR sum(side) <> 0")

    def ids(self, *edges: Edge) -> str:
        sides = ("json_extract(body, '$.digest_out')", "json_extract(body, '$.digest_in')")
        return self._of_edges(edges, *sides, "count(side) <> 2 OR min(side) <> max(side)")

    def _of_edges(self, edges: Sequence[Edge], handed: str, taken: str, wrong: str) -> str:
        """Put what one task handed on and the next took in under each other, leaf by leaf."""
        pairs = ", ".join(f"('{source}', '{target}')" for source, target in edges)
        leaf = "source, target, category, subinstance"
        return (
            f"WITH edge(source, target) AS (VALUES {pairs}), sides AS ("
            f"SELECT {leaf}, {handed} AS side FROM {{batch}} AS r JOIN edge ON task = source"
            f" WHERE {self.of_day([source for source, _ in edges])} UNION ALL "
            f"SELECT {leaf}, {taken} AS side FROM {{batch}} AS r JOIN edge ON task = target"
            f" WHERE {self.of_day([target for _, target in edges])}) "
            f"SELECT {leaf} FROM sides GROUP BY {leaf} HAVING {wrong}"
        )

    def path(self, first: str, last: str) -> str:
        return (
            f"SELECT * FROM (SELECT sum(CASE WHEN task = '{last}' THEN 1.0 * produced END)"
            f" / sum(CASE WHEN task = '{first}' THEN input END) AS share"
            f" FROM {{batch}} WHERE {self.of_day([first, last])}) WHERE share IS NULL OR share NOT BETWEEN 0.3 AND 1"
        )

    def drift(self, measure: str, by: str, *tasks: str) -> str:
        """Weekday effect and level of the last week by means, scale by the standard deviation of one-day forecasts.

        The like with medians, as ours has it, takes several sorts a series in SQL.
        """
        group = f"task, {by}" if by else "task"
        week_ago = self.day - timedelta(days=7)
        return (
            f"WITH past AS (SELECT {group}, date, 1.0 * {measure} AS v FROM {{batch}} AS r WHERE {self.before(tasks)}"
            f" GROUP BY {group}, date), "
            f"levels AS (SELECT *, v / avg(v) OVER (PARTITION BY {group}, strftime('%w', date)) AS x FROM past), "
            f"steps AS (SELECT *, x - avg(x) OVER (PARTITION BY {group} ORDER BY date"
            " ROWS BETWEEN 7 PRECEDING AND 1 PRECEDING) AS step FROM levels), "
            f"forecast AS (SELECT {group}, avg(CASE WHEN date >= '{week_ago}' THEN x END)"
            f" * avg(CASE WHEN strftime('%w', date) = strftime('%w', '{self.day}') THEN v END) AS f,"
            f" max(avg(step * step), 0.0001) AS variance FROM steps GROUP BY {group}), "
            f"today AS (SELECT {group}, 1.0 * {measure} AS v FROM {{batch}} AS r WHERE {self.of_day(tasks)}"
            f" GROUP BY {group}) "
            f"SELECT {group}, v, f FROM today LEFT JOIN forecast USING ({group})"
            " WHERE f IS NULL OR (v - f) * (v - f) > 16 * variance * f * f"
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def queries(sheet: Sheet, tasks: Sequence[str], edges: Sequence[Edge], *, apart: bool) -> dict[str, str]:
    """Return the rules of test_bench_checks as queries, by name.

    Args:
        sheet: Says where to look.
        tasks: Of the chain, in order.
        edges: Of the chain.
        apart: One query for each result that our rules give, its task or edge in its name; else one for each rule and
            measure.
    """
    morning = sheet.day + timedelta(days=1)
    due = [(tasks[0], f"{morning}T02:00:00Z"), (tasks[-1], f"{morning}T06:00:00Z")]
    rules: dict[str, tuple[Callable[..., str], Sequence[Any]]] = {
        "books": (sheet.books, tasks),
        "failed": (sheet.failed, tasks),
        "arrived": (sheet.arrived, tasks),
        "code": (partial(sheet.versions, "code"), tasks),
        "model": (partial(sheet.versions, "model"), tasks),
        "dropped": (sheet.dropped, tasks),
        "volume": (partial(sheet.drift, "sum(output)", ""), tasks),
        "packages": (partial(sheet.drift, "sum(output)", "subinstance"), tasks),
        "categories": (partial(sheet.drift, "sum(output)", "category"), tasks),
        "duration": (partial(sheet.drift, "avg(seconds)", "subinstance"), [tasks[1], tasks[8]]),
        "on time": (sheet.on_time, due),
        "edges": (sheet.edges, edges),
        "ids": (sheet.ids, edges),
    }
    path = {"path": sheet.path(tasks[0], tasks[-1])}
    if apart:
        return path | {f"{name} {one}": rule(one) for name, (rule, some) in rules.items() for one in some}
    return path | {name: rule(*some) for name, (rule, some) in rules.items()}


class Validations:
    """Great Expectations on a SQLite file: a context in memory, the table as data source, one suite a validation."""

    def __init__(self, path: Path):
        self._gx = importlib.import_module("great_expectations")
        self._context = self._gx.get_context(mode="ephemeral")
        self._context.variables.progress_bars = {"globally": False}
        source = self._context.data_sources.add_sqlite("books", connection_string=f"sqlite:///{path}")
        self._batch = source.add_table_asset("records", table_name="record").add_batch_definition_whole_table("all")

    def define(self, name: str, statements: Mapping[str, str]) -> Callable[[], dict[str, bool]]:
        """Return a validation that is ready to run; it answers for each statement whether it found no row."""
        expectation = self._gx.expectations.UnexpectedRowsExpectation
        expectations = [expectation(unexpected_rows_query=statement) for statement in statements.values()]
        suite = self._context.suites.add(self._gx.ExpectationSuite(name=name, expectations=expectations))
        definition = self._gx.ValidationDefinition(name=name, data=self._batch, suite=suite)
        validation = self._context.validation_definitions.add(definition)

        def run() -> dict[str, bool]:
            held = {}
            for one in validation.run(result_format="BOOLEAN_ONLY").results:
                assert not one.exception_info.get("raised_exception"), one.exception_info
                held[one.expectation_config.kwargs["unexpected_rows_query"]] = bool(one.success)
            return {which: held[statement] for which, statement in statements.items()}

        return run

"""Proves dashboards without Kibana: their shape, and every query on a real ES|QL engine where one is named.

What only the engine knows it is asked: whether a query is valid, whether every field it uses is mapped ("Unknown
column" is its answer), and which columns come back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from dashboards.kibana.catalogue import Built
from dashboards.kibana.columns import Asked, asked, control_field, parameters, sources
from dashboards.kibana.esql import MOST_ROWS, TIME_PARAMETERS, Names
from dashboards.kibana.fields import mapped
from dashboards.kibana.grid import grid_problems
from dashboards.kibana.models.panels import DashboardLink, LinksPanel
from reporting.elastic.names import Kind, pattern_of


class Answer(NamedTuple):
    """What the engine said to a query: its columns, or why not."""

    columns: tuple[str, ...] = ()
    rows: int = 0
    error: str = ""
    has_engine: bool = True
    """False: the cluster knows no ES|QL, which says nothing of the query."""


Ask = Callable[[str], Answer]
"""Runs a query. May raise StoreError where the cluster cannot be reached."""


class Report(BaseModel):
    """What a check found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dashboards: int
    panels: int
    queries_run: int
    problems: list[str]
    not_run: list[str] = []
    """Queries that nothing is known of: the cluster has no ES|QL, or an index is not there, for nothing of its kind was
    written yet (no verdict, no line of a log). That the index is one of funnelgate's is checked apart; the records' own
    must be there."""


def check(boards: Sequence[Built], names: Names, ask: Ask | None = None) -> Report:
    """Check dashboards.

    Args:
        boards: all of them, for they link to each other.
        names: what they were made for.
        ask: runs a query on the cluster; None checks only what can be checked without.

    Raises:
        StoreError: the cluster cannot be reached.
    """
    ids, fields = {built.id for built in boards}, mapped(names)
    problems = [f"{built.id}: {problem}" for built in boards for problem in _of_board(built, ids, fields)]
    ran, not_run = 0, []
    if ask is not None:
        known: dict[str, Answer] = {}
        for built in boards:
            for one in asked(built.dashboard):
                answer = known[one.query] if one.query in known else known.setdefault(one.query, ask(one.query))
                where = f"{built.id}: {one.panel}"
                if not answer.has_engine:
                    not_run.append(f"{where}: this cluster has no ES|QL")
                    continue
                if _has_no_index(one, answer, pattern_of(names.prefix, Kind.RECORDS)):
                    not_run.append(f"{where}: there is no index {', '.join(sources(one.query))} yet")
                    continue
                ran += 1
                problems += [f"{where}: {problem}" for problem in _of_answer(one, answer)]
    panels = sum(len(list(built.dashboard.every_panel())) for built in boards)
    return Report(dashboards=len(boards), panels=panels, queries_run=ran, problems=problems, not_run=not_run)


def _of_board(built: Built, ids: Collection[str], fields: Mapping[str, Collection[str]]) -> Iterator[str]:
    yield from grid_problems(built.dashboard)
    for panel in built.dashboard.every_panel():
        if isinstance(panel, LinksPanel):
            yield from _of_links(panel.id, panel.config.links, ids)
    filtering = [control_field(one.config.esql_query) for one in built.dashboard.pinned_panels]
    for one in asked(built.dashboard):
        yield from (f"{one.panel}: {problem}" for problem in _of_query(one, filtering, fields))


def _of_links(panel: str, links: Sequence[DashboardLink], ids: Collection[str]) -> Iterator[str]:
    for link in links:
        if link.destination not in ids:
            yield f"{panel}: links to {link.destination!r}, which is no dashboard"


def _of_query(one: Asked, filtering: Sequence[str], fields: Mapping[str, Collection[str]]) -> Iterator[str]:
    for unknown in sorted(parameters(one.query).difference(TIME_PARAMETERS)):
        yield f"?{unknown} is no parameter that Kibana fills in, and no control has this name"
    read = sources(one.query)
    for source in read:
        if source not in fields:
            yield f"reads {source!r}, which is no index of funnelgate"
    if one.is_control:
        if one.columns == ("",):
            yield "a control's query must end with `| STATS BY <field>`"
        read_fields: Sequence[str] = [column for column in one.columns if column]
    else:
        read_fields = filtering if one.filtered else ()
        yield from _of_time_and_limit(one.query)
    for field in read_fields:
        for source in read:
            if source in fields and field not in fields[source]:
                yield f"{field!r} is filtered on, but is no field of {source}: nothing of it would be left"


def _of_time_and_limit(query: str) -> Iterator[str]:
    if not parameters(query).issuperset(TIME_PARAMETERS):
        yield "does not keep to the dashboard's time range: ?_tstart and ?_tend must be in the query"
    if not query.rpartition("|")[2].strip().startswith("LIMIT "):
        yield "has no LIMIT at its end: its answer would be cut at 1,000 rows"


def _has_no_index(one: Asked, answer: Answer, records: str) -> bool:
    missing = "Unknown index" in answer.error or "no such index" in answer.error
    return missing and records not in sources(one.query)


def _of_answer(one: Asked, answer: Answer) -> Iterator[str]:
    if answer.error:
        yield answer.error
        return
    if answer.rows >= MOST_ROWS:
        yield f"its answer is cut at {MOST_ROWS:,} rows: group by less, or sort and take the first ones on purpose"
    for column in one.columns:
        if column not in answer.columns:
            yield f"names the column {column!r}, but its query gives {', '.join(answer.columns)}"

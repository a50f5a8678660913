"""Task graph: for each relation what one task handed on and the next took in; broken ones stand out.

Which records belong to which relation is written into the query from the topology: each record is multiplied by the
relations its task has, as source (`out`) or as target (`in`). Sums are made where the law holds, on the dimensions
that both ends split by, and only then added up: differences of opposite sign must not cancel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from dashboards.kibana.esql import Names, counted, pipe, quoted, stage_label
from dashboards.kibana.models.dashboard import Dashboard
from dashboards.kibana.models.panels import VisPanel
from dashboards.kibana.pieces import (
    COUNT,
    KEPT_COLOUR,
    NONE_IS_GOOD,
    PERCENT,
    at,
    heat,
    name,
    number,
    since,
    table,
    text,
    value,
)
from reporting.topology import DIMENSIONS, Edge, Law

_ABOUT = (
    "Each relation of the task graph that has a law: what the source **handed on**, what the target **took in**, and "
    "how many items lie outside the law. `open`: a plan is still at work, so the difference may close by itself. A "
    "window (a merge over days) is judged by what its records say they read; `funnelgate balance` also compares each "
    "partition that was read with what was handed on."
)


def board(names: Names) -> Dashboard:
    """Return the dashboard. No controls: a filter would take one end of a relation away and leave the other."""
    judged = _judged(names)
    total = pipe(
        *judged, "STATS broken = SUM(CASE(open, TO_LONG(0), residual)), waiting = SUM(CASE(open, residual, TO_LONG(0)))"
    )
    return Dashboard(
        title="funnelgate: task graph",
        description="What each task handed on against what the next took in, over the plans that count.",
        time_range=since("now-7d/d"),
        panels=(
            number("broken", at(0, 0, 12, 5), total, "broken", "items outside the laws", colour=NONE_IS_GOOD),
            number("waiting", at(12, 0, 12, 5), total, "waiting", "open: items still to come"),
            text("about", at(24, 0, 24, 5), _ABOUT),
            _relations(names, judged),
            heat(
                "days",
                at(0, 25, 48, 20),
                "Items outside the law, by relation and day",
                pipe(
                    *judged,
                    "STATS residual = SUM(residual) BY date, relation",
                    "KEEP date, relation, residual",
                    "SORT date, relation",
                ),
                "date",
                "relation",
                "residual",
                form=COUNT,
                colour=NONE_IS_GOOD,
            ),
            _places(judged),
        ),
    )


def _relations(names: Names, judged: tuple[str, ...]) -> VisPanel:
    del names
    query = pipe(
        *judged,
        "STATS handed_on = SUM(handed_on), taken = SUM(taken), broken = SUM(CASE(open, TO_LONG(0), residual)),"
        " waiting = SUM(CASE(open, residual, TO_LONG(0))) BY relation, law",
        'EVAL status = CASE(broken > 0, "BROKEN", waiting > 0, "open", "holds")',
        "EVAL taken_ratio = CASE(handed_on > 0, TO_DOUBLE(taken) / handed_on, null)",
        "KEEP relation, law, status, handed_on, taken, taken_ratio, broken, waiting",
        "SORT relation",
    )
    rows = [name("relation", "relation"), name("law", "law"), name("status", "status")]
    values = [
        value("handed_on", "handed on"),
        value("taken", "taken in"),
        value("taken_ratio", "taken of handed on", PERCENT, KEPT_COLOUR),
        value("broken", "outside the law", colour=NONE_IS_GOOD),
        value("waiting", "open"),
    ]
    return table("relations", at(0, 5, 48, 20), "Relations", query, rows, values)


def _places(judged: tuple[str, ...]) -> VisPanel:
    query = pipe(
        *judged,
        "WHERE residual > 0",
        "KEEP relation, date, group, open, handed_on, taken, residual",
        "SORT open, residual DESC, relation, date, group",
        "LIMIT 1000",
    )
    rows = [name("relation", "relation"), name("date", "day"), name("group", "group"), name("open", "still open")]
    values = [value("handed_on", "handed on"), value("taken", "taken in"), value("residual", "outside the law")]
    return table("places", at(0, 45, 48, 14), "Where (the first 1,000)", query, rows, values)


def _judged(names: Names) -> tuple[str, ...]:
    """Return the commands that give one row for each relation, day and group of the dimensions both ends split by."""
    return (
        *counted(names),
        "EVAL read_count = COALESCE(MV_SUM(consumed.count), 0)",
        _ends(names),
        "WHERE ends IS NOT NULL",
        "MV_EXPAND ends",
        'DISSECT ends "%{relation}|%{side}|%{law}|%{low}|%{high}|%{grain}"',
        'EVAL group = CASE(grain == "c", category, grain == "s", subinstance,'
        ' grain == "cs", CONCAT(category, "/", subinstance), "all")',
        'STATS handed_out = SUM(produced) WHERE side == "out", handed_read = SUM(read_count) WHERE side == "window",'
        ' taken = SUM(input) WHERE side != "out", open = MAX(provisional) BY relation, law, low, high, date, group',
        "EVAL handed_on = COALESCE(handed_out, handed_read, 0), taken = COALESCE(taken, 0)",
        "EVAL least = CEIL(handed_on * TO_DOUBLE(low)), most = FLOOR(handed_on * TO_DOUBLE(high))",
        "EVAL residual = TO_LONG(CASE(taken < least, least - taken, taken > most, taken - most, 0.0))",
    )


def _ends(names: Names) -> str:
    """Return the command that says which ends of which relations a record is: a text for each, none for the others."""
    found = {task: list(_ends_of(names, task)) for task in names.topology.order}
    cases = [f"task == {quoted(task)}, [{', '.join(map(quoted, ends))}]" for task, ends in found.items() if ends]
    return f"EVAL ends = CASE({', '.join(cases)}, null)" if cases else "EVAL ends = TO_STRING(null)"


def _ends_of(names: Names, task: str) -> Iterator[str]:
    graph = names.topology
    for edge in graph.edges:
        if edge.law in (Law.EQUAL, Law.RATIO) and task in (edge.source, edge.target):
            side = "out" if task == edge.source else "in"
            label = f"{stage_label(names, edge.source)} > {edge.target}"
            yield "|".join((label, side, edge.law.value, *_bounds(edge), _grain(graph.common_grain(edge))))
    sources = graph.window_sources(task)
    if sources:
        label = f"{stage_label(names, sources[0])}{''.join(' + ' + one for one in sources[1:])} > {task}"
        yield "|".join((label, "window", "window", "1", "1", _grain(graph.task(task).grain)))


def _bounds(edge: Edge) -> tuple[str, str]:
    """Return the least and the most of what may be taken in of each item handed on."""
    low, high = edge.ratio or (1, 1)
    return f"{low:g}", "1e12" if math.isinf(high) else f"{high:g}"


def _grain(dimensions: tuple[str, ...]) -> str:
    return "".join(dimension[0] for dimension in DIMENSIONS if dimension in dimensions) or "-"

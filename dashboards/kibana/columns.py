"""What a panel asks: its query, and the columns it names; the one place that knows each kind of chart by its parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from dashboards.kibana.models.charts import DataTable, Heatmap, MetricChart
from dashboards.kibana.models.columns import Column
from dashboards.kibana.models.dashboard import Dashboard
from dashboards.kibana.models.panels import Vis, VisPanel
from dashboards.kibana.models.xy import XyChart

_PARAMETER = re.compile(r"\?{1,2}([A-Za-z_][A-Za-z0-9_]*)")
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')


class Asked(NamedTuple):
    """One query of a dashboard, and the columns that its answer must have."""

    panel: str
    query: str
    columns: tuple[str, ...]
    filtered: bool
    """Whether the dashboard's controls filter it."""
    is_control: bool = False


def asked(dashboard: Dashboard) -> Iterator[Asked]:
    """Yield every query of a dashboard: its panels' and its controls'."""
    for panel in dashboard.every_panel():
        if isinstance(panel, VisPanel):
            columns = tuple(dict.fromkeys(column.column for column in _columns(panel.config)))
            yield Asked(panel.id, query_of(panel.config), columns, filtered=not _ignores_filters(panel.config))
    for control in dashboard.pinned_panels:
        query = control.config.esql_query
        yield Asked(control.id, query, (control_field(query),), filtered=False, is_control=True)


def query_of(chart: Vis) -> str:
    """Return a chart's query."""
    return chart.layers[0].data_source.query if isinstance(chart, XyChart) else chart.data_source.query


def control_field(query: str) -> str:
    """Return the field that a control's query ends with, and that it filters on; "" where it ends otherwise."""
    found = re.search(r"\|\s*STATS\s+BY\s+([\w.@]+)\s*$", query)
    return found.group(1) if found else ""


def parameters(query: str) -> set[str]:
    """Return the names of a query's parameters; what stands in string literals is none.

    Example:
        >>> sorted(parameters('WHERE a >= ?_tstart AND b == "?no"'))
        ['_tstart']
    """
    return set(_PARAMETER.findall(_TEXT.sub('""', query)))


def sources(query: str) -> list[str]:
    """Return the index patterns that a query reads first.

    Example:
        >>> sources("FROM a-*, b METADATA _index | LIMIT 1")
        ['a-*', 'b']
    """
    first = query.split("|", 1)[0].removeprefix("FROM").split(" METADATA ")[0]
    return [one.strip() for one in first.split(",")]


def _ignores_filters(chart: Vis) -> bool:
    ignores = chart.layers[0].ignore_global_filters if isinstance(chart, XyChart) else chart.ignore_global_filters
    return bool(ignores)


def _columns(chart: Vis) -> Iterator[Column]:
    if isinstance(chart, XyChart):
        for layer in chart.layers:
            yield from (one for one in (layer.x, *layer.y, layer.breakdown_by) if one is not None)
    elif isinstance(chart, DataTable):
        yield from (*(chart.rows or ()), *(chart.metrics or ()))
    elif isinstance(chart, Heatmap):
        yield from (one for one in (chart.x, chart.y, chart.metric) if one is not None)
    elif isinstance(chart, MetricChart):
        yield from (one for one in (*chart.metrics, chart.breakdown_by) if one is not None)

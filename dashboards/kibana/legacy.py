"""A saved-object export for Kibana before 9.5 (8.19, 9.0 to 9.3): a fallback, whose shape alone was ever checked.

`POST /api/saved_objects/_import?overwrite=true` takes it, or Stack Management, Saved Objects. There a panel is Lens's
inner state as text, not the words of the Dashboards API. Controls and colours are left out: filter by the search bar.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from dashboards.kibana.catalogue import Built
from dashboards.kibana.columns import asked, query_of, sources
from dashboards.kibana.esql import LOGS
from dashboards.kibana.models.base import Json
from dashboards.kibana.models.charts import DataTable, Heatmap, MetricChart
from dashboards.kibana.models.columns import Column
from dashboards.kibana.models.panels import LinksPanel, MarkdownPanel, Panel, Vis
from dashboards.kibana.models.xy import XyChart

_LAYER = "layer"
_CORE_VERSION, _DASHBOARD_VERSION, _VIEW_VERSION = "8.8.0", "10.2.0", "8.0.0"
"""Model versions of 8.19: one that is higher than the server's is rejected."""


def export_lines(boards: Sequence[Built]) -> Iterator[str]:
    """Yield the lines of an export: the data views, then the dashboards."""
    patterns = {pattern for built in boards for one in asked(built.dashboard) for pattern in sources(one.query)}
    objects = [*map(_data_view, sorted(patterns)), *map(_dashboard, boards)]
    yield from (json.dumps(one, ensure_ascii=False) for one in objects)


def _data_view(pattern: str) -> Json:
    time = "@timestamp" if pattern == LOGS else "dates" if pattern.endswith("-plans") else "date"
    return {
        "id": _view_id(pattern),
        "type": "index-pattern",
        "attributes": {"title": pattern, "name": pattern, "timeFieldName": time},
        "references": [],
        "coreMigrationVersion": _CORE_VERSION,
        "typeMigrationVersion": _VIEW_VERSION,
    }


def _view_id(pattern: str) -> str:
    return "view-" + pattern.replace("*", "all").replace(".", "-")


def _dashboard(built: Built) -> Json:
    dashboard = built.dashboard
    panels = [_panel(panel) for panel in dashboard.every_panel()]
    attributes: Json = {
        "title": dashboard.title,
        "description": dashboard.description or "",
        "panelsJSON": json.dumps([panel.body for panel in panels], ensure_ascii=False),
        "optionsJSON": json.dumps({"useMargins": True, "hidePanelTitles": False}),
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": json.dumps({"query": {"query": "", "language": "kuery"}, "filter": []})
        },
        "timeRestore": dashboard.time_range is not None,
        "version": 1,
    }
    if dashboard.time_range is not None:
        attributes |= {"timeFrom": dashboard.time_range.from_, "timeTo": dashboard.time_range.to}
    return {
        "id": built.id,
        "type": "dashboard",
        "attributes": attributes,
        "references": [panel.reference for panel in panels if panel.reference],
        "coreMigrationVersion": _CORE_VERSION,
        "typeMigrationVersion": _DASHBOARD_VERSION,
    }


class _Panel(NamedTuple):
    body: Json
    reference: Json | None = None


def _panel(panel: Panel) -> _Panel:
    place = {"x": panel.grid.x, "y": panel.grid.y, "w": panel.grid.w, "h": panel.grid.h, "i": panel.id}
    common: Json = {"panelIndex": panel.id, "gridData": place}
    if isinstance(panel, MarkdownPanel):
        return _Panel({**common, **_markdown(panel.config.content)})
    if isinstance(panel, LinksPanel):
        links = " · ".join(f"[{one.label}](#/view/{one.destination})" for one in panel.config.links)
        return _Panel({**common, **_markdown(links)})
    pattern = sources(query_of(panel.config))[0]
    reference = {
        "type": "index-pattern",
        "id": _view_id(pattern),
        "name": f"{panel.id}:indexpattern-datasource-layer-{_LAYER}",
    }
    title = panel.config.title or ""
    attributes = {
        **_lens(panel.config, pattern),
        "references": [{**reference, "name": reference["name"].split(":")[1]}],
    }
    return _Panel({**common, "type": "lens", "title": title, "embeddableConfig": {"attributes": attributes}}, reference)


def _markdown(content: str) -> Json:
    params = {"markdown": content, "fontSize": 12, "openLinksInNewTab": False}
    saved = {"type": "markdown", "title": "", "params": params, "uiState": {}, "data": {"aggs": [], "searchSource": {}}}
    return {"type": "visualization", "embeddableConfig": {"savedVis": saved}}


def _lens(chart: Vis, pattern: str) -> Json:
    kind, visualization, columns = _visualization(chart)
    query = {"esql": query_of(chart)}
    layer = {
        "index": _view_id(pattern),
        "query": query,
        "columns": [_column(column, number) for column, number in columns],
        "timeField": "@timestamp" if pattern == LOGS else "date",
    }
    state = {
        "datasourceStates": {"textBased": {"layers": {_LAYER: layer}}},
        "visualization": visualization,
        "query": query,
        "filters": [],
        "internalReferences": [],
        "adHocDataViews": {},
    }
    return {"title": chart.title or "", "visualizationType": kind, "state": state}


def _column(column: Column, is_number: bool) -> Json:
    kind = "number" if is_number else "date" if column.column in ("date", "moment", "@timestamp") else "string"
    found: Json = {"columnId": column.column, "fieldName": column.column, "meta": {"type": kind}}
    if column.label is not None:
        found |= {"label": column.label, "customLabel": True}
    return found | ({"inMetricDimension": True} if is_number else {})


_Columns = list[tuple[Column, bool]]
"""Columns, and whether they are numbers."""


def _visualization(chart: Vis) -> tuple[str, Json, _Columns]:
    """Return Lens's name of a kind of chart, its state, and its columns."""
    base: Json = {"layerId": _LAYER, "layerType": "data"}
    if isinstance(chart, XyChart):
        return _xy(chart, base)
    if isinstance(chart, DataTable):
        rows: _Columns = [(one, False) for one in chart.rows or ()]
        cells: _Columns = [(one, True) for one in chart.metrics or ()]
        listed = [{"columnId": one.column, "isMetric": number} for one, number in rows + cells]
        return "lnsDatatable", {**base, "columns": listed}, rows + cells
    if isinstance(chart, Heatmap):
        y: _Columns = [(chart.y, False)] if chart.y is not None else []
        axes = {"xAccessor": chart.x.column, "valueAccessor": chart.metric.column}
        if chart.y is not None:
            axes["yAccessor"] = chart.y.column
        shape: Json = {"shape": "heatmap", "legend": {"isVisible": True, "position": "right", "type": "heatmap_legend"}}
        cells_shown = {"type": "heatmap_grid", "isCellLabelVisible": True, "isXAxisLabelVisible": True}
        shape["gridConfig"] = {**cells_shown, "isYAxisLabelVisible": True}
        return "lnsHeatmap", {**base, **shape, **axes}, [(chart.x, False), *y, (chart.metric, True)]
    return _metric(chart, base)


def _xy(chart: XyChart, base: Json) -> tuple[str, Json, _Columns]:
    drawn = chart.layers[0]
    layer: Json = {**base, "seriesType": drawn.type, "accessors": [one.column for one in drawn.y]}
    columns: _Columns = [(one, True) for one in drawn.y]
    for key, column in (("xAccessor", drawn.x), ("splitAccessor", drawn.breakdown_by)):
        if column is not None:
            layer[key] = column.column
            columns.append((column, False))
    legend: Any = {"isVisible": drawn.breakdown_by is not None or len(drawn.y) > 1, "position": "right"}
    state = {"legend": legend, "valueLabels": "hide", "preferredSeriesType": drawn.type, "layers": [layer]}
    return "lnsXY", state, columns


def _metric(chart: MetricChart, base: Json) -> tuple[str, Json, _Columns]:
    accessors = dict(zip(("metricAccessor", "secondaryMetricAccessor"), chart.metrics, strict=False))
    state = {**base, **{name: one.column for name, one in accessors.items()}}
    return "lnsMetric", state, [(one, True) for one in chart.metrics]

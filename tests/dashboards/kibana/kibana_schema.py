"""What Kibana 9.5 takes, written a second time: a JSON Schema by hand from its published vocabulary.

It shares no code with `dashboards.kibana.models`, knows more than they do (charts' whole vocabulary), and is what the
fake server of these tests refuses by.
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
NAME: Schema = {"type": "string", "minLength": 1}
BOOL: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number"}


def an(required: str = "", /, **properties: Schema) -> Schema:
    """An object that has these keys and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def word(*words: Any) -> Schema:
    return {"enum": list(words)}


def many(items: Schema, least: int = 0, most: int = 1000) -> Schema:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def either(*schemas: Schema) -> Schema:
    return {"oneOf": list(schemas)}


def plus(schema: Schema, **properties: Schema) -> Schema:
    return {**schema, "properties": {**schema["properties"], **properties}}


UNIT = word("ms", "s", "min", "h", "d", "w", "mo", "y")
FORMAT = either(
    an("type", type=word("number", "percent"), decimals=NUMBER, suffix=STRING, compact=BOOL),
    an("type", type=word("bytes", "bits"), decimals=NUMBER, suffix=STRING),
    an(
        "type from to",
        type=word("duration"),
        **{"from": UNIT},
        to=word("auto", "auto-approximate", *UNIT["enum"]),
        suffix=STRING,
    ),
    an("type pattern", type=word("custom"), pattern=STRING),
)
STATIC = an("type color", type=word("static"), color=STRING)
AUTO, NONE = an("type", type=word("auto")), an("type", type=word("none"))
BY_VALUE = an(
    "type range steps",
    type=word("dynamic"),
    range=word("absolute", "percentage"),
    steps=many(an("color", gte=NUMBER, lt=NUMBER, lte=NUMBER, color=STRING), 1, 100),
)
COLUMN = an("column", column=NAME, label=STRING, format=FORMAT)
ESQL = an("type query", type=word("esql"), query=NAME)
TITLES = {"title": STRING, "description": STRING, "hide_title": BOOL, "hide_border": BOOL}
TIME_RANGE = an("from to", **{"from": STRING}, to=STRING, mode=word("absolute", "relative"))
CHART = {**TITLES, "time_range": TIME_RANGE, "sampling": NUMBER, "ignore_global_filters": BOOL}
VISIBLE = an("visible", visible=BOOL)
AXIS_TITLE = an(text=STRING, visible=BOOL)
ORIENTATION = word("horizontal", "vertical", "angled")

AXIS = {"title": AXIS_TITLE, "ticks": VISIBLE, "grid": VISIBLE, "labels": an(orientation=ORIENTATION)}
FIT = an("type", type=word("fit"), rounding=BOOL)
CUSTOM = an("type min max", type=word("custom"), min=NUMBER, max=NUMBER, rounding=BOOL)
FULL = an("type", type=word("full"), rounding=BOOL)
Y_AXIS = an(**AXIS, scale=word("linear", "log", "sqrt"), domain=either(FIT, CUSTOM, FULL))
TRUNCATE = an(max_lines={"type": "integer", "minimum": 1, "maximum": 10}, enabled=BOOL)
GRID_LAYOUT = an("type", type=word("grid"), truncate=TRUNCATE)
SEEN = {"visibility": word("auto", "visible", "hidden")}
LEGEND = {
    "anyOf": [
        an(
            **SEEN,
            placement=word("outside"),
            position=word("top", "bottom"),
            layout=either(an("type", type=word("list")), GRID_LAYOUT),
        ),
        an(
            **SEEN,
            placement=word("outside"),
            position=word("left", "right"),
            size=word("auto", "s", "m", "l", "xl"),
            layout=GRID_LAYOUT,
        ),
        an(
            "placement",
            **SEEN,
            placement=word("inside"),
            position=word("top_left", "top_right", "bottom_left", "bottom_right"),
            columns=NUMBER,
            layout=GRID_LAYOUT,
        ),
    ]
}
LAYER = an(
    "type data_source y",
    type=word(
        *("bar", "bar_stacked", "bar_percentage", "bar_horizontal", "bar_horizontal_stacked"),
        *("bar_horizontal_percentage", "line", "area", "area_stacked", "area_percentage"),
    ),
    data_source=ESQL,
    x=COLUMN,
    y=many(plus(COLUMN, color=either(STATIC, AUTO), axis=word("y", "y2")), 1, 100),
    breakdown_by=plus(COLUMN, collapse_by=word("avg", "sum", "max", "min")),
    sampling=NUMBER,
    ignore_global_filters=BOOL,
)
XY = an(
    "type layers",
    type=word("xy"),
    **TITLES,
    time_range=TIME_RANGE,
    axis=an(x=an(**AXIS, scale=word("ordinal", "temporal", "linear"), domain=either(FIT, CUSTOM)), y=Y_AXIS, y2=Y_AXIS),
    legend=LEGEND,
    styling=an(
        fitting=an("type", type=word("none", "zero", "linear", "carry", "lookahead", "average", "nearest")),
        interpolation=word("linear", "smooth", "stepped"),
        points=an(visibility=word("auto", "visible", "hidden")),
        bars=an(minimum_height=NUMBER, data_labels=an(visible=BOOL)),
        areas=an(fill_opacity=NUMBER),
    ),
    layers=many(LAYER, 1, 100),
)
PRIMARY = plus(
    an("type column", **COLUMN["properties"]),
    type=word("primary"),
    subtitle=STRING,
    color=either(BY_VALUE, STATIC, AUTO),
    apply_color_to=word("value", "background"),
)
SECONDARY = plus(an("type column", **COLUMN["properties"]), type=word("secondary"), color=either(STATIC, NONE))
METRIC = an(
    "type data_source metrics",
    type=word("metric"),
    **CHART,
    data_source=ESQL,
    metrics={
        "type": "array",
        "prefixItems": [PRIMARY, SECONDARY],
        "items": False,
        "minItems": 1,
    },
    breakdown_by=plus(COLUMN, columns=NUMBER),
)
CELL = plus(
    COLUMN,
    visible=BOOL,
    width=NUMBER,
    alignment=word("left", "center", "right"),
    apply_color_to=word("value", "background", "badge"),
    color=either(BY_VALUE, AUTO),
)
TABLE = an(
    "type data_source",
    type=word("data_table"),
    **CHART,
    data_source=ESQL,
    rows=many(plus(CELL, click_filter=BOOL), 1, 50),
    metrics=many(plus(CELL, summary=an("type", type=word("sum", "avg", "count", "min", "max"), label=STRING)), 1, 1000),
    styling=an(
        density=an(mode=word("compact", "default", "expanded")),
        paging=word(10, 20, 30, 50, 100),
        row_numbers=VISIBLE,
        sort_by=an(
            "column_type index direction",
            column_type=word("row", "metric"),
            index=NUMBER,
            direction=word("asc", "desc"),
        ),
    ),
)
HEATMAP = an(
    "type data_source x metric",
    type=word("heatmap"),
    **CHART,
    data_source=ESQL,
    x=COLUMN,
    y=COLUMN,
    metric=plus(COLUMN, color=either(BY_VALUE, AUTO)),
    axis=an(
        x=an(
            "scale",
            scale=word("ordinal", "temporal", "linear"),
            title=AXIS_TITLE,
            labels=an(visible=BOOL, orientation=ORIENTATION),
            sort=word("asc", "desc"),
        ),
        y=an(title=AXIS_TITLE, labels=an(visible=BOOL), sort=word("asc", "desc")),
    ),
    legend=an(visibility=word("visible", "hidden"), position=word("top", "bottom", "left", "right"), size=STRING),
    styling=an(cells=an(labels=an(visible=BOOL))),
)
LINK = an(
    "type destination",
    type=word("dashboardLink"),
    destination=NAME,
    label=STRING,
    options=an(open_in_new_tab=BOOL, use_filters=BOOL, use_time_range=BOOL),
)
GRID = an(
    "x y",
    x=NUMBER,
    y=NUMBER,
    w={"type": "number", "minimum": 1, "maximum": 48},
    h={"type": "number", "minimum": 1},
)


def panel(kind: str, config: Schema) -> Schema:
    return an("type grid config", type=word(kind), id=STRING, grid=GRID, config=config)


PANEL = either(
    panel("vis", either(XY, METRIC, TABLE, HEATMAP)),
    panel("markdown", an("content settings", **TITLES, content=STRING, settings=an(open_links_in_new_tab=BOOL))),
    panel("links", an("links", **TITLES, layout=word("horizontal", "vertical"), links=many(LINK, 0, 100))),
)
SECTION = an("title grid", title=NAME, id=STRING, collapsed=BOOL, grid=an("y", y=NUMBER), panels=many(PANEL))
CONTROL = an(
    "type config",
    type=word("options_list_control"),
    id=STRING,
    width=word("small", "medium", "large"),
    grow=BOOL,
    config=an(
        "values_source esql_query",
        title=STRING,
        values_source=word("esql"),
        esql_query=NAME,
        selected_options=many(either(STRING, NUMBER), 0, 10000),
        single_select=BOOL,
        search_technique=word("prefix", "wildcard", "exact"),
        sort=an("by direction", by=word("_count", "_key"), direction=word("asc", "desc")),
    ),
)
DASHBOARD = an(
    "title",
    title=NAME,
    description=STRING,
    tags=many(STRING),
    time_range=TIME_RANGE,
    refresh_interval=an("pause value", pause=BOOL, value=NUMBER),
    options=an(
        auto_apply_filters=BOOL,
        hide_panel_borders=BOOL,
        hide_panel_titles=BOOL,
        sync_colors=BOOL,
        sync_cursor=BOOL,
        sync_tooltips=BOOL,
        use_margins=BOOL,
    ),
    panels=many(either(PANEL, SECTION)),
    pinned_panels=many(CONTROL, 0, 100),
)

_VALIDATOR = Draft202012Validator(DASHBOARD)


def refusals(body: Any) -> list[str]:
    """What Kibana would refuse a body for; none: it takes it."""
    return [f"[request body.{error.json_path}]: {error.message[:300]}" for error in _VALIDATOR.iter_errors(body)]

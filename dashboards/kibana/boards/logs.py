"""Logs of a leaf: Filebeat's lines, by the run key that each of them carries."""

from __future__ import annotations

from dashboards.kibana.esql import LOGS, Names, pipe
from dashboards.kibana.models.dashboard import Dashboard
from dashboards.kibana.models.panels import VisPanel
from dashboards.kibana.models.xy import LayerType
from dashboards.kibana.pieces import at, bars, control, name, series, since, table, text, value

_SOURCE = f"FROM {LOGS}"
_IN_TIME = "WHERE @timestamp >= ?_tstart AND @timestamp <= ?_tend"
_TITLES = {"task": "Task", "date": "Day", "category": "Category", "subinstance": "Package", "planid": "Plan"}
_ABOUT = (
    "Lines that Filebeat brought (`elk/filebeat.yml`). Choose task, day, category, package and plan above to see one "
    "leaf. Without Filebeat the index does not exist and these panels show an error."
)


def board(names: Names) -> Dashboard:
    """Return the dashboard; the logs' index is the same for every prefix and graph."""
    del names
    return Dashboard(
        title="funnelgate: logs of a leaf",
        description="What the workers wrote, by run key.",
        time_range=since("now-24h"),
        pinned_panels=(
            *(control(f"funnelgate.{part}", title, _SOURCE) for part, title in _TITLES.items() if part != "date"),
            control("log.level", "Level", _SOURCE),
        ),
        panels=(text("about", at(0, 0, 48, 3), _ABOUT), _levels(), _errors(), _lines()),
    )


def _levels() -> VisPanel:
    query = pipe(
        _SOURCE,
        _IN_TIME,
        "STATS lines = COUNT(*) BY moment = BUCKET(@timestamp, 75, ?_tstart, ?_tend), log.level",
        "SORT moment",
    )
    drawn, place = [series("lines", "lines")], at(0, 3, 28, 12)
    kind: LayerType = "bar_stacked"
    return bars("levels", place, "Lines by level", query, "moment", drawn, "log.level", kind=kind, temporal=True)


def _errors() -> VisPanel:
    query = pipe(
        _SOURCE,
        _IN_TIME,
        "WHERE error.type IS NOT NULL",
        "STATS lines = COUNT(*), last_seen = MAX(@timestamp) BY funnelgate.task, error.type",
        "KEEP funnelgate.task, error.type, last_seen, lines",
        "SORT lines DESC",
    )
    rows = [name("funnelgate.task", "task"), name("error.type", "error"), name("last_seen", "last")]
    return table("errors", at(28, 3, 20, 12), "Exceptions", query, rows, [value("lines", "lines")])


def _lines() -> VisPanel:
    key = [name(f"funnelgate.{part}", title.lower(), click=True) for part, title in _TITLES.items()]
    rest = [name("message", "message"), name("error.type", "error"), name("error.message", "its message")]
    rows = [name("@timestamp", "time"), name("log.level", "level"), *key, *rest]
    query = pipe(
        _SOURCE,
        _IN_TIME,
        f"KEEP {', '.join(row.column for row in rows)}",
        "SORT @timestamp DESC",
        "LIMIT 1000",
    )
    return table("lines", at(0, 15, 48, 30), "Lines, the latest 1,000", query, rows)

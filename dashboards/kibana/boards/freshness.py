"""Freshness: which leaves have reported, which are missing, and what came after its deadline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from dashboards.kibana.boards.leaf_controls import leaf_controls
from dashboards.kibana.esql import Names, counted, pipe, quoted, stage
from dashboards.kibana.models.dashboard import Dashboard
from dashboards.kibana.models.panels import VisPanel
from dashboards.kibana.pieces import COUNT, NONE_IS_GOOD, at, heat, name, number, since, steps, table, text, value
from reporting.elastic.names import Kind

_LEAVES = "STATS expected = COUNT(*) - COUNT(attempt), reported = COUNT(attempt), last_report = MAX(finished_at)"
"""Of the lines of one leaf. Manifests and records are read as one: only a record has an attempt."""
_MISSING = "EVAL missing = CASE(reported == 0, 1, 0)"
_ABOUT = (
    "**Missing**: the manifest of the plan that counts expects the leaf, and it has no record. A task without any line "
    "has neither manifest nor record in these days. A deadline is that of the morning after the day."
)
_LATE = steps(("#24c292", 1), ("#fcd883", 30), ("#f6726a", None))


def board(names: Names) -> Dashboard:
    """Return the dashboard."""
    lines = counted(names, Kind.EXPECTED, Kind.RECORDS)
    total = pipe(*lines, f"{_LEAVES} BY effective_key", _MISSING, "STATS leaves = COUNT(*), missing = SUM(missing)")
    day = pipe(
        *lines,
        stage(names),
        f"{_LEAVES} BY effective_key, stage, date",
        _MISSING,
        "STATS missing = SUM(missing) BY date, stage",
        "KEEP date, stage, missing",
        "SORT date, stage",
    )
    return Dashboard(
        title="funnelgate: freshness",
        description="Leaves that a plan's manifest expects, against those that have reported; and the deadlines.",
        time_range=since("now-2d/d"),
        pinned_panels=leaf_controls(names, kind=Kind.EXPECTED),
        panels=(
            number("expected", at(0, 0, 12, 5), total, "leaves", "leaves, expected or reported"),
            number("missing", at(12, 0, 12, 5), total, "missing", "missing", colour=NONE_IS_GOOD),
            text("about", at(24, 0, 24, 5), _ABOUT),
            _tasks(names),
            heat(
                "missing-days",
                at(0, 23, 24, 16),
                "Missing leaves",
                day,
                "date",
                "stage",
                "missing",
                form=COUNT,
                colour=NONE_IS_GOOD,
            ),
            _missing(names),
        ),
    )


def _tasks(names: Names) -> VisPanel:
    query = pipe(
        *counted(names, Kind.EXPECTED, Kind.RECORDS),
        stage(names),
        f"{_LEAVES} BY effective_key, stage, task, date",
        _MISSING,
        "STATS leaves = COUNT(*), missing = SUM(missing), last_report = MAX(last_report) BY stage, task, date",
        _due(names),
        'EVAL late_minutes = DATE_DIFF("minutes", date, last_report) - due_minutes',
        "KEEP stage, date, deadline, last_report, leaves, missing, late_minutes",
        "SORT date DESC, stage",
    )
    rows = [name("stage", "stage"), name("date", "day"), name("deadline", "due"), name("last_report", "last report")]
    values = [
        value("leaves", "leaves"),
        value("missing", "missing", colour=NONE_IS_GOOD),
        value("late_minutes", "minutes after the deadline", colour=_LATE),
    ]
    return table("tasks", at(0, 5, 48, 18), "Last report of each task", query, rows, values)


def _due(names: Names) -> str:
    """Return the command that adds each task's deadline, as it is written and in minutes after its day began in UTC.

    A day's work is due the next morning, as for the check `fresh`. ES|QL knows no time zones here: where the graph's
    zone has more than one offset a year, the deadline is shown and nothing is said to be late.
    """
    offset = _constant_offset(names.topology.timezone)
    deadlines = {task: spec.deadline for task, spec in names.topology.tasks.items() if spec.deadline is not None}
    words = [f"task == {quoted(task)}, {quoted(clock)}" for task, clock in deadlines.items()]
    minutes = [
        f"task == {quoted(task)}, {24 * 60 + int(clock[:2]) * 60 + int(clock[3:]) - offset}"
        for task, clock in deadlines.items()
        if offset is not None
    ]
    shown = f"CASE({', '.join(words)}, null)" if words else "TO_STRING(null)"
    due = f"CASE({', '.join(minutes)}, null)" if minutes else "TO_INTEGER(null)"
    return f"EVAL deadline = {shown}, due_minutes = {due}"


def _constant_offset(zone: str) -> int | None:
    """Return a zone's offset from UTC in minutes; None where it has several within a year."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    moments = (start + timedelta(days=7 * week) for week in range(53))
    offsets = {moment.astimezone(ZoneInfo(zone)).utcoffset() for moment in moments}
    only = offsets.pop()
    return None if offsets or only is None else int(only.total_seconds()) // 60


def _missing(names: Names) -> VisPanel:
    query = pipe(
        *counted(names, Kind.EXPECTED, Kind.RECORDS),
        stage(names),
        f"{_LEAVES} BY effective_key, stage, date, category, subinstance, planid",
        "WHERE reported == 0",
        "KEEP stage, date, category, subinstance, planid",
        "SORT date DESC, stage, category, subinstance",
        "LIMIT 1000",
    )
    rows = [
        name("stage", "stage"),
        name("date", "day"),
        name("category", "category", click=True),
        name("subinstance", "package", click=True),
        name("planid", "plan", click=True),
    ]
    return table("missing-leaves", at(24, 23, 24, 16), "No record yet (the first 1,000)", query, rows)

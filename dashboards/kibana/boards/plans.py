"""Plan comparison: what counts against every other plan that did the same leaves."""

from __future__ import annotations

from dashboards.kibana.boards.leaf_controls import leaf_controls
from dashboards.kibana.esql import IN_TIME, Names, joined, pipe, ratio, stage
from dashboards.kibana.models.dashboard import Dashboard
from dashboards.kibana.models.panels import VisPanel
from dashboards.kibana.pieces import DECIMAL, KEPT_COLOUR, PERCENT, at, heat, name, since, steps, table, text, value
from reporting.elastic.names import Kind

_ABOUT = (
    "**What counts against what does not.** A leaf that several plans did has one record each; one of them counts. The "
    "first two panels set every other plan beside it, over the leaves that both have: after a repair was promoted the "
    "other plan is the daily one, before that it is the repair. Choose tasks, categories and packages above."
)
_CHANGED = steps(("#6092c0", -0.005), ("#ffffff", 0.005), ("#d6bf57", None))


def board(names: Names) -> Dashboard:
    """Return the dashboard. No control for the plan: a filter would take one side of each pair away."""
    return Dashboard(
        title="funnelgate: plan comparison",
        description="The plan that counts against daily, re-run, backfill and shadow plans of the same leaves.",
        time_range=since("now-7d/d"),
        pinned_panels=leaf_controls(names, ("task", "category", "subinstance")),
        panels=(
            text("about", at(0, 0, 48, 4), _ABOUT),
            _pairs(names),
            _change(names),
            _by_plan(names),
            _leaves(names),
            _plans(names),
        ),
    )


def _paired(names: Names, *group: str) -> tuple[str, ...]:
    """Return the commands that give one row for each leaf and other plan: its numbers beside those that count.

    A record of the other plan is packed into text before leaves are grouped, for ES|QL cannot join records with
    themselves; `|` is in no part of a key.
    """
    return (
        names.source(Kind.RECORDS),
        IN_TIME,
        *joined(names),
        "WHERE effective_planid IS NOT NULL",
        'EVAL packed = CONCAT(planid, "|", TO_STRING(input), "|", TO_STRING(output))',
        "STATS counted_in = SUM(input) WHERE planid == effective_planid,"
        " counted_out = SUM(output) WHERE planid == effective_planid,"
        " packed = VALUES(packed) WHERE planid != effective_planid"
        f" BY effective_key, {', '.join(group)}",
        "WHERE packed IS NOT NULL AND counted_in IS NOT NULL",
        "MV_EXPAND packed",
        'DISSECT packed "%{other_plan}|%{other_in}|%{other_out}"',
        "EVAL other_in = TO_LONG(other_in), other_out = TO_LONG(other_out)",
    )


def _summed(*group: str) -> tuple[str, ...]:
    return (
        "STATS leaves = COUNT(*), counted_in = SUM(counted_in), counted_out = SUM(counted_out),"
        f" other_in = SUM(other_in), other_out = SUM(other_out) BY {', '.join(group)}",
        f"EVAL counted_ratio = {ratio('counted_out', 'counted_in')}, other_ratio = {ratio('other_out', 'other_in')}",
        "EVAL change = counted_ratio - other_ratio, more_out = counted_out - other_out",
    )


def _pairs(names: Names) -> VisPanel:
    query = pipe(
        *_paired(names, "task"),
        stage(names),
        *_summed("other_plan", "stage"),
        "KEEP other_plan, stage, leaves, counted_in, counted_out, counted_ratio, other_in, other_out, other_ratio,"
        " more_out",
        "SORT other_plan, stage",
    )
    values = [
        value("leaves", "leaves both have"),
        value("counted_in", "in, counts"),
        value("counted_out", "out, counts"),
        value("counted_ratio", "kept, counts", PERCENT, KEPT_COLOUR),
        value("other_in", "in, other"),
        value("other_out", "out, other"),
        value("other_ratio", "kept, other", PERCENT, KEPT_COLOUR),
        value("more_out", "out: counts less other"),
    ]
    rows = [name("other_plan", "other plan"), name("stage", "stage")]
    return table(
        "pairs", at(0, 4, 48, 16), "What counts, beside each other plan of the same leaves", query, rows, values
    )


def _change(names: Names) -> VisPanel:
    query = pipe(
        *_paired(names, "task"),
        stage(names),
        *_summed("other_plan", "stage"),
        "KEEP other_plan, stage, change",
        "SORT stage, other_plan",
    )
    return heat(
        "change",
        at(0, 20, 24, 16),
        "Kept share: what counts, less the other plan",
        query,
        "other_plan",
        "stage",
        "change",
        form=DECIMAL,
        colour=_CHANGED,
        temporal=False,
    )


def _by_plan(names: Names) -> VisPanel:
    query = pipe(
        names.source(Kind.RECORDS),
        IN_TIME,
        *joined(names),
        stage(names),
        "STATS leaves = COUNT(*), counting = COUNT(*) WHERE planid == effective_planid, taken = SUM(input),"
        " kept = SUM(output) BY planid, stage",
        f"EVAL kept_ratio = {ratio('kept', 'taken')}",
        "KEEP planid, stage, leaves, counting, taken, kept, kept_ratio",
        "SORT planid, stage",
    )
    values = [
        value("leaves", "leaves"),
        value("counting", "of them count"),
        value("taken", "in"),
        value("kept", "out"),
        value("kept_ratio", "kept", PERCENT, KEPT_COLOUR),
    ]
    rows = [name("planid", "plan"), name("stage", "stage")]
    return table("by-plan", at(24, 20, 24, 16), "Every plan by itself", query, rows, values)


def _leaves(names: Names) -> VisPanel:
    query = pipe(
        *_paired(names, "task", "date", "category", "subinstance"),
        stage(names),
        "EVAL more_out = counted_out - other_out",
        "KEEP stage, date, category, subinstance, other_plan, counted_in, counted_out, other_in, other_out, more_out",
        "SORT stage, date, category, subinstance, other_plan",
        "LIMIT 1000",
    )
    rows = [
        name("stage", "stage"),
        name("date", "day"),
        name("category", "category"),
        name("subinstance", "package"),
        name("other_plan", "other plan"),
    ]
    values = [
        value("counted_in", "in, counts"),
        value("counted_out", "out, counts"),
        value("other_in", "in, other"),
        value("other_out", "out, other"),
        value("more_out", "out: counts less other"),
    ]
    return table("leaves", at(0, 36, 48, 16), "Leaf by leaf (the first 1,000)", query, rows, values)


def _plans(names: Names) -> VisPanel:
    query = pipe(
        names.source(Kind.PLANS),
        "EVAL first_day = MV_MIN(dates), last_day = MV_MAX(dates)",
        "WHERE last_day >= DATE_TRUNC(1 day, TO_DATETIME(?_tstart)) AND first_day <= TO_DATETIME(?_tend)",
        "KEEP planid, kind, state, first_day, last_day, supersedes, code_version, created_at, completed_at,"
        " promoted_at, reason",
        "SORT first_day DESC, created_at DESC",
        "LIMIT 1000",
    )
    rows = [
        name(column, column.replace("_", " "))
        for column in ("planid", "kind", "state", "first_day", "last_day", "supersedes", "code_version")
    ] + [name(column, column.split("_")[0]) for column in ("created_at", "completed_at", "promoted_at", "reason")]
    panel = table("plans", at(0, 52, 48, 12), "The registry of plans", query, rows)
    return panel.model_copy(update={"config": panel.config.model_copy(update={"ignore_global_filters": True})})

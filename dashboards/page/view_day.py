"""A day: its funnel, the same weekday before, the task graph, and where in it things went missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from dashboards.page.compared import TREND_DAYS, WEEKS, compare_days
from dashboards.page.desk import Desk
from dashboards.page.facts import DayFacts
from dashboards.page.funnels import funnel_streams
from dashboards.page.layered import BOX_HEIGHT, BOX_WIDTH, layout
from dashboards.page.links import day_path
from dashboards.page.matrix import matrix
from dashboards.page.render import Page
from dashboards.page.routes import parse_day
from reporting.plans import Plan
from reporting.topology import Topology

MOST_LATE = 100
"""Late and missing leaves named on the page."""
_WORST_FIRST = ("broken", "waiting", "balanced", "order", "absent")


def page(desk: Desk, text: str) -> Page | None:
    """Return a day's page; None: it is no day, or none that has a plan."""
    day = parse_day(text)
    if day is None or day not in desk.days:
        return None
    facts = desk.day(day)
    place = desk.days.index(day)
    back = max(TREND_DAYS - 1, 7 * WEEKS)
    galleries = desk.galleries(day)
    context = {
        "day": facts,
        "before": desk.days[place - 1] if place else None,
        "after": desk.days[place + 1] if place + 1 < len(desk.days) else None,
        "week_ago": day - timedelta(weeks=1),
        "streams": funnel_streams(desk.topology, facts.funnel),
        "compared": compare_days(desk.sums(day - timedelta(days=back), day), desk.topology.order, day),
        "graph": layout(desk.topology.order, [(edge.source, edge.target) for edge in desk.topology.edges]),
        "box": (BOX_WIDTH, BOX_HEIGHT),
        "task_state": _task_states(desk.topology, facts),
        "taken": {row.task: row for row in facts.funnel},
        "relations": sorted(facts.relations, key=lambda one: _WORST_FIRST.index(one.state)),
        "matrices": [matrix(desk.topology, facts, dimension) for dimension in ("category", "subinstance")],
        "late": facts.late[:MOST_LATE],
        "galleries": galleries,
        "shown_reasons": {(one.task, one.reason) for one in galleries},
        "incidents": desk.incidents(day),
        "checks": desk.checks(day),
        "verdicts": desk.verdicts(day),
        "comparable": comparable(facts.plans),
    }
    return Page(day_path(day), "day.html.j2", f"{day:%A} {day}", context)


def paths(desk: Desk) -> Iterable[str]:
    """Return the days of a static folder."""
    return [day_path(day) for day in desk.shown_days]


def comparable(plans: Sequence[Plan]) -> list[tuple[Plan, Plan]]:
    """Return the pairs of plans worth comparing: each that is not the first of its days, with the one it redoes."""
    by_id = {plan.planid: plan for plan in plans}
    found = []
    for plan in plans:
        other = by_id.get(plan.supersedes or "")
        if other is None and plan.kind != "daily":
            other = next((one for one in plans if one.kind == "daily" and set(one.dates) & set(plan.dates)), None)
        if other is not None and other is not plan:
            found.append((other, plan))
    return found


def _task_states(topology: Topology, facts: DayFacts) -> dict[str, str]:
    """Return each task's state: broken where its own books or its way in do not close, else what its records say."""
    broken = {relation.edge.target for relation in facts.relations if relation.state == "broken"}
    owing = {late.leaf.task for late in facts.late if late.reported_at is None}
    failed = {record.key.task for record in facts.counting if record.state == "failed"}
    there = {record.key.task for record in facts.counting}
    unclosed = {one.where.split(" ")[0] for one in facts.balance.residuals if " -> " not in one.where}

    def state(task: str) -> str:
        if task in broken | unclosed:
            return "broken"
        if task in failed:
            return "failed"
        if task in owing:
            return "missing"
        return "balanced" if task in there else "absent"

    return {task: state(task) for task in topology.order}

"""One plan over all its days as one funnel, and plan against plan."""

from __future__ import annotations

from collections.abc import Iterable

from dashboards.page.desk import Desk
from dashboards.page.funnels import funnel_streams
from dashboards.page.links import compare_path, plan_path, slug
from dashboards.page.pairs import compare_plans
from dashboards.page.render import Page
from dashboards.page.view_day import comparable
from reporting.funnel import funnel
from reporting.plans import Plan


def page(desk: Desk, name: str) -> Page | None:
    """Return a plan's page; None: there is no such plan."""
    plan = _named(desk, name)
    if plan is None:
        return None
    records = desk.records(plan)
    context = {
        "plan": plan,
        "streams": funnel_streams(desk.topology, funnel(desk.topology, records)),
        "by_day": [(day, sum(record.key.date == day for record in records)) for day in plan.dates],
        "expected": len(desk.store.expected(plan.planid)),
        "records": len(records),
        "comparable": [pair for pair in comparable(desk.plans) if plan in pair],
    }
    return Page(plan_path(plan.planid), "plan.html.j2", f"Plan {plan.planid}", context)


def paths(desk: Desk) -> Iterable[str]:
    """Return the plans of a static folder: those that touch one of its days."""
    return [plan_path(plan.planid) for plan in _shown(desk)]


def comparison_page(desk: Desk, one_name: str, other_name: str) -> Page | None:
    """Return plan against plan; None: one of them does not exist."""
    one, other = _named(desk, one_name), _named(desk, other_name)
    if one is None or other is None:
        return None
    pair = compare_plans(desk.topology.order, desk.records(one), desk.records(other))
    title = f"{one.planid} against {other.planid}"
    return Page(
        compare_path(one.planid, other.planid), "compare.html.j2", title, {"one": one, "other": other, "pair": pair}
    )


def comparison_paths(desk: Desk) -> Iterable[str]:
    """Return the pairs of a static folder: each plan of its days with the one that it redoes."""
    return [compare_path(one.planid, other.planid) for one, other in comparable(_shown(desk))]


def _shown(desk: Desk) -> list[Plan]:
    return [plan for plan in desk.plans if desk.span is not None and any(day in desk.span for day in plan.dates)]


def _named(desk: Desk, name: str) -> Plan | None:
    return next((plan for plan in desk.plans if slug(plan.planid) == name), None)

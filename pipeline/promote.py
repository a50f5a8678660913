"""Change what counts: promote a complete plan, abandon an open one."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import delete, select, update

from pipeline.instance_states import DONE, FAILED, READY, WAITING
from reporting import tables as t
from reporting.errors import UsageError
from reporting.plans import Plan, PlanKind, PlanState
from reporting.stores.sql import SqlStore


def promote_plan(store: SqlStore, plan: Plan) -> Plan:
    """Let a complete plan count.

    Raises:
        UsageError: it is not complete, or of a kind that never counts.
    """
    if plan.kind in (PlanKind.SHADOW, PlanKind.TEST):
        raise UsageError(f"{plan.planid} is a {plan.kind.value} plan, which never counts; make a rerun instead")
    if plan.state not in (PlanState.COMPLETE, PlanState.PROMOTED):
        raise UsageError(f"{plan.planid} is {plan.state.value}; only a complete plan can count: finish it first")
    promoted = plan.model_copy(update={"state": PlanState.PROMOTED, "promoted_at": datetime.now(UTC)})
    with store.begin() as work:
        work.put_plan(promoted)
    return promoted


def abandon_plan(store: SqlStore, plan: Plan) -> None:
    """Give a plan up: its open instances are cancelled, and other plans stop waiting for them.

    Raises:
        UsageError: the plan counts, or has completed.
    """
    if plan.state is not PlanState.OPEN:
        raise UsageError(f"{plan.planid} is {plan.state.value}; only an open plan can be abandoned")
    mine = select(t.instance.c.id).where(t.instance.c.planid == plan.planid)
    open_ones = mine.where(t.instance.c.state != DONE)
    dependency = t.dependency.c
    with store.begin() as work:
        rows = (
            work.connection.execute(
                select(dependency.downstream_id).where(
                    dependency.upstream_id.in_(open_ones), dependency.downstream_id.not_in(mine)
                )
            )
            .scalars()
            .all()
        )
        for downstream in rows:
            c = t.instance.c
            work.connection.execute(update(t.instance).where(c.id == downstream).values(waiting_on=c.waiting_on - 1))
            work.connection.execute(
                update(t.instance).where(c.id == downstream, c.waiting_on == 0, c.state == WAITING).values(state=READY)
            )
        work.connection.execute(
            delete(t.dependency).where(dependency.upstream_id.in_(open_ones), dependency.downstream_id.not_in(mine))
        )
        work.connection.execute(
            update(t.instance)
            .where(t.instance.c.planid == plan.planid, t.instance.c.state != DONE)
            .values(state=FAILED, token=None, lease_until=None, error="Abandoned: the plan was given up")
        )
        work.put_plan(plan.model_copy(update={"state": PlanState.ABANDONED}))

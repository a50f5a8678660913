"""The hot statements over the instance table, compiled once a dialect (and once a shape of scope)."""

from __future__ import annotations

import functools
from typing import Any

from sqlalchemy import Dialect, and_, bindparam, case, insert, select, update

from pipeline.instance_states import DONE, READY, RUNNING, WAITING
from reporting import tables as t
from reporting.stores.sql_hot import HotStatement

_c = t.instance.c


class InstanceStatements:
    """Claim and completion; every value is a parameter of the same name as its column unless said."""

    def __init__(self, dialect: Dialect):
        self._dialect = dialect
        self.add_attempt = self._hot(
            insert(t.attempt).values(
                {name: bindparam(name) for name in ("instance_id", "attempt", "worker", "started_at")}
            )
        )
        self.close_attempt = self._hot(
            update(t.attempt)
            .where(t.attempt.c.instance_id == bindparam("i"), t.attempt.c.attempt == bindparam("number"))
            .values({name: bindparam(name) for name in ("outcome", "error", "finished_at")})
        )
        self.finish = self._hot(
            update(t.instance)
            .where(_c.id == bindparam("i"), _c.token == bindparam("held"), _c.state == RUNNING)
            .values(
                {name: bindparam(name) for name in ("artifact", "inputs", "built_with", "error", "finished_at")}
                | {"state": DONE, "token": None, "lease_until": None}
            )
        )
        waiting = select(t.dependency.c.downstream_id).where(t.dependency.c.upstream_id == bindparam("i"))
        self.release = self._hot(
            update(t.instance)
            .where(_c.id.in_(waiting))
            .values(
                waiting_on=_c.waiting_on - 1,
                state=case((and_(_c.waiting_on == 1, _c.state == WAITING), READY), else_=_c.state),
            )
        )
        self.claim = functools.cache(self._claim)

    def _hot(self, statement: Any) -> HotStatement:
        return HotStatement(statement, self._dialect)

    def _claim(self, planids: int | None, tasks: int | None) -> HotStatement:
        """Take the best ready instance of so many plans and tasks (None: any); parameters plan_0.., task_0.., now."""
        ready = select(_c.id).where(_c.state == READY, _c.available_at <= bindparam("now"))
        if planids is not None:
            ready = ready.where(_c.planid.in_([bindparam(f"plan_{n}") for n in range(planids)]))
        if tasks is not None:
            ready = ready.where(_c.task.in_([bindparam(f"task_{n}") for n in range(tasks)]))
        ready = ready.order_by(_c.priority.desc(), _c.id).limit(1)
        # SQLAlchemy silently ignores FOR UPDATE on SQLite, where BEGIN IMMEDIATE already excludes other writers.
        ready = ready.with_for_update(skip_locked=True)
        return self._hot(
            update(t.instance)
            .where(_c.id == ready.scalar_subquery())
            .values(
                {name: bindparam(name) for name in ("token", "worker", "lease_until", "started_at")}
                | {"state": RUNNING, "attempt": _c.attempt + 1, "finished_at": None}
            )
            .returning(_c.id, _c.task, _c.date, _c.category, _c.subinstance, _c.planid, _c.attempt, _c.max_attempts)
        )


@functools.cache
def statements_for(dialect: Dialect) -> InstanceStatements:
    """Return the statements of an engine's dialect."""
    return InstanceStatements(dialect)

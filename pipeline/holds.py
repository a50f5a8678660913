"""Work that an open incident holds: a blocking check keeps what is downstream of its fault from running.

Asked in the transaction of the claim. A held instance goes back as it was, without an attempt being spent, and is asked
again later; `run` ends when nothing but held work is left, and says by which incident.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, select, update

from pipeline import instances
from pipeline.instance_states import READY
from pipeline.instances import Claim
from pipeline.tasks.context import Services
from reporting import tables as t
from reporting.logs import logger
from reporting.stores.sql import SqlStore

ASK_AGAIN_SECONDS = 30.0
"""How long a worker that waits anyway leaves held work alone."""

_log = logger("worker")
_c = t.instance.c


class _Held(Exception):
    """Rolls the claim back: neither the attempt nor its event has happened."""

    def __init__(self, claimed: Claim, why: str):
        super().__init__(why)
        self.claimed = claimed


def claim_free(
    store: SqlStore,
    services: Services,
    worker: str,
    now: float,
    lease_seconds: float,
    planids: tuple[str, ...] | None,
    tasks: tuple[str, ...] | None,
) -> Claim | None:
    """Claim the next instance that nothing holds; None when there is none, or the best one is held.

    Arguments are those of `instances.claim`; held work is left alone until `ASK_AGAIN_SECONDS` after `now`.
    """
    try:
        with store.begin() as work:
            claimed = instances.claim(work, worker, now, lease_seconds, planids, tasks)
            if claimed is not None:
                planid = claimed.key.planid
                why = services.held(
                    work.connection, claimed.key, lambda: instances.load_plan(work.connection, planid).dates
                )
                if why is not None:
                    raise _Held(claimed, why)
            return claimed
    except _Held as held:
        with store.begin() as work:
            _put_aside(work.connection, held.claimed.instance_id, now + ASK_AGAIN_SECONDS, str(held))
        _log.warning("%s waits: %s", held.claimed.key, held)
        return None


def _put_aside(connection: Connection, instance_id: int, until: float, why: str) -> None:
    connection.execute(
        update(t.instance)
        .where(_c.id == instance_id, _c.state == READY)
        .values(available_at=until, error=f"{instances.HELD}{why}")
    )


def held_work(connection: Connection, planids: Sequence[str]) -> list[str]:
    """Return in words what of some plans waits for an incident: a line for each reason and task, sorted."""
    rows = connection.execute(
        select(_c.task, _c.date, _c.error, func.count())
        .where(_c.planid.in_(planids), _c.state == READY, _c.error.startswith(instances.HELD, autoescape=True))
        .group_by(_c.task, _c.date, _c.error)
        .order_by(_c.date, _c.task, _c.error)
    ).all()
    return [f"{row[0]} of {row[1]} ({row[3]} to do) is {row[2]}" for row in rows]

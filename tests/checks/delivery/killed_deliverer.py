"""A process that judges and delivers, and dies: `python -m tests.checks.delivery.killed_deliverer FOLDER MOMENT N`.

It goes through the rounds that are not done yet; a round is done in the transaction of its incidents and notices. At
the Nth of the moments it dies: `judging` (all written, nothing committed), `reminding` (the same, with reminders),
`judged` (committed, nothing sent), `sent` (taken by the other side, not noted), `settling` (noted, not committed),
`noted` (committed); `never`: it lives.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import func, select

from checks import acting, deliver, notices, reminders
from checks.result import Result, Status
from checks.sinks.opening import open_sinks
from checks.sinks.settings import Sinks
from reporting.stores import open_store
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import iso
from reporting.tables import check_run, notice
from tests.checks.broken import DAY, GRAPH, NOW, result

MOMENTS = ("judging", "judged", "sent", "settling", "noted", "reminding")
REMIND_AFTER = timedelta(minutes=30)

PASS, WARN, FAIL = Status.PASS, Status.WARN, Status.FAIL
STORY = (
    ((FAIL, 90), (WARN, 99), (PASS, 100), (PASS, 100), (FAIL, 50)),
    ((FAIL, 90), (FAIL, 60), (FAIL, 80), (PASS, 100), (FAIL, 40)),
    ((PASS, 100), (FAIL, 10), (FAIL, 80), (FAIL, 70), (PASS, 100)),
    ((FAIL, 90), (PASS, 100), (PASS, 100), (FAIL, 70), (PASS, 100)),
    ((PASS, 100), (PASS, 100), (PASS, 100), (PASS, 100), (PASS, 100)),
)
"""Round by round, what each of five packages comes to: breaks, worsenings, ends, and one that comes back."""


def results(number: int) -> list[Result]:
    """Return what a round has judged."""
    return [
        result(
            status=status,
            value=value,
            group={"subinstance": f"{package:04}"},
            causes=[{"subinstance": [f"{package:04}"]}] if status is not PASS else (),
            data=f"data-{number}",
            as_of=NOW + timedelta(hours=number),
        )
        for package, (status, value) in enumerate(STORY[number])
    ]


def die() -> None:
    """Leave no time for any clean-up."""
    os.kill(os.getpid(), signal.SIGKILL)


def dying(real: Callable[..., Any], number: int, *, first: bool) -> Callable[..., Any]:
    """Return a function that dies at its Nth call, before or after it has done what it does."""
    calls = itertools.count(1)

    def call(*args: Any, **options: Any) -> Any:
        now = next(calls) == number
        if now and first:
            die()
        found = real(*args, **options)
        if now:
            die()
        return found

    return call


def judge(store: SqlStore, number: int, settings: Any) -> None:
    """Write a round's incidents and notices, and that it is done."""
    now = NOW + timedelta(hours=number)
    with store.begin() as work:
        acting.act(work, results(number), topology=GRAPH, now=now, rules={}, sinks=settings)
        reminders.queue_reminders(work.connection, settings, now, REMIND_AFTER)
        row = {name: iso(now) for name in ("as_of", "started_at", "finished_at")}
        row |= {"run_id": f"run-{number}", "status": "pass", "config_hash": "rules", "body": "{}"}
        work.connection.execute(check_run.insert().values(**row, date=DAY, results=5))


def waiting(store: SqlStore) -> int:
    with store.read() as connection:
        count = select(func.count()).select_from(notice).where(notice.c.state == "waiting")
        return int(connection.execute(count).scalar_one())


def main(folder: Path, moment: str, number: int) -> None:
    """Do what is left to do, but for the kill."""
    of_acting, of_notices = vars(acting), vars(notices)
    if moment == "judging":
        of_acting["queue_notices"] = dying(of_acting["queue_notices"], number, first=False)
    elif moment == "reminding":
        of_reminders = vars(reminders)
        of_reminders["queue_reminders"] = dying(of_reminders["queue_reminders"], number, first=False)
    elif moment in ("sent", "settling"):
        of_notices["settle"] = dying(of_notices["settle"], number, first=moment == "sent")
    elif moment == "noted":
        run = vars(deliver)["_Run"]
        run._settled = dying(run._settled, number, first=False)
    judged = dying(judge, number if moment == "judged" else 0, first=False)
    settings = TypeAdapter(Sinks).validate_json((folder / "sinks.json").read_text())
    with open_store(f"sqlite:///{folder / 'store.db'}") as store:
        sinks = open_sinks(settings, folder, os.environ)
        with store.read() as connection:
            done = connection.execute(select(func.count()).select_from(check_run)).scalar_one()
        for at in range(done, len(STORY)):
            send(store, sinks, at)  # what a former life has left
            judged(store, at, settings)
        send(store, sinks, len(STORY))


def send(store: SqlStore, sinks: Any, at: int) -> None:
    """Deliver until nothing waits, from a minute after the round before on.

    The leases go by the story's clock: those of a dead process run out within it, and nobody waits for them.
    """
    now = NOW + timedelta(hours=at - 1, minutes=1)
    while waiting(store):
        deliver.deliver(store, sinks, now, clock=now.timestamp)
        now += timedelta(seconds=10)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))

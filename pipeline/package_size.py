"""How many items go into a package: what the slowest task does in a given time, from its own records."""

from __future__ import annotations

from collections import defaultdict
from datetime import date as Date
from datetime import timedelta

from reporting.key import ALL
from reporting.record import State
from reporting.stores.base import RecordQuery
from reporting.stores.sql import SqlStore

MAX_PACKAGE = 100_000
DEFAULT_PACKAGE = 10_000
_MIN_PACKAGE = 100
_MIN_SECONDS = 1.0
_DAYS_MEASURED = 7


def package_size(store: SqlStore, day: Date, seconds: float, unmeasured: int) -> int:
    """Return the items of a package so that the slowest per-package task takes about `seconds`.

    The rate of a task is its items over its wall time, summed over the packages of the last seven days;
    packages of the same task that did less than a second of work say nothing and are left out.
    """
    query = RecordQuery(date_from=day - timedelta(days=_DAYS_MEASURED), date_to=day - timedelta(days=1))
    items: dict[str, int] = defaultdict(int)
    attempts: dict[str, dict[tuple[object, ...], float]] = defaultdict(dict)
    for record in store.records(query):
        if record.key.subinstance != ALL and record.state is State.SUCCEEDED:
            items[record.key.task] += record.input
            # A fan-out books one record a category, all of them with the time of its one attempt.
            attempt = (record.key.date, record.key.subinstance, record.key.planid, record.started_at)
            attempts[record.key.task][attempt] = record.seconds
    worked = {task: sum(seconds.values()) for task, seconds in attempts.items()}
    rates = [items[task] / worked[task] for task in worked if worked[task] >= _MIN_SECONDS and items[task]]
    if not rates:
        return unmeasured
    return max(_MIN_PACKAGE, min(MAX_PACKAGE, int(min(rates) * seconds)))

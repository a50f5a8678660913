"""How many items go into a package: what the slowest task does in a given time, from its own records."""

from __future__ import annotations

from collections import defaultdict
from datetime import date as Date
from datetime import datetime, timedelta
from typing import NamedTuple

from reporting.key import ALL
from reporting.record import State
from reporting.stores.base import RecordQuery
from reporting.stores.sql import SqlStore

MAX_PACKAGE = 100_000
DEFAULT_PACKAGE = 10_000
_MIN_PACKAGE = 100
_MIN_SECONDS = 1.0
_DAYS_MEASURED = 7


class _Attempt(NamedTuple):
    started_at: datetime
    date: Date
    package: str
    task: str
    planid: str


def package_size(store: SqlStore, day: Date, seconds: float, unmeasured: int) -> int:
    """Return the items of a package so that the slowest per-package task takes about `seconds`.

    The rate of a task is the items of its packages over its wall time, summed over the last seven days; a task that
    did less than a second of work says nothing and is left out. A package has the items that the first of its tasks
    took in: later ones count in other units, three objects to a picture.
    """
    query = RecordQuery(date_from=day - timedelta(days=_DAYS_MEASURED), date_to=day - timedelta(days=1))
    taken: dict[_Attempt, int] = defaultdict(int)
    seconds_of: dict[_Attempt, float] = {}
    for record in store.records(query):
        if record.key.subinstance != ALL and record.state is State.SUCCEEDED:
            # A fan-out books one record a category, all of them with the time of its one attempt.
            key = record.key
            attempt = _Attempt(record.started_at, key.date, key.subinstance, key.task, key.planid)
            taken[attempt] += record.input
            seconds_of[attempt] = record.seconds
    sizes: dict[tuple[Date, str], int] = {}
    worked: dict[str, float] = defaultdict(float)
    done: dict[str, set[tuple[Date, str, str]]] = defaultdict(set)
    for attempt in sorted(taken):
        sizes.setdefault((attempt.date, attempt.package), taken[attempt])
        worked[attempt.task] += seconds_of[attempt]
        done[attempt.task].add((attempt.date, attempt.package, attempt.planid))
    items = {task: sum(sizes[package[:2]] for package in packages) for task, packages in done.items()}
    rates = [items[task] / worked[task] for task in worked if worked[task] >= _MIN_SECONDS and items[task]]
    if not rates:
        return unmeasured
    return max(_MIN_PACKAGE, min(MAX_PACKAGE, int(min(rates) * seconds)))

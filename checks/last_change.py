"""What has changed since the day before: the first thing that whoever is woken by a break wants to know.

The versions that the broken task's records name (model, feature space, code) against those of the day before, from the
records that count (reference 6.4: "version diff").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from checks.breaks import is_broken
from checks.result import Result
from checks.sinks.message import LAST_CHANGE
from checks.view import View
from reporting.effective import EffectivePlans
from reporting.record import TaskRecord
from reporting.stores.base import RecordQuery, RecordStore

_NAMED = 3
"""Values of one version, and versions of one task: what has more has not changed at one place."""


def with_last_change(store: RecordStore, view: View, results: Sequence[Result], as_of: datetime | None) -> list[Result]:
    """Return results, the broken ones with what has changed in `details["last_change"]`, where anything has.

    One question more to the store where something is broken, else none.

    Args:
        store: The one the view was read from.
        view: The judged day.
        results: Of the day.
        as_of: As for the view's scan; None: the records as they are.

    Raises:
        StoreError: the store cannot be read.
    """
    booked = {leaf.task for leaf in view.counting}
    tasks = {task for one in results if is_broken(one) for task in _tasks_of(one) if task in booked}
    if not tasks:
        return list(results)
    before = _day_before(store, view, tasks, as_of)
    today = view.counting.values()
    changes = {task: version_changes(task, _of(today, task), _of(before, task)) for task in sorted(tasks)}
    return [_told(one, changes) if is_broken(one) else one for one in results]


def version_changes(task: str, now: Iterable[TaskRecord], before: Iterable[TaskRecord]) -> str:
    """Return in words which versions of a task differ: `detect model d7 -> d8`; "" where none do.

    A version that only one of the two days has ever named is no change of it, and neither is anything where there is
    no record of one of them. Versions are sorted by name; at most three are named, and three values of each.
    """
    new, old = _versions(now), _versions(before)
    changed = [name for name in sorted(new.keys() & old.keys()) if new[name] != old[name]]
    told = [f"{name} {_some(old[name])} -> {_some(new[name])}" for name in changed[:_NAMED]]
    more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
    return f"{task} {', '.join(told)}{more}" if told else ""


def _tasks_of(result: Result) -> tuple[str, ...]:
    return (result.key.task,) if result.key.source is None else (result.key.source, result.key.task)


def _day_before(store: RecordStore, view: View, tasks: set[str], as_of: datetime | None) -> list[TaskRecord]:
    day = view.date - timedelta(days=1)
    effective = EffectivePlans(store.plans(day, day), view.as_of)
    query = RecordQuery(tasks=tuple(sorted(tasks)), date_from=day, date_to=day, as_of=as_of)
    return [record for record in store.records(query) if effective.counts(record.key)]


def _of(records: Iterable[TaskRecord], task: str) -> list[TaskRecord]:
    return [record for record in records if record.key.task == task]


def _versions(records: Iterable[TaskRecord]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for record in records:
        for name, version in record.versions.items():
            found.setdefault(name, set()).add(version)
    return found


def _some(values: set[str]) -> str:
    named = sorted(values)
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return ", ".join(named[:_NAMED]) + more


def _told(result: Result, changes: dict[str, str]) -> Result:
    told = "; ".join(filter(None, (changes.get(task, "") for task in _tasks_of(result))))
    return result.model_copy(update={"details": {**result.details, LAST_CHANGE: told}}) if told else result

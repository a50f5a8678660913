"""Libraries that a later one may still take in: an old day is being done again, or has been lately."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date as Date
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import select

from pipeline.instance_states import DONE
from pipeline.partitions import Partition, Partitions
from pipeline.storage.needed import carrier_of
from pipeline.window.library import library_of
from reporting import tables as t
from reporting.plans import Leaf, Plan, PlanKind, PlanState
from reporting.stores.sql import SqlStore
from reporting.topology import Topology

_NOW = "9999"  # after every time
_DAYS_BACK = 30
"""As the task dedup looks for the day that it continues."""


class _Made(NamedTuple):
    """When the libraries were made: by partition and by day, as the store writes a time."""

    at: dict[str, str]
    on: dict[Date, str]
    """The latest of the day."""

    def of(self, parts: Iterable[Partition]) -> str:
        """Return when the last of some partitions was made: "" for none; one that was made since they were listed."""
        return max((self.at.get(part.folder, _NOW) for part in parts), default="")


def pending_libraries(store: SqlStore, topology: Topology, day: Date, grace_days: int) -> list[Partition]:
    """Return the libraries of old days which the newest one does not stand for yet.

    - Of each open plan that makes any: its newest; the one that it starts from, while it has none.
    - Made since the library of `grace_days` ago was: the newest of a complete plan that has yet to be promoted, and
      what counts on a day whose next day is older than it. So days that are done again one by one, and a day that
      came late, have as long to be taken in as what leaves the library keeps its bytes.

    Args:
        store: Plans and instances.
        topology: Says which task carries the library.
        day: The day as of which it is asked.
        grace_days: >= 0.
    """
    made = _made(store, topology)
    view = Partitions(store, topology, None)
    graced = next((parts for one in reversed(made.on) if (parts := _graced(view, topology, one, day, grace_days))), [])
    since = made.of(graced)
    found = [part for plan in store.plans() for part in _of_plan(store, topology, plan, made, since)]
    found += [part for part in _ends(view, topology, made, since) if made.of([part]) > since]
    return list({part.folder: part for part in found}.values())


def _made(store: SqlStore, topology: Topology) -> _Made:
    c = t.instance.c
    asked = select(c.date, c.artifact, c.finished_at).where(c.task == carrier_of(topology), c.state == DONE)
    with store.read() as connection:
        rows = connection.execute(asked.order_by(c.date, c.finished_at)).all()
    return _Made({folder: at for _, folder, at in rows}, {day: at for day, _, at in rows})


def _graced(view: Partitions, topology: Topology, one: Date, day: Date, grace_days: int) -> list[Partition]:
    return library_of(view, topology, one) if one <= day - timedelta(grace_days) else []


def _of_plan(store: SqlStore, topology: Topology, plan: Plan, made: _Made, since: str) -> list[Partition]:
    carrier = carrier_of(topology)
    mine = [day for day in reversed(plan.dates) if plan.covers(Leaf(carrier, day))]
    is_open = plan.state is PlanState.OPEN
    may_count = plan.state is PlanState.COMPLETE and plan.kind is not PlanKind.DAILY  # a daily one counts already
    if plan.kind in (PlanKind.SHADOW, PlanKind.TEST) or not mine or not (is_open or may_count):
        return []
    view = Partitions(store, topology, plan)
    before = view.days_before(carrier, mine[-1], count=_DAYS_BACK) if is_open else []
    found = next((parts for one in (*mine, *before) if (parts := library_of(view, topology, one))), [])
    return [part for part in found if is_open or made.of([part]) > since]


def _ends(view: Partitions, topology: Topology, made: _Made, since: str) -> Iterator[Partition]:
    """Yield what counts on each day that was done after the nearest later day that has a library was."""
    for day in [one for one, at in made.on.items() if at > since]:
        later = (parts for one in made.on if one > day and (parts := library_of(view, topology, one)))
        after = next(later, [])
        yield from (part for part in library_of(view, topology, day) if after and made.of([part]) > made.of(after))

"""A look at forgetting, before and after: what a policy would do today, whether a release keeps its word, and why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date as Date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from pipeline.evict.audit import explain_row
from pipeline.evict.policy import EvictPolicy, load_policy
from pipeline.evict.summary import PlanSummary, plan_summary
from pipeline.evict_day import Decided, decide_day
from pipeline.item_ids import resolve_ids
from pipeline.library_facts import AUDIT, marks_before
from pipeline.library_rows import LibraryRows
from pipeline.partitions import Partitions
from pipeline.plans import PlanRequest, find_or_make_plans
from pipeline.progress import run_with_progress
from pipeline.release.withheld import WithheldList, withheld
from pipeline.run import RunOutcome
from pipeline.tasks import task_settings
from pipeline.window.library import CARRIER, RECHECK
from reporting.errors import ConfigError, UsageError
from reporting.plans import PlanKind

if TYPE_CHECKING:
    from pipeline.place import Place

_DAYS_BACK = 10_000
_LEAST_HEX = 6


class Told(BaseModel):
    """What evict decided about a picture on a day.

    Attributes:
        date: The day.
        picture: sha256.
        reason: As booked.
        keep: Whether it stays.
        text: For people.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: Date
    picture: str
    reason: str
    keep: bool
    text: str


def explain(place: Place, item: str) -> list[Told]:
    """Return what was decided about one picture, newest day first, without the days that found the same as the next.

    Args:
        place: The project.
        item: sha256 of a picture, its first 6 digits or more, or the id of an object of it.

    Raises:
        UsageError: evict never had such a picture, or the digits name several.
    """
    wanted = _picture(place, item)
    found: list[Told] = []
    names: set[str] = set()
    for day, table in _audits(place):
        for row in table.to_pylist():
            if row["picture"].startswith(wanted):
                names.add(row["picture"])
                found.append(
                    Told(
                        date=day,
                        picture=row["picture"],
                        reason=row["reason"],
                        keep=row["keep"],
                        text=explain_row(row),
                    )
                )
    if len(names) > 1:
        raise UsageError(f"{item}: {len(names)} pictures begin so, {min(names)} the first; give more digits")
    if not found:
        raise UsageError(
            f"{item}: evict has never had such a picture; it takes what dedup keeps, see `funnelgate items`"
        )
    later = [None, *found]
    return [one for one, after in zip(found, later, strict=False) if after is None or after.text != one.text]


def _picture(place: Place, item: str) -> str:
    if item.isascii() and item.isdecimal() and len(item) < 20:  # a sha256 has 64 digits
        rows = resolve_ids(place.store, [int(item)])
        if int(item) in rows:
            return rows[int(item)].picture
    if len(item) < _LEAST_HEX or set(item) - set("0123456789abcdef"):
        raise UsageError(
            f"{item}: expected the id of an object, or the sha256 of a picture ({_LEAST_HEX} digits or more)"
        )
    return item


def _audits(place: Place) -> Iterator[tuple[Date, Any]]:
    partitions = Partitions(place.store, place.topology, None)
    for day in partitions.days_before(CARRIER, Date.max, count=_DAYS_BACK):
        for part in partitions.of_task(CARRIER, day):
            yield day, place.lake.read_table(f"{part.folder}/{AUDIT}")


def policy_of(place: Place, file: Path | None = None) -> EvictPolicy:
    """Return the policy of a file, else that of the task graph.

    Raises:
        ConfigError: the file or the task's settings are wrong, or the graph has no task evict.
    """
    if file is not None:
        return load_policy(file)
    if CARRIER not in place.topology.tasks:
        raise ConfigError(
            "pipeline.yaml has no task evict; add it as `funnelgate init` writes it, or name a policy file by --policy"
        )
    return EvictPolicy.model_validate(task_settings(place.topology, CARRIER).model_dump())


def evicted_day(
    place: Place, day: Date | None, policy: EvictPolicy, *, hidden: WithheldList | None = None, valued: Any = None
) -> Decided:
    """Decide about a day that dedup has done, without writing anything.

    Args:
        place: The project.
        day: Default the newest that dedup has done.
        policy: By which.
        hidden: What is taken down; None: what is now.
        valued: See `decide_day`.

    Raises:
        UsageError: dedup has not done the day.
        TailFull: see `decide_day`.
    """
    partitions = Partitions(place.store, place.topology, None)
    days = [day] if day is not None else partitions.days_before("dedup", Date.max, count=_DAYS_BACK)
    found = next(((one, parts) for one in days if (parts := partitions.of_task("dedup", one))), None)
    if found is None:
        asked = "no day" if day is None else f"the day {day}"
        raise UsageError(f"{asked} has been through dedup here; run it first (`funnelgate run`)")
    chosen, parts = found
    return decide_day(
        place.lake,
        partitions,
        LibraryRows(place.lake, parts),
        chosen,
        policy,
        marked=marks_before(partitions, chosen),
        checked=partitions.of_task(RECHECK, chosen) if RECHECK in place.topology.tasks else [],
        hidden=withheld(place.lake.folder()) if hidden is None else hidden,
        valued=valued,
    )


def audit_of(place: Place, day: Date) -> Any:
    """Return the audit that the task wrote on a day.

    Raises:
        UsageError: it has not run on that day.
    """
    found = Partitions(place.store, place.topology, None).of_task(CARRIER, day)
    if not found:
        raise UsageError(f"evict has not run on {day}; run the day, or `funnelgate evict apply`")
    return place.lake.read_table(f"{found[0].folder}/{AUDIT}")


def summary_of(place: Place, day: Date | None, file: Path | None) -> tuple[Decided, PlanSummary]:
    """Return what would be decided about a day, and its figures.

    Args:
        place: The project.
        day: Default the newest that dedup has done.
        file: Of another policy than that of the task graph.

    Raises:
        UsageError, ConfigError, TailFull: see `evicted_day`, `policy_of`.
    """
    found = evicted_day(place, day, policy_of(place, file))
    sizes = np.asarray(found.library.columns(["bytes"])["bytes"], np.int64)
    bytes_of = sizes if found.names.live_rows is None else sizes[found.names.live_rows]
    summary = plan_summary(
        found.stored,
        found.decisions,
        found.names,
        found.policy,
        found.day,
        bytes_of=bytes_of,
        distance=found.distance,
    )
    return found, summary.model_copy(update={"signals": found.signals})


def apply_day(place: Place, day: Date, *, workers: int | None, reason: str) -> RunOutcome:
    """Let evict decide about a day again, and merge, judge and release what is left.

    Raises:
        UsageError: the day has no plan.
    """
    request = PlanRequest(kind=PlanKind.RERUN, dates=(day,), tasks=(CARRIER,), promote=True, reason=reason)
    plans = find_or_make_plans(place.store, place.topology, request)
    with place.shipping():
        return run_with_progress(place, plans, workers=workers)

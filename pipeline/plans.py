"""Make the plan a command asks for, or find the one that is already there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from datetime import date as Date
from pathlib import Path
from zoneinfo import ZoneInfo

from pipeline.partitions import Partitions
from pipeline.planner import open_plan, read_split, root_task, seal
from pipeline.tasks import check_settings, with_registered_versions
from pipeline.version import code_version
from reporting import tables as t
from reporting.errors import DataError, UsageError
from reporting.plans import Cover, Effective, Leaf, Plan, PlanKind, PlanState, Source, cover_of, effective_plan
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import SqlUnitOfWork, upsert
from reporting.topology import Topology


@dataclass(frozen=True)
class PlanRequest:
    """What a plan shall do."""

    kind: PlanKind
    dates: tuple[Date, ...]
    source: str | None = None
    """Path of the manifest, with {date} for the day."""
    tasks: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subinstances: tuple[str, ...] = ()
    promote: bool = False
    alone: bool = False
    """The tasks and nothing downstream of them."""
    reason: str = ""
    today: Date | None = field(default=None)


def find_or_make_plans(store: SqlStore, topology: Topology, request: PlanRequest) -> list[Plan]:
    """Return one plan a day for daily runs (an existing one first), else one new plan over all days.

    Raises:
        UsageError: a day lies in the future, or a re-run has nothing to repeat.
        DataError: a source manifest is missing.
    """
    _refuse_future(topology, request)
    topology = with_registered_versions(topology)
    if request.kind is PlanKind.DAILY:
        return [_daily(store, topology, request, day) for day in request.dates]
    return [_make(store, topology, request, request.dates)]


def _refuse_future(topology: Topology, request: PlanRequest) -> None:
    today = request.today or datetime.now(ZoneInfo(topology.timezone)).date()
    late = [day for day in request.dates if day > today]
    if late:
        raise UsageError(
            f"{late[0]} is in the future (today is {today} in {topology.timezone}); give a day that has come"
        )


def _existing_daily(store: SqlStore, day: Date) -> Plan | None:
    plans = [plan for plan in store.plans(day, day) if plan.kind is PlanKind.DAILY]
    return next((plan for plan in reversed(plans) if plan.state is not PlanState.ABANDONED), None)


def _daily(store: SqlStore, topology: Topology, request: PlanRequest, day: Date) -> Plan:
    plan = _existing_daily(store, day)
    if plan is None:
        return _make(store, topology, request, (day,))
    if request.source is not None and _path(request.source, day).exists():
        asked, was = _source(request.source, day), plan.sources[day]
        if asked.sha256 != was.sha256:
            raise UsageError(
                f"{day} has already been planned as {plan.planid} from {was.path} (sha256 {was.sha256[:12]}), "
                f"{asked.path} differs (sha256 {asked.sha256[:12]}); use --kind rerun to do the day again from it"
            )
    return plan


def _make(store: SqlStore, topology: Topology, request: PlanRequest, dates: tuple[Date, ...]) -> Plan:
    cover = _cover(topology, request)
    root = root_task(topology)
    before = {day: effective_plan(store.plans(day, day), Leaf(root, day)) for day in dates}
    sources = {day: _source_of(store, request, day, before[day]) for day in dates}
    check_settings(topology)  # a bad setting is refused before anything is stored
    with store.begin() as work:
        _one_planner_at_a_time(work)
        if request.kind is PlanKind.DAILY and (other := _existing_daily(store, dates[0])) is not None:
            return other  # another run planned the day since we looked
        plan = Plan(
            planid=_planid(store, request.kind, dates),
            kind=request.kind,
            dates=dates,
            cover=cover,
            sources=sources,
            config={"topology": topology.model_dump(mode="json", by_alias=True)},
            config_hash=hashlib.sha256(topology.model_dump_json().encode()).hexdigest()[:16],
            code_version=code_version(),
            supersedes=",".join(sorted({found.planid for found in before.values() if found is not None})) or None,
            promote_when_complete=request.promote,
            reason=request.reason,
            created_at=datetime.now(UTC),
        )
        open_plan(work, topology, plan)
        if cover is not None and all(part.task != root for part in cover):
            _seal_like_before(store, work, topology, plan)
    return plan


def _one_planner_at_a_time(work: SqlUnitOfWork) -> None:
    """Let a second planner wait here until this transaction ends (SQLite's BEGIN IMMEDIATE already does)."""
    row = {"name": "planning", "owner": "-", "until": 0.0}
    work.connection.execute(upsert(work.connection.dialect.name, t.lease, ["name"]), row)


def _source_of(store: SqlStore, request: PlanRequest, day: Date, before: Effective | None) -> Source:
    """Return the manifest asked for, or that of the plan which counts so far."""
    if request.source is not None:
        return _source(request.source, day)
    if before is None:
        raise UsageError(f"{day} has no plan and no source; give --source MANIFEST (or run.source in funnelgate.yaml)")
    known = store.get_plan(before.planid)
    assert known is not None, f"plan {before.planid} counts but is not stored"
    return known.sources[day]


def _seal_like_before(store: SqlStore, work: SqlUnitOfWork, topology: Topology, plan: Plan) -> None:
    """Divide a repair's days as they were divided before: it reads the packages of the effective plan."""
    root = root_task(topology)
    for day in plan.dates:
        found = Partitions(store, topology, None).of_task(root, day)
        split = read_split(store.split_text(found[0].planid, day)) if found else None
        if split is None:
            raise UsageError(
                f"{day}: nothing to repeat, {root!r} has not completed there; run the day first, or re-run it whole"
            )
        for name, chosen, known in (
            ("subinstance", [s for c in plan.cover or () for s in c.subinstances or ()], split.packages),
            ("category", [c for cover in plan.cover or () for c in cover.categories or ()], split.categories),
        ):
            unknown = sorted(set(chosen) - set(known))
            if unknown:
                raise UsageError(f"{day} has no {name} {unknown[0]!r}; it has {', '.join(known)}")
        seal(work, topology, plan, day, split, datetime.now(UTC))


def _cover(topology: Topology, request: PlanRequest) -> tuple[Cover, ...] | None:
    """Return the scope of a re-run; a daily plan is always whole (its --tasks only limit what is worked on now)."""
    if request.kind is PlanKind.DAILY or not (request.tasks or request.categories or request.subinstances):
        return None
    tasks = request.tasks or tuple(_first_with(topology, request))
    cover = cover_of(topology, tasks, request.categories or None, request.subinstances or None)
    return tuple(part for part in cover if part.task in tasks) if request.alone else cover


def _first_with(topology: Topology, request: PlanRequest) -> Sequence[str]:
    """Return the first task whose work splits by every restricted dimension: where a repair of leaves must start."""
    wanted = {"category"} if request.categories else set()
    wanted |= {"subinstance"} if request.subinstances else set()
    found = next((task for task in topology.order if wanted <= set(topology.task(task).work_grain)), None)
    if found is None:
        raise UsageError(f"no task splits by {' and '.join(sorted(wanted))}; name the tasks with --tasks")
    return [found]


def _path(template: str, day: Date) -> Path:
    return Path(template.replace("{date}", day.isoformat())).resolve()


def _source(template: str, day: Date) -> Source:
    path = _path(template, day)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(
            f"{path}: the source manifest of {day} cannot be read: {error.strerror}; check --source"
        ) from error
    return Source(path=str(path), sha256=digest)


def _planid(store: SqlStore, kind: PlanKind, dates: tuple[Date, ...]) -> str:
    span = dates[0].strftime("%Y%m%d") + ("" if len(dates) == 1 else f"-{dates[-1]:%Y%m%d}")
    taken = {plan.planid for plan in store.plans(dates[0], dates[-1])}
    stem = f"{kind.value}-{span}"
    if stem not in taken and kind is PlanKind.DAILY:
        return stem
    number = 1
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"

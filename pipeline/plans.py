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
from pipeline.tasks import task_settings
from pipeline.version import code_version
from reporting.errors import DataError, UsageError
from reporting.plans import Cover, Leaf, Plan, PlanKind, PlanState, Source, cover_of, effective_plan
from reporting.stores.sql import SqlStore
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
    reason: str = ""
    today: Date | None = field(default=None)


def find_or_make_plans(store: SqlStore, topology: Topology, request: PlanRequest) -> list[Plan]:
    """Return one plan a day for daily runs (an existing one first), else one new plan over all days.

    Raises:
        UsageError: a day lies in the future, or a re-run has nothing to repeat.
        DataError: a source manifest is missing.
    """
    _refuse_future(topology, request)
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


def _daily(store: SqlStore, topology: Topology, request: PlanRequest, day: Date) -> Plan:
    existing = [
        plan for plan in store.plans(day, day) if plan.kind is PlanKind.DAILY and plan.state is not PlanState.ABANDONED
    ]
    if not existing:
        return _make(store, topology, request, (day,))
    plan = existing[-1]
    if request.source is not None:
        asked = _source(request.source, day)
        was = plan.sources[day]
        if asked.sha256 != was.sha256:
            raise UsageError(
                f"{day} has already been planned as {plan.planid} from {was.path} (sha256 {was.sha256[:12]}), "
                f"{asked.path} differs (sha256 {asked.sha256[:12]}); use --kind rerun to do the day again from it"
            )
    return plan


def _make(store: SqlStore, topology: Topology, request: PlanRequest, dates: tuple[Date, ...]) -> Plan:
    cover = _cover(topology, request)
    root = root_task(topology)
    whole = cover is None or any(part.task == root for part in cover)
    before = {day: effective_plan(store.plans(day, day), Leaf(root, day)) for day in dates}
    sources = {}
    for day in dates:
        if request.source is not None:
            sources[day] = _source(request.source, day)
        elif (former := before[day]) is not None:
            known = store.get_plan(former.planid)
            assert known is not None
            sources[day] = known.sources[day]
        else:
            raise UsageError(
                f"{day} has no plan and no source; give --source MANIFEST (or run.source in funnelgate.yaml)"
            )
    frozen = topology.model_dump(mode="json", by_alias=True)
    former_ids = sorted({found.planid for found in before.values() if found is not None})
    with store.begin() as work:
        plan = Plan(
            planid=_planid(store, request.kind, dates),
            kind=request.kind,
            dates=dates,
            cover=cover,
            sources=sources,
            config={"topology": frozen},
            config_hash=hashlib.sha256(topology.model_dump_json().encode()).hexdigest()[:16],
            code_version=code_version(),
            supersedes=",".join(former_ids) or None,
            promote_when_complete=request.promote,
            reason=request.reason,
            created_at=datetime.now(UTC),
        )
        for task in topology.tasks:
            task_settings(topology, task)  # a bad setting is refused before anything is stored
        open_plan(work, topology, plan)
        if not whole:
            _seal_like_before(store, work, topology, plan)
    return plan


def _seal_like_before(store: SqlStore, work: object, topology: Topology, plan: Plan) -> None:
    """Divide a repair's days as they were divided before: it reads the packages of the effective plan."""
    from reporting.stores.sql_work import SqlUnitOfWork

    assert isinstance(work, SqlUnitOfWork)
    root = root_task(topology)
    for day in plan.dates:
        found = Partitions(store, topology, None).of_task(root, day)
        text = store.split_text(found[0].planid, day) if found else None
        split = read_split(text)
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
    return cover_of(topology, tasks, request.categories or None, request.subinstances or None)


def _first_with(topology: Topology, request: PlanRequest) -> Sequence[str]:
    """Return the first task whose work splits by every restricted dimension: where a repair of leaves must start."""
    wanted = {"category"} if request.categories else set()
    wanted |= {"subinstance"} if request.subinstances else set()
    found = next((task for task in topology.order if wanted <= set(topology.task(task).work_grain)), None)
    if found is None:
        raise UsageError(f"no task splits by {' and '.join(sorted(wanted))}; name the tasks with --tasks")
    return [found]


def _source(template: str, day: Date) -> Source:
    path = Path(template.replace("{date}", day.isoformat())).resolve()
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

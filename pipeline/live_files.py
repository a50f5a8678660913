"""Which files of the lake's content stores the work of the pipeline still needs, released or not."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date as Date
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import select

from pipeline.index.shard import ShardManifest
from pipeline.index.shard_folder import shard_path
from pipeline.instance_states import DONE
from pipeline.lake import Lake
from pipeline.models.registered import GALLERY, MODEL
from pipeline.release.objects import ObjectStore
from pipeline.release.pointer import current
from pipeline.release.registry import resource_series
from pipeline.release.resource_files import stored_paths
from pipeline.shards import FOLDER
from pipeline.tasks import registered_labels
from pipeline.tasks.candidate import models_of_spaces
from pipeline.tasks.tail import read_tail
from pipeline.window.library import CARRIER, TAIL
from pipeline.window.live import expire
from pipeline.window.tail_step import DaySource, Tail
from reporting import tables as t
from reporting.plans import Leaf, Plan, PlanKind, PlanState, by_precedence, first_covering
from reporting.stores.sql import SqlStore

_WINDOW_DAYS = 60
"""As the tasks dedup and merge have it where a plan says nothing."""


class _Done(NamedTuple):
    """A done leaf with what it wrote."""

    leaf: Leaf
    planid: str
    attempt: int
    folder: str


def live_paths(store: SqlStore, lake: Lake) -> set[str]:
    """Return what is needed of what done leaves wrote, and of the registry by plans that still go on.

    - Shards of every day that a merge may still read: those in the window of the newest day, those with pictures that
      live then or on the days of open plans, and those of every merge below. Of a day's shards all count but those of
      plans that were abandoned, or counted once and are superseded; and not those that every tail holds which a task
      may still start from. A tail of an older day, run again, would miss them: index its days again then.
    - The tails that a task may still start from: of the newest day and those of open plans, and of the day before each.
    - Item tables of merges that may still be released: of days not before the released one, and of open plans.
    - All quantizers.
    - Models and galleries of the registry that such plans have frozen, or whose vectors such merges hold.

    What a kept release names is not asked for here: a sweep knows it from the manifests. An index that was judged and
    not released is not among them: it was never written.

    Returns:
        Paths relative to the lake: folders of shards, quantizers, objects, laid-out resources.

    Raises:
        ConfigError: the lake is no folder.
        StoreError: a file that a done leaf wrote is gone: nothing may be swept on such a list.
    """
    plans = [plan for plan in store.plans() if plan.state is not PlanState.ABANDONED]
    done = _done(store, plans)
    served = current(lake.folder())
    since = Date.min if served is None else served.date
    going_on = {plan.planid for plan in plans if plan.state is PlanState.OPEN}
    merges = [one for one in done["merge"] if one.leaf.date >= since or one.planid in going_on]
    summaries = [json.loads(lake.read_bytes(f"{one.folder}/merge.json")) for one in merges]
    objects = ObjectStore(lake.folder())
    found = {path for summary in summaries for path in _of_merge(summary, objects)}
    days = _days_to_merge(lake, plans, done["dedup"])
    tails = _tails_in_use(lake, plans, done)
    found |= {path for of_category in tails.values() for tail in of_category for path in _of_tail(tail, objects)}
    for one in done["index"]:
        if _is_read(one, days, tails) and lake.exists(f"{one.folder}/shard.json"):
            manifest = ShardManifest.model_validate_json(lake.read_bytes(f"{one.folder}/shard.json"))
            found.add(f"{FOLDER}/{shard_path(manifest)}")
    with store.read() as connection:
        found |= set(connection.execute(select(t.quantizer.c.path)).scalars())
    models = models_of_spaces(store, max((one.leaf.date for one in merges), default=Date.min))
    labels = {(MODEL, models[space]) for one in summaries if (space := one.get("space_id")) in models}
    for plan in plans:
        if plan.state in (PlanState.OPEN, PlanState.COMPLETE) or plan.dates[-1] >= since:
            labels |= registered_labels(plan.config.get("topology", {}))
    return found | _of_registry(lake, labels)


def _done(store: SqlStore, plans: Sequence[Plan]) -> dict[str, list[_Done]]:
    """Return the done leaves of dedup, index, tail and merge, but those that counted once and are superseded."""
    c = t.instance.c
    known = {plan.planid: plan for plan in plans}
    ranked = cache(lambda day: by_precedence(plan for plan in plans if day in plan.dates))
    columns = (c.task, c.date, c.category, c.subinstance, c.planid, c.attempt, c.artifact)
    found: dict[str, list[_Done]] = {"dedup": [], "index": [], TAIL: [], "merge": []}
    with store.read() as connection:
        rows = connection.execute(select(*columns).where(c.task.in_(tuple(found)), c.state == DONE)).all()
    for task, day, category, subinstance, planid, attempt, folder in rows:
        leaf, plan = Leaf(task, day, category, subinstance), known.get(planid)
        if plan is None:
            continue
        counts = first_covering(ranked(day), leaf)
        once = plan.state is PlanState.PROMOTED or (plan.kind is PlanKind.DAILY and plan.state is PlanState.COMPLETE)
        if not once or counts is None or counts.planid == planid:
            found[task].append(_Done(leaf, planid, attempt, folder))
    return found


def _days_to_merge(lake: Lake, plans: Sequence[Plan], done: Sequence[_Done]) -> set[Date] | None:
    """Return the days whose shards a merge of tomorrow, or of an open plan, may read; None: every day's."""
    if not done:
        return None
    known = sorted({one.leaf.date for one in done})
    newest = known[-1]
    asked = _asked(plans, newest)
    window = _window(plans, newest)
    # What evict keeps is among what dedup handed it, however old.
    forgets = any(CARRIER in _tasks(plan) for plan in _going_on(plans, newest))
    days = asked | {newest - timedelta(age) for age in range(window)}
    for day in asked:
        before = max((one for one in known if one < day), default=day)  # a re-run of its dedup starts from there
        for one in done:
            if one.leaf.date in (day, before):
                live = lake.read_table(f"{one.folder}/live.parquet", ["first_day", "last_seen"])
                left = live if forgets else expire(live, day, window)
                days |= set(left["first_day"].unique().to_pylist())
    return days


def _tails_in_use(lake: Lake, plans: Sequence[Plan], done: Mapping[str, Sequence[_Done]]) -> dict[str, list[Tail]]:
    """Return by category the tails that a task may still start from; a category without an entry may start from none.

    A day's merge reads the day's tail, and a re-run of the day's tail that of the nearest day before.
    """
    newest = max((one.leaf.date for one in done["dedup"]), default=Date.min)
    if not all(TAIL in _tasks(plan) for plan in _going_on(plans, newest)):
        return {}
    of_category: dict[str, list[_Done]] = {}
    for one in done[TAIL]:
        of_category.setdefault(one.leaf.category, []).append(one)
    found: dict[str, list[Tail]] = {}
    for category, tails in of_category.items():
        chosen: set[_Done] = set()
        from_nothing = False
        for day in _asked(plans, newest):
            before = max((one.leaf.date for one in tails if one.leaf.date < day), default=None)
            from_nothing |= before is None
            chosen |= {one for one in tails if one.leaf.date in (day, before)}
        found[category] = [read_tail(lake, one.folder) for one in sorted(chosen)] + [Tail()] * from_nothing
    return found


def _is_read(shard: _Done, days: Collection[Date] | None, tails: Mapping[str, Sequence[Tail]]) -> bool:
    """Tell whether a task may still read a day's shard: it is of such a day, and not in every tail to start from."""
    if days is not None and shard.leaf.date not in days:
        return False
    source = DaySource(planid=shard.planid, attempt=shard.attempt)
    in_use = tails.get(shard.leaf.category, ())
    return not in_use or any(tail.days.get(shard.leaf.date) != source for tail in in_use)


def _of_tail(tail: Tail, objects: ObjectStore) -> set[str]:
    return set() if tail.path is None or tail.items_sha256 is None else {tail.path, objects.relative(tail.items_sha256)}


def _asked(plans: Sequence[Plan], newest: Date) -> set[Date]:
    """Return the newest day and the days of open plans."""
    return {newest} | {day for plan in plans if plan.state is PlanState.OPEN for day in plan.dates}


def _going_on(plans: Sequence[Plan], newest: Date) -> list[Plan]:
    """Return the plans of the newest day and the open ones."""
    return [plan for plan in plans if newest in plan.dates or plan.state is PlanState.OPEN]


def _window(plans: Sequence[Plan], newest: Date) -> int:
    """Return the longest window that the plans of the newest day, and the open ones, have frozen."""
    sizes = [1]
    for plan in _going_on(plans, newest):
        settings = [_tasks(plan).get(task, {}).get("settings", {}) for task in ("dedup", "merge")]
        sizes += [int(one.get("window_days", _WINDOW_DAYS)) for one in settings]
    return max(sizes)


def _tasks(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = plan.config.get("topology", {}).get("tasks", {})
    return found


def _of_merge(summary: dict[str, Any], objects: ObjectStore) -> set[str]:
    days = summary.get("days")
    if not isinstance(days, dict):
        return set()  # a category without rows, or from before its shards had a place of their own
    return {objects.relative(str(summary["items_sha256"])), *(day["shard_path"] for day in days.values())}


def _of_registry(lake: Lake, labels: Iterable[tuple[str, str]]) -> set[str]:
    """Return the paths of those labels (business, `name@number`) that the registry has; it has nothing shipped.

    A gallery answers with a model of its own, found by its feature space: every version in that space counts.
    """
    found: set[str] = set()
    for business, label in labels:
        name, _, number = label.partition("@")
        if number.isdecimal() and "/" not in label:
            versions = resource_series(lake.folder(), business, name)
            if int(number) in versions.numbers():
                one = versions.read(int(number))
                found |= stored_paths(one) | _in_space(lake, one.facts if business == GALLERY else {})
    return found


def _in_space(lake: Lake, gallery: Mapping[str, str]) -> set[str]:
    """Return the paths of the versions of a gallery's embedder that answer in its space; none where it names none."""
    name, space = gallery.get("embedder", "").partition("@")[0], gallery.get("space_id")
    if not name or space is None:
        return set()
    versions = resource_series(lake.folder(), MODEL, name)
    models = [versions.read(number) for number in versions.numbers()]
    return {path for one in models if one.facts.get("space_id") == space for path in stored_paths(one)}

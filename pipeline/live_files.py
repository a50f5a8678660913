"""Which files of the lake's content stores the work of the pipeline still points to, released or not."""

from __future__ import annotations

import json

from sqlalchemy import select

from pipeline.index.shard import ShardManifest
from pipeline.index.shard_folder import shard_path
from pipeline.instance_states import DONE
from pipeline.lake import Lake
from pipeline.release.objects import ObjectStore
from pipeline.shards import FOLDER
from reporting import tables as t
from reporting.plans import PlanState
from reporting.stores.sql import SqlStore


def live_paths(store: SqlStore, lake: Lake) -> set[str]:
    """Return what done `index` and `merge` leaves point to, of every plan that was not abandoned.

    A merge of tomorrow reads the shards of all days; a plan that is not promoted yet may still be. An index that was
    judged and not released is not among them: it was never written.

    Returns:
        Paths relative to the lake: folders of shards, quantizers, and item tables among the objects.

    Raises:
        ConfigError: the lake is no folder.
        StoreError: a file that a done leaf wrote is gone: nothing may be swept on such a list.
    """
    c = t.instance.c
    given_up = {plan.planid for plan in store.plans() if plan.state is PlanState.ABANDONED}
    with store.read() as connection:
        rows = connection.execute(
            select(c.task, c.planid, c.artifact).where(c.task.in_(("index", "merge")), c.state == DONE)
        ).all()
        found = set(connection.execute(select(t.quantizer.c.path)).scalars())
    objects = ObjectStore(lake.folder())
    for task, planid, folder in rows:
        if planid in given_up:
            continue
        if task == "merge":
            found |= _of_merge(json.loads(lake.read_bytes(f"{folder}/merge.json")), objects)
        elif lake.exists(f"{folder}/shard.json"):
            manifest = ShardManifest.model_validate_json(lake.read_bytes(f"{folder}/shard.json"))
            found.add(f"{FOLDER}/{shard_path(manifest)}")
    return found


def _of_merge(summary: dict[str, object], objects: ObjectStore) -> set[str]:
    days = summary.get("days")
    if not isinstance(days, dict):
        return set()  # a category without rows, or from before its shards had a place of their own
    return {objects.relative(str(summary["items_sha256"])), *(day["shard_path"] for day in days.values())}

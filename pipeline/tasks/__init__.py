"""The tasks, one small file each: `Settings` (its part of pipeline.yaml) and `run(leaf, settings)`.

Recipe to add a task: write `tasks/<verb>.py` with `Settings` and `run`, add a row to TASKS below, and its entry
(units, grain, drop reasons, metrics, edges) to the topology. A task reads through the leaf context, books every
item exactly once, and writes under its attempt; it never opens the store, commits or retries by itself.
Split this way so that the worker knows no task, and a task knows nothing of leases, plans or transactions.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from reporting.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.tasks.context import LeafContext
    from reporting.topology import Topology

TASKS: dict[str, str] = {
    "collect": "pipeline.tasks.collect",
    "download": "pipeline.tasks.download",
    "quality": "pipeline.tasks.quality",
    "hash": "pipeline.tasks.hash",
    "dedup": "pipeline.tasks.dedup",
    "listing": "pipeline.tasks.listing",
    "detect": "pipeline.tasks.detect",
    "crop": "pipeline.tasks.crop",
    "categorise": "pipeline.tasks.categorise",
    "embed": "pipeline.tasks.embed",
    "train": "pipeline.tasks.train",
    "index": "pipeline.tasks.index",
    "recheck": "pipeline.tasks.recheck",
    "evict": "pipeline.tasks.evict",
    "tail": "pipeline.tasks.tail",
    "merge": "pipeline.tasks.merge",
    "evaluate": "pipeline.tasks.evaluate",
    "release": "pipeline.tasks.release",
    "reclaim": "pipeline.tasks.reclaim",
}


def run_task(leaf: LeafContext) -> None:
    """Run the leaf's task with the settings frozen in its plan."""
    from pipeline.tasks.built_with import built_with

    module = _module(leaf.key.task)
    settings = task_settings(leaf.topology, leaf.key.task)
    leaf.built_with = built_with(leaf.key.task, settings, leaf.key.category)
    module.run(leaf, settings)


def task_settings(topology: Topology, task: str) -> BaseModel:
    """Return a task's settings, checked by its own model.

    Raises:
        ConfigError: a key is unknown or a value is out of range, with the key's path.
    """
    model: type[BaseModel] = _module(task).Settings
    try:
        return model.model_validate(topology.task(task).settings)
    except ValidationError as error:
        faults = "; ".join(
            f"tasks.{task}.settings.{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        known = ", ".join(model.model_fields) or "none"
        raise ConfigError(f"pipeline.yaml: {faults}; known settings: {known}") from None


def check_settings(topology: Topology) -> None:
    """Make sure that every task's settings are right, by themselves and beside those of the others.

    A task whose settings must fit those of others says so in its `check_graph(topology, settings)`.

    Raises:
        ConfigError: a key is unknown, a value is out of range, or two do not fit.
    """
    for task in topology.tasks:
        settings = task_settings(topology, task)
        check = getattr(_module(task), "check_graph", None)
        if check is not None:
            check(topology, settings)


_NAME_OR_FOLDER = ("detector", "gallery")
"""Settings that name something shipped, or the folder of one's own: a slash tells them apart."""


def with_absolute_paths(topology: Topology, folder: Path) -> Topology:
    """Return the topology with every path among the tasks' settings made absolute, starting from `folder`.

    A plan freezes its settings: they must mean the same from wherever a worker is started.
    """
    tasks = {}
    for name, spec in topology.tasks.items():
        values = dict(spec.settings)
        if values:
            for key, value in task_settings(topology, name):
                if isinstance(value, Path) or (key in _NAME_OR_FOLDER and "/" in str(value)):
                    values[key] = str((folder / value).resolve())
        tasks[name] = spec.model_copy(update={"settings": values})
    return topology.model_copy(update={"tasks": tasks})


_NAMES = {"model": "model", "models": "model", "detector": "model", "gallery": "gallery"}
"""Settings that name something of the version registry, and its business there."""


def with_registered_versions(topology: Topology) -> Topology:
    """Return the topology with every model and gallery that the registry has named with its number, as of now.

    A plan freezes that: what is published while it runs is for the next one. Without a registry nothing changes.
    """
    from pipeline.models.registered import pinned_label

    tasks = {}
    for name, spec in topology.tasks.items():
        values = dict(spec.settings)
        for key, value in task_settings(topology, name) if name in TASKS else ():
            if isinstance(value, str) and key in _NAMES:
                pinned: Any = pinned_label(_NAMES[key], value)
            elif isinstance(value, dict) and key in _NAMES:
                pinned = {one: pinned_label(_NAMES[key], label) for one, label in value.items()}
            else:
                continue
            if pinned != value:
                values[key] = pinned
        tasks[name] = spec.model_copy(update={"settings": values})
    return topology.model_copy(update={"tasks": tasks})


def registered_labels(topology: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return (business, `name@number`) of everything numbered that a plan has frozen among its settings.

    Args:
        topology: As `Plan.config` keeps it; settings that no task has any more do no harm.
    """
    found = set()
    for spec in topology.get("tasks", {}).values():
        for key, value in (spec.get("settings") or {}).items():
            labels = value.values() if isinstance(value, dict) else (value,)
            if key in _NAMES:
                found |= {(_NAMES[key], label) for label in labels if isinstance(label, str) and "@" in label}
    return found


def _module(task: str) -> Any:
    if task not in TASKS:
        raise ConfigError.unknown_name("task", task, TASKS, "pipeline.yaml: no code for this task")
    return importlib.import_module(TASKS[task])

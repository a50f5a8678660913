"""What an output was built with: hashes of the task's code, settings and models. Other hashes make it stale."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import re
from pathlib import Path

from pydantic import BaseModel

from pipeline.tasks import TASKS

_FOLLOWED = (
    "pipeline.images",
    "pipeline.models",
    "pipeline.category",
    "pipeline.evict",
    "pipeline.index",
    "pipeline.fetch",
    "pipeline.library_facts",
    "pipeline.library_rows",
    "pipeline.library_value",
    "pipeline.quantizers",
    "pipeline.serve.prepared",
    "pipeline.serve.query",
    "pipeline.signals_file",
    "pipeline.source",
    "pipeline.window",
)
"""Code that decides about a task's output; the runner around it (leases, lake, plans) does not."""

_FROM_NOW_ON = {"recheck", "evict", "tail", "reclaim"}
"""Tasks whose settings are a policy from the day on which it changes: what another one let go before is gone, and no
day of the window is stale for it. Their code counts, as that of any task."""

_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import\b|import[ \t]+(\w[\w., \t]*))", re.MULTILINE)


def built_with(task: str, settings: BaseModel, category: str) -> dict[str, str]:
    """Return {code, settings}, and for what uses one {model}, {detector}, {gallery}: what names its content.

    Of settings by category only those of this one count: another category's model makes nothing here stale.
    """
    model = getattr(settings, "models", {}).get(category, getattr(settings, "model", None))
    if hasattr(settings, "models"):
        settings = settings.model_copy(update={"model": model, "models": {}})
    found = {
        "code": code_of(TASKS[task]),
        "settings": _settings_of(task, settings),
    }
    if isinstance(model, str):
        from pipeline.models.catalog import resolve

        found["model"] = resolve(model)[0].space_id
    detector = getattr(settings, "detector", None)
    if isinstance(detector, str):
        from pipeline.models.catalog import detector_version

        found["detector"] = detector_version(detector)
    gallery = getattr(settings, "gallery", None)
    if isinstance(gallery, str) and getattr(settings, "by", "predicted") == "predicted":
        from pipeline.category.gallery import spec_of

        found["gallery"] = spec_of(gallery).sha256
    return found


def _settings_of(task: str, settings: BaseModel) -> str:
    if task in _FROM_NOW_ON:
        return "from its day on"
    return hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:16]


@functools.cache
def code_of(module: str) -> str:
    """Return a hash of the source of a module and of what it imports, and so on, from the followed folders."""
    digest = hashlib.sha256()
    for name, path in sorted(followed_sources(module).items()):
        digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def followed_sources(module: str) -> dict[str, Path]:
    """Return the files that `code_of` hashes, by the name of the module."""
    found: dict[str, Path] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        if name in found or not name.startswith((*_FOLLOWED, "pipeline.tasks.")) or name == "pipeline.tasks.context":
            continue
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue  # a name imported from a module, not a module
        found[name] = Path(spec.origin)
        todo += _imports(found[name])
    return found


def _imports(path: Path) -> list[str]:
    """Return what a file imports, at any depth; found line by line, for parsing them all takes a second."""
    names: list[str] = []
    for found in _IMPORT.finditer(path.read_text(encoding="utf-8")):
        names += [found[1]] if found[1] else [name.split()[0] for name in found[2].split(",")]
    return names

"""What an output was built with: hashes of the task's code, settings and models. Other hashes make it stale."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from pathlib import Path

from pydantic import BaseModel

from pipeline.tasks import TASKS

_FOLLOWED = (
    "pipeline.images",
    "pipeline.models",
    "pipeline.category",
    "pipeline.index",
    "pipeline.fetch",
    "pipeline.quantizers",
    "pipeline.source",
    "pipeline.window",
)
"""Code that decides about a task's output; the runner around it (leases, lake, plans) does not."""


def built_with(task: str, settings: BaseModel, category: str) -> dict[str, str]:
    """Return {code, settings}, and for what uses one {model}, {detector}, {gallery}: what names its content.

    Of settings by category only those of this one count: another category's model makes nothing here stale.
    """
    model = getattr(settings, "models", {}).get(category, getattr(settings, "model", None))
    if hasattr(settings, "models"):
        settings = settings.model_copy(update={"model": model, "models": {}})
    found = {
        "code": _code(TASKS[task]),
        "settings": hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:16],
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


@functools.cache
def _code(module: str) -> str:
    """Hash the source of a module and of what it imports from the followed folders."""
    digest = hashlib.sha256()
    for name, path in sorted(_sources(module).items()):
        digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _sources(module: str) -> dict[str, Path]:
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
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names

"""docs/generate.py as a module: it is a script, and no part of any package."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from tests.architecture.source_tree import REPOSITORY


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", REPOSITORY / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = _load()

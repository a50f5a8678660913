"""A second embedder: the shipped one under another name and preprocessing, so of a feature space of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.models import catalog
from pipeline.models.spec import SPEC_NAME

NAME = "another"


def add_another_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put a second embedder beside the shipped models, in this process; return its name."""
    for model in catalog.SHIPPED.iterdir():
        if model.is_dir():
            shutil.copytree(model, folder / model.name)
    shutil.copytree(folder / catalog.DEFAULT_EMBEDDER, folder / NAME)
    path = folder / NAME / SPEC_NAME
    spec = json.loads(path.read_text())
    spec["name"] = NAME
    spec["input"]["mean"] = [value + 1.0 for value in spec["input"]["mean"]]
    path.write_text(json.dumps(spec))
    monkeypatch.setattr(catalog, "SHIPPED", folder)
    return NAME

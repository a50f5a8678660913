"""Dashboards as files: `<id>.json`, exactly the body of its PUT; and whether a folder holds what the code makes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from dashboards.kibana.catalogue import Built
from dashboards.kibana.models.base import body_of


def file_text(built: Built) -> str:
    """Return a dashboard's file."""
    return json.dumps(body_of(built.dashboard), indent=1, ensure_ascii=False) + "\n"


def write(boards: Sequence[Built], folder: Path) -> list[Path]:
    """Write all dashboards into a folder, which is made; return the files. Other files in it are left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for built in boards:
        path = folder / f"{built.id}.json"
        path.write_text(file_text(built), encoding="utf-8")
        written.append(path)
    return written


def stale(boards: Sequence[Built], folder: Path) -> list[str]:
    """Return what is wrong with a folder of dashboards: files that are missing, differ, or that no board makes."""
    wanted = {f"{built.id}.json": file_text(built) for built in boards}
    there = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.json"))}
    missing = [f"{name}: is missing" for name in wanted if name not in there]
    differ = [f"{name}: differs" for name in wanted if name in there and there[name] != wanted[name]]
    return missing + differ + [f"{name}: no dashboard has this id" for name in there if name not in wanted]

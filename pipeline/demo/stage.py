"""Where the demo's second act takes place: a copy of the demo's folder, so that the week itself stays balanced."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

from pipeline.place import Place
from reporting.errors import UsageError
from reporting.settings import ElasticSettings

_DATABASE = Path("state/funnelgate.db")
"""Where `StoreSettings.url` has it unless told otherwise."""


def stage_of(place: Place, settings_text: str) -> Path:
    """Return the copy of a demo's folder, `FOLDER-story` beside it; it is made once, and whole or not at all.

    Args:
        place: Of the demo; its store is SQLite's and lies in its folder.
        settings_text: Of the copy: it ships to no cluster.

    Raises:
        UsageError: the store lies elsewhere, or something else than a demo is in the place of the copy.
    """
    folder = place.folder.resolve()
    stage = folder.with_name(f"{folder.name}-story")
    settings = stage / "funnelgate.yaml"
    if stage.exists():
        if not settings.is_file() or settings.read_text(encoding="utf-8") != settings_text:
            raise UsageError(f"{stage} holds something else than the demo's second act; move it away")
        return stage
    if not (folder / _DATABASE).is_file():
        raise UsageError(f"the second act copies {folder / _DATABASE}, which is not there; leave store.url as it is")
    waiting = folder.with_name(f".{folder.name}-story.{os.getpid()}.part")
    shutil.copytree(folder, waiting, symlinks=True, ignore=shutil.ignore_patterns(f"{_DATABASE.name}*", "*.part"))
    # By SQLite's own backup: a file copied beside a writer, or without its log, may be torn.
    with (
        closing(sqlite3.connect(folder / _DATABASE)) as source,
        closing(sqlite3.connect(waiting / _DATABASE)) as target,
    ):
        source.backup(target)
    (waiting / "funnelgate.yaml").write_text(settings_text, encoding="utf-8")
    waiting.rename(stage)
    return stage


def open_stage(place_at: Callable[[Path], Place], settings: Path) -> Place:
    """Open the copy, without any cluster: one that the environment names holds the week itself, which stays balanced.

    Args:
        place_at: Opens the project of a settings file.
        settings: Of the copy.
    """
    return replace(place_at(settings), elastic=ElasticSettings(), shipping=nullcontext)

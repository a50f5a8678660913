"""Write the pages into a folder: each file whole, and those of an earlier run that are no longer made taken away."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dashboards.page.desk import Desk
from dashboards.page.render import render
from dashboards.page.routes import page_at, static_paths
from reporting.errors import UsageError
from reporting.text_file import replace_text

LIST = ".funnelgate-page.json"
"""Names the files of a folder that are ours: nothing else in it is ever taken away."""
_REMEDY = "name another folder by --out"


class SiteReport(NamedTuple):
    """What was written."""

    folder: str
    pages: int
    bytes: int
    largest: str
    """The page with the most bytes."""
    largest_bytes: int
    seconds: float


def write_site(
    desk: Desk, folder: Path, told: Callable[[str], None] = lambda _: None, *, project: Path | None = None
) -> SiteReport:
    """Write every page of the desk's span.

    Args:
        desk: What to read.
        folder: Where to; made if it is missing, and in use only by this.
        told: Hears of each file before it is made.
        project: Folder of the project, to whose own files (a gate's report) pages link; None: they only name them.

    Raises:
        UsageError: the folder holds other things and none of ours.
        StoreError: the disk refuses; pages written before it stay.
    """
    begun = time.perf_counter()
    before = _before(folder)
    site = desk.site()
    if project is not None:
        site = site._replace(project=f"{Path(os.path.relpath(project.resolve(), folder.resolve())).as_posix()}/")
    sizes: dict[str, int] = {}
    for path in static_paths(desk):
        told(path)
        page = page_at(desk, path)
        if page is None:
            raise AssertionError(f"{path}: a route names a page that it does not make")
        text = render(page, site)
        replace_text(folder / path, text, _REMEDY)
        sizes[path] = len(text.encode())
    replace_text(folder / LIST, json.dumps(sorted(sizes), indent=1) + "\n", _REMEDY)
    for path in before - set(sizes):
        (folder / path).unlink(missing_ok=True)
    largest = max(sizes, key=lambda path: sizes[path])
    seconds = round(time.perf_counter() - begun, 3)
    return SiteReport(str(folder), len(sizes), sum(sizes.values()), largest, sizes[largest], seconds)


def _before(folder: Path) -> set[str]:
    """Return the files of the run before.

    Raises:
        UsageError: see `write_site`.
    """
    if not folder.exists():
        return set()
    if not folder.is_dir():
        raise UsageError(f"{folder}: is a file; name a folder by --out")
    known = folder / LIST
    if known.is_file():
        names = json.loads(known.read_text(encoding="utf-8"))
        root = folder.resolve()
        inside = [name for name in names if isinstance(name, str) and (root / name).resolve().is_relative_to(root)]
        return {name for name in inside if name.endswith(".html")}
    if any(folder.iterdir()):
        raise UsageError(f"{folder}: holds other files; name a new folder by --out, or one that holds an earlier page")
    return set()

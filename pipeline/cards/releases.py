"""What serves now and what served before, which days are in it, and the bytes that all of it takes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date as Date
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from pipeline.instance_states import DONE
from pipeline.window.library import CARRIER
from reporting import tables as t
from reporting.errors import StoreError

if TYPE_CHECKING:
    from pipeline.place import Place
    from pipeline.release.manifest import ReleaseManifest
    from reporting.topology import Topology

MOST_RELEASES: Final = 60
"""The newest; all of them are in `funnelgate release list`."""
MOST_FILES: Final = 50_000
"""Files of the lake that are looked at for their size: each costs a call to the disk."""
_REPORT: Final = "report.html"
_MERGE: Final = "merge"


def release_cards(place: Place) -> list[dict[str, Any]]:
    """Return the newest `MOST_RELEASES` releases, newest first; [] where there is none or the lake is no folder.

    Raises:
        StoreError: a manifest is damaged.
    """
    from pipeline.release.champion import champion
    from pipeline.release.pins import pinned
    from pipeline.release.pointer import POINTER, series

    if not place.lake.is_local:
        return []
    root = place.lake.folder()
    taken = series(root)
    pointer, best, held = taken.pointer(POINTER), champion(root), pinned(root)
    marks = {"current": {pointer.number} if pointer else set(), "champion": {best.number} if best else set()}
    marks["pinned"] = set(held)
    return [
        _release(root, taken.read(number), [name for name, numbers in marks.items() if number in numbers])
        for number in sorted(taken.numbers(), reverse=True)[:MOST_RELEASES]
    ]


def window_card(place: Place) -> dict[str, Any]:
    """Return which days the current release serves, and how many rows each gives to each category."""
    served = _served(place)
    if served is None:
        return {"days": (), "facts": ()}
    length = _window_days(place.topology)
    oldest = None if length is None else served.date - timedelta(days=length - 1)
    days = [
        {"category": name, "date": day, "rows": found.rows, "is_tail": oldest is not None and day < oldest}
        for name, entry in sorted(served.categories.items())
        for day, found in sorted(entry.days.items())
    ]
    return {"days": days, "facts": list(_window_facts(place, length, oldest))}


def storage_cards(place: Place) -> list[dict[str, Any]]:
    """Return the bytes of the lake by kind: what the pictures take, what the current release, and all that are kept."""
    from pipeline.release.pointer import releases
    from pipeline.storage.holdings import KINDS, holdings

    if not place.lake.is_local:
        return []
    root = place.lake.folder()
    sizes: dict[str, list[int]] = {kind: [] for kind in KINDS}
    found = holdings(place.store, place.lake, KINDS, Date.max)
    for one in islice(found, MOST_FILES):
        sizes[one.kind].append(_on_disk(root / one.file))
    is_cut = next(found, None) is not None
    note = f"the oldest {MOST_FILES:,} files only" if is_cut else "of all days and plans, as the disk holds them"
    lines = [_line(kind, some, note) for kind, some in sizes.items() if some]
    served = _served(place)
    kept = {path for one in releases(root)[-MOST_RELEASES:] for path in one.files()}
    for name, paths in (("current release", set(served.files()) if served else set()), ("kept releases", kept)):
        there = [_on_disk(root / path) for path in sorted(paths) if (root / path).is_file()]
        lines += [_line(name, there, "indexes and item tables; releases share what is equal")] if there else []
    return lines


def gate_reports(place: Place, first: Date, last: Date) -> dict[tuple[Date, str], str]:
    """Return where the gate's pages of some days lie, by (day, planid): paths within the project, else whole ones."""
    c = t.instance.c
    with place.store.read() as connection:
        rows = connection.execute(
            select(c.date, c.planid, c.artifact)
            .where(c.task == "evaluate", c.state == DONE, c.date >= first, c.date <= last)
            .order_by(c.date, c.planid)
        ).all()
    found = {}
    for day, planid, folder in rows:
        file = place.lake.local(f"{folder}/{_REPORT}") if folder else None
        if file is not None and file.is_file():
            found[day, planid] = _within(file, place.folder)
    return found


def _within(file: Path, folder: Path) -> str:
    whole, project = file.resolve(), folder.resolve()
    return whole.relative_to(project).as_posix() if whole.is_relative_to(project) else whole.as_posix()


def _served(place: Place) -> ReleaseManifest | None:
    from pipeline.release.pointer import current

    return current(place.lake.folder()) if place.lake.is_local else None


def _release(root: Path, one: ReleaseManifest, marks: list[str]) -> dict[str, Any]:
    if not all((root / path).is_file() for path in one.files()):
        marks = [*marks, "files swept"]
    return {
        **{name: getattr(one, name) for name in ("number", "parent", "date", "planid", "verdict_id", "created_at")},
        "rows": sum(entry.rows for entry in one.categories.values()),
        "categories": [
            {
                "category": name,
                "model": entry.model,
                "space": entry.space_id,
                "codec": entry.codec,
                "rows": entry.rows,
                "bytes": entry.index_bytes,
                "nprobe": entry.nprobe,
                "index": entry.index_sha256,
            }
            for name, entry in sorted(one.categories.items())
        ],
        "marks": marks,
        "note": "; ".join(_said(one)),
    }


def _said(one: ReleaseManifest) -> Iterator[str]:
    """Yield what people decided about a release."""
    if one.waiver is not None:
        yield f"waiver of {one.waiver.by} instead of {one.waiver.instead_of}: {one.waiver.why}"
    if one.rollback_to is not None and one.decided is not None:
        yield f"rollback to release {one.rollback_to} by {one.decided.by}: {one.decided.why}"


def _window_days(topology: Topology) -> int | None:
    """Return the length of the window; None where the graph does not say it."""
    from pipeline.tasks import TASKS, task_settings

    for task in (CARRIER, _MERGE):
        if task in topology.tasks and task in TASKS:
            return getattr(task_settings(topology, task), "window_days", None)
    return None


def _window_facts(place: Place, length: int | None, oldest: Date | None) -> Iterator[tuple[str, str]]:
    from pipeline.release.withheld import withheld

    if length is not None and oldest is not None:
        yield "window", f"{length} days, since {oldest.isoformat()}; what is older is the tail"
    yield "taken down or delisted by hand", f"{len(withheld(place.lake.folder()).entries)} entries"


def _line(name: str, sizes: list[int], note: str) -> dict[str, Any]:
    return {"name": name, "files": len(sizes), "bytes": sum(sizes), "note": note}


def _on_disk(path: Path) -> int:
    """Return the bytes of the disk that a file takes; 0 for one that goes at this moment."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StoreError(f"{path}: cannot be looked at: {error.strerror or error}; restore it") from error

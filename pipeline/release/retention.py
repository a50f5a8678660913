"""What may be deleted: mark what is needed, sweep the rest. Manifests stay for ever: they are small, and the history.

Marked are the files of the last K releases, of the champion, of pinned releases, of the last K versions of each
resource, of what its channels and the kept releases name, and what the caller hands in (shards that a plan still
reads). Swept is only what lies in the content store, the shards, the laid-out resources and the prepared queries, and
is older than the grace: what a running merge has just written is not named by anything yet.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.release import objects
from pipeline.release.champion import champion
from pipeline.release.durable import flush_folder
from pipeline.release.home import MARK, active_at, home_at
from pipeline.release.manifest import ReleaseManifest
from pipeline.release.pins import pinned
from pipeline.release.pointer import POINTER, releases, series
from pipeline.release.registry import (
    businesses,
    channel_file,
    channels,
    require_resources,
    resource_names,
    resource_series,
)
from pipeline.release.resource_files import MATERIALISED, folder_of, stored_paths
from pipeline.release.resources import Resource
from reporting.errors import ContractViolation, StoreError, UsageError

SHARDS = "shards"
PREPARED = "prepared"  # queries of earlier judgements: made again where they are missing
SWEPT = ".swept-"
KEEP = 3
GRACE = timedelta(days=7)


@dataclass(frozen=True, order=True)
class Stored:
    """A file, or a folder that lives and dies as one.

    Attributes:
        path: Relative to the root.
        bytes: Size, of a folder that of all its files.
        changed_at: When it was last written or wanted, aware.
    """

    path: str
    bytes: int
    changed_at: datetime


@dataclass(frozen=True)
class Sweep:
    """What a sweep does.

    Attributes:
        remove: What goes, sorted by path.
        young: What nothing names but the grace protects.
        kept: What is named.
        releases: Why each release that is kept is kept, by number.
    """

    remove: tuple[Stored, ...]
    young: tuple[Stored, ...]
    kept: tuple[Stored, ...]
    releases: Mapping[int, str]

    @property
    def bytes(self) -> int:
        """Bytes that it frees at most (a laid-out resource shares its bytes with the store)."""
        return sum(one.bytes for one in self.remove)


def kept_releases(
    numbers: Iterable[int], *, current: int | None, champion: int | None, pinned: AbstractSet[int], keep: int
) -> dict[int, str]:
    """Return why each release that must stay stays, by number; pure.

    A number above the current one is a publication that a crash cut off, which may be taken up again: it stays.

    Example:
        >>> kept_releases(range(1, 8), current=7, champion=2, pinned={4}, keep=2)
        {2: 'champion', 4: 'pinned', 6: 'one of the last 2', 7: 'current'}
    """
    taken = sorted(numbers)
    served = [number for number in taken if current is not None and number <= current]
    why = dict.fromkeys(served[-keep:], f"one of the last {keep}")
    why |= {number: "not yet current" for number in taken if current is None or number > current}
    why |= dict.fromkeys(pinned & set(taken), "pinned")
    if champion is not None:
        why[champion] = "champion"
    if current is not None:
        why[current] = "current"
    return dict(sorted(why.items()))


def plan_sweep(
    found: Iterable[Stored], live: AbstractSet[str], *, now: datetime, grace: timedelta, why: Mapping[int, str]
) -> Sweep:
    """Say what goes: what nothing names, neither itself nor a file in it, and is older than the grace; pure.

    Args:
        found: What there is.
        live: Paths of files and folders that are needed; a folder stands for everything in it.
        now: Aware.
        grace: How long what nothing names is left alone.
        why: Why each kept release is kept, for the report.
    """
    folders = {path.rsplit("/", depth)[0] for path in live for depth in range(1, path.count("/") + 1)}
    remove, young, kept = [], [], []
    for one in sorted(found):
        parents = {one.path.rsplit("/", depth)[0] for depth in range(one.path.count("/") + 1)}
        if parents & live or one.path in folders:
            kept.append(one)
        elif now - one.changed_at < grace:
            young.append(one)
        else:
            remove.append(one)
    return Sweep(tuple(remove), tuple(young), tuple(kept), dict(why))


def sweep(
    root: Path,
    *,
    now: datetime,
    keep: int = KEEP,
    grace: timedelta = GRACE,
    also: AbstractSet[str] = frozenset(),
    act: bool = False,
) -> Sweep:
    """Plan a sweep of a root and, if asked to, do it; publishers of releases and of resources wait meanwhile.

    What somebody wants again between the plan and the deletion (a task that renews its time) stays, among the young.
    Killed at any point it has deleted some of what it would have deleted: the next one goes on.

    Args:
        root: Lake root, or the home of a consumer.
        now: Aware.
        keep: Last releases, and versions of each resource, that stay, >= 1.
        grace: How long what nothing names is left alone.
        also: Paths relative to the root that somebody else needs: shards that plans read, objects of candidates.
        act: False: nothing is deleted.

    Raises:
        StoreError: A manifest is damaged (nothing is deleted then), or the disk refused.
    """
    try:
        with series(root).publishing():
            why, live = _marks(root, keep)
            planned = plan_sweep(_stored(root), live | also, now=now, grace=grace, why=why)
            wanted = [one for one in planned.remove if act and not _delete(root, one)]
            removed = tuple(one for one in planned.remove if one not in wanted)
            return replace(planned, remove=removed, young=tuple(sorted([*planned.young, *wanted])))
    except OSError as error:
        raise StoreError(f"{root}: the sweep stopped: {error}; nothing that is needed was deleted; mend it") from error


def why_kept(root: Path, every: Mapping[int, ReleaseManifest], keep: int = KEEP) -> dict[int, str]:
    """Return why each release of a root that must stay stays, by number.

    Args:
        root: Lake root, or the home of a consumer.
        every: All of its releases, by number.
        keep: Last releases that stay, >= 1.

    Raises:
        StoreError: The manifest of one that must stay is not there.
    """
    pointer, best = series(root).pointer(POINTER), champion(root)
    why = kept_releases(
        every,
        current=None if pointer is None else pointer.number,
        champion=None if best is None else best.number,
        pinned=pinned(root),
        keep=keep,
    )
    gone = sorted(set(why) - set(every))
    if gone:
        raise StoreError(f"{root}: release {gone[0]} is {why[gone[0]]} and its manifest is not there; restore it first")
    answering = active_at(root)
    if answering is not None and answering in every:
        why.setdefault(answering, "answered last")
    return why


def _marks(root: Path, keep: int) -> tuple[dict[int, str], set[str]]:
    """Return why each kept release is kept, and every path that something names."""
    every = {one.number: one for one in releases(root)}
    why = why_kept(root, every, keep)
    live: set[str] = set()
    for number in why:
        live |= named_paths(every[number])
    for resource in _kept_resources(root, keep, [every[number] for number in why]):
        live |= stored_paths(resource)
    return why, live


def named_paths(release: ReleaseManifest) -> set[str]:
    """Return every path that a release names: what serving needs, its shards and its quantizers."""
    entries = release.categories.values()
    shards = {day.shard_path for entry in entries for day in entry.days.values()}
    quantizers = {entry.quantizer_path for entry in entries if entry.quantizer_path is not None}
    return release.files().keys() | shards | quantizers


def _kept_resources(root: Path, keep: int, kept: Iterable[ReleaseManifest]) -> Iterator[Resource]:
    wanted = {(ref.business, ref.name, ref.version) for release in kept for ref in release.resources}
    for business in businesses(root):
        for name in resource_names(root, business):
            taken = resource_series(root, business, name)
            pointers = [taken.pointer(channel_file(channel)) for channel in channels(root, business, name)]
            numbers = {*taken.numbers()[-keep:], *(pointer.number for pointer in pointers if pointer is not None)}
            numbers |= {version for *who, version in wanted if who == [business, name]}
            yield from (taken.read(number) for number in sorted(numbers))


def _stored(root: Path) -> Iterator[Stored]:
    """Yield what a sweep may touch, and nothing else."""
    store = root / objects.FOLDER
    for path in store.glob("*/*"):
        yield _measured(root, path)
    for path in (*store.glob(".*.tmp"), *store.glob(f"{SWEPT}*")):
        yield _measured(root, path)
    for folder, _, files in os.walk(root / SHARDS):
        if files or Path(folder).name.startswith(SWEPT):
            yield _measured(root, Path(folder))
    for path in (*(root / MATERIALISED).glob("*/*/*"), *(root / PREPARED).glob("*")):
        yield _measured(root, path)


def _measured(root: Path, path: Path) -> Stored:
    if path.name.startswith(SWEPT):  # what a killed sweep has condemned: no grace
        return Stored(path.relative_to(root).as_posix(), 0, datetime.fromtimestamp(0, UTC))
    size, changed_at = _size_and_time(path)
    return Stored(path.relative_to(root).as_posix(), size, changed_at)


def _size_and_time(path: Path) -> tuple[int, datetime]:
    files = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
    seen = [one.stat() for one in files] or [path.stat()]
    newest = max(one.st_mtime for one in [*seen, path.stat()])
    return (sum(one.st_size for one in seen) if files else 0), datetime.fromtimestamp(newest, UTC)


def _delete(root: Path, one: Stored) -> bool:
    """Delete a file or a folder; False: it stays, for somebody has wanted it again since it was looked at.

    By a rename first, so that nobody ever finds half of a shard, and looked at again after it: whoever renews its time
    does so before (and it comes back) or finds it gone (and writes it anew).
    """
    path = root / one.path
    if not path.name.startswith(SWEPT):
        aside = path.with_name(f"{SWEPT}{path.name}-{os.urandom(4).hex()}")
        try:
            path.rename(aside)
        except FileNotFoundError:  # unfinished, and its writer has just taken it away
            return True
        if _size_and_time(aside)[1] > one.changed_at and not path.exists():
            aside.rename(path)
            return False
        flush_folder(path.parent)
        path = aside
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    return True


def drop_old(home: Path, keep: int) -> list[str]:
    """Drop what a consumer's home no longer needs: all but the last releases, and what only the dropped ones name.

    Files go before the manifest that names them, so that a crash leaves nothing that nobody names. Only what manifests
    name is ever deleted: the home may hold other files.

    Args:
        home: Of the consumer; the caller holds its lock.
        keep: Last releases, and versions of each resource, that stay, >= 1.

    Returns:
        The paths deleted, relative to the home.

    Raises:
        UsageError: The folder is not marked as a consumer's home.
        StoreError: A manifest is damaged.
        OSError: The disk refused.
    """
    if home_at(home) is None:
        raise UsageError(f"{home}: has no {MARK}, so it is no consumer's home; nothing is dropped")
    for left in (home / MATERIALISED).glob(f"*/*/{SWEPT}*"):
        shutil.rmtree(left)  # what a killed pull has condemned
    why, live = _marks(home, keep)
    taken = series(home)
    dropped: list[str] = []
    for number in taken.numbers():
        if number not in why:
            files = {path: sha for path, sha in taken.read(number).files().items() if path not in live}
            dropped += _drop(home, files, taken.manifest_path(number))
    needed = {(one.business, one.name, one.number) for one in _kept_resources(home, keep, map(taken.read, why))}
    for business in businesses(home):
        for name in resource_names(home, business):
            versions = resource_series(home, business, name)
            for number in versions.numbers():
                if (business, name, number) not in needed:
                    resource = versions.read(number)
                    objects_of = resource.objects()
                    dropped += _drop_laid_out(home, folder_of(resource))
                    files = {path: sha for path, sha in objects_of.items() if path not in live}
                    dropped += _drop(home, files, versions.manifest_path(number))
    return dropped


def _drop_laid_out(home: Path, folder: str) -> list[str]:
    """Delete the folder that a resource was laid out in: by a rename first, so that nobody finds half of it."""
    path = home / folder
    if not path.is_dir():
        return []
    aside = path.with_name(f"{SWEPT}{path.name}-{os.urandom(4).hex()}")
    path.rename(aside)
    flush_folder(path.parent)
    shutil.rmtree(aside)
    return [folder]


def _drop(home: Path, files: Mapping[str, str], manifest: Path) -> list[str]:
    for path, sha256 in sorted(files.items()):
        objects.content_path(home, path, sha256).unlink(missing_ok=True)
    manifest.unlink()
    return [*sorted(files), manifest.relative_to(home).as_posix()]


def require_files(root: Path, release: ReleaseManifest) -> None:
    """Make sure that every file which serving a release needs is there, resources too; contents are not read.

    Raises:
        ContractViolation: Some are gone; the message names them.
        StoreError: The manifest of a resource is not there or damaged.
    """
    gone = _gone(root, release)
    if gone:
        raise ContractViolation(
            f"{root}: {len(gone)} files of release {release.number} are gone, {gone[0]} the first: it cannot be served"
            " again; restore them from a consumer's home or a copy"
        )
    require_resources(root, release.resources)


def has_files(root: Path, release: ReleaseManifest) -> bool:
    """Tell whether every file which serving a release needs is there; ContractViolation for a path out of the root."""
    return not _gone(root, release)


def _gone(root: Path, release: ReleaseManifest) -> list[str]:
    return [path for path in sorted(release.files()) if not objects.inside(root, path).is_file()]

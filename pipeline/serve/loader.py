"""A release made ready to answer: room for it is there, every byte is the published one, and it answers as it should.

Three steps: `verify_release` reads every byte before any slot is emptied for it, `open_release` (LOADING) maps, `warm`
(WARMING) probes. What another loaded generation holds already, byte for byte, is taken from it: a release that changes
one category loads one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.index.sample import sample_vectors
from pipeline.lake import Lake
from pipeline.release.golden import check_golden
from pipeline.release.manifest import ReleaseManifest
from pipeline.release.objects import inside, require_content
from pipeline.serve.generation import Generation
from pipeline.serve.rerankers import require_rerankers
from pipeline.serve.shelf import Shelf
from reporting.errors import ContractViolation, StoreError

_MEMORY_RESERVE = 1.1
_PROBES = 16
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Served:
    """A release as a server holds it; immutable, so a query that holds it sees one state of the world.

    Attributes:
        number: Of the release; every answer carries it.
        manifest: What it is.
        generation: What answers.
    """

    number: int
    manifest: ReleaseManifest
    generation: Generation

    @property
    def spaces(self) -> frozenset[str]:
        """Feature spaces of its filled categories: a query vector must be of one of them."""
        return self.generation.spaces


def verify_release(home: Path, manifest: ReleaseManifest, *, loaded: Iterable[Generation] = ()) -> Served:
    """Read every file that a release names, before anything that serves makes room for it.

    Args:
        home: Where its files lie.
        manifest: The release.
        loaded: Generations whose parts may be shared: a file that they have read is not
            read again while it stays as it was.

    Returns:
        The release, nothing of it opened yet.

    Raises:
        StoreError: A file is not there or cannot be read.
        ContractViolation: A file is not the published one, or its path leads out of the home.
        ConfigError: A re-ranker is not known here.
    """
    require_rerankers(manifest.ranking.rerankers, f"release {manifest.number}")
    generation = Generation(Lake(str(home)), manifest.categories, manifest.front, manifest.ranking)
    generation.share(loaded)
    for shelf in generation.shelves.values():
        shelf.verify()
    if manifest.golden_path is not None:
        require_content(inside(home, manifest.golden_path), str(manifest.golden_sha256))
    return Served(manifest.number, manifest, generation)


def require_golden(manifest: ReleaseManifest) -> None:
    """Refuse a release without golden queries, unless it is of before there were any: then it does not note its days.

    Raises:
        ContractViolation: It has none (I7).
    """
    if manifest.golden_path is None and any(entry.days for entry in manifest.categories.values()):
        raise ContractViolation(
            f"release {manifest.number} has no golden queries, by which a server sees that it answers as judged: "
            "publish it by the pipeline, or set serve.allow_without_golden"
        )


def require_memory(
    served: Served, free_bytes: int | None, *, leaving: Iterable[Generation] = (), staying: Iterable[Generation] = ()
) -> None:
    """Refuse a release that there is no memory for (I6); asked before anything is unloaded for it.

    What leaves gives back its item tables, where nobody else holds the same. Its indexes are mapped files, and count
    as free memory already.

    Args:
        served: From `verify_release`.
        free_bytes: Memory that may be taken; None: as much as it likes.
        leaving: Generations that make room for it.
        staying: Generations that do not.

    Raises:
        StoreError: There is too little.
    """
    if free_bytes is None:
        return
    kept = [served.generation, *staying]
    freed = sum(
        shelf.items.size_bytes
        for one in leaving
        for name, shelf in one.shelves.items()
        if shelf.is_loaded and not any(name in other.shelves and _is_same(other.shelves[name], shelf) for other in kept)
    )
    needed = served.generation.bytes_to_load() * _MEMORY_RESERVE
    if free_bytes + freed < needed:
        raise StoreError(
            f"release {served.number} needs {needed:,.0f} bytes of memory, {free_bytes:,} are free and {freed:,} more "
            "where the one before gives way; what serves goes on: free memory, or serve it from a larger machine"
        )


def _is_same(one: Shelf, other: Shelf) -> bool:
    return one.is_loaded and one.has_content_of(other)


def open_release(served: Served) -> None:
    """Open everything that a verified release names: indexes, item tables, models, front.

    Args:
        served: From `verify_release`; `require_memory` was asked.

    Raises:
        DataError: A model is another one than the indexes were built with, or faiss cannot read an index.
        ContractViolation: An index and its item table do not belong together.
    """
    served.generation.load()
    for name, shelf in served.generation.shelves.items():
        if not shelf.index.rows == len(shelf.items) == shelf.entry.rows:
            raise ContractViolation(
                f"release {served.number}, category {name!r}: the index has {shelf.index.rows} rows, the item table "
                f"{len(shelf.items)}, the manifest {shelf.entry.rows}; expected three times the same: merge and "
                "release again"
            )


def warm(home: Path, served: Served) -> None:
    """Search an opened release as users will: stored vectors find themselves, golden queries their stored answers.

    Raises:
        ContractViolation: One of them does not (I7), or the file of golden queries is not the published one.
    """
    _probe(served)
    path, sha256 = served.manifest.golden_path, served.manifest.golden_sha256
    if path is None:
        return
    data = inside(home, path).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ContractViolation(f"{path}: has sha256 {found}, expected {sha256}; restore it from a copy")
    wrong = check_golden(served.generation, data)
    if wrong:
        raise ContractViolation(
            f"release {served.number} does not answer its golden queries as it was published: {'; '.join(wrong[:3])}"
            f"{f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''}; it is not served: publish it again"
        )


def _probe(served: Served) -> None:
    for name, shelf in served.generation.shelves.items():
        if not shelf.entry.rows:
            continue
        sample = sample_vectors(shelf.index, _PROBES)
        hits = served.generation.search_vectors(sample.vectors, (name,), 1, shelf.entry.space_id)
        lost = [
            int(number)
            for number, own, found in zip(sample.ids, 1 - sample.lengths, hits, strict=True)
            if not found or found[0].distance > own + _TOLERANCE
        ]
        if len(lost) > len(sample.ids) // 2:  # a lossy codec moves some into another list, a wrong index nearly all
            raise ContractViolation(
                f"release {served.number}, category {name!r}: {len(lost)} of {len(sample.ids)} stored vectors do "
                f"not find themselves, first id {lost[0]}; its lists are not its quantizer's: merge and release again"
            )

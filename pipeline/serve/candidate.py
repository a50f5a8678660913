"""A candidate and its baselines as the gate sees them, and indexed pictures that must find themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pipeline.lake import Lake
from pipeline.partitions import Partitions
from pipeline.release.champion import champion
from pipeline.release.manifest import ReleaseManifest
from pipeline.release.pointer import current, release_of
from pipeline.serve.generation import Generation
from pipeline.serve.under_test import Prepared, UnderTest
from pipeline.tasks.candidate import Candidate, catalog_rows, inputs_of
from reporting.errors import UsageError


def under_test(candidate: Candidate, prepared: Prepared) -> UnderTest:
    """Return the whole answering chain: the candidate's front and indexes."""
    generation = Generation(candidate.lake, candidate.entries, candidate.front)
    return UnderTest(f"candidate of {candidate.date}", generation, candidate.inputs(), candidate.catalog, prepared)


def baselines(candidate: Candidate, prepared: Prepared) -> dict[Literal["release", "champion"], UnderTest]:
    """Return what a candidate is compared with: the current release, if it is not of a later day, and the champion.

    Both are asked with the candidate's catalogue: what should be findable is one question for all.
    """
    root = Path(candidate.lake.full(""))
    found: dict[Literal["release", "champion"], UnderTest] = {}
    served = current(root)
    if served is not None and served.date <= candidate.date:
        found["release"] = _released(candidate, served, prepared)
    pinned = champion(root)
    if pinned is not None:
        found["champion"] = _released(candidate, release_of(root, pinned.number), prepared)
    return found


def _released(candidate: Candidate, manifest: ReleaseManifest, prepared: Prepared) -> UnderTest:
    generation = Generation(candidate.lake, manifest.categories, manifest.front)
    inputs = inputs_of(manifest.categories, manifest.front)
    return UnderTest(f"release {manifest.number}", generation, inputs, candidate.catalog, prepared)


def open_release(lake: Lake, partitions: Partitions, number: str) -> UnderTest:
    """Return a published release as a system under test.

    Args:
        lake: Holds the release.
        partitions: Where the catalogue is read.
        number: Of the release; "" or `release` is the current one, `champion` the pinned one, `release 7` is 7.

    Raises:
        UsageError: nothing was released, or that is no number of a release.
    """
    root = Path(lake.full(""))
    name = number.removeprefix("release").strip()
    if name == "champion":
        pinned = champion(root)
        if pinned is None:
            raise UsageError("index:champion: no champion is pinned; see `funnelgate promote-champion --help`")
        name = str(pinned.number)
    if name and not name.isdecimal():
        raise UsageError(f"index:{number}: expected the number of a release, as in index:7, or index:champion")
    served = current(root)
    if name and served is not None and not 1 <= int(name) <= served.number:
        raise UsageError(f"index:{number}: there is no release {name}; expected one from 1 to {served.number}")
    manifest = release_of(root, int(name)) if name and served is not None else served
    if manifest is None:
        raise UsageError(f"{lake.root}: nothing has been released yet; run a day to its end first")
    return UnderTest(
        f"release {manifest.number}",
        Generation(lake, manifest.categories, manifest.front),
        inputs_of(manifest.categories, manifest.front),
        lambda: catalog_rows(partitions, lake, manifest.date),
    )


def picture_reader(candidate: Candidate) -> Callable[[str], bytes | None]:
    """Return what reads an indexed picture by its sha256, for the report's page; None: the indexes do not hold it."""
    shelves = Generation(candidate.lake, candidate.entries, candidate.front).shelves
    places = {row["picture"]: row for shelf in shelves.values() for row in shelf.items.values()}

    def read(sha256: str) -> bytes | None:
        row = places.get(sha256)
        if row is None:
            return None
        with candidate.lake.open_pack(row["pack"]) as pack:
            data: bytes = pack.read(row["offset"], row["bytes"])
        return data

    return read


def probes(candidate: Candidate, count: int) -> list[tuple[str, str, bytes]]:
    """Return (picture, category, bytes) of at most `count` indexed pictures, spread evenly over the ids.

    Evenly instead of at random: the same index gives the same probe. Only pictures whose main object is held count,
    which is what a search by the whole picture looks for.
    """
    shelves = Generation(candidate.lake, candidate.entries, candidate.front).shelves
    rows: list[tuple[str, dict[str, Any]]] = [
        (category, row)
        for category, shelf in sorted(shelves.items())
        for row in shelf.items.values()
        if not row.get("ordinal")
    ]
    step = max(1, len(rows) // count)
    found = []
    for category, row in rows[::step][:count]:
        with candidate.lake.open_pack(row["pack"]) as pack:
            found.append((row["picture"], category, pack.read(row["offset"], row["bytes"])))
    return found

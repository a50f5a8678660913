"""A candidate and its baselines as the gate sees them, and indexed pictures that must find themselves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pipeline.lake import Lake, LetGo
from pipeline.partitions import Partitions
from pipeline.release.champion import champion
from pipeline.release.manifest import ReleaseManifest
from pipeline.release.pointer import current, release_of
from pipeline.release.withheld import withheld
from pipeline.serve.generation import Generation
from pipeline.serve.hidden import hidden_ids
from pipeline.serve.prepared import Prepared
from pipeline.serve.under_test import UnderTest
from pipeline.tasks.candidate import Candidate, catalog_rows, inputs_of
from reporting.errors import UsageError


def under_test(candidate: Candidate) -> UnderTest:
    """Return the whole answering chain: the candidate's front, indexes and ranking, and what is withheld now."""
    generation = Generation(candidate.lake, candidate.entries, candidate.front, candidate.ranking)
    hidden = withheld(Path(candidate.lake.full("")))
    return UnderTest(
        f"candidate of {candidate.date}",
        generation,
        candidate.inputs(),
        candidate.catalog,
        Prepared(candidate.lake),
        hidden,
    )


def baselines(candidate: Candidate, judged: UnderTest) -> dict[Literal["release", "champion"], UnderTest]:
    """Return what a candidate is compared with: the current release, if it is not of a later day, and the champion.

    Both are asked with the candidate's catalogue and takedowns: what should be findable is one question for all.
    """
    root = Path(candidate.lake.full(""))
    found: dict[Literal["release", "champion"], UnderTest] = {}
    served = current(root)
    if served is not None and served.date <= candidate.date:
        found["release"] = _released(candidate, served, judged)
    pinned = champion(root)
    if pinned is not None:
        found["champion"] = _released(candidate, release_of(root, pinned.number), judged)
    return found


def _released(candidate: Candidate, manifest: ReleaseManifest, judged: UnderTest) -> UnderTest:
    generation = Generation(candidate.lake, manifest.categories, manifest.front, manifest.ranking)
    inputs = inputs_of(manifest.categories, manifest.front, manifest.ranking)
    name = f"release {manifest.number}"
    return UnderTest(name, generation, inputs, candidate.catalog, judged.prepared, judged.withheld)


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
        Generation(lake, manifest.categories, manifest.front, manifest.ranking),
        inputs_of(manifest.categories, manifest.front, manifest.ranking),
        lambda: catalog_rows(partitions, lake, manifest.date),
        Prepared(lake),
        withheld(root),
    )


def picture_reader(judged: UnderTest) -> Callable[[str], bytes | None]:
    """Return what reads an indexed picture by its sha256, for the report's page.

    It answers None where the indexes do not hold the picture, or where it was let go: by a release that nothing keeps.
    """
    shelves = judged.generation.shelves
    places = {row["picture"]: row for shelf in shelves.values() for row in shelf.items.values()}

    def read(sha256: str) -> bytes | None:
        row = places.get(sha256)
        try:
            return None if row is None else _picture(judged.generation.lake, row)
        except LetGo:
            return None

    return read


def probes(judged: UnderTest, count: int) -> list[tuple[str, str, bytes]]:
    """Return (picture, category, bytes) of at most `count` indexed pictures, spread evenly over the ids.

    Evenly instead of at random: the same index gives the same probe. Only pictures whose main object is held count,
    which is what a search by the whole picture looks for; what is withheld cannot find itself, and what was let go
    cannot be asked for.
    """
    shelves = sorted(judged.generation.shelves.items())
    hidden = {category: hidden_ids(shelf, judged.withheld) for category, shelf in shelves}
    rows: list[tuple[str, dict[str, Any]]] = [
        (category, row)
        for category, shelf in shelves
        for row in shelf.items.values()
        if not row.get("ordinal") and row["id"] not in hidden[category]
    ]
    step = max(1, len(rows) // count)
    lake = judged.generation.lake
    found = []
    for category, row in rows[::step][:count]:
        with suppress(LetGo):  # an old day that is judged again
            found.append((row["picture"], category, _picture(lake, row)))
    return found


def _picture(lake: Lake, row: dict[str, Any]) -> bytes:
    with lake.open_pack(row["pack"]) as pack:
        data: bytes = pack.read(row["offset"], row["bytes"])
    return data

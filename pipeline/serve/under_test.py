"""A generation as the gate asks it: every query from four sides, and its indexes probed with their own vectors.

The whole answering chain is asked: front, indexes, and rank and filter with what is withheld now.

The gate's unit is the picture, by the hash of its bytes: ids come and go with the detector, a picture does not. Of
a picture's objects the nearest one counts.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date as Date
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.images.decode import PictureError
from pipeline.index.lists import index_vectors, read_rows
from pipeline.index.search import search_index
from pipeline.release.withheld import WithheldList
from pipeline.serve.answer import ask_ranked
from pipeline.serve.generation import EVERY_LIST, Generation, Neighbour
from pipeline.serve.hidden import OfRecord, hidden_ids, of_record
from pipeline.serve.judged_order import search_shown
from pipeline.serve.prepared import Prepared
from pipeline.serve.query import KnownVectors, Route, Vectors, route
from pipeline.tasks.candidate import CatalogRow, stands_for

if TYPE_CHECKING:
    from pipeline.models.session import Float32
    from pipeline.serve.shelf import Shelf

NOTHING_WITHHELD = WithheldList()

Found = list[tuple[str, float, str]]
"""(sha256 of the picture, 1 - cosine, product group shown), nearest first."""


class Sides(NamedTuple):
    """One query's hits: as served; in the labelled category; and both by exact search over the same rows."""

    served: Found
    oracle: Found
    exact: Found
    exact_oracle: Found


class Probed(NamedTuple):
    """Of how many stored vectors of one day and category the nearest one is their own."""

    day: Date
    category: str
    found: int
    asked: int


class _Prepared(NamedTuple):
    """Decoded queries: their places among the pictures, their vectors and where they are served."""

    places: list[int]
    vectors: Vectors
    routes: list[Route]


@dataclass(frozen=True)
class UnderTest:
    """A generation under the gate; what it needs of the catalogue is read when asked for."""

    name: str
    generation: Generation
    inputs: Mapping[str, str]
    catalog: Callable[[], Sequence[CatalogRow]]
    prepared: Prepared = field(default_factory=Prepared)
    """Shared by systems that are compared."""
    withheld: WithheldList = field(default_factory=WithheldList)
    """What no answer shows, as of when the systems were opened; it is no part of a release, so not of `inputs`."""

    def ask(self, pictures: Sequence[bytes], labelled: Sequence[str], k: int, *, told: bool) -> list[Sides | str]:
        """Ask every query from four sides; a text is why a picture has no answer. See `ask_sides`."""
        sides = ask_sides(
            self.generation, pictures, labelled, k, told=told, prepared=self.prepared, withheld=self.withheld
        )
        return [f"undecodable: {one}" if isinstance(one, PictureError) else one for one in sides]

    def survivors(self) -> dict[str, str]:
        """Return picture -> picture under which its offer is held as a duplicate."""
        return stands_for(self.generation.lake, self.generation.entries, self.catalog())

    def held(self) -> Iterator[tuple[str, str, Date]]:
        """Yield (picture, category, day) of what the indexes return and nobody withholds."""
        return held(self.generation, self.withheld)

    def of_record(self, day: Date) -> list[OfRecord]:
        """Return the catalogue that it is judged by on a day, with what is withheld as taken down."""
        shelves = (self.generation.shelves[category] for category in _filled(self.generation))
        return of_record(self.catalog(), shelves, self.withheld, day)

    def probe(self, per_day: int) -> list[Probed]:
        """Return how many stored vectors find themselves, by day and category."""
        return self_probe(self.generation, per_day)

    def curve(self, pictures: Sequence[bytes], k: int) -> dict[int, float]:
        """Return the recall against exact search by nprobe."""
        return recall_by_nprobe(self.generation, pictures, k, prepared=self.prepared)

    def bytes_per_row(self) -> float:
        """Return the indexes' bytes for each row."""
        return bytes_per_row(self.generation)

    def contract_violations(self) -> list[str]:
        """Return what of the merge contract is broken, read from the indexes themselves."""
        return contract_violations(self.generation)

    def seconds(self, pictures: Sequence[bytes], k: int) -> list[float]:
        """Return the seconds each picture takes alone."""
        return seconds_of(self.generation, pictures, k, self.withheld)


def ask_sides(
    generation: Generation,
    pictures: Sequence[bytes],
    labelled: Sequence[str],
    k: int,
    *,
    told: bool = False,
    prepared: Prepared | None = None,
    withheld: WithheldList = NOTHING_WITHHELD,
) -> list[Sides | PictureError]:
    """Ask every query from four sides; found, cut out and embedded once.

    Args:
        generation: What answers.
        pictures: Encoded queries.
        labelled: Their true categories; one that the release does not hold finds nothing.
        k: Items wanted for each, >= 1.
        told: Users name the category: what is served is then the labelled one.
        prepared: Where queries are kept that were asked before.
        withheld: What no answer shows.

    Returns:
        One for each picture, in order; the error of one that cannot be decoded. All four sides are ranked and
        filtered, so that they differ by the search alone.
    """
    ready, errors = _ready(generation, pictures, prepared)
    filled = _filled(generation)
    oracle = [(labelled[at],) if labelled[at] in filled else () for at in ready.places]
    served = oracle if told else [one.categories for one in ready.routes]
    sides = [
        search_shown(generation, ready.vectors, wanted, k, withheld=withheld, nprobe=nprobe)
        for wanted, nprobe in ((served, None), (oracle, None), (served, EVERY_LIST), (oracle, EVERY_LIST))
    ]
    answers = iter([Sides(*(_pictures(generation, hits) for hits in of_one)) for of_one in zip(*sides, strict=True)])
    return [errors[at] if at in errors else next(answers) for at in range(len(pictures))]


def recall_by_nprobe(
    generation: Generation, pictures: Sequence[bytes], k: int, *, prepared: Prepared | None = None
) -> dict[int, float]:
    """Return by nprobe (1, 2, 4, ... to every list) the share of the exact k nearest items that the index finds.

    Args:
        generation: What answers; each query is searched where it is served.
        pictures: Encoded queries; those that cannot be decoded are left out.
        k: Items, >= 1.
        prepared: Where queries are kept that were asked before.
    """
    ready, _ = _ready(generation, pictures, prepared)
    wanted = [one.categories for one in ready.routes]
    lists = max((shelf.index.nlist for shelf in generation.shelves.values() if shelf.entry.rows), default=1)
    exact = [{hit.id for hit in hits} for hits in generation.search_in(ready.vectors, wanted, k, EVERY_LIST)]
    possible = sum(map(len, exact))
    curve: dict[int, float] = {}
    for nprobe in [1 << power for power in range(lists.bit_length()) if 1 << power < lists] + [lists]:
        got = generation.search_in(ready.vectors, wanted, k, nprobe)
        same = sum(len({hit.id for hit in hits} & truth) for hits, truth in zip(got, exact, strict=True))
        curve[nprobe] = same / possible if possible else 0.0
    return curve


def self_probe(generation: Generation, per_day: int) -> list[Probed]:
    """Search stored vectors by themselves at the release's nprobe, for every day and category.

    Evenly spread over the ids, so that the same index gives the same probe. Another id at the vector's own distance
    counts as found: equal vectors cannot be told apart. What a codec has stored is asked for normalised, and lies at
    1 - its norm; a vector stored as nothing but zeros is left out.

    Args:
        generation: What is probed.
        per_day: Vectors of each (category, day), at most; >= 1.
    """
    probed = []
    for category in _filled(generation):
        shelf = generation.shelves[category]
        facts = _facts(shelf)
        ids, vectors = index_vectors(shelf.index)
        norms = np.linalg.norm(vectors, axis=1)
        days: defaultdict[Date, list[int]] = defaultdict(list)
        for row, number in enumerate(ids.tolist()):
            if norms[row]:
                days[_fact(shelf, facts, number)[1]].append(row)
        for day, rows in sorted(days.items()):
            chosen = rows[:: max(1, len(rows) // per_day)][:per_day]
            asked = np.ascontiguousarray(vectors[chosen] / norms[chosen, None], np.float32)
            distances, found = search_index(shelf.index, asked, 1, shelf.entry.nprobe)
            off = np.abs(distances[:, 0] - (np.float32(1) - norms[chosen]))
            own = (found[:, 0] == ids[chosen]) | (off <= np.float32(1e-6))
            probed.append(Probed(day, category, int(own.sum()), len(chosen)))
    return probed


def held(generation: Generation, withheld: WithheldList = NOTHING_WITHHELD) -> Iterator[tuple[str, str, Date]]:
    """Yield (sha256 of the picture, category, day) of what the indexes return, by category and id.

    A picture of several objects comes once; an id that is held twice comes twice, as the duplicate that it is. What
    is withheld is held by the index and not served: it does not come.
    """
    numbers: set[int] = set()
    pictures: set[str] = set()
    for category in _filled(generation):
        shelf = generation.shelves[category]
        facts = _facts(shelf)
        hidden = hidden_ids(shelf, withheld)
        for number in np.sort(read_rows(shelf.index).ids).tolist():
            if number in hidden:
                continue
            picture, day = _fact(shelf, facts, number)
            if number in numbers or picture not in pictures:
                yield picture, category, day
            numbers.add(number)
            pictures.add(picture)


def contract_violations(generation: Generation) -> list[str]:
    """Return what of the merge contract is broken: ids held twice, rows and items that disagree, a foreign id."""
    broken = []
    owner: dict[int, str] = {}
    for category in _filled(generation):
        shelf = generation.shelves[category]
        ids = read_rows(shelf.index).ids.tolist()
        distinct = set(ids)
        if len(ids) != shelf.entry.rows:
            broken.append(f"{category}: {len(ids)} rows in the index, {shelf.entry.rows} in the manifest")
        if len(distinct) != len(ids):
            broken.append(f"{category}: {len(ids) - len(distinct)} ids are held twice")
        if distinct != shelf.items.keys():
            broken.append(f"{category}: {len(distinct ^ shelf.items.keys())} ids are in one of index and item table")
        broken += [f"{category}: id {number} is {owner[number]}'s" for number in sorted(distinct & owner.keys())]
        owner |= dict.fromkeys(distinct, category)
    return broken


def bytes_per_row(generation: Generation) -> float:
    """Return the indexes' bytes for each row, as they lie on the disk or will; 0 without a row."""
    filled = [entry for entry in generation.entries.values() if entry.rows]
    rows = sum(entry.rows for entry in filled)
    size = sum(entry.index_bytes or len(generation.lake.read_bytes(entry.index_path)) for entry in filled)
    return size / rows if rows else 0.0


def seconds_of(
    generation: Generation, pictures: Sequence[bytes], k: int, withheld: WithheldList = NOTHING_WITHHELD
) -> list[float]:
    """Return the seconds that each picture takes alone, from its bytes to its results; the first call warms up."""
    if pictures:
        ask_ranked(generation, pictures[:1], k, None, None, withheld)
    taken = []
    for picture in pictures:
        started = time.perf_counter()
        ask_ranked(generation, [picture], k, None, None, withheld)
        taken.append(time.perf_counter() - started)
    return taken


def _ready(
    generation: Generation, pictures: Sequence[bytes], prepared: Prepared | None
) -> tuple[_Prepared, dict[int, PictureError]]:
    queries = (prepared or Prepared()).of(generation, pictures)
    errors = {at: one for at, one in enumerate(queries) if isinstance(one, PictureError)}
    seen = [(at, one) for at, one in enumerate(queries) if not isinstance(one, PictureError)]
    known: defaultdict[str, dict[int, Float32]] = defaultdict(dict)
    for row, (_, query) in enumerate(seen):
        for space, vector in query.vectors.items():
            known[space][row] = vector
    filled = _filled(generation)
    routes = [route(None, query.decision, filled) for _, query in seen]
    return _Prepared([at for at, _ in seen], KnownVectors(dict(known)), routes), errors


def _filled(generation: Generation) -> list[str]:
    return [name for name, shelf in generation.shelves.items() if shelf.entry.rows]


def _facts(shelf: Shelf) -> dict[int, tuple[str, Date]]:
    """Return picture and day of every item, without the rest of its row."""
    table = shelf.lake.read_table(shelf.entry.items_path, ["id", "picture", "first_day"])
    pictures, days = table["picture"].to_pylist(), table["first_day"].to_pylist()
    return dict(zip(table["id"].to_pylist(), zip(pictures, days, strict=True), strict=True))


def _fact(shelf: Shelf, facts: Mapping[int, tuple[str, Date]], number: int) -> tuple[str, Date]:
    found = facts.get(number)
    if found is None:
        row = shelf.item(number)  # raises: the index holds an id that the item table does not have
        return row["picture"], row["first_day"]
    return found


def _pictures(generation: Generation, hits: Sequence[Neighbour]) -> Found:
    """Name each hit by its picture; only the nearest object of a picture stays."""
    nearest: dict[str, tuple[str, float, str]] = {}
    for hit, row in zip(hits, generation.rows_of(hits), strict=True):
        picture = row["picture"]
        nearest.setdefault(picture, (picture, hit.distance, hit.group))
    return list(nearest.values())

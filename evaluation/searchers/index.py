"""An index as a system: asked from four sides, probed with its own vectors, and held against the whole catalogue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date as Date
from typing import Protocol

from evaluation.answers import Answers, Hit, Status, answers_of
from evaluation.census import census
from evaluation.evalset import EvalSet, Query
from evaluation.latency import latency_facts
from evaluation.set_pictures import read_picture
from evaluation.system import CONTRACT, Fact, System, View
from reporting.errors import DataError, UsageError

BATCH = 64
"""Pictures in memory at a time: photos of a few MB each."""
DEPTH = 10
"""Times the deepest cut that is asked for, so that collapsing ids and groups cannot starve a list."""
CURVE_QUERIES = 200
PROBES_A_DAY = 10_000
"""Of each (category, day), evaluation-index-eviction.md 4.2, "Self-probe"."""

Found = Sequence[tuple[str, float, str]]
"""(sha256 of the picture, distance, product group shown), nearest first."""


class IndexUnderTest(Protocol):
    """What the pipeline hands over: one generation, complete with what stands before and behind its indexes."""

    @property
    def name(self) -> str:
        """For reports, e.g. `release 7`."""

    @property
    def inputs(self) -> Mapping[str, str]:
        """Name -> sha256 of everything that makes its answers."""

    def ask(
        self, pictures: Sequence[bytes], labelled: Sequence[str], k: int, *, told: bool
    ) -> Sequence[tuple[Found, Found, Found, Found] | str]:
        """Answer as served, in the labelled category, and both by exact search; a text is why there is no answer."""

    def survivors(self) -> Mapping[str, str]:
        """Return sha256 -> sha256 of the picture under which a duplicate is returned."""

    def held(self) -> Iterable[tuple[str, str, Date]]:
        """Yield (sha256, category, day) of everything that the indexes return."""

    def probe(self, per_day: int) -> Sequence[tuple[Date, str, int, int]]:
        """Return (day, category, found, asked): how many stored vectors find themselves."""

    def curve(self, pictures: Sequence[bytes], k: int) -> Mapping[int, float]:
        """Return by nprobe the share of the exact neighbours that the index finds."""

    def bytes_per_row(self) -> float:
        """Return the size of the indexes for each row."""

    def contract_violations(self) -> Sequence[str]:
        """Return what of the merge contract is broken; nothing for a sound index."""

    def seconds(self, pictures: Sequence[bytes], k: int) -> Sequence[float]:
        """Return the seconds each picture takes alone."""


def system_of(
    index: IndexUnderTest,
    evalset: EvalSet,
    *,
    day: Date | None = None,
    deepest: int = 10,
    told: bool = False,
    latency_queries: int = 0,
    latency_runs: int = 5,
    min_copies: int = 1,
) -> System:
    """Ask an index every query of a set, and measure what no query shows.

    Args:
        index: What is judged.
        evalset: With pictures; its catalogue says by sha256 which picture is which.
        day: The day the index is to serve, for the census; default the set's own.
        deepest: The deepest cut that will be measured.
        told: Users name the category: then the labelled one is what is served.
        latency_queries: Queries of the latency runs; 0: latency is not measured.
        latency_runs: How often; a rule takes a statistic of the runs.
        min_copies: m of the eviction policy.

    Raises:
        UsageError: The set has no pictures to ask with.
        DataError: A picture is not the one that was labelled, or the index broke its contract.
    """
    if evalset.root is None or not all(query.path for query in evalset.queries):
        raise UsageError(f"{evalset.set_id}: has no pictures, so an index cannot be asked; give a run file instead")
    broken = index.contract_violations()
    try:
        system = _asked(index, evalset, day, deepest, told, min_copies)
    except DataError:
        if broken:
            return _not_asked(index, evalset, broken)
        raise
    facts = [Fact(metric=CONTRACT, value=float(len(broken)), examples=tuple(broken[:20])), *system.facts]
    if latency_queries:
        pictures = [read_picture(evalset, query) for query in spread(evalset.queries, latency_queries)]
        facts += latency_facts([index.seconds(pictures, deepest) for _ in range(latency_runs)])
    return replace(system, facts=tuple(facts))


def _asked(
    index: IndexUnderTest, evalset: EvalSet, day: Date | None, deepest: int, told: bool, min_copies: int
) -> System:
    by_hash = _by_hash(evalset)
    other = _stands_for(index.survivors(), by_hash)
    when = day or evalset.gallery.as_of or Date.max  # of a set that is not dated every takedown counts as done
    names = _Names(by_hash, other)
    views = _ask_all(index, evalset, deepest * DEPTH, told, names, other)
    held = [(names.of(sha256), category, first) for sha256, category, first in index.held()]
    sample = [read_picture(evalset, query) for query in spread(evalset.queries, CURVE_QUERIES)]
    facts = [
        *_probe_facts(index),
        Fact(metric="index_bytes_per_row", value=index.bytes_per_row()),
        *census(evalset.catalog, held, day=when, min_copies=min_copies, stands_for=other),
    ]
    return System(
        name=index.name,
        views=views,
        facts=tuple(facts),
        inputs=dict(index.inputs),
        curve=index.curve(sample, 10),
        absent=_absent(evalset, {name for name, _, _ in held}, other, when),
    )


def _not_asked(index: IndexUnderTest, evalset: EvalSet, broken: Sequence[str]) -> System:
    """Return a system that was not asked: an index and an item table that disagree have no answers worth a number."""
    why = f"the merge contract is broken: {broken[0]}"
    ids = [query.query_id for query in evalset.queries]
    served = answers_of(ids, {}, statuses=dict.fromkeys(ids, Status.ERROR), errors=dict.fromkeys(ids, why))
    fact = Fact(metric=CONTRACT, value=float(len(broken)), examples=tuple(broken[:20]))
    return System(name=index.name, views={View.SERVED: served}, facts=(fact,), inputs=dict(index.inputs))


def _absent(evalset: EvalSet, held: Collection[str], other: Mapping[str, str], day: Date) -> frozenset[str]:
    """Return the live pictures of the catalogue that the index holds neither by itself nor by a survivor."""
    return frozenset(
        image.image_id
        for image in evalset.catalog
        if image.is_live(day) and other.get(image.image_id, image.image_id) not in held
    )


def spread(queries: Sequence[Query], count: int) -> Sequence[Query]:
    """Return at most `count` queries, evenly spread: the same set gives the same sample."""
    return queries[:: max(1, len(queries) // count)][:count]


def stands_for_equals(evalset: EvalSet) -> tuple[dict[str, str], dict[str, str]]:
    """Return sha256 -> the name of that picture, and name -> name for further names of equal bytes."""
    by_hash = _by_hash(evalset)
    return {sha256: names[0] for sha256, names in by_hash.items()}, _stands_for({}, by_hash)


class _Names:
    """The set's name for a picture: by its hash; a picture that the set does not know is an orphan under its hash."""

    def __init__(self, by_hash: Mapping[str, Sequence[str]], other: Mapping[str, str]):
        self._by_hash = by_hash
        self._other = other

    def of(self, sha256: str) -> str:
        names = self._by_hash.get(sha256)
        return self._other.get(names[0], names[0]) if names else sha256


def _by_hash(evalset: EvalSet) -> dict[str, list[str]]:
    """Return the names of each picture of the catalogue; several where equal bytes are listed several times."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for image in evalset.catalog:
        if image.sha256:
            found[image.sha256].add(image.image_id)
    return {sha256: sorted(names) for sha256, names in found.items()}


def _stands_for(survivors: Mapping[str, str], by_hash: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return image_id -> image_id it is returned as: its survivor, and of equal pictures the first by name."""
    found: dict[str, str] = {}
    for sha256, names in by_hash.items():
        kept = by_hash.get(survivors.get(sha256, sha256), names)[0]
        found |= {name: kept for name in names if name != kept}
    return found


def _ask_all(
    index: IndexUnderTest, evalset: EvalSet, depth: int, told: bool, names: _Names, other: Mapping[str, str]
) -> dict[View, Answers]:
    """Ask in batches; a query that fails is an error of that query, and of no other."""
    hits: dict[View, dict[str, list[Hit]]] = {view: {} for view in View}
    statuses: dict[str, Status] = {}
    errors: dict[str, str] = {}
    for start in range(0, len(evalset.queries), BATCH):
        batch = evalset.queries[start : start + BATCH]
        pictures = [read_picture(evalset, query) for query in batch]
        answers = index.ask(pictures, [query.category for query in batch], depth, told=told)
        if len(answers) != len(batch):
            raise DataError(f"{index.name}: {len(answers)} answers to {len(batch)} pictures; expected one for each")
        for query, answer in zip(batch, answers, strict=True):
            if isinstance(answer, str):
                statuses[query.query_id], errors[query.query_id] = Status.ERROR, answer
                continue
            for view, found in zip(_SIDES, answer, strict=True):
                hits[view][query.query_id] = [Hit(names.of(sha256), far, group) for sha256, far, group in found]
    ids = [query.query_id for query in evalset.queries]
    return {
        view: answers_of(ids, of_view, statuses=statuses, errors=errors, stands_for=other)
        for view, of_view in hits.items()
    }


_SIDES = (View.SERVED, View.ORACLE, View.EXACT, View.EXACT_ORACLE)


def _probe_facts(index: IndexUnderTest) -> list[Fact]:
    """Return self_recall@1 by day, and by category and day."""
    by: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for day, category, found, asked in index.probe(PROBES_A_DAY):
        for name in ("all", f"day={day.isoformat()}", f"category={category},day={day.isoformat()}"):
            by[name].append((found, asked))
    facts = []
    for name, counts in sorted(by.items()):
        found, asked = (sum(column) for column in zip(*counts, strict=True))
        if asked:
            facts.append(Fact(metric="self_recall@1", slice=name, value=found / asked, n=asked))
    return facts

"""Compares the SQL store with a cluster, document by document: what is missing, different, or there without reason.

Two passes, both of bounded memory. First every document that SQL knows is looked up by its id (realtime: no refresh
has to be waited for). Then every document that the indices hold is looked up in SQL.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, zip_longest
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from reporting.elastic.client import cluster_errors, url_of
from reporting.elastic.documents import Document
from reporting.elastic.mappings import patterns
from reporting.elastic.names import MONTHLY, Kind, index_of
from reporting.elastic.refusals import refuse_unreadable
from reporting.elastic.search import indices_between, point_in_time
from reporting.elastic.stored import Stored
from reporting.elastic.truth import EVERYTHING, Hit, Line, Span, SqlTruth, place_of
from reporting.key import KEY_PARTS

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from reporting.stores.sql import SqlStore

What = Literal["missing", "different", "extra"]
WHATS: tuple[What, ...] = ("missing", "different", "extra")
OnProgress = Callable[[Kind, int, int | None], None]
"""Called after each chunk with the kind, how many lines of it are done, and of how many (None: not known)."""

CHUNK = 500
"""Documents looked up at a time: about 1 MB."""

_IDENTIFYING = {
    *KEY_PARTS,
    *("effective_key", "effective_date", "verdict_id", "dates", "run_id", "check_id", "instance", "episode"),
}
"""Fields by which the second pass finds out what a document is about."""

_DAY_FIELD = {Kind.PLANS: "dates", Kind.EFFECTIVE: "effective_date"}
_ABOUT: dict[Kind, tuple[str, ...]] = {
    Kind.RECORDS: KEY_PARTS,
    Kind.EVENTS: (*KEY_PARTS, "version"),
    Kind.EXPECTED: KEY_PARTS,
    Kind.PLANS: ("planid",),
    Kind.VERDICTS: ("verdict_id",),
    Kind.EFFECTIVE: ("effective_key", "effective_date"),
    Kind.EVALUATIONS: ("run_id", "check_id", "instance", "date"),
    Kind.INCIDENTS: ("episode", "date"),
}


class Example(BaseModel):
    """One document that is not as it should be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    id: str
    key: str
    """What it is about, as people write it."""
    what: What
    fields: tuple[str, ...] = ()
    """Of a different one: the fields that differ; `_version`: an older record could overwrite it."""


class Counts(BaseModel):
    """How many documents of a kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    compared: int = 0
    missing: int = 0
    different: int = 0
    extra: int = 0


class Comparison(BaseModel):
    """The difference between the SQL store and a cluster."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    compared: int
    """Documents that SQL knows, each looked up."""
    missing: int
    different: int
    extra: int
    """Documents of the indices that SQL does not know; another SQL store may have written them."""
    examples: tuple[Example, ...]
    kinds: dict[str, Counts]

    @property
    def equal(self) -> bool:
        """Tell whether nothing is missing, different or too much."""
        return not (self.missing or self.different or self.extra)


class Checked(NamedTuple):
    """One document that SQL knows, and what is stored in its place."""

    line: Line
    stored: Stored | None
    version: int
    """`_version` of what is stored; 0 where nothing is."""
    what: What | None
    """None: it is as it should be."""
    fields: tuple[str, ...] = ()


class Tally:
    """Counts what a comparison finds, and keeps the first examples."""

    def __init__(self, examples: int):
        self.moved: set[tuple[Kind, str]] = set()
        """Documents whose identifying fields were changed: the second pass must not count them again."""
        self._keep = examples
        self._examples: dict[tuple[Kind, What], list[Example]] = {}
        self._counts: dict[Kind, Counter[str]] = {kind: Counter() for kind in Kind}

    def note(self, kind: Kind, batch: Iterable[Checked]) -> None:
        """Note documents that SQL knows."""
        for one in batch:
            self._counts[kind]["compared"] += 1
            if one.what is not None:
                self._add(
                    Example(kind=kind, id=one.line.document.id, key=one.line.key, what=one.what, fields=one.fields)
                )
            if _IDENTIFYING.intersection(one.fields):
                self.moved.add((kind, one.line.document.id))

    def note_extra(self, kind: Kind, hits: Iterable[Hit]) -> None:
        """Note documents that SQL does not know."""
        for hit in hits:
            key = "/".join(str(hit.source[name]) for name in _ABOUT[kind] if name in hit.source)
            self._add(Example(kind=kind, id=hit.id, key=key, what="extra"))

    def _add(self, example: Example) -> None:
        kind = Kind(example.kind)
        self._counts[kind][example.what] += 1
        kept = self._examples.setdefault((kind, example.what), [])
        if len(kept) < self._keep:
            kept.append(example)

    def count(self, what: str) -> int:
        """Return how many documents of all kinds were noted so."""
        return sum(counts[what] for counts in self._counts.values())

    def examples(self) -> tuple[Example, ...]:
        """Return some of what was found, of every sort if there is room."""
        mixed = chain.from_iterable(zip_longest(*self._examples.values()))
        return tuple(islice((example for example in mixed if example is not None), self._keep))

    def comparison(self) -> Comparison:
        """Return the result."""
        return Comparison(
            compared=self.count("compared"),
            **{what: self.count(what) for what in WHATS},
            examples=self.examples(),
            kinds={kind.value: Counts(**counts) for kind, counts in self._counts.items()},
        )


def compare(
    store: SqlStore,
    client: Elasticsearch,
    prefix: str,
    metric_names: Iterable[str],
    span: Span = EVERYTHING,
    *,
    examples: int = 10,
    on_progress: OnProgress = lambda *_: None,
) -> Comparison:
    """Compare every document of some days; what is written meanwhile may be counted as missing.

    A record, plan or verdict counts as different, too, where the cluster's own version of it is greater than SQL's.
    A leaf for which no plan counts may have no line in the lookup index, and one whose records were deleted keeps its.

    Args:
        store: which is right by definition.
        client: see `client.connect`; role shipper (it refreshes the indices).
        prefix: of the index names.
        metric_names: from `setup.require_setup`.
        span: which days; of the plans those that touch one of them.
        examples: at most so many are returned.
        on_progress: see `OnProgress`.

    Raises:
        StoreError: the store or the cluster cannot be read.
        ConfigError: the cluster refuses who asks.
    """
    truth = SqlTruth(store, prefix, metric_names)
    tally = Tally(examples)
    for kind in Kind:
        for batch in checked(truth, client, kind, span, on_progress):
            tally.note(kind, batch)
    for kind, hits in Extras(truth, client).found(span, tally.moved):
        tally.note_extra(kind, hits)
    return tally.comparison()


def checked(
    truth: SqlTruth, client: Elasticsearch, kind: Kind, span: Span, on_progress: OnProgress = lambda *_: None
) -> Iterator[list[Checked]]:
    """Yield every document of a kind that SQL knows, in chunks, beside what is stored in its place."""
    total = truth.count(kind, span)
    done = 0
    lines = truth.lines(kind, span)
    while part := list(islice(lines, CHUNK)):
        yield _judged(truth, client, kind, part)
        done += len(part)
        on_progress(kind, done, total)


def _judged(truth: SqlTruth, client: Elasticsearch, kind: Kind, lines: Sequence[Line]) -> list[Checked]:
    found = look_up(client, [line.document for line in lines])
    judged = [_judge(line, one) for line, one in zip(lines, found, strict=True)]
    doubtful = [place for place, one in enumerate(judged) if one.what is not None]
    # What was changed in SQL since its page was read would look wrong, and a repair would take it back. Asked again
    # after the cluster: what that holds comes from SQL, so SQL cannot now be the older one.
    again = truth.again(kind, [lines[place] for place in doubtful])
    for place, line in zip(doubtful, again, strict=True):
        judged[place] = Checked(lines[place], None, 0, None) if line is None else _judge(line, found[place])
    return judged


def _judge(line: Line, found: tuple[Stored, int] | None) -> Checked:
    document = line.document
    if found is None:
        needless = line.kind is Kind.EFFECTIVE and not document.source["effective_planid"]
        return Checked(line, None, 0, None if needless else "missing")
    stored, version = found
    names = {*stored.source, *document.source} if stored.source != document.source else ()
    fields = {name for name in names if stored.source.get(name, _NOTHING) != document.source.get(name, _NOTHING)}
    if document.version is not None and version < document.version:
        fields.add("_version")
    return Checked(line, stored, version, "different" if fields else None, tuple(sorted(fields)))


_NOTHING = object()


def look_up(client: Elasticsearch, documents: Sequence[Document]) -> list[tuple[Stored, int] | None]:
    """Return what is stored under each document's id with its `_version`, None where nothing is; realtime.

    Raises:
        StoreError, ConfigError: the cluster, or one of the indices, cannot be read.
    """
    if not documents:
        return []
    with cluster_errors(url_of(client)):
        answers = client.mget(docs=[{"_index": one.index, "_id": one.id} for one in documents])["docs"]
    return [_found(answer) for answer in answers]


def _found(answer: dict[str, Any]) -> tuple[Stored, int] | None:
    refuse_unreadable(answer)
    if not answer.get("found"):
        return None
    return Stored(answer["_source"], answer["_seq_no"], answer["_primary_term"]), answer["_version"]


class Extras:
    """Finds the documents of the indices that SQL does not know.

    Args:
        truth: what SQL knows.
        client: of the cluster; the indices are refreshed, so that a search sees what was written until now.

    Raises:
        StoreError, ConfigError: the cluster cannot be asked.
    """

    def __init__(self, truth: SqlTruth, client: Elasticsearch):
        self._truth = truth
        self._client = client
        ours = list(patterns(truth.prefix))
        with cluster_errors(url_of(client)):
            client.indices.refresh(index=ours, ignore_unavailable=True, allow_no_indices=True)
            found = client.indices.get_alias(index=ours, ignore_unavailable=True)
        # An index may stand behind an alias of the name that its documents are written to.
        self._names = {index: {index, *body["aliases"]} for index, body in found.items()}

    def found(self, span: Span, moved: set[tuple[Kind, str]]) -> Iterator[tuple[Kind, list[Hit]]]:
        """Yield them in chunks.

        Args:
            span: which days; all days include documents that name none.
            moved: documents that are known to be ours although their fields say otherwise.
        """
        for kind in Kind:
            prefix = self._truth.prefix
            indices = indices_between(prefix, kind, *span) if kind in MONTHLY else [index_of(prefix, kind)]
            with point_in_time(self._client, indices) as point:
                for page in point.pages(_within(kind, span), fields=_ABOUT[kind], size=CHUNK * 2):
                    hits = [Hit(hit["_index"], hit["_id"], hit["_source"]) for hit in page]
                    unknown = [hit for hit in self.among(kind, hits) if (kind, hit.id) not in moved]
                    if unknown:
                        yield kind, unknown

    def among(self, kind: Kind, hits: Sequence[Hit]) -> list[Hit]:
        """Return those that SQL does not know now, or that lie in another index than they belong to."""
        known = self._truth.knows(kind, hits)
        return [hit for hit, is_known in zip(hits, known, strict=True) if not (is_known and self._in_place(kind, hit))]

    def _in_place(self, kind: Kind, hit: Hit) -> bool:
        return place_of(self._truth.prefix, kind, hit.source) in self._names.get(hit.where, {hit.where})


def _within(kind: Kind, span: Span) -> dict[str, Any]:
    limits = {"gte": span.first, "lte": span.last}
    given = {name: day.isoformat() for name, day in limits.items() if day is not None}
    return {"range": {_DAY_FIELD.get(kind, "date"): given}} if given else {"match_all": {}}

"""Reads all that a query selects, page by page, from one point in time: nothing is missing and nothing comes twice.

One answer of the server has at most 10,000 documents or 65,536 groups, and two answers may see two states of the
indices. A `Point` is a state that stays: pages follow each other by `search_after` or by the last group's key.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date as Date
from typing import Any, NamedTuple

from elasticsearch import ApiError, Elasticsearch, TransportError

from reporting.elastic.client import cluster_errors, url_of
from reporting.elastic.names import Kind, index_of, pattern_of
from reporting.elastic.refusals import refuse_unreadable

PAGE = 5_000
"""Documents a page: about 10 MB of records."""

BUCKET_PAGE = 10_000
"""Groups a page; the server refuses more than 65,536 (`search.max_buckets`)."""

KEEP_ALIVE = "2m"
"""How long a point in time outlives the last request to it."""

MAX_TERMS = 60_000
"""Values in one `terms` clause; the server refuses more than 65,536 (`index.max_terms_count`)."""

_MONTHS_NAMED = 24
"""Spans up to this long name their indices; a longer one searches all, rather than have a URL without end."""

Hit = dict[str, Any]
"""`_index`, `_id` and `_source` of one document."""

Query = Mapping[str, Any]


class Bucket(NamedTuple):
    """One group of documents."""

    key: tuple[Any, ...]
    """The values of the sources in their order; a date field's in milliseconds since 1970."""
    documents: int
    sums: tuple[float, ...]
    """Of the fields asked for, in their order; a sum that reaches 2**53 is not exact."""


class Point:
    """Some indices as they were at one moment. Not thread-safe."""

    def __init__(self, client: Elasticsearch, identifier: str):
        self._client = client
        self.identifier = identifier

    def search(self, **body: Any) -> Mapping[str, Any]:
        """Send one search request; an answer from only some of the shards is an error.

        Raises:
            StoreError: the cluster cannot be read.
            ConfigError: it refuses who asks.
        """
        with cluster_errors(url_of(self._client)):
            answer = self._client.search(
                pit={"id": self.identifier, "keep_alive": KEEP_ALIVE}, allow_partial_search_results=False, **body
            )
        self.identifier = answer["pit_id"]
        return answer.body  # type: ignore[no-any-return]

    def close(self) -> None:
        """Let the state go."""
        with cluster_errors(url_of(self._client)):
            self._client.close_point_in_time(id=self.identifier)

    def pages(
        self,
        query: Query,
        *,
        fields: Sequence[str] | None = None,
        sort: str | None = None,
        size: int = PAGE,
    ) -> Iterator[list[Hit]]:
        """Yield every document of a query, in lists of at most `size`.

        Args:
            query: which documents.
            fields: of `_source`; None gives all of it, an empty sequence none.
            sort: a field to sort by, ascending; else as they lie in the index.
            size: documents a page, 1 to 10,000.

        Raises:
            StoreError: the cluster cannot be read.
        """
        source = True if fields is None else {"includes": list(fields)} if fields else False
        order = [{"_shard_doc": "asc"}] if sort is None else [{sort: "asc"}, {"_shard_doc": "asc"}]
        after: dict[str, Any] = {}
        while True:
            answer = self.search(query=query, source=source, sort=order, size=size, track_total_hits=False, **after)
            hits: list[Hit] = answer["hits"]["hits"]
            if hits:
                yield hits
            if len(hits) < size:
                return
            after = {"search_after": hits[-1]["sort"]}

    def buckets(
        self, query: Query, sources: Sequence[str], sums: Sequence[str] = (), *, size: int = BUCKET_PAGE
    ) -> Iterator[Bucket]:
        """Yield every group of a query's documents; a document that lacks one of the sources is in none.

        Args:
            query: which documents.
            sources: keyword, number or date fields to group by; none makes one group, if there is a document.
            sums: number fields to sum in each group.
            size: groups a page, 1 to 65,536.

        Raises:
            StoreError: the cluster cannot be read.
        """
        summed = {f"sum{number}": {"sum": {"field": field}} for number, field in enumerate(sums)}
        if not sources:
            yield from self._one_bucket(query, summed)
            return
        composite: dict[str, Any] = {
            "size": size,
            "sources": [{f"part{number}": {"terms": {"field": field}}} for number, field in enumerate(sources)],
        }
        while True:
            aggregation: dict[str, Any] = {"composite": composite}
            if summed:
                aggregation["aggs"] = summed
            answer = self.search(query=query, aggs={"groups": aggregation}, size=0, track_total_hits=False)
            groups = answer.get("aggregations", {}).get("groups", {"buckets": []})  # none where no index is there
            for group in groups["buckets"]:
                yield Bucket(tuple(group["key"].values()), group["doc_count"], _values(group, summed))
            if len(groups["buckets"]) < size:
                return
            composite["after"] = groups["after_key"]

    def _one_bucket(self, query: Query, summed: Mapping[str, Any]) -> Iterator[Bucket]:
        answer = self.search(query=query, aggs=summed or None, size=0, track_total_hits=True)
        count = answer["hits"]["total"]["value"]
        if count:
            yield Bucket((), count, _values(answer["aggregations"] if summed else {}, summed))


def _values(group: Mapping[str, Any], summed: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(group[name]["value"] for name in summed)


@contextmanager
def point_in_time(client: Elasticsearch, indices: Sequence[str]) -> Iterator[Point]:
    """Hold the present state of indices until the block ends; those that are not there are empty.

    What is written becomes part of a state only after a refresh of its index.

    Raises:
        StoreError: the cluster cannot be read.
        ConfigError: it refuses who asks.
    """
    with cluster_errors(url_of(client)):
        opened = client.open_point_in_time(index=list(indices), keep_alive=KEEP_ALIVE, ignore_unavailable=True)
    point = Point(client, opened["id"])
    try:
        yield point
    except BaseException:
        # What broke the reading is the news; a server that is gone lets the state go by itself.
        with suppress(ApiError, TransportError):
            client.close_point_in_time(id=point.identifier)
        raise
    point.close()


def pages(
    client: Elasticsearch,
    indices: Sequence[str],
    query: Query,
    *,
    fields: Sequence[str] | None = None,
    sort: str | None = None,
    size: int = PAGE,
) -> Generator[list[Hit], None, None]:
    """Yield every document of a query from one point in time, in lists of at most `size`; see `Point.pages`.

    Close it where it is not read to its end; else the cluster holds its state until it is collected.

    Raises:
        StoreError: the cluster cannot be read.
    """
    with point_in_time(client, indices) as point:
        yield from point.pages(query, fields=fields, sort=sort, size=size)


def buckets(
    client: Elasticsearch,
    indices: Sequence[str],
    query: Query,
    sources: Sequence[str],
    sums: Sequence[str] = (),
    *,
    size: int = BUCKET_PAGE,
) -> Iterator[Bucket]:
    """Yield every group of a query's documents from one point in time; see `Point.buckets`.

    Raises:
        StoreError: the cluster cannot be read.
    """
    with point_in_time(client, indices) as point:
        yield from point.buckets(query, sources, sums, size=size)


def fetch(
    client: Elasticsearch, wanted: Sequence[tuple[str, str]], fields: Sequence[str] | None = None
) -> list[dict[str, Any] | None]:
    """Return the `_source` of documents by (index, id), None for those that are not there.

    Sees all that was acknowledged, refreshed or not.

    Args:
        client: of the cluster.
        wanted: index and id of each document.
        fields: of `_source`; None gives all of it.

    Raises:
        StoreError: the cluster, or one of the indices, cannot be read.
        ConfigError: it refuses who asks.
    """
    if not wanted:
        return []
    docs = [{"_index": index, "_id": identifier} for index, identifier in wanted]
    with cluster_errors(url_of(client)):
        answers = client.mget(docs=docs, source_includes=None if fields is None else list(fields))["docs"]
    return [_source(answer) for answer in answers]


def _source(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    refuse_unreadable(answer)
    return answer["_source"] if answer.get("found") else None


def indices_between(prefix: str, kind: Kind, date_from: Date | None, date_to: Date | None) -> list[str]:
    """Return where the documents of some days are; an open or long span is all indices of the kind.

    Example:
        >>> indices_between("f", Kind.RECORDS, Date(2026, 12, 30), Date(2027, 1, 2))
        ['f-records-2026.12', 'f-records-2027.01']
        >>> indices_between("f", Kind.RECORDS, None, Date(2027, 1, 2))
        ['f-records-*']
    """
    if date_from is None or date_to is None:
        return [pattern_of(prefix, kind)]
    first, last = (day.year * 12 + day.month - 1 for day in (date_from, date_to))
    if not 0 <= last - first < _MONTHS_NAMED:
        return [pattern_of(prefix, kind)]
    return [index_of(prefix, kind, Date(month // 12, month % 12 + 1, 1)) for month in range(first, last + 1)]


def any_of(field: str, values: Sequence[Any]) -> Query:
    """Return the query for documents whose field has one of the values; of none where there are no values."""
    parts = [{"terms": {field: list(values[at : at + MAX_TERMS])}} for at in range(0, max(len(values), 1), MAX_TERMS)]
    return parts[0] if len(parts) == 1 else {"bool": {"should": parts, "minimum_should_match": 1}}


def all_of(filters: Sequence[Query]) -> Query:
    """Return the query for documents that pass every filter; of all documents where there is none."""
    return {"bool": {"filter": list(filters)}} if filters else {"match_all": {}}

"""The store in Elasticsearch: for whoever has no SQL database, and for reading what was shipped there.

Weaker than SQL, because Elasticsearch has no transactions over documents:

- The block of `begin` collects, and writes when it ends. One that raises writes nothing; but a fault of the cluster
  while it writes, or another writer at the same moment, can leave a part of it written: manifests and records come
  first, plans last. The error says so, and the block may be repeated as it is: it ends up the same.
- A record is judged (stored, repeat, older, conflict) by what is there when it is put. Who commits between that and
  the end of the block is met there: other content of the same version is a VersionConflict, and beside a greater
  version ours is kept as an event only, although `put_record` said "stored".
- Two writers that change one plan at the same moment may count one revision: the last one stays, as in SQL.
- `get_record` and `get_plan` see all that was written. Everything else is a search: it sees what this kind of store
  wrote at once, and what a shipper wrote after the refresh interval of the index (10 s by the templates).
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from datetime import date as Date
from typing import Any, TypeVar

from elasticsearch import Elasticsearch

from reporting.elastic.client import check, cluster_errors, connect, url_of
from reporting.elastic.documents import plan_of, record_of, verdict_of
from reporting.elastic.names import Kind, index_of
from reporting.elastic.search import Point, Query, all_of, any_of, fetch, indices_between, pages, point_in_time
from reporting.elastic.setup import require_setup
from reporting.elastic.sink import ElasticSink
from reporting.errors import StoreError
from reporting.key import KEY_PARTS, RunKey
from reporting.outbox import Fate
from reporting.plans import Leaf, Plan
from reporting.record import TaskRecord
from reporting.settings import ElasticSettings
from reporting.stores.base import RecordQuery, Sums, Totals, check_parts
from reporting.stores.elastic_sums import INEXACT, add_sources, add_sums, group_of, ordered, source_fields, within
from reporting.stores.elastic_work import ElasticUnitOfWork
from reporting.stores.memory import sum_by
from reporting.stores.summing import Summing
from reporting.verdict import Verdict

Read = TypeVar("Read")

_COUNTS = ("input", "output", "produced", "dropped_total", "failed_total")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_NANOSECOND = datetime(2262, 4, 11, tzinfo=UTC)
"""A `date_nanos` ends in this night; no record was reported outside of 1970 to here."""


class ElasticStore:
    """Records, plans, manifests and verdicts in one Elasticsearch cluster. Threads may share it; writers take turns."""

    def __init__(self, client: Elasticsearch, prefix: str, metric_names: Collection[str] = ()):
        """Use a cluster that is set up (`funnelgate records setup`).

        Args:
            client: closed with the store.
            prefix: of the index names.
            metric_names: metrics that the mapping has; others are kept, but cannot be searched for.
        """
        self.client = client
        self.prefix = prefix
        self._sink = ElasticSink(client, prefix, frozenset(metric_names), self)
        self._writing = threading.Lock()

    @classmethod
    def open(cls, settings: ElasticSettings) -> ElasticStore:
        """Connect, and check that the cluster is one of ours; a key of the role reader is enough.

        Raises:
            ConfigError: no or a wrong URL, key or certificate; a server of another major version; not set up.
            StoreError: the cluster cannot be reached.
        """
        client = connect(settings)
        try:
            try:
                metric_names = require_setup(client, settings.prefix)
            except StoreError:
                check(client)  # may know better why; not asked first, since the role `reader` may not ask it
                raise
        except BaseException:
            client.close()
            raise
        return cls(client, settings.prefix, metric_names)

    def close(self) -> None:
        """Close every connection."""
        self.client.close()

    def __enter__(self) -> ElasticStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def begin(self) -> Iterator[ElasticUnitOfWork]:
        """Collect writes and send them when the block ends; no transaction: see the top of this module.

        Writing needs the role `shipper`, reading `reader`.

        Raises:
            VersionConflict: a version of a record is booked with other content.
            StoreError: the cluster did not take everything; the step may be repeated as it is.
            ConfigError: the cluster refuses who asks.
        """
        work = ElasticUnitOfWork(self.client, self.prefix, self._sink)
        yield work
        with self._writing:
            work.commit()

    def get_record(self, key: RunKey) -> TaskRecord | None:
        """See `RecordStore.get_record`."""
        index = index_of(self.prefix, Kind.RECORDS, key.date)
        (source,) = fetch(self.client, [(index, key.document_id())])
        return None if source is None else record_of(source)

    def records(self, query: RecordQuery) -> list[TaskRecord]:
        """See `RecordStore.records`."""
        filters = _filters(query)
        if filters is None:
            return []
        if query.as_of is None:
            found = list(self._read(Kind.RECORDS, all_of(filters), record_of, query.date_from, query.date_to))
        else:
            found = self._records_as_of(query, filters, query.as_of)
        return sorted(found, key=lambda record: record.key.parts())

    def _records_as_of(self, query: RecordQuery, filters: list[Query], as_of: datetime) -> list[TaskRecord]:
        return [record_of(source) for source in self._sources_as_of(query, filters, as_of)]

    def _sources_as_of(
        self, query: RecordQuery, filters: list[Query], as_of: datetime, fields: Sequence[str] | None = None
    ) -> Collection[dict[str, Any]]:
        """Return the greatest version of each key among the events up to a moment, or some fields of it."""
        if as_of < _EPOCH:
            return []
        # Written out to the microsecond: of a whole second the server would make the last nanosecond within it.
        moment = min(as_of, _LAST_NANOSECOND).astimezone(UTC).isoformat(timespec="microseconds")
        wanted = all_of([*filters, {"range": {"reported_at": {"lte": moment}}}])
        latest: dict[tuple[str, ...], dict[str, Any]] = {}
        for source in self._sources(Kind.EVENTS, wanted, query.date_from, query.date_to, fields=fields):
            key = tuple(source[part] for part in KEY_PARTS)
            if key not in latest or int(source["version"]) > int(latest[key]["version"]):
                latest[key] = source
        return latest.values()

    def totals(self, query: RecordQuery, by: Sequence[str]) -> list[Totals]:
        """See `RecordStore.totals`."""
        check_parts(by)
        if query.as_of is not None:
            return sum_by(self.records(query), by)
        filters = _filters(query)
        if filters is None:
            return []
        order = ordered(by)
        indices = indices_between(self.prefix, Kind.RECORDS, query.date_from, query.date_to)
        with point_in_time(self.client, indices) as point:
            found = {group_of(bucket, order, by): bucket for bucket in point.buckets(all_of(filters), order, _COUNTS)}
            large = [group for group, bucket in found.items() if max(bucket.sums) >= INEXACT]
            exact = _exact_sums(point, filters, by, large) if large else {}
        return [
            _totals(group, found[group].documents, exact.get(group) or found[group].sums) for group in sorted(found)
        ]

    def sums(self, query: RecordQuery, by: Sequence[str], measures: Sequence[str]) -> list[Sums]:
        """See `RecordStore.sums`."""
        summing = Summing(by, measures)
        filters = _filters(query)
        if filters is None:
            return []
        if query.as_of is not None:
            fields = [*source_fields(summing), "version"]
            add_sources(summing, self._sources_as_of(query, filters, query.as_of, fields))
            return summing.results()
        with point_in_time(
            self.client, indices_between(self.prefix, Kind.RECORDS, query.date_from, query.date_to)
        ) as point:
            add_sums(point, summing, filters)
        return summing.results()

    def history(self, key: RunKey) -> list[TaskRecord]:
        """See `RecordStore.history`.

        The order of arrival is that of Elasticsearch's sequence numbers: a key's events lie in one index of one shard.
        """
        query = all_of([{"term": {part: value}} for part, value in zip(KEY_PARTS, key.parts(), strict=True)])
        return list(self._read(Kind.EVENTS, query, record_of, key.date, key.date, sort="_seq_no"))

    def plans(self, date_from: Date | None = None, date_to: Date | None = None) -> list[Plan]:
        """See `RecordStore.plans`."""
        found = self._read(Kind.PLANS, all_of(_days("dates", date_from, date_to)), plan_of)
        return sorted(found, key=lambda plan: (plan.created_at, plan.planid))

    def get_plan(self, planid: str) -> Plan | None:
        """See `RecordStore.get_plan`."""
        (source,) = fetch(self.client, [(index_of(self.prefix, Kind.PLANS), planid)])
        return None if source is None else plan_of(source)

    def revision(self, day: Date) -> int:
        """See `Registry.revision`; added up here, since a spool's are microseconds, too large for the server's sums."""
        found = pages(self.client, [index_of(self.prefix, Kind.PLANS)], _on(day, "dates"), fields=("version",))
        return sum(int(hit["_source"]["version"]) for page in found for hit in page)

    def leaves(self, day: Date) -> Iterator[Leaf]:
        """See `Registry.leaves`."""
        indices = [index_of(self.prefix, kind, day) for kind in (Kind.RECORDS, Kind.EXPECTED)]
        with point_in_time(self.client, indices) as point:
            for bucket in point.buckets(_on(day, "date"), ("effective_key",)):
                task, _, category, subinstance = bucket.key[0].split("|")
                yield Leaf(task, day, category, subinstance)

    def expected(self, planid: str) -> set[Leaf]:
        """See `RecordStore.expected`."""
        return set(self._read(Kind.EXPECTED, any_of("planid", [planid]), _leaf_of))

    def delete_plan_records(self, planid: str) -> int:
        """See `RecordStore.delete_plan_records`; what another writer books meanwhile stays.

        Raises:
            StoreError: the cluster did not take everything; the step may be repeated.
        """
        indices = indices_between(self.prefix, Kind.RECORDS, None, None)
        with cluster_errors(url_of(self.client)):
            self.client.indices.refresh(index=indices)  # else what a shipper has just written would stay
        work = ElasticUnitOfWork(self.client, self.prefix, self._sink)
        for page in pages(self.client, indices, any_of("planid", [planid]), fields=(*KEY_PARTS, "version")):
            for hit in page:
                version = hit["_source"].pop("version")
                work.delete_record(RunKey(**hit["_source"]), version)
        with self._writing:
            return sum(outcome.fate is Fate.DELIVERED for outcome in work.commit())

    def verdicts(self, planid: str) -> list[Verdict]:
        """See `RecordStore.verdicts`."""
        found = self._read(Kind.VERDICTS, any_of("planid", [planid]), verdict_of)
        return sorted(found, key=lambda verdict: (verdict.decided_at, verdict.verdict_id))

    def _read(
        self,
        kind: Kind,
        query: Query,
        read: Callable[[dict[str, Any]], Read],
        date_from: Date | None = None,
        date_to: Date | None = None,
        sort: str | None = None,
    ) -> Iterator[Read]:
        return map(read, self._sources(kind, query, date_from, date_to, sort))

    def _sources(
        self,
        kind: Kind,
        query: Query,
        date_from: Date | None,
        date_to: Date | None,
        sort: str | None = None,
        fields: Sequence[str] | None = None,
    ) -> Iterator[dict[str, Any]]:
        indices = indices_between(self.prefix, kind, date_from, date_to)
        for page in pages(self.client, indices, query, fields=fields, sort=sort):
            for hit in page:
                yield hit["_source"]


def _filters(query: RecordQuery) -> list[Query] | None:
    """Return the filters of a query without `as_of`, or None where it selects nothing whatever is stored."""
    chosen = (query.tasks, query.categories, query.subinstances, query.planids)
    if any(values is not None and not values for values in chosen):
        return None
    names = ("task", "category", "subinstance", "planid")
    filters = [any_of(name, values) for name, values in zip(names, chosen, strict=True) if values is not None]
    return filters + _days("date", query.date_from, query.date_to)


def _days(field: str, date_from: Date | None, date_to: Date | None) -> list[Query]:
    """Return the filter for a span of days; of a field with many days it needs one within the span."""
    limits = {"gte": date_from, "lte": date_to}
    given = {name: day.isoformat() for name, day in limits.items() if day is not None}
    return [{"range": {field: given}}] if given else []


def _on(day: Date, field: str) -> Query:
    return all_of([{"term": {field: day.isoformat()}}])


def _leaf_of(source: dict[str, Any]) -> Leaf:
    return Leaf(source["task"], Date.fromisoformat(source["date"]), source["category"], source["subinstance"])


def _totals(group: tuple[str, ...], documents: int, sums: Sequence[float]) -> Totals:
    taken, output, produced, dropped, failed = map(int, sums)
    return Totals(
        group=group,
        records=documents,
        input=taken,
        output=output,
        produced=produced,
        dropped=dropped,
        failed=failed,
    )


def _exact_sums(
    point: Point, filters: Sequence[Query], by: Sequence[str], groups: Collection[tuple[str, ...]]
) -> dict[tuple[str, ...], list[int]]:
    """Sum groups in whole numbers, from the documents of the same state of the indices."""
    wanted = set(groups)
    sums: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * len(_COUNTS))
    for page in point.pages(all_of([*filters, *within(by, groups)]), fields=(*by, *_COUNTS)):
        for hit in page:
            source = hit["_source"]
            group = tuple(source[part] for part in by)
            if group in wanted:
                for place, name in enumerate(_COUNTS):
                    sums[group][place] += source[name]
    return sums

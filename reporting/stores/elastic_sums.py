"""Sums of measures in Elasticsearch: fields are added up by the server, entries of a record's maps here.

The server adds in doubles, with compensation: whole numbers below 2**53 come out exactly, and seconds so closely that
their microseconds do. What may not be exact is read document by document, from the same state of the indices.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from reporting.elastic.search import Bucket, Point, Query, all_of, any_of
from reporting.key import KEY_PARTS
from reporting.measures import MAPS, Measure
from reporting.stores.summing import Group, Summing

INEXACT = 2**53
"""Elasticsearch sums in doubles: counts are never negative, so a sum below this had no rounding on its way."""

_INEXACT_SECONDS = 1e9
"""A sum of seconds below this is off by less than half a microsecond."""

_SORTED_BY = ("date", "task", "category", "subinstance", "planid")
"""How the indices of records are sorted: groups asked for in this order are found without looking at every document."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIELDS = {
    **{name: name for name in ("input", "output", "produced", "seconds")},
    **{name: f"{name}_total" for name in ("dropped", "failed")},
}
"""Measure to the field of a document that holds it."""


def add_sums(point: Point, summing: Summing, filters: Sequence[Query]) -> None:
    """Add the records that pass every filter.

    Args:
        point: the indices of records, as they are now.
        summing: by what, and which measures.
        filters: which records.

    Raises:
        StoreError: the cluster cannot be read.
    """
    order = ordered(summing.by)
    fields = [field for field in _FIELDS if any(one == Measure(field) for one in summing.measures)]
    large = []
    for bucket in point.buckets(all_of(filters), order, [_FIELDS[field] for field in fields]):
        group = group_of(bucket, order, summing.by)
        sums = dict(zip(fields, bucket.sums, strict=True))
        if any(value >= (_INEXACT_SECONDS if field == "seconds" else INEXACT) for field, value in sums.items()):
            large.append(group)
        else:
            summing.add_group(group, bucket.documents, _amounts(summing, bucket.documents, sums))
    if large:
        _add_documents(point, summing, filters, set(large))
    for field in MAPS:
        _add_map(point, summing, filters, field, set(large))


def source_fields(summing: Summing) -> list[str]:
    """Return what `add_sources` needs of a document besides its version."""
    return sorted({*KEY_PARTS, *map(_field, summing.measures)} - {""})


def add_sources(summing: Summing, sources: Iterable[Mapping[str, Any]]) -> None:
    """Add documents of records or events, one for each key."""
    for source in sources:
        group = tuple(source[part] for part in summing.by)
        summing.add_amounts(group, [_amount(source, measure) for measure in summing.measures])


def ordered(by: Sequence[str]) -> list[str]:
    """Return parts of the key in the order in which a cluster groups by them fastest."""
    return [part for part in _SORTED_BY if part in by]


def group_of(bucket: Bucket, order: Sequence[str], by: Sequence[str]) -> Group:
    """Return the key of a bucket as text, in the order asked for.

    Args:
        bucket: of `Point.buckets`.
        order: its sources.
        by: the order wanted.
    """
    values = dict(zip(order, bucket.key, strict=True))
    if "date" in values:
        values["date"] = _day_of(values["date"])
    return tuple([values[part] for part in by])


def within(by: Sequence[str], groups: Collection[Group]) -> list[Query]:
    """Return filters that all documents of some groups pass, and few others."""
    return [any_of(part, sorted({group[place] for group in groups})) for place, part in enumerate(by)]


@cache
def _day_of(milliseconds: int) -> str:
    return (_EPOCH + timedelta(milliseconds=milliseconds)).date().isoformat()


def _amounts(summing: Summing, documents: int, sums: Mapping[str, float]) -> dict[int, int]:
    """Return what a bucket says of each measure; entries that a record's map does not have are 0."""
    amounts = {}
    for place, (field, name) in enumerate(summing.measures):
        if name is not None and field != "metrics":
            amounts[place] = 0
        elif name is None:
            amounts[place] = documents if field == "records" else _whole(field, sums[field])
    return amounts


def _whole(field: str, value: float) -> int:
    return round(value * 1_000_000) if field == "seconds" else int(value)


def _add_documents(point: Point, summing: Summing, filters: Sequence[Query], groups: set[Group]) -> None:
    """Add groups document by document, with all their measures."""
    query = all_of([*filters, *within(summing.by, groups)])
    for page in point.pages(query, fields=source_fields(summing)):
        sources = [hit["_source"] for hit in page]
        add_sources(summing, [one for one in sources if tuple(one[part] for part in summing.by) in groups])


def _add_map(point: Point, summing: Summing, filters: Sequence[Query], field: str, done: set[Group]) -> None:
    """Add the entries of one of a record's maps; every metric is in `exact`, not every one has a field of its own."""
    places = summing.places(field)
    if not places:
        return
    some = [] if field == "metrics" else [{"range": {f"{field}_total": {"gt": 0}}}]
    for page in point.pages(all_of([*filters, *some]), fields=(*summing.by, f"exact.{field}")):
        for hit in page:
            source = hit["_source"]
            group = tuple(source[part] for part in summing.by)
            entries = source.get("exact", {}).get(field, {})
            for place, name in places:
                if name in entries and group not in done:
                    summing.add_entry(group, place, entries[name])


def _field(measure: Measure) -> str:
    field, name = measure
    if name is not None:
        return f"exact.{field}"
    return _FIELDS.get(field, "")


def _amount(source: Mapping[str, Any], measure: Measure) -> float | None:
    field, name = measure
    if field == "records":
        return 1
    if name is None:
        return _whole(field, source[_FIELDS[field]])
    found: float | None = source.get("exact", {}).get(field, {}).get(name)
    return 0 if found is None and field != "metrics" else found

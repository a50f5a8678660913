"""Records, plans, verdicts and manifests as Elasticsearch documents, and back. Pure; nothing here imports a client.

A record's maps are written twice: flat, for queries and panels (`dropped_by: ["blurred=3"]`), and exactly, in the
unindexed object `exact`, from which the record is read back without loss.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date as Date
from datetime import datetime
from typing import Any

from pydantic_core import from_json

from reporting.booking import is_declared
from reporting.effective import leaf_of
from reporting.elastic.names import Kind, effective_id, effective_key, event_id, event_id_of, expected_id, index_of
from reporting.key import KEY_PARTS
from reporting.plans import Leaf, Plan
from reporting.record import TaskRecord
from reporting.verdict import Verdict

_EXACT = ("dropped", "failed", "metrics", "versions")
_DERIVED = (
    "dropped_total",
    "failed_total",
    "dropped_by",
    "failed_by",
    "versions_by",
    "effective_key",
    "seconds",
    "content_hash",
    "kind",
)


@dataclass(frozen=True, slots=True)
class Document:
    """One document and where it goes."""

    index: str
    id: str
    version: int | None
    """None: written once (op_type create); else the greater version stays (external_gte)."""
    source: dict[str, Any]


def record_document(prefix: str, record: TaskRecord, metric_names: Collection[str] = ()) -> Document:
    """Return the document of a key: what is true now.

    Args:
        prefix: of the index names.
        record: what was booked.
        metric_names: metrics that the mapping has; the others are kept in `exact` only.
    """
    index = index_of(prefix, Kind.RECORDS, record.key.date)
    return Document(index, record.key.document_id(), record.version, record_source(record, metric_names))


def event_document(prefix: str, record: TaskRecord, source: Mapping[str, Any]) -> Document:
    """Return the document that says this version was booked: written once, never changed.

    Args:
        prefix: of the index names.
        record: what was booked.
        source: the fields of its record document, from `record_source`.
    """
    index = index_of(prefix, Kind.EVENTS, record.key.date)
    return Document(index, event_id(record.key, record.version), None, {**source, "kind": "record"})


def record_source(record: TaskRecord, metric_names: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of a record's document. Zero is written; an empty map is written as an empty list."""
    source = record.to_document()
    exact = {name: source[name] for name in _EXACT}
    del source["dropped"], source["failed"]
    return source | {
        "effective_key": effective_key(leaf_of(record.key)),
        "dropped_total": record.dropped_total,
        "failed_total": record.failed_total,
        "dropped_by": [f"{reason}={count}" for reason, count in record.dropped.items()],
        "failed_by": [f"{name}={count}" for name, count in record.failed.items()],
        "versions_by": [f"{name}={version}" for name, version in record.versions.items()],
        "metrics": {name: value for name, value in record.metrics.items() if is_declared(name, metric_names)},
        "seconds": record.seconds,
        "content_hash": record.content_hash(),
        "exact": exact,
    }


def source_of_body(body: str, metric_names: Collection[str] = ()) -> dict[str, Any]:
    """Return `record_source` of the record whose `model_dump_json()` this is, without building the record.

    The shipper moves records that were checked when they were booked: checking them again, and dumping them again
    for their hash, costs it more than everything else it does. A test holds both ways equal for any record.

    Raises:
        ValueError, KeyError, TypeError: the body is not the JSON of a record.
    """
    source: dict[str, Any] = from_json(body)
    if not isinstance(source, dict):
        raise TypeError(f"expected the JSON object of a record, found {type(source).__name__}")
    key = source.pop("key")
    exact = {name: source[name] for name in _EXACT}
    dropped, failed = source.pop("dropped"), source.pop("failed")
    source.update(key)
    source |= {
        "effective_key": f"{key['task']}|{key['date']}|{key['category']}|{key['subinstance']}",
        "dropped_total": sum(dropped.values()),
        "failed_total": sum(failed.values()),
        "dropped_by": [f"{reason}={count}" for reason, count in dropped.items()],
        "failed_by": [f"{name}={count}" for name, count in failed.items()],
        "versions_by": [f"{name}={version}" for name, version in source["versions"].items()],
        "metrics": {name: value for name, value in source["metrics"].items() if is_declared(name, metric_names)},
        "seconds": _seconds(source["started_at"], source["finished_at"]),
        "content_hash": _content_hash(body),
        "exact": exact,
    }
    return source


def documents_of_body(
    prefix: str, document_id: str, body: str, metric_names: Collection[str]
) -> tuple[Document, Document]:
    """Return the event and the record document of a record's JSON; see `source_of_body`.

    Args:
        prefix: of the index names.
        document_id: of the record's key.
        body: what `model_dump_json` wrote.
        metric_names: metrics that the mapping has.
    """
    source = source_of_body(body, metric_names)
    day, version = Date.fromisoformat(source["date"]), source["version"]
    event_id = event_id_of(key_parts_of(source), version)
    event = Document(index_of(prefix, Kind.EVENTS, day), event_id, None, source | {"kind": "record"})
    return event, Document(index_of(prefix, Kind.RECORDS, day), document_id, version, source)


def _seconds(started: str, finished: str) -> float:
    return (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()


def _content_hash(body: str) -> str:
    """Return `TaskRecord.content_hash` from the record's JSON: that of the text without the field `reported_at`.

    The fields come in the order of the model, so the last mention of the name is the field itself: behind it comes
    only the number of the schema.
    """
    before, _, rest = body.rpartition(',"reported_at":"')
    return hashlib.sha256((before + rest[rest.index('"') + 1 :]).encode()).hexdigest()[:32]


def record_of(source: Mapping[str, Any]) -> TaskRecord:
    """Read a record back from the fields of its document or of its event.

    Raises:
        ValueError: the document does not hold a valid record.
    """
    fields = {name: value for name, value in source.items() if name not in _DERIVED}
    try:
        return TaskRecord.from_document(fields | fields.pop("exact"))
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the document of a record: {type(error).__name__}: {error}") from error


def key_parts_of(source: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the key of a record's document, in the key's order."""
    return tuple(str(source[part]) for part in KEY_PARTS)


def plan_document(prefix: str, plan: Plan, revision: int) -> Document:
    """Return the document of a plan; `revision` rises by one with each change."""
    body = plan.model_dump(mode="json")
    source = {
        **{name: body[name] for name in ("planid", "kind", "state", "dates", "supersedes", "reason")},
        **{name: body[name] for name in ("config_hash", "code_version")},
        **{name: body[name] for name in ("created_at", "completed_at", "promoted_at")},
        "version": revision,
        "exact": body,
    }
    return Document(index_of(prefix, Kind.PLANS), plan.planid, revision, source)


def plan_of(source: Mapping[str, Any]) -> Plan:
    """Read a plan back."""
    return Plan.model_validate(source["exact"])


def verdict_document(prefix: str, verdict: Verdict, revision: int) -> Document:
    """Return the document of a verdict."""
    body = verdict.model_dump(mode="json")
    names = ("verdict_id", "date", "planid", "outcome", "decided_at")
    source = {**{name: body[name] for name in names}, "version": revision, "exact": body}
    return Document(index_of(prefix, Kind.VERDICTS), verdict.verdict_id, revision, source)


def verdict_of(source: Mapping[str, Any]) -> Verdict:
    """Read a verdict back."""
    return Verdict.model_validate(source["exact"])


def expected_document(prefix: str, planid: str, leaf: Leaf) -> Document:
    """Return one line of a plan's manifest: written once."""
    source = {
        "planid": planid,
        "task": leaf.task,
        "date": leaf.date.isoformat(),
        "category": leaf.category,
        "subinstance": leaf.subinstance,
        "effective_key": effective_key(leaf),
    }
    return Document(index_of(prefix, Kind.EXPECTED, leaf.date), expected_id(planid, leaf), None, source)


def effective_document(prefix: str, leaf: Leaf, planid: str, provisional: bool, revision: int) -> Document:
    """Return a leaf's line of the lookup index.

    Its fields have names that no record has (but the key): a LOOKUP JOIN overwrites columns of the same name.

    Args:
        prefix: of the index names.
        leaf: which leaf.
        planid: the plan that counts for it.
        provisional: the plan is still open.
        revision: of the registry for the leaf's day; the greater one stays.
    """
    source = {
        "effective_key": effective_key(leaf),
        "effective_planid": planid,
        "effective_date": leaf.date.isoformat(),
        "effective_revision": revision,
        "provisional": provisional,
    }
    return Document(index_of(prefix, Kind.EFFECTIVE), effective_id(leaf), revision, source)

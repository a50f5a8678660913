"""The unit of work on Elasticsearch: collects entries and hands them to the sink when the block ends.

Indices are refreshed once, when all is written: a bulk request with `refresh` would do so again for each part.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from datetime import date as Date
from itertools import count
from typing import TYPE_CHECKING

from reporting.elastic.client import cluster_errors, url_of
from reporting.elastic.names import Kind, event_id, index_of
from reporting.elastic.search import fetch
from reporting.errors import StoreError, VersionConflict
from reporting.key import RunKey
from reporting.outbox import Entry, Fate, Outcome, Sink, Topic
from reporting.plans import Leaf, Plan
from reporting.record import TaskRecord
from reporting.stores.base import PutOutcome, decide_put
from reporting.verdict import Verdict

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

LEAVES_PER_ENTRY = 1_000
"""Lines of a manifest in one entry."""

REVISING_TRIES = 5
"""How often a plan or verdict is given a new revision when another writer was quicker."""

Booked = tuple[int, str]
"""Version and content hash of a record."""


class ElasticUnitOfWork:
    """What one block writes. Nothing is sent before `commit`."""

    def __init__(self, client: Elasticsearch, prefix: str, sink: Sink):
        self._client = client
        self._prefix = prefix
        self._sink = sink
        self._numbers = count(1)
        self._entries: list[Entry] = []
        self._records: dict[RunKey, Booked] = {}
        self._events: dict[tuple[RunKey, int], Booked] = {}
        self._plans: dict[str, str] = {}
        self._verdicts: dict[str, str] = {}
        self._touched: set[str] = set()

    def put_record(self, record: TaskRecord) -> PutOutcome:
        """See `UnitOfWork.put_record`."""
        stored, event = self._look_up(record)
        outcome = decide_put(stored, record)
        if event is not None and decide_put(event, record) is PutOutcome.REPEAT and outcome is PutOutcome.OLDER:
            outcome = PutOutcome.REPEAT
        booked = (record.version, record.content_hash())
        if outcome is PutOutcome.STORED:
            self._records[record.key] = booked
        if outcome is not PutOutcome.REPEAT or event is None:  # a writer that crashed, or a hand, left a gap: fill it
            self._events[record.key, record.version] = booked
            self._touch((Kind.RECORDS, Kind.EVENTS, Kind.EFFECTIVE), record.key.date)
            self._add(Topic.RECORD, record.key.document_id(), record.version, record.model_dump_json())
        return outcome

    def _look_up(self, record: TaskRecord) -> tuple[Booked | None, Booked | None]:
        """Return what is booked under the key, and under the key and version: in this block, else in the cluster."""
        key = record.key
        wanted = [
            (index_of(self._prefix, Kind.RECORDS, key.date), key.document_id()),
            (index_of(self._prefix, Kind.EVENTS, key.date), event_id(key, record.version)),
        ]
        stored, event = (
            None if source is None else (int(source["version"]), str(source["content_hash"]))
            for source in fetch(self._client, wanted, ("version", "content_hash"))
        )
        pending = self._records.get(key)
        if pending is not None and (stored is None or pending[0] > stored[0]):
            stored = pending
        return stored, self._events.get((key, record.version), event)

    def put_plan(self, plan: Plan) -> None:
        """See `UnitOfWork.put_plan`."""
        self._plans[plan.planid] = plan.model_dump_json()
        self._touch((Kind.PLANS, Kind.EFFECTIVE))

    def expect(self, planid: str, leaves: Iterable[Leaf]) -> None:
        """See `UnitOfWork.expect`."""
        named = []
        for leaf in leaves:
            named.append([leaf.task, leaf.date.isoformat(), leaf.category, leaf.subinstance])
            self._touch((Kind.EXPECTED, Kind.EFFECTIVE), leaf.date)
        for start in range(0, len(named), LEAVES_PER_ENTRY):
            body = {"planid": planid, "leaves": named[start : start + LEAVES_PER_ENTRY]}
            self._add(Topic.EXPECTED, planid, 0, json.dumps(body, ensure_ascii=False))

    def put_verdict(self, verdict: Verdict) -> None:
        """See `UnitOfWork.put_verdict`."""
        self._verdicts[verdict.verdict_id] = verdict.model_dump_json()
        self._touch((Kind.VERDICTS,))

    def delete_record(self, key: RunKey, version: int) -> None:
        """Delete the record of a key, whose version is known; its events stay."""
        body = json.dumps({"key": key.model_dump(mode="json")}, ensure_ascii=False)
        self._add(Topic.DELETE, key.document_id(), version, body)
        self._touch((Kind.RECORDS,), key.date)

    def commit(self) -> list[Outcome]:
        """Write it all, plans last: a plan that says it is complete has all its records.

        Returns:
            What became of the records, manifests and deletions, in the order in which they were put.

        Raises:
            VersionConflict: another writer has booked the same version of a record with other content meanwhile.
            StoreError: the cluster took not everything.
            ConfigError: it refuses who asks.
        """
        outcomes = self._deliver(self._entries)
        self._revise(Topic.VERDICT, Kind.VERDICTS, self._verdicts)
        self._revise(Topic.PLAN, Kind.PLANS, self._plans)
        if self._touched:
            with cluster_errors(url_of(self._client)):
                self._client.indices.refresh(index=sorted(self._touched), ignore_unavailable=True)
        return outcomes

    def _touch(self, kinds: Iterable[Kind], day: Date | None = None) -> None:
        self._touched |= {index_of(self._prefix, kind, day) for kind in kinds}

    def _revise(self, topic: Topic, kind: Kind, bodies: Mapping[str, str]) -> None:
        """Write documents that count their changes, each with the revision after the stored one."""
        index, left = index_of(self._prefix, kind), list(bodies)
        for _ in range(REVISING_TRIES):
            found = fetch(self._client, [(index, name) for name in left], ("version",))
            revisions = [1 if source is None else int(source["version"]) + 1 for source in found]
            entries = [
                self._entry(topic, name, revision, bodies[name]) for name, revision in zip(left, revisions, strict=True)
            ]
            left = [done.entry.document_id for done in self._deliver(entries) if done.fate is Fate.STALE]
            if not left:
                return
        raise StoreError(
            f"elasticsearch: {topic.value} {left[0]} was changed by others {REVISING_TRIES} times meanwhile; {_AGAIN}"
        )

    def _deliver(self, entries: Sequence[Entry]) -> list[Outcome]:
        if not entries:
            return []
        try:
            with cluster_errors(url_of(self._client)):
                outcomes = self._sink.deliver(entries)
        except StoreError as error:
            raise StoreError(f"{error}; {_AGAIN}") from error
        failed = [outcome for outcome in outcomes if outcome.fate not in (Fate.DELIVERED, Fate.STALE)]
        if failed:
            conflicts = [outcome for outcome in failed if outcome.fate is Fate.CONFLICT]
            first = (conflicts or failed)[0]
            message = (
                f"elasticsearch: {len(failed)} of {len(entries)} entries were not written;"
                f" the first, {first.entry.topic} {first.entry.document_id}: {first.error}"
            )
            if conflicts:
                raise VersionConflict(f"{message}; a new emit must carry a greater version")
            raise StoreError(f"{message}; {_AGAIN}")
        return outcomes

    def _add(self, topic: Topic, document_id: str, version: int, body: str) -> None:
        self._entries.append(self._entry(topic, document_id, version, body))

    def _entry(self, topic: Topic, document_id: str, version: int, body: str) -> Entry:
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        return Entry(next(self._numbers), topic.value, document_id, version, body, now)


_AGAIN = "a part of this step may be written, and to repeat the step is safe"

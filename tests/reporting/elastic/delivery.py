"""What the tests of shipping share: entries made by hand, a registry in memory, and the server's own answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from datetime import date as Date
from itertools import count
from typing import Any

from elasticsearch import Elasticsearch

from checks.incidents import Incident
from checks.result import Result
from reporting.effective import leaf_of
from reporting.elastic.names import Kind, effective_id, evaluation_id, event_id, index_of
from reporting.elastic.sink import ElasticSink
from reporting.key import RunKey
from reporting.outbox import Entry, Fate, Outcome, Topic
from reporting.plans import Leaf, Plan
from reporting.record import TaskRecord
from reporting.testing import make_plan
from reporting.verdict import Verdict
from tests.servers.rest import call

_numbers = count(1)


@dataclass
class KnownPlans:
    """A plan registry in memory."""

    plans_: list[Plan] = field(default_factory=lambda: [make_plan()])
    leaves_: list[Leaf] = field(default_factory=list)
    revision_: int = 1

    def plans(self, date_from: Date | None = None, date_to: Date | None = None) -> list[Plan]:
        return list(self.plans_)

    def revision(self, day: Date) -> int:
        return self.revision_

    def leaves(self, day: Date) -> Iterator[Leaf]:
        return (leaf for leaf in self.leaves_ if leaf.date == day)


@dataclass
class Cluster:
    """One prefix of a server that is set up, asked without our client."""

    url: str
    prefix: str

    def client(self, url: str | None = None, seconds: float = 60.0) -> Elasticsearch:
        """Return a client as `connect` makes it."""
        return Elasticsearch(url or self.url, max_retries=0, request_timeout=seconds)

    def sink(self, client: Elasticsearch, registry: Any = None, **options: Any) -> ElasticSink:
        """Return a sink that does not really wait between its rounds."""
        chosen = {"wait": lambda seconds: None, **options}
        return ElasticSink(client, self.prefix, (), registry or KnownPlans(), **chosen)

    def get(self, index: str, document_id: str) -> dict[str, Any] | None:
        """Return a stored document, whether a search sees it yet or not."""
        found = call(self.url, "GET", f"/{index}/_doc/{document_id}")[1]
        return found["_source"] if found.get("found") else None

    def record(self, key: RunKey) -> dict[str, Any] | None:
        return self.get(index_of(self.prefix, Kind.RECORDS, key.date), key.document_id())

    def event(self, key: RunKey, version: int) -> dict[str, Any] | None:
        return self.get(index_of(self.prefix, Kind.EVENTS, key.date), event_id(key, version))

    def line(self, leaf: Leaf) -> dict[str, Any] | None:
        return self.get(index_of(self.prefix, Kind.EFFECTIVE), effective_id(leaf))

    def change(self, method: str, path: str, body: Any = None) -> Any:
        """Do something by hand; it must succeed."""
        status, answer = call(self.url, method, path, body)
        assert status < 300, (method, path, answer)
        return answer

    def count(self, kind: Kind, category: str) -> int:
        """Return how many documents of a kind a category has."""
        pattern = f"{self.prefix}-{kind.value}*"
        self.change("POST", f"/{pattern}/_refresh")
        body = {"query": {"term": {"category": category}}}
        return int(self.change("POST", f"/{pattern}/_count", body)["count"])


def record_entry(record: TaskRecord) -> Entry:
    return _entry(Topic.RECORD, record.key.document_id(), record.version, record.model_dump_json())


def plan_entry(plan: Plan, revision: int = 1) -> Entry:
    return _entry(Topic.PLAN, plan.planid, revision, plan.model_dump_json())


def verdict_entry(verdict: Verdict, revision: int = 1) -> Entry:
    return _entry(Topic.VERDICT, verdict.verdict_id, revision, verdict.model_dump_json())


def evaluation_entry(run_id: str, result: Result) -> Entry:
    body = json.dumps({"run_id": run_id, "result": result.model_dump(mode="json", exclude_defaults=True)})
    return _entry(Topic.EVALUATION, evaluation_id(run_id, result.id, result.instance), 0, body)


def incident_entry(one: Incident) -> Entry:
    return _entry(Topic.INCIDENT, one.episode, one.revision, one.model_dump_json())


def expected_entry(planid: str, leaves: Iterable[Leaf]) -> Entry:
    named = [[leaf.task, leaf.date.isoformat(), leaf.category, leaf.subinstance] for leaf in leaves]
    return _entry(Topic.EXPECTED, planid, 0, json.dumps({"planid": planid, "leaves": named}))


def delete_entry(record: TaskRecord) -> Entry:
    body = json.dumps({"key": record.key.model_dump(mode="json")})
    return _entry(Topic.DELETE, record.key.document_id(), record.version, body)


def leaf(record: TaskRecord) -> Leaf:
    return leaf_of(record.key)


def fates(outcomes: Sequence[Outcome]) -> list[Fate]:
    return [outcome.fate for outcome in outcomes]


def _entry(topic: Topic, document_id: str, version: int, body: str) -> Entry:
    return Entry(next(_numbers), topic.value, document_id, version, body, datetime.now(UTC).isoformat())


def change_by_hand(cluster: Cluster, record: TaskRecord, how: str) -> None:
    """Do to the document of a record what its `_version` does not tell from a delivery."""
    index, name = index_of(cluster.prefix, Kind.RECORDS, record.key.date), record.key.document_id()
    source = cluster.record(record.key)
    assert source is not None
    if how == "deleted":
        cluster.change("DELETE", f"/{index}/_doc/{name}")
    elif how == "a count changed":
        cluster.change("PUT", f"/{index}/_doc/{name}", {**source, "input": 999})
    elif how == "version lowered":
        cluster.change("PUT", f"/{index}/_doc/{name}", {**source, "version": 1})
    elif how == "version removed":
        cluster.change("PUT", f"/{index}/_doc/{name}", {k: v for k, v in source.items() if k != "version"})
    else:  # changed very often
        for _ in range(5):
            cluster.change("PUT", f"/{index}/_doc/{name}", {**source, "output": 999})

"""A SQL store whose ledger was shipped to a real cluster: random plans, manifests, records, verdicts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date as Date
from datetime import timedelta
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

from checks.result import Result
from reporting.elastic.compare import Comparison, compare
from reporting.elastic.names import Kind, pattern_of
from reporting.elastic.replay import ReplayReport, replay
from reporting.elastic.sink import ElasticSink
from reporting.elastic.truth import EVERYTHING, Span
from reporting.outbox import Sink
from reporting.outbox_sql import SqlOutbox
from reporting.plans import Cover, Leaf, Plan, PlanKind, PlanState
from reporting.record import Consumed, TaskRecord
from reporting.shipper import Did, Shipper, ShipReport
from reporting.stores import open_store
from reporting.stores.base import UnitOfWork
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import SqlUnitOfWork
from reporting.testing import DAY, MOMENT, make_plan, make_record
from reporting.verdict import Outcome, Verdict
from tests.reporting.elastic.said import full_incident, full_result, keep, say
from tests.servers.rest import call

METRICS = frozenset({"seconds_per_item", "version"})
"""Metrics that the mapping has; records also have others."""
DAYS = (DAY, DAY + timedelta(days=1), DAY + timedelta(days=30))
"""Two months."""
CATEGORIES = ("hats", "shoes", "größe [1]")


@dataclass
class Shipped:
    """A store and the prefix of a cluster to which it ships."""

    store: SqlStore
    client: Elasticsearch
    prefix: str

    def sink(self) -> Sink:
        return ElasticSink(self.client, self.prefix, METRICS, self.store, wait=lambda _: None)

    def ship(self) -> ShipReport:
        """Ship all that waits."""
        shipper = Shipper(SqlOutbox(self.store), self.sink)
        assert shipper.drain().did is Did.IDLE
        shipper.resign()
        return shipper.report()

    def compare(self, span: Span = EVERYTHING, **options: Any) -> Comparison:
        return compare(self.store, self.client, self.prefix, METRICS, span, **options)

    def replay(self, span: Span = EVERYTHING, **options: Any) -> ReplayReport:
        return replay(self.store, self.client, self.prefix, METRICS, span, **options)

    def put(self, *records: TaskRecord) -> None:
        with self.store.begin() as work:
            for record in records:
                work.put_record(record)

    @property
    def url(self) -> str:
        return str(next(iter(self.client.transport.node_pool.all())).base_url)

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request as somebody with curl would; `path` begins behind the prefix."""
        status, answer = call(self.url, method, f"/{self.prefix}-{path}", body)
        assert status in (200, 201), answer
        return answer

    def documents(self, kind: Kind) -> dict[str, dict[str, Any]]:
        """Every document of a kind by its id, asked without the product's code."""
        pattern = pattern_of(self.prefix, kind)
        call(self.url, "POST", f"/{pattern}/_refresh")
        status, answer = call(self.url, "POST", f"/{pattern}/_search?version=true", {"size": 10_000})
        assert status == 200, answer
        return {hit["_id"]: hit for hit in answer["hits"]["hits"]}

    def empty(self) -> None:
        """Delete the indices that hold something; a write makes them again, from the templates."""
        _, rows = call(self.url, "GET", f"/_cat/indices/{self.prefix}-*?h=index&format=json")
        if rows:
            call(self.url, "DELETE", "/" + ",".join(row["index"] for row in rows))


def opened(folder: Path) -> SqlStore:
    return open_store(f"sqlite:///{folder / 'store.db'}")


def wrong(found: Comparison | ReplayReport) -> tuple[int, int, int]:
    return found.missing, found.different, found.extra


def fill(store: SqlStore, seed: int, records: int = 60) -> None:
    """Put a random ledger: more than one plan a day, repeats, late older attempts, failures, changes of plans."""
    chance = random.Random(seed)
    steps: list[Callable[[SqlUnitOfWork], object]] = []
    for number, day in enumerate(DAYS):
        for plan in plans_of(chance, number, day):
            steps.append(_putting(plan))
            leaves = [Leaf("quality", day, category) for category in CATEGORIES]
            steps.append(_expecting(plan.planid, [*leaves, Leaf("embed", day)]))
            steps += [_booking(random_record(chance, plan.planid, day)) for _ in range(records // 9 + 1)]
            if plan.state is not PlanState.OPEN:
                steps.append(_putting(plan))
        verdict = Verdict(
            verdict_id=f"v{number}",
            date=day,
            planid=f"daily-{number}",
            outcome=Outcome.PASS,
            inputs={},
            decided_at=MOMENT,
        )
        steps += [_judging(verdict), _judging(verdict.model_copy(update={"outcome": Outcome.FAIL}))]
        steps += [_saying(f"{day}-{run}", full_result(day, f"i{place}")) for run in range(2) for place in range(3)]
        steps.append(_keeping(day))
    chance.shuffle(steps)
    for step in steps:
        with store.begin() as work:
            step(work)


def _putting(plan: Plan) -> Callable[[UnitOfWork], object]:
    return lambda work: work.put_plan(plan)


def _expecting(planid: str, leaves: list[Leaf]) -> Callable[[UnitOfWork], object]:
    return lambda work: work.expect(planid, leaves)


def _booking(record: TaskRecord) -> Callable[[UnitOfWork], object]:
    return lambda work: work.put_record(record)


def _judging(verdict: Verdict) -> Callable[[UnitOfWork], object]:
    return lambda work: work.put_verdict(verdict)


def _saying(run_id: str, result: Result) -> Callable[[SqlUnitOfWork], object]:
    return lambda work: say(work, run_id, result)


def _keeping(day: Date) -> Callable[[SqlUnitOfWork], object]:
    """Return a step that opens an incident and changes it twice."""

    def keep_all(work: SqlUnitOfWork) -> None:
        for revision in (1, 2, 3):
            keep(work, full_incident(day, revision))

    return keep_all


def plans_of(chance: random.Random, number: int, day: Date) -> Iterator[Plan]:
    """Yield the plans of a day, each in its last state."""
    yield make_plan(f"daily-{number}", dates=(day,), completed_at=chance.choice((None, MOMENT)))
    cover = (Cover(task="quality", categories=CATEGORIES[:1]),)
    yield make_plan(f"rerun-{number}", PlanKind.RERUN, dates=(day,), cover=cover, promoted_at=MOMENT)
    yield make_plan(f"shadow-{number}", PlanKind.SHADOW, dates=(day, day + timedelta(days=1)), completed_at=MOMENT)


def random_record(chance: random.Random, planid: str, day: Date) -> TaskRecord:
    """Return a record; the same key and version always has the same content."""
    attempt, emit = chance.randint(1, 3), chance.randint(0, 2)
    category = chance.choice(CATEGORIES)
    seed = f"{planid} {day} {category} {attempt} {emit}"
    own = random.Random(seed)
    taken = own.randint(0, 50)
    dropped = {"blurred": own.randint(0, taken // 2), "with=sign": own.randint(0, taken // 4)}
    return make_record(
        "quality",
        date=day,
        category=category,
        planid=planid,
        input=taken,
        dropped=dropped,
        failed={"OSError": taken - sum(dropped.values())} if own.random() < 0.3 else {},
        attempt=attempt,
        emit=emit,
        metrics={"seconds_per_item": own.random(), "undeclared": own.random(), "version": own.randint(0, 9)},
        versions={"model": "1.2", "pipeline": "x"},
        consumed=(Consumed(task="collect", date=day, planid=planid, count=taken),),
        reported_at=MOMENT + timedelta(microseconds=own.randint(0, 10**9)),
    )

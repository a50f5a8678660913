"""Teams that register no plan: a planid that nobody knows counts as an open daily plan."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from reporting.elastic import implicit
from reporting.elastic.documents import plan_of
from reporting.elastic.names import Kind, index_of
from reporting.elastic.sink import ElasticSink
from reporting.outbox import Fate
from reporting.plans import Plan, PlanKind, PlanState
from reporting.stores.elastic import ElasticStore
from reporting.testing import MOMENT, make_plan, make_record
from tests.reporting.elastic.delivery import Cluster, fates, leaf, plan_entry, record_entry

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow]


def sink_of(cluster: Cluster, client: Elasticsearch) -> ElasticSink:
    registry = ElasticStore(client, cluster.prefix)
    return cluster.sink(client, registry, implicit_plans=True)


def stored_plan(cluster: Cluster, planid: str) -> tuple[Plan, int]:
    source = cluster.get(index_of(cluster.prefix, Kind.PLANS), planid)
    assert source is not None
    return plan_of(source), source["version"]


@pytest.fixture
def planid(category: str) -> str:
    return f"plan-{category}"


def test_an_unknown_planid_becomes_an_open_daily_plan_that_grows_with_its_days(
    cluster, client, category, planid, own_day
):
    days = [own_day + timedelta(days=n) for n in range(3)]
    records = [make_record(category=category, date=day, planid=planid) for day in days]
    sink = sink_of(cluster, client)
    assert fates(sink.deliver([record_entry(records[1])])) == [Fate.DELIVERED]
    plan, _ = stored_plan(cluster, planid)
    assert (plan.kind, plan.state, plan.dates, plan.reason) == (
        PlanKind.DAILY,
        PlanState.OPEN,
        (days[1],),
        implicit.REASON,
    )
    line = cluster.line(leaf(records[1]))
    assert (line["effective_planid"], line["provisional"]) == (planid, True)
    sink_of(cluster, client).deliver([record_entry(record) for record in records])
    plan, revision = stored_plan(cluster, planid)
    assert plan.dates == tuple(days)
    assert all(cluster.line(leaf(record))["effective_planid"] == planid for record in records)
    sink_of(cluster, client).deliver([record_entry(record) for record in records])
    assert stored_plan(cluster, planid) == (plan, revision)  # nothing new, nothing written


@pytest.mark.parametrize("by", ["a store", "a spool"])
def test_a_plan_that_is_registered_later_takes_its_place_and_keeps_it(cluster, client, category, planid, own_day, by):
    days = [own_day + timedelta(days=n) for n in range(4)]
    records = [make_record(category=category, date=day, planid=planid) for day in days]
    sink = sink_of(cluster, client)
    sink.deliver([record_entry(record) for record in records[:3]])
    explicit = make_plan(planid, dates=days[:2], completed_at=MOMENT, reason="by hand")
    if by == "a store":
        with ElasticStore(cluster.client(), cluster.prefix) as store, store.begin() as work:
            work.put_plan(explicit)
    else:
        sink.deliver([plan_entry(explicit, 1_700_000_000_000_000)])
    assert stored_plan(cluster, planid)[0] == explicit
    for one in (sink, sink_of(cluster, client)):
        assert set(fates(one.deliver([record_entry(record) for record in records]))) == {Fate.DELIVERED}
        assert stored_plan(cluster, planid)[0] == explicit
        lines = [cluster.line(leaf(record)) for record in records[:2]]
        assert [(line["effective_planid"], line["provisional"]) for line in lines if line] == [(planid, False)] * 2


def test_two_sinks_that_meet_a_planid_at_once_register_all_its_days(cluster, category, own_day):
    rounds = 12
    days = [own_day + timedelta(days=n) for n in range(2)]
    barrier = threading.Barrier(2)

    def ship(who: int) -> list[Fate]:
        seen = []
        with cluster.client() as own:
            sink = sink_of(cluster, own)
            for number in range(rounds):
                record = make_record(category=category, date=days[who], planid=f"{category}-{number}")
                entry = record_entry(record)
                barrier.wait(60)
                seen += fates(sink.deliver([entry]))
        return seen

    with ThreadPoolExecutor(2) as pool:
        seen = [fate for one in pool.map(ship, range(2)) for fate in one]
    assert set(seen) == {Fate.DELIVERED}
    for number in range(rounds):
        assert stored_plan(cluster, f"{category}-{number}")[0].dates == tuple(days)
    for day in days:
        # All are open daily plans of one moment: the greatest planid counts.
        line = cluster.line(leaf(make_record(category=category, date=day)))
        assert line["effective_planid"] == f"{category}-{max(map(str, range(rounds)))}"


@pytest.fixture
def blocked_plans(cluster: Cluster) -> Iterator[Any]:
    index = index_of(cluster.prefix, Kind.PLANS)

    def block(value: bool | None, name: str = "index.blocks.write") -> None:
        cluster.change("PUT", f"/{index}/_settings", {name: value})

    yield block
    block(None)
    block(None, "index.blocks.read_only_allow_delete")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("index.blocks.write", Fate.BLOCKED), ("index.blocks.read_only_allow_delete", Fate.RETRY)],
)
def test_a_record_whose_plan_cannot_be_registered_waits(
    cluster, client, category, planid, own_day, blocked_plans, name, expected
):
    record = make_record(category=category, date=own_day, planid=planid)
    sink = sink_of(cluster, client)
    blocked_plans(True, name)
    (outcome,) = sink.deliver([record_entry(record)])
    assert outcome.fate is expected
    assert planid in outcome.error
    blocked_plans(None, name)
    assert fates(sink.deliver([record_entry(record)])) == [Fate.DELIVERED]
    line = cluster.line(leaf(record))
    assert line["effective_planid"] == planid

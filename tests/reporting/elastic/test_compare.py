"""A comparison sees every document of every kind, and calls nothing a difference that is none."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from reporting.effective import leaf_of
from reporting.elastic.client import connect
from reporting.elastic.names import Kind, effective_id
from reporting.elastic.setup import setup
from reporting.elastic.truth import Span
from reporting.errors import StoreError
from reporting.plans import Leaf, PlanState
from reporting.settings import ElasticSettings
from reporting.stores.base import RecordQuery
from reporting.testing import DAY, MOMENT, make_plan, make_record
from tests.reporting.elastic.shipped import DAYS, METRICS, Shipped, fill, opened, wrong
from tests.servers.rest import remove_everything

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow]


@pytest.fixture(scope="module")
def client(elastic_url: str) -> Iterator[Elasticsearch]:
    with connect(ElasticSettings(url=elastic_url)) as one:
        yield one


@pytest.fixture(scope="module")
def prefix(client: Elasticsearch, elastic_url: str) -> Iterator[str]:
    name = f"compare-{secrets.token_hex(4)}"
    setup(client, name, METRICS)
    yield name
    remove_everything(elastic_url, name)


@pytest.fixture
def shipped(client: Elasticsearch, prefix: str, tmp_path: Path) -> Iterator[Shipped]:
    """An empty store and an empty cluster."""
    with opened(tmp_path) as store:
        shipped = Shipped(store, client, prefix)
        yield shipped
        shipped.empty()


@pytest.mark.parametrize("seed", [1, 2])
def test_after_shipping_a_random_ledger_every_document_is_compared_and_none_differs(seed, shipped):
    fill(shipped.store, seed)
    shipped.ship()
    found = shipped.compare()
    assert (wrong(found), found.examples) == ((0, 0, 0), ())
    assert found.compared == sum(counts.compared for counts in found.kinds.values())
    for kind in Kind:  # counted by the cluster itself
        assert found.kinds[kind].compared == len(shipped.documents(kind)) > 0


def test_before_shipping_everything_is_missing_and_days_are_counted_apart(shipped):
    fill(shipped.store, seed=3)
    days = [shipped.compare(Span(day, day)) for day in DAYS]
    whole = shipped.compare()
    for kind in (Kind.RECORDS, Kind.EVENTS, Kind.EXPECTED, Kind.VERDICTS):
        assert sum(found.kinds[kind].missing for found in days) == whole.kinds[kind].missing
    assert whole.missing == sum(found.kinds[kind].missing for kind in Kind for found in [whole])
    assert (whole.different, whole.extra) == (0, 0)
    assert len(whole.examples) == 10
    assert {example.kind for example in whole.examples} == set(Kind)
    assert shipped.compare(Span(DAY - timedelta(days=9), DAY - timedelta(days=1))).compared == 0


def test_records_deleted_by_plan_are_gone_on_both_sides_and_their_lookup_lines_stay(shipped):
    plan = make_plan("p", completed_at=MOMENT)
    records = [make_record(planid="p", subinstance=f"{number:03}") for number in range(5)]
    with shipped.store.begin() as work:
        work.put_plan(plan)
        for record in records:
            work.put_record(record)
    shipped.ship()
    shipped.store.delete_plan_records("p")
    assert wrong(shipped.compare()) == (0, 0, 5)
    shipped.ship()
    found = shipped.compare()
    assert wrong(found) == (0, 0, 0)
    assert found.kinds["effective"].compared == 0
    assert len(shipped.documents(Kind.EFFECTIVE)) == 5


def test_a_leaf_for_which_no_plan_counts_may_have_an_empty_line_or_none(shipped):
    plan = make_plan("p")
    record = make_record(planid="p")
    line = effective_id(leaf_of(record.key))
    for state in (PlanState.OPEN, PlanState.ABANDONED):
        with shipped.store.begin() as work:
            work.put_plan(plan.model_copy(update={"state": state}))
            work.put_record(record)
        shipped.ship()
    assert shipped.rest("GET", f"effective/_doc/{line}")["_source"]["effective_planid"] == ""
    assert wrong(shipped.compare()) == (0, 0, 0)
    shipped.rest("DELETE", f"effective/_doc/{line}")
    assert wrong(shipped.compare()) == (0, 0, 0)
    shipped.rest("PUT", f"effective/_doc/{line}", {"effective_key": "x", "effective_planid": "p"})
    assert wrong(shipped.compare()) == (0, 1, 0)


def test_names_of_every_script_and_many_plans_a_day_are_found(shipped):
    """Names are sorted by bytes on one side and may be sorted otherwise on the other."""
    names = ("a", "A", "Z", "é", "z", "größe", "货号", "[x]", "a b", "100%", "-", "𝔘")
    records = [make_record(category=one, subinstance=other, planid=f"p{one}") for one in names for other in names]
    shipped.put(*records)
    with shipped.store.begin() as work:
        work.expect("pa", [Leaf("quality", DAY, name) for name in names])
    shipped.ship()
    found = shipped.compare()
    assert wrong(found) == (0, 0, 0)
    assert found.kinds["records"].compared == len(names) ** 2
    assert len(shipped.store.records(RecordQuery())) == len(names) ** 2


def test_documents_of_a_closed_index_are_not_called_missing(shipped):
    shipped.put(make_record())
    shipped.ship()
    shipped.rest("POST", "records-2026.11/_close")
    with pytest.raises(StoreError, match=r"records-2026\.11 cannot be read: index_closed_exception"):
        shipped.compare()


def test_another_stores_documents_under_one_prefix_are_extra(shipped, tmp_path):
    shipped.put(make_record(planid="mine"))
    shipped.ship()
    with opened(tmp_path / "other") as store:
        other = Shipped(store, shipped.client, shipped.prefix)
        other.put(make_record(planid="theirs"))
        other.ship()
        assert wrong(other.compare()) == (0, 0, 2)
    found = shipped.compare()
    assert wrong(found) == (0, 0, 2)
    assert {(one.kind, one.key.removesuffix(f"/{one.key.rpartition('/')[2]}")) for one in found.examples} == {
        ("records", "quality/2026-11-01/all/all"),
        ("events", "quality/2026-11-01/all/all/theirs"),
    }


def test_memory_does_not_grow_with_the_store(shipped):
    """Peaks over 4 and over 16 chunks of one day differ by less than one chunk takes."""
    import tracemalloc

    peaks = []
    for first, last in ((0, 2_000), (2_000, 8_000)):
        shipped.put(*(make_record(subinstance=f"{number:05}") for number in range(first, last)))
        shipped.ship()
        tracemalloc.start()
        assert wrong(shipped.compare()) == (0, 0, 0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]

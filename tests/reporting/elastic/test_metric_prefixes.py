"""A metric declared with `*` at its end: each name that begins so gets a field when it comes, any other is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date as Date
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from reporting.elastic.client import connect
from reporting.elastic.documents import record_document, record_of, record_source, source_of_body
from reporting.elastic.mappings import index_mapping, live_settings
from reporting.elastic.names import Kind, index_of
from reporting.elastic.setup import require_setup, setup
from reporting.key import RunKey
from reporting.record import State, TaskRecord, version_of
from reporting.settings import ElasticSettings
from reporting.testing import DAY, MOMENT
from tests.servers.rest import call

DECLARED = ("declared_as_*", "fell_back")
ODD = {"declared_as_food-fruit": 3.0, "declared_as_货 号#ä.b=c": 2.0, "declared_as_a.b.c": 0.0, "declared_as_": 1.0}


def record(metrics: dict[str, float], day: Date = DAY) -> TaskRecord:
    return TaskRecord(
        key=RunKey(task="categorise", date=day, category="hats", planid="p"), state=State.SUCCEEDED,
        version=version_of(1, 0), input=6, output=6, produced=6, metrics=metrics,
        started_at=MOMENT, finished_at=MOMENT, reported_at=MOMENT,
    )  # fmt: skip


def test_a_prefix_becomes_a_rule_for_fields_and_a_full_name_stays_a_field():
    for kind in (Kind.RECORDS, Kind.EVENTS):
        mapping = index_mapping(kind, DECLARED)
        assert mapping["properties"]["metrics"]["properties"] == {"fell_back": {"type": "double"}}
        assert mapping["dynamic"] == "strict"
        (rule,), (refusal,) = (list(one.values()) for one in mapping["dynamic_templates"])
        assert rule == {"path_match": "metrics.declared_as_*", "mapping": {"type": "double"}}
        assert refusal == {"path_match": "metrics.*", "mapping": {"type": "ip"}}
        assert mapping["_meta"]["metrics"] == sorted(DECLARED)


def test_without_a_prefix_nothing_is_dynamic():
    mapping = index_mapping(Kind.RECORDS, ["fell_back"])
    assert mapping["properties"]["metrics"]["dynamic"] == mapping["dynamic"] == "strict"
    assert "dynamic_templates" not in mapping


def test_a_document_shows_what_begins_as_declared_and_keeps_the_rest_in_exact():
    booked = record({**ODD, "fell_back": 0.0, "declared": 5.0})
    source = record_source(booked, DECLARED)
    assert source["metrics"] == {**ODD, "fell_back": 0.0}
    assert source["exact"]["metrics"] == booked.metrics
    assert source == source_of_body(booked.model_dump_json(), DECLARED)


@pytest.fixture(scope="module")
def client(elastic_url: str) -> Iterator[Elasticsearch]:
    with connect(ElasticSettings(url=elastic_url)) as one:
        yield one


def fields_of(client: Elasticsearch, index: str) -> dict[str, Any]:
    fields: dict[str, Any] = client.indices.get_mapping(index=index)[index]["mappings"]["properties"]
    found: dict[str, Any] = fields["metrics"]["properties"]
    return found


@pytest.mark.slow
@pytest.mark.elasticsearch
def test_the_real_server_maps_each_name_that_begins_so_as_a_double_and_refuses_the_others(
    client: Elasticsearch, elastic_url: str, elastic_prefix: str
):
    setup(client, elastic_prefix, ["fell_back"], [DAY])  # an index from before the metric had a prefix
    setup(client, elastic_prefix, DECLARED)
    assert require_setup(client, elastic_prefix) == set(DECLARED)
    assert setup(client, elastic_prefix, DECLARED).updated == ()
    for day in (DAY, Date(2031, 1, 5)):  # the upgraded index, and one that the first write makes
        booked = record({**ODD, "fell_back": 0.0}, day)
        document = record_document(elastic_prefix, booked, DECLARED)
        client.index(index=document.index, id=document.id, document=document.source, refresh=True)
        assert fields_of(client, document.index) == {name: {"type": "double"} for name in [*ODD, "fell_back"]}
        assert record_of(client.get(index=document.index, id=document.id)["_source"]) == booked
        query = {"range": {"metrics.declared_as_food-fruit": {"gte": 3}}}
        assert client.count(index=document.index, query=query)["count"] == 1
        for wrong in ({"declared": 1.0}, {"xdeclared_as_hats": 1.0}, {"declared_as_hats": "many"}):
            status, _ = call(elastic_url, "POST", f"/{document.index}/_doc", document.source | {"metrics": wrong})
            assert status == 400, wrong
        assert set(fields_of(client, document.index)) == {*ODD, "fell_back"}  # nor has a refused name left a field
    assert setup(client, elastic_prefix, DECLARED).updated == ()  # fields that came by themselves are no difference


@pytest.mark.slow
@pytest.mark.elasticsearch
def test_more_names_than_an_index_has_fields_for_lose_no_document(client: Elasticsearch, elastic_prefix: str):
    """A source that declares another category in each row must not stop the shipping of the books."""
    setup(client, elastic_prefix, DECLARED, [DAY])
    index = index_of(elastic_prefix, Kind.RECORDS, DAY)
    client.indices.put_settings(index=index, settings={"index.mapping.total_fields.limit": 80})
    many = {f"declared_as_{number:03}": float(number) for number in range(200)}
    document = record_document(elastic_prefix, record(many), DECLARED)
    client.index(index=index, id=document.id, document=document.source, refresh=True)
    assert record_of(client.get(index=index, id=document.id)["_source"]).metrics == many
    assert 0 < len(fields_of(client, index)) < 200
    assert live_settings()["index.mapping.total_fields.ignore_dynamic_beyond_limit"] == "true"

"""Each thing a cluster says no with has its words and its exit code."""

from __future__ import annotations

from typing import Any

import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig, SerializationError
from elasticsearch import ApiError

from reporting.elastic.client import cluster_errors, connect, translate, url_of
from reporting.elastic.mappings import index_mapping
from reporting.elastic.names import Kind
from reporting.errors import ConfigError, FunnelgateError, StoreError
from reporting.settings import ElasticSettings
from tests.reporting.elastic.refusing import KEY


def api_error(status: int, body: Any) -> ApiError:
    meta = ApiResponseMeta(status, "1.1", HttpHeaders(), 0.0, NodeConfig("http", "es.example", 9200))
    return ApiError("message", meta, body)


def said(kind: str, reason: str, **more: Any) -> dict[str, Any]:
    return {"error": {"root_cause": [{"type": kind, "reason": reason}], "type": kind, "reason": reason, **more}}


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (api_error(404, said("index_not_found_exception", "no such index [x]")), ConfigError, "records setup"),
        (api_error(400, said("strict_dynamic_mapping_exception", "of [zz]")), ConfigError, "of [zz]; run `funnelgate"),
        (api_error(413, None), StoreError, "http.max_content_length"),
        (api_error(429, said("es_rejected_execution_exception", "queue is full")), StoreError, "busy: queue is full"),
        (api_error(429, said("cluster_block_exception", "[TOO_MANY_REQUESTS/12/...]")), StoreError, "disk is full"),
        (api_error(403, said("cluster_block_exception", "[FORBIDDEN/8/...]")), StoreError, "lift the block"),
        (api_error(503, "unavailable"), StoreError, "(HTTP 503): unavailable"),
        (api_error(500, said("x", "why", caused_by={"reason": "deep"})), StoreError, "(HTTP 500): x: why: deep"),
        (api_error(400, {"error": None}), StoreError, "(HTTP 400)"),
        (api_error(400, said("x", "{not} a {format}")), StoreError, "{not} a {format}"),
        (api_error(403, said("security_exception", "{no} format")), ConfigError, "{no} format"),
        (SerializationError("half"), StoreError, "not JSON"),
        (ValueError("anything"), StoreError, "ValueError: anything"),
    ],
)
def test_each_answer_has_its_words_and_its_exit_code(error: Exception, expected: type[FunnelgateError], words: str):
    found = translate(error, "https://es.example:9200")
    assert type(found) is expected
    assert str(found).startswith("https://es.example:9200: ")
    assert words in str(found)


def test_a_server_that_repeats_the_key_or_writes_a_book_does_not_reach_the_message():
    echo = translate(api_error(500, said("x", f"bad header [Authorization: ApiKey {KEY}]\n" + "y" * 9999)), "here")
    assert KEY not in str(echo)
    assert "\n" not in str(echo)
    assert len(str(echo)) < 600


@pytest.mark.elasticsearch
def test_the_real_server_s_refusals_are_translated(elastic_url: str, elastic_prefix: str):
    index = f"{elastic_prefix}-blocked"
    with connect(ElasticSettings(url=elastic_url)) as client:
        with pytest.raises(ConfigError, match=r"no such index .*records setup"), cluster_errors(url_of(client)):
            client.search(index=index)
        client.indices.create(index=index, mappings=index_mapping(Kind.EFFECTIVE, ()))
        with pytest.raises(ConfigError, match=r"introduction of \[zz\]"), cluster_errors(url_of(client)):
            client.index(index=index, document={"zz": 1})
        client.indices.put_settings(index=index, settings={"index.blocks.write": True})
        with pytest.raises(StoreError, match=r"FORBIDDEN/8.*lift the block"), cluster_errors(url_of(client)):
            client.index(index=index, document={"effective_key": "k"})

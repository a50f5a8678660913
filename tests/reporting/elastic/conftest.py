"""A cluster that is set up once for all tests of shipping: each test has its own categories and days in it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from datetime import date as Date
from itertools import count

import pytest
from elasticsearch import Elasticsearch

from reporting.elastic.client import connect
from reporting.elastic.setup import setup
from reporting.settings import ElasticSettings
from tests.reporting.elastic.delivery import Cluster
from tests.servers.fault_proxy import FaultProxy
from tests.servers.rest import remove_everything

_categories, _months = count(1), count(1)


@pytest.fixture(scope="session")
def cluster(elastic_url: str) -> Iterator[Cluster]:
    """A prefix that is set up and shared: use `category`, and `own_day` where an index is tampered with."""
    settings = ElasticSettings(url=elastic_url, prefix=f"ship-{secrets.token_hex(4)}")
    with closing(connect(settings)) as client:
        setup(client, settings.prefix, ())
    yield Cluster(elastic_url, settings.prefix)
    remove_everything(elastic_url, settings.prefix)


@pytest.fixture
def category() -> str:
    """A category that no other test has."""
    return f"c{next(_categories)}"


@pytest.fixture
def own_day() -> Date:
    """A day in a month that no other test has: its indices are this test's own."""
    number = next(_months)
    return Date(2030 + number // 12, number % 12 + 1, 5)


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Elasticsearch]:
    """A client of the server itself."""
    with cluster.client() as one:
        yield one


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[FaultProxy]:
    """A proxy before the server, without a fault."""
    with FaultProxy(cluster.url) as one:
        yield one


@pytest.fixture
def far_client(cluster: Cluster, proxy: FaultProxy) -> Iterator[Elasticsearch]:
    """A client of the server that goes through the proxy."""
    with cluster.client(proxy.url) as one:
        yield one

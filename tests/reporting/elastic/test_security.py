"""What a key of each role must be able to do passes, and what it must not is refused.

The test node has no security. A TLS proxy stands before it and refuses what a role's privileges do not grant, by the
table below: each request the product makes, and the privilege it needs according to Elastic's reference of security
privileges and, where that is silent, the action names of `IndexPrivilege` in Elasticsearch's source. A request that is
not in the table is refused to everybody.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date as Date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from elasticsearch import Elasticsearch
from pydantic import SecretStr

from reporting.effective import leaf_of
from reporting.elastic.client import check, cluster_errors, connect
from reporting.elastic.documents import event_document, record_document, record_source
from reporting.elastic.mappings import ROLES, RoleName, patterns, role
from reporting.elastic.names import Kind, index_of, pattern_of
from reporting.elastic.setup import require_setup, setup
from reporting.errors import ConfigError
from reporting.plans import PlanKind
from reporting.record import TaskRecord
from reporting.settings import ElasticSettings
from reporting.stores.elastic import ElasticStore
from reporting.testing import DAY, make_plan, make_record
from tests.servers.rest import call
from tests.servers.tls_proxy import TlsProxy

KEY = base64.b64encode(b"id:the-key-of-a-role").decode()
LATER = Date(2031, 1, 1)


class Need(NamedTuple):
    """A request and what it needs; a group named `index` in the path are the indices it touches."""

    methods: str
    path: str
    privilege: str
    cluster: bool = False


NEEDS = (
    Need("GET", r"/|/_cluster/health", "monitor", cluster=True),
    Need("GET|PUT", r"/(_component_template|_index_template)/[^/]+", "manage_index_templates", cluster=True),
    Need("PUT", r"/(?P<index>[^_/][^/]*)", "create_index"),
    Need("PUT", r"/(?P<index>[^_/][^/]*)/(_mapping|_settings)", "manage"),
    Need("DELETE", r"/(?P<index>[^_/][^/]*)", "delete_index"),
    Need("GET", r"/(?P<index>[^_/][^/]*)(/_mapping|/_alias)?", "view_index_metadata"),
    Need("POST", r"/(?P<index>[^_/][^/]*)/(_search|_count|_pit)", "read"),
    Need("GET", r"/(?P<index>[^_/][^/]*)/_doc/[^/]+", "read"),
    Need("POST", r"/_search|/_mget|/_query", "read"),
    Need("DELETE", r"/_pit", "read"),
    Need("PUT|POST", r"/_bulk", "index"),
    Need("PUT|POST", r"/(?P<index>[^_/][^/]*)/(_doc|_create)(/[^/]+)?", "index"),
    Need("DELETE", r"/(?P<index>[^_/][^/]*)/_doc/[^/]+", "delete"),
    Need("POST", r"/(?P<index>[^_/][^/]*)/_refresh", "maintenance"),
)

# Privileges that hold others (IndexPrivilege: `manage` is indices:admin/* and indices:monitor/*).
INCLUDES = {
    "manage": {"create_index", "delete_index", "view_index_metadata", "maintenance", "monitor", "auto_configure"}
}
INCLUDES["create_index"] = {"auto_configure"}


def granted(descriptor: dict[str, Any], privilege: str, index: str | None, *, cluster: bool = False) -> bool:
    if cluster:
        return privilege in descriptor["cluster"]
    return any(
        privilege in {*part["privileges"], *(one for has in part["privileges"] for one in INCLUDES.get(has, ()))}
        and (index is None or any(fnmatchcase(index, name) for name in part["names"]))
        for part in descriptor["indices"]
    )


def forbid_by(descriptor: dict[str, Any], url: str) -> Callable[[str, str], bool]:
    """Return what a secured cluster would say of a request: True where it is refused."""

    def forbid(method: str, path: str) -> bool:
        path = path.replace("%2A", "*").replace("%2C", ",")
        for need in NEEDS:
            found = re.fullmatch(need.path, path)
            if found is None or method not in need.methods.split("|"):
                continue
            indices = (found.groupdict().get("index") or "").split(",")
            privileges = [need.privilege]
            if need.privilege == "index" and indices != [""] and call(url, "GET", f"/{indices[0]}")[0] == 404:
                privileges.append("auto_configure")  # a write that makes its index
            return not all(
                granted(descriptor, privilege, index or None, cluster=need.cluster)
                for index in indices
                for privilege in privileges
            )
        return True

    return forbid


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@contextmanager
def key_of(name: RoleName, prefix: str, url: str, ca: trustme.CA) -> Iterator[Elasticsearch]:
    """A client with the key of a role, as a secured cluster would treat it."""
    with TlsProxy(url, KEY, ca, forbid=forbid_by(role(name, prefix), url)) as proxy:
        settings = ElasticSettings(url=proxy.url, api_key=SecretStr(KEY), ca_fingerprint=proxy.ca_fingerprint)
        with connect(settings) as client:
            yield client


def refused(request: Callable[[], Any]) -> bool:
    """Tell whether a request is refused for want of a privilege."""
    try:
        with cluster_errors("cluster"):
            request()
    except ConfigError as error:
        assert "the API key may not do this: action [" in str(error)  # noqa: PT017 - else it failed for another reason
        return True
    return False


def ship(client: Elasticsearch, prefix: str, record: TaskRecord) -> None:
    """Write as the shipper does: the event once, the record by its version; then look at what is there."""
    event = event_document(prefix, record, record_source(record))
    client.create(index=event.index, id=event.id, document=event.source)
    document = record_document(prefix, record)
    operation = {"index": {"_index": document.index, "_id": document.id, "version": 1, "version_type": "external_gte"}}
    client.bulk(operations=[operation, document.source])
    client.indices.refresh(index=list(patterns(prefix)), ignore_unavailable=True)
    assert client.mget(docs=[{"_index": document.index, "_id": document.id}])["docs"][0]["found"]


def read(client: Elasticsearch, prefix: str) -> int:
    """Read as the store does: a point in time over a pattern, page by page."""
    opened = client.open_point_in_time(index=[pattern_of(prefix, Kind.RECORDS)], keep_alive="1m")
    found = client.search(pit={"id": opened["id"]}, aggs={"sum": {"sum": {"field": "input"}}}, size=0)
    client.close_point_in_time(id=opened["id"])
    return int(found["hits"]["total"]["value"])


@pytest.mark.parametrize("name", ROLES)
def test_a_role_names_the_indices_of_its_prefix_and_no_others(name: RoleName):
    descriptor = role(name, "shop")
    for kind in Kind:
        assert any(
            granted(descriptor, has, index_of("shop", kind, DAY)) for has in descriptor["indices"][0]["privileges"]
        )
    for index in ("shop2-records-2026.11", "shop-test-records-2026.11", "shop-logs-2026.11", ".security", "records"):
        assert not any(fnmatchcase(index, pattern) for part in descriptor["indices"] for pattern in part["names"])


@pytest.mark.parametrize("name", ROLES)
def test_no_role_may_do_everything_or_touch_restricted_indices(name: RoleName):
    descriptor = role(name, "shop")
    assert set(descriptor) == {"cluster", "indices"}
    assert not {"all", "manage", "manage_security", "manage_api_key"} & set(descriptor["cluster"])
    for part in descriptor["indices"]:
        assert set(part) == {"names", "privileges"}
        assert not {"all", "write", "delete_index"} & set(part["privileges"])


@pytest.mark.slow
@pytest.mark.elasticsearch
def test_the_three_keys_do_their_work_and_nothing_else(elastic_url: str, elastic_prefix: str, ca: trustme.CA):
    record = make_record()
    november, january = f"{elastic_prefix}-records-2026.11", f"{elastic_prefix}-records-2031.01"

    with key_of("setup", elastic_prefix, elastic_url, ca) as client:
        assert check(client).version == "9.5.3"
        setup(client, elastic_prefix, [], [DAY])
        setup(client, elastic_prefix, ["added"], [DAY])
        assert refused(lambda: client.index(index=november, document={}))
        assert refused(lambda: client.search(index=november))
        assert refused(lambda: client.mget(docs=[{"_index": november, "_id": "1"}]))

    with key_of("shipper", elastic_prefix, elastic_url, ca) as client:
        assert check(client).version == "9.5.3"
        assert require_setup(client, elastic_prefix) == {"added"}
        ship(client, elastic_prefix, record)
        client.index(index=january, id="1", document=record_source(record))  # a month nobody has made yet
        client.delete(index=january, id="1")
        assert refused(lambda: client.indices.create(index=f"{elastic_prefix}-records-2031.02"))
        assert refused(lambda: client.indices.put_mapping(index=november, properties={"x": {"type": "long"}}))
        assert refused(lambda: client.indices.put_settings(index=november, settings={"index.blocks.write": True}))
        assert refused(lambda: client.indices.delete(index=november))
        assert refused(lambda: client.indices.delete_index_template(name=f"{elastic_prefix}-records"))
        assert refused(lambda: setup(client, elastic_prefix, []))
        assert refused(lambda: client.index(index=f"{elastic_prefix}-other-records-2026.11", document={}))

    with key_of("reader", elastic_prefix, elastic_url, ca) as client:
        assert require_setup(client, elastic_prefix) == {"added"}
        assert read(client, elastic_prefix) == 1
        assert client.count(index=november)["count"] == 1
        assert refused(lambda: ship(client, elastic_prefix, record))
        assert refused(lambda: client.bulk(operations=[{"index": {"_index": november}}, {}]))
        assert refused(lambda: client.delete(index=november, id=record.key.document_id()))
        assert refused(lambda: client.indices.refresh(index=november))
        assert refused(lambda: client.indices.delete(index=november))
        assert refused(lambda: setup(client, elastic_prefix, []))
        assert refused(lambda: client.search(index=f"{elastic_prefix}2-records-2026.11"))
        assert refused(client.info)


@pytest.mark.slow
@pytest.mark.elasticsearch
def test_the_store_writes_and_deletes_with_the_shipper_s_key_and_reads_with_the_reader_s(
    elastic_url: str, elastic_prefix: str, ca: trustme.CA
):
    with connect(ElasticSettings(url=elastic_url)) as client:
        setup(client, elastic_prefix, [])
    record, other = make_record(), make_record(planid="other")
    plans = [make_plan(record.key.planid), make_plan("other", PlanKind.RERUN)]

    with key_of("shipper", elastic_prefix, elastic_url, ca) as client:
        store = ElasticStore(client, elastic_prefix, require_setup(client, elastic_prefix))
        with store.begin() as work:
            for plan in plans:
                work.put_plan(plan)
            work.expect(record.key.planid, [leaf_of(record.key)])
            work.put_record(record)
            work.put_record(other)
        assert store.delete_plan_records("other") == 1

    with key_of("reader", elastic_prefix, elastic_url, ca) as client:
        store = ElasticStore(client, elastic_prefix, require_setup(client, elastic_prefix))
        assert store.get_record(record.key) == record
        assert sorted(store.plans(), key=lambda plan: plan.planid) == sorted(plans, key=lambda plan: plan.planid)
        assert store.expected(record.key.planid) == {leaf_of(record.key)}
        assert store.verdicts("other") == []
        assert refused(lambda: store.delete_plan_records("other"))


@pytest.mark.parametrize("name", ROLES)
def test_the_page_names_each_role_s_privileges_and_says_why(repository: Path, name: RoleName):
    page = (repository / "docs" / "elasticsearch.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| {name} |"))
    cluster, indices = row.split("|")[3:5]
    descriptor = role(name, "shop")
    assert re.findall(r"`(\w+)`", cluster) == descriptor["cluster"]
    assert re.findall(r"`(\w+)`", indices) == descriptor["indices"][0]["privileges"]
    for privilege in (*descriptor["cluster"], *descriptor["indices"][0]["privileges"]):
        assert f"\n| `{privilege}` | " in page


def test_the_page_s_command_makes_the_body_of_a_key_that_expires(repository: Path):
    page = (repository / "docs" / "elasticsearch.md").read_text(encoding="utf-8")
    code = re.search(r"python -c '(.+?)' \"\$@\"", page, re.DOTALL)
    assert code is not None
    done = subprocess.run(
        [sys.executable, "-c", code[1], "shipper", "shop", "90"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    body = json.loads(done.stdout)
    assert (body["name"], body["expiration"]) == ("shop-shipper", "90d")
    assert body["role_descriptors"] == {"shipper": role("shipper", "shop")}

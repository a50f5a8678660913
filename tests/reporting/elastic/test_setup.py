"""Setup: twice is once, upgrades in place, and refuses before it writes; require_setup says what is mapped."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from reporting.elastic import mappings
from reporting.elastic import setup as setting_up
from reporting.elastic.client import connect
from reporting.elastic.mappings import component_templates, index_mapping, index_templates
from reporting.elastic.names import MONTHLY, Kind, index_of
from reporting.elastic.setup import require_setup, setup
from reporting.errors import ConfigError, StoreError
from reporting.settings import ElasticSettings
from reporting.testing import DAY
from tests.servers.rest import call, remove_everything

pytestmark = pytest.mark.elasticsearch

PARTS = 9 + 8
"""Component and index templates: settings and one for each kind, one for each kind."""


@pytest.fixture(scope="module")
def client(elastic_url: str) -> Iterator[Elasticsearch]:
    with connect(ElasticSettings(url=elastic_url)) as one:
        yield one


@pytest.fixture(scope="module")
def ready(client: Elasticsearch, elastic_url: str) -> Iterator[str]:
    """A prefix that is set up for November, with the metric `live`; tests leave it as it is."""
    prefix = f"setup-{secrets.token_hex(4)}"
    setup(client, prefix, ["live"], [DAY])
    yield prefix
    remove_everything(elastic_url, prefix)


def state_of(url: str, prefix: str) -> Any:
    """Everything the cluster has of a prefix, asked without the product's client."""
    return [
        call(url, "GET", f"/_component_template/{prefix}*"),
        call(url, "GET", f"/_index_template/{prefix}*"),
        call(url, "GET", f"/{prefix}*?expand_wildcards=all"),
    ]


def make(url: str, index: str, **body: Any) -> None:
    status, answer = call(url, "PUT", f"/{index}", body)
    assert status == 200, answer


def marked(kind: Kind, **fields: Any) -> dict[str, Any]:
    """The mapping of a kind with some fields otherwise."""
    mapping = index_mapping(kind, ())
    return mapping | {"properties": mapping["properties"] | fields}


@pytest.mark.slow
def test_the_first_run_makes_everything_and_the_second_nothing(client: Elasticsearch, elastic_prefix: str):
    days = [DAY, DAY.replace(day=30)]
    first = setup(client, elastic_prefix, ["live"], days)
    single = {f"index {index_of(elastic_prefix, kind)}" for kind in Kind if kind not in MONTHLY}
    monthly = {f"index {index_of(elastic_prefix, kind, day)}" for kind in MONTHLY for day in days}
    assert single | monthly <= set(first.created)
    assert len(first.created) == PARTS + len(single | monthly)
    assert first.updated == first.unchanged == ()
    second = setup(client, elastic_prefix, ["live"], days)
    assert second.created == second.updated == ()
    assert sorted(second.unchanged) == sorted(first.created)


def test_a_second_run_writes_nothing_at_all(client: Elasticsearch, elastic_url: str, ready: str):
    before = state_of(elastic_url, ready)
    setup(client, ready, ["live"], [DAY])
    assert state_of(elastic_url, ready) == before  # also the templates' dates of change


def test_what_was_made_is_what_the_templates_say(elastic_url: str, ready: str):
    _, indices = call(elastic_url, "GET", f"/{ready}*")
    for kind in Kind:
        index = indices[index_of(ready, kind, DAY)]
        assert set(index["mappings"]["properties"]) == set(index_mapping(kind, ["live"])["properties"])
        assert index["mappings"]["_meta"] == index_mapping(kind, ["live"])["_meta"]
        settings = index["settings"]["index"]
        assert (settings["number_of_shards"], settings["auto_expand_replicas"]) == ("1", "0-1")
        assert settings["refresh_interval"] == "10s"
        assert settings.get("mode") == ("lookup" if kind is Kind.EFFECTIVE else None)
        sorted_by = ["date", "task", "category", "subinstance"] if kind in (Kind.RECORDS, Kind.EVENTS) else None
        assert settings.get("sort", {}).get("field") == sorted_by


def test_a_month_that_was_not_asked_for_is_made_by_its_first_write(elastic_url: str, ready: str):
    call(elastic_url, "PUT", f"/{ready}-expected-2031.01/_doc/1", {"planid": "p"})
    _, made = call(elastic_url, "GET", f"/{ready}-expected-2031.01")
    _, asked = call(elastic_url, "GET", f"/{ready}-expected-2026.11")
    assert made.popitem()[1]["mappings"] == asked.popitem()[1]["mappings"]


@pytest.mark.slow
def test_a_dry_run_says_what_the_run_does_and_writes_nothing(
    client: Elasticsearch, elastic_url: str, elastic_prefix: str
):
    foreseen = setup(client, elastic_prefix, ["live"], [DAY], dry_run=True)
    assert state_of(elastic_url, elastic_prefix)[2] == (200, {})
    assert state_of(elastic_url, elastic_prefix)[0][0] == 404
    done = setup(client, elastic_prefix, ["live"], [DAY])
    assert foreseen.dry_run
    assert foreseen == done.model_copy(update={"dry_run": True})


@pytest.mark.slow
def test_a_new_metric_reaches_the_indices_that_exist_and_an_old_one_stays(client: Elasticsearch, elastic_prefix: str):
    setup(client, elastic_prefix, ["live", "old"], [DAY])
    report = setup(client, elastic_prefix, ["live", "new.p99"])
    assert report.metrics == ("live", "new.p99", "old")
    assert require_setup(client, elastic_prefix) == {"live", "new.p99", "old"}
    records = client.indices.get_mapping(index=f"{elastic_prefix}-records-2026.11").body.popitem()[1]["mappings"]
    assert set(records["properties"]["metrics"]["properties"]) == {"live", "new.p99", "old"}
    assert f"index {elastic_prefix}-events-2026.11" in report.updated
    assert setup(client, elastic_prefix, []).updated == ()


@pytest.mark.slow
def test_a_new_field_and_changed_settings_reach_the_indices_that_exist(
    client: Elasticsearch, elastic_url: str, elastic_prefix: str
):
    """An index of an older release of the same schema: without one field, slower to refresh, and open to anything."""
    older = marked(Kind.RECORDS)
    del older["properties"]["content_hash"]
    make(elastic_url, f"{elastic_prefix}-records-2026.11", mappings=older | {"dynamic": "false"})
    assert f"index {elastic_prefix}-records-2026.11" in setup(client, elastic_prefix, []).updated
    index = call(elastic_url, "GET", f"/{elastic_prefix}-records-2026.11")[1].popitem()[1]
    assert index["mappings"]["properties"]["content_hash"] == {"type": "keyword", "ignore_above": 512}
    assert index["mappings"]["dynamic"] == "strict"
    assert index["settings"]["index"]["refresh_interval"] == "10s"


@pytest.mark.slow
def test_a_closed_month_is_upgraded_too(client: Elasticsearch, elastic_url: str, elastic_prefix: str):
    make(elastic_url, f"{elastic_prefix}-expected-2026.11", mappings=marked(Kind.EXPECTED))
    call(elastic_url, "POST", f"/{elastic_prefix}-expected-2026.11/_close")
    assert f"index {elastic_prefix}-expected-2026.11" in setup(client, elastic_prefix, ["live"], [DAY]).updated


@pytest.mark.slow
def test_an_index_behind_an_alias_is_not_made_again(client: Elasticsearch, elastic_url: str, elastic_prefix: str):
    make(elastic_url, f"{elastic_prefix}-moved", mappings=marked(Kind.PLANS), aliases={f"{elastic_prefix}-plans": {}})
    report = setup(client, elastic_prefix, ["live"])
    assert f"index {elastic_prefix}-moved" in report.updated
    assert require_setup(client, elastic_prefix) == {"live"}


@pytest.mark.slow
def test_the_operator_s_own_template_goes_before_ours_and_stays(
    client: Elasticsearch, elastic_url: str, elastic_prefix: str
):
    setup(client, elastic_prefix, [])
    own = {"template": {"settings": {"index.refresh_interval": "1s"}}}
    call(elastic_url, "PUT", f"/_component_template/{elastic_prefix}-custom", own)
    setup(client, elastic_prefix, [], [DAY])
    assert setup(client, elastic_prefix, [], [DAY]).updated == ()
    _, indices = call(elastic_url, "GET", f"/{elastic_prefix}-*")
    assert {index["settings"]["index"]["refresh_interval"] for index in indices.values()} == {"1s"}


@pytest.mark.slow
def test_a_template_changed_by_hand_is_put_right(client: Elasticsearch, elastic_url: str, elastic_prefix: str):
    setup(client, elastic_prefix, [])
    bent = index_templates(elastic_prefix)[f"{elastic_prefix}-plans"] | {"priority": 7}
    call(elastic_url, "PUT", f"/_index_template/{elastic_prefix}-plans", bent)
    settings = component_templates(elastic_prefix, ())[f"{elastic_prefix}-settings"]
    settings["template"]["settings"]["index.refresh_interval"] = "60s"
    call(elastic_url, "PUT", f"/_component_template/{elastic_prefix}-settings", settings)
    report = setup(client, elastic_prefix, [])
    assert report.updated == (f"component template {elastic_prefix}-settings", f"index template {elastic_prefix}-plans")


@pytest.mark.parametrize(
    ("kind", "field", "found", "message"),
    [
        (Kind.RECORDS, "input", {"type": "keyword"}, "field input is keyword, long is needed"),
        (Kind.PLANS, "dates", {"type": "date"}, "field dates is date, date format=strict_date is needed"),
        (Kind.EVENTS, "exact", {"type": "object"}, "field exact is object, object enabled=False is needed"),
        (
            Kind.RECORDS,
            "consumed",
            {"properties": {"count": {"type": "double"}}},
            "field consumed.count is double, long is needed",
        ),
    ],
)
def test_a_field_of_another_type_is_refused_before_anything_is_written(
    client: Elasticsearch, elastic_url: str, elastic_prefix: str, kind: Kind, field: str, found: Any, message: str
):
    index = index_of(elastic_prefix, kind, DAY)
    make(elastic_url, index, mappings=marked(kind, **{field: found}))
    before = state_of(elastic_url, elastic_prefix)
    with pytest.raises(ConfigError) as caught:
        setup(client, elastic_prefix, ["live"], [DAY])
    assert f"index {index}: {message}" in str(caught.value)
    assert "funnelgate records replay" in str(caught.value)
    assert state_of(elastic_url, elastic_prefix) == before


def test_an_index_that_a_write_made_before_setup_is_recognised(
    client: Elasticsearch, elastic_url: str, elastic_prefix: str
):
    call(elastic_url, "PUT", f"/{elastic_prefix}-records-2026.11/_doc/1", {"task": "embed", "input": 1})
    before = state_of(elastic_url, elastic_prefix)
    with pytest.raises(ConfigError, match=r"records-2026.11: was made by a write before the templates were there"):
        setup(client, elastic_prefix, [])
    assert state_of(elastic_url, elastic_prefix) == before


def test_a_lookup_index_of_another_mode_is_refused(client: Elasticsearch, elastic_url: str, elastic_prefix: str):
    make(elastic_url, f"{elastic_prefix}-effective", mappings=marked(Kind.EFFECTIVE))
    with pytest.raises(ConfigError, match=r"index.mode is standard, lookup is needed"):
        setup(client, elastic_prefix, [])


def test_an_index_or_template_of_a_newer_release_is_refused(
    client: Elasticsearch, elastic_url: str, elastic_prefix: str
):
    newer = index_mapping(Kind.PLANS, ()) | {"_meta": {"funnelgate_schema": 3}}
    make(elastic_url, f"{elastic_prefix}-plans", mappings=newer)
    with pytest.raises(ConfigError, match="has schema 3 of a newer release, not 2; upgrade funnelgate"):
        setup(client, elastic_prefix, [])
    with pytest.raises(ConfigError, match="upgrade funnelgate"):
        require_setup(client, elastic_prefix)
    call(elastic_url, "DELETE", f"/{elastic_prefix}-plans")
    call(
        elastic_url,
        "PUT",
        f"/_component_template/{elastic_prefix}-mappings-plans",
        {"template": {"mappings": newer}},
    )
    with pytest.raises(ConfigError, match=r"component template .*upgrade funnelgate"):
        setup(client, elastic_prefix, [])


@pytest.mark.slow
def test_a_read_only_index_that_needs_an_upgrade_is_an_infrastructure_error(
    client: Elasticsearch, elastic_url: str, elastic_prefix: str
):
    make(elastic_url, f"{elastic_prefix}-verdicts", mappings=marked(Kind.VERDICTS))
    call(elastic_url, "PUT", f"/{elastic_prefix}-verdicts/_settings", {"index.blocks.read_only": True})
    with pytest.raises(StoreError, match=r"read-only \(api\).*lift the block"):
        setup(client, elastic_prefix, ["live"])
    call(elastic_url, "PUT", f"/{elastic_prefix}-verdicts/_settings", {"index.blocks.read_only": None})
    assert f"index {elastic_prefix}-verdicts" in setup(client, elastic_prefix, ["live"]).updated


@pytest.mark.slow
def test_setup_that_stopped_half_way_is_not_taken_for_done(
    client: Elasticsearch, elastic_prefix: str, monkeypatch: pytest.MonkeyPatch
):
    """The index of plans comes last, and with it the word that everything is there."""
    real = setting_up._create

    def crash() -> None:
        raise KeyboardInterrupt

    def create(cluster: Elasticsearch, index: str) -> Any:
        return crash if index.endswith("-verdicts") else real(cluster, index)

    monkeypatch.setattr(setting_up, "_create", create)
    with pytest.raises(KeyboardInterrupt):
        setup(client, elastic_prefix, [])
    with pytest.raises(ConfigError, match="records setup"):
        require_setup(client, elastic_prefix)
    monkeypatch.undo()
    report = setup(client, elastic_prefix, [])
    assert set(report.created) == {f"index {elastic_prefix}-plans", f"index {elastic_prefix}-verdicts"}


@pytest.mark.slow
def test_two_environments_do_not_see_each_other(client: Elasticsearch, elastic_url: str, elastic_prefix: str):
    """Prefixes one of which begins with the other: templates and metrics stay apart."""
    inner = f"{elastic_prefix}-test"
    setup(client, inner, ["theirs"], [DAY])
    setup(client, elastic_prefix, ["ours"], [DAY])
    assert require_setup(client, elastic_prefix) == {"ours"}
    assert setup(client, inner, ["theirs"], [DAY]).updated == ()
    assert require_setup(client, inner) == {"theirs"}


def test_require_setup_names_the_metrics_that_are_mapped(client: Elasticsearch, ready: str):
    assert require_setup(client, ready) == {"live"}


def test_require_setup_says_what_to_run_where_nothing_is_there(client: Elasticsearch, elastic_prefix: str):
    with pytest.raises(ConfigError, match=f"index {elastic_prefix}-plans is not there; run `funnelgate records setup`"):
        require_setup(client, elastic_prefix)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (None, "was made without the templates"),
        ({"funnelgate_schema": 1}, "has schema 1, this release needs 2"),
        ({"funnelgate_schema": 2, "kinds": ["events", "records"]}, "was set up before there were effective, .*run"),
    ],
)
def test_require_setup_refuses_what_this_release_did_not_make(
    client: Elasticsearch, elastic_url: str, elastic_prefix: str, meta: Any, message: str
):
    mapping = index_mapping(Kind.PLANS, ())
    make(elastic_url, f"{elastic_prefix}-plans", mappings=mapping | {"_meta": meta or {}})
    with pytest.raises(ConfigError, match=message):
        require_setup(client, elastic_prefix)


def test_the_schema_s_number_is_that_of_these_tests():
    assert mappings.SCHEMA == 2

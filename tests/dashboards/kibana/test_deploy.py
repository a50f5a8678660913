"""Deploying to a Kibana that refuses, forgets and fails: what stands is always said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dashboards.kibana.catalogue import Built, build_all
from dashboards.kibana.client import TRIES, Kibana, Refused
from dashboards.kibana.deploy import DeployReport, Outcome, compare, deploy
from dashboards.kibana.esql import Names
from dashboards.kibana.settings import KibanaSettings
from reporting.errors import ConfigError, StoreError
from tests.dashboards.kibana.books import TOPOLOGY
from tests.dashboards.kibana.fake_kibana import FakeKibana

BOARDS = build_all(Names("funnelgate", TOPOLOGY))[:5]


def put_all(kibana: FakeKibana, boards: list[Built] = BOARDS, **settings: Any) -> DeployReport:
    with Kibana(KibanaSettings(url=kibana.url, **settings), wait=lambda _: None) as store:
        return deploy(boards, store)


def outcomes(report: DeployReport) -> list[Outcome]:
    return [one.outcome for one in report.dashboards]


def test_a_second_deploy_changes_nothing_and_sends_no_put():
    with FakeKibana() as kibana:
        first = put_all(kibana)
        before = kibana.puts
        second = put_all(kibana)
    assert outcomes(first) == [Outcome.CREATED] * len(BOARDS)
    assert outcomes(second) == [Outcome.UNCHANGED] * len(BOARDS)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert kibana.puts == before == len(BOARDS)


def test_what_is_sent_is_the_body_and_the_headers_that_kibana_asks_for():
    with FakeKibana(key="c2VjcmV0") as kibana:
        report = put_all(kibana, BOARDS[:1], space="shop", api_key="c2VjcmV0")
    assert outcomes(report) == [Outcome.CREATED]
    path = f"/s/shop/api/dashboards/{BOARDS[0].id}"
    assert [(one.method, one.path) for one in kibana.requests] == [("GET", path), ("PUT", path), ("GET", path)]
    for one in kibana.requests:
        assert one.headers["kbn-xsrf"] == "true"
        assert one.headers["elastic-api-version"] == "2023-10-31"
        assert one.headers["authorization"] == "ApiKey c2VjcmV0"
    assert ("shop", BOARDS[0].id) in kibana.stored


def test_the_default_space_has_no_path_of_its_own():
    with FakeKibana() as kibana:
        put_all(kibana, BOARDS[:1])
    assert kibana.requests[0].path == f"/api/dashboards/{BOARDS[0].id}"


@pytest.mark.parametrize(("status", "code"), [(500, 4), (400, 2), (403, 2)])
def test_a_deploy_that_fails_half_way_says_which_stand(status, code):
    with FakeKibana() as kibana:
        put_all(kibana, BOARDS[:1])
        kibana.fail_put, kibana.fail_status = 4, status  # the first is there; the second and third are new
        report = put_all(kibana)
    assert outcomes(report) == [
        Outcome.UNCHANGED,
        Outcome.CREATED,
        Outcome.CREATED,
        Outcome.FAILED,
        *[Outcome.NOT_TRIED] * (len(BOARDS) - 4),
    ]
    assert report.exit_code == code
    assert str(status) in (report.error or "")
    standing = {one.id for one in report.dashboards if one.outcome in (Outcome.UNCHANGED, Outcome.CREATED)}
    assert {name for _, name in kibana.stored} == standing


def test_a_deploy_goes_on_where_the_last_one_ended():
    with FakeKibana(fail_put=3) as kibana:
        put_all(kibana)
        report = put_all(kibana)
    assert outcomes(report) == [Outcome.UNCHANGED] * 2 + [Outcome.CREATED] * (len(BOARDS) - 2)


def test_a_panel_that_kibana_drops_is_a_failed_deploy():
    with FakeKibana(drops="kept") as kibana:
        report = put_all(kibana)
    assert (report.exit_code, report.dashboards[0].outcome) == (1, Outcome.FAILED)
    assert any("dropped_panel" in one for one in report.dashboards[0].differences)


def test_a_value_that_kibana_changes_is_a_failed_deploy_and_named_by_panel_and_path():
    def spoil(data):
        next(one for one in data["panels"] if one["id"] == "kept")["config"]["layers"][0]["type"] = "bar"

    with FakeKibana(spoil=spoil) as kibana:
        report = put_all(kibana)
    assert report.exit_code == 1
    assert report.dashboards[0].differences == ["kept: config.layers[0].type: 'bar_horizontal', 'bar'"]


def test_what_somebody_changed_in_kibana_is_replaced():
    with FakeKibana() as kibana:
        put_all(kibana)
        panels = kibana.stored["default", BOARDS[2].id]["panels"]
        panels.append({**panels[-1], "id": "by-hand"})
        report = put_all(kibana)
    assert report.dashboards[2].outcome is Outcome.REPLACED
    assert report.dashboards[2].differences == ["by-hand: panel: (nothing), 'a panel'"]
    assert [one.outcome for one in report.dashboards].count(Outcome.UNCHANGED) == len(BOARDS) - 1


def test_a_dashboard_that_kibana_cannot_read_any_more_is_replaced():
    with FakeKibana() as kibana:
        put_all(kibana, BOARDS[:1])
        kibana.unreadable = True
        report = put_all(kibana, BOARDS[:1])
    assert outcomes(report) == [Outcome.REPLACED]
    assert "unreadable" in report.dashboards[0].differences[0]


def test_a_dry_run_and_a_diff_write_nothing():
    with FakeKibana() as kibana:
        put_all(kibana, BOARDS[:2])
        kibana.stored["default", BOARDS[0].id]["title"] = "mine"
        before = json.dumps(sorted(kibana.stored.items()))
        with Kibana(KibanaSettings(url=kibana.url)) as store:
            report = compare(BOARDS[:3], store)
        assert json.dumps(sorted(kibana.stored.items())) == before
    assert outcomes(report) == [Outcome.DIFFERS, Outcome.UNCHANGED, Outcome.MISSING]
    assert report.dashboards[0].differences == [f"the dashboard: title: '{BOARDS[0].dashboard.title}', 'mine'"]
    assert report.exit_code == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_kibana_is_asked_again_with_longer_and_longer_waits(status):
    waits: list[float] = []
    with (
        FakeKibana(busy=[status, status]) as kibana,
        Kibana(KibanaSettings(url=kibana.url), wait=waits.append) as store,
    ):
        assert store.get("nothing") is None
    assert waits == [0.5, 1.0]


def test_a_kibana_that_stays_busy_is_given_up():
    with (
        FakeKibana(busy=[503] * 10) as kibana,
        Kibana(KibanaSettings(url=kibana.url), wait=lambda _: None) as store,
        pytest.raises(StoreError, match="HTTP 503"),
    ):
        store.get("x")
    assert len(kibana.requests) == TRIES


def test_a_kibana_that_is_not_there_is_a_failure_of_the_first_and_nothing_else_is_tried():
    with FakeKibana() as kibana:
        pass
    report = put_all(kibana)
    assert (report.exit_code, outcomes(report)[:2]) == (4, [Outcome.FAILED, Outcome.NOT_TRIED])
    assert "cannot be reached" in (report.error or "")


def test_what_kibana_refuses_is_told_in_its_words():
    with FakeKibana() as kibana, Kibana(KibanaSettings(url=kibana.url)) as store:
        with pytest.raises(Refused, match="unknown"):
            store.put("x", {"title": "x", "panels": [], "unknown": 1})
        with pytest.raises(Refused, match="lowercase"):
            store.put("Not-An-Id", {"title": "x"})


def test_a_wrong_key_is_refused_without_being_shown():
    with FakeKibana(key="right") as kibana:
        report = put_all(kibana, api_key="wr0ng")
    assert report.exit_code == 2
    assert "the API key was refused" in (report.error or "")
    assert "wr0ng" not in report.model_dump_json()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"url": None}, "no Kibana is named"),
        ({"url": "kibana:5601"}, "must be http"),
        ({"url": "https://me:secret@kibana"}, "holds a user"),
        ({"url": "http://kibana.example", "api_key": "abc"}, "unencrypted"),
        ({"url": "https://kibana", "api_key": "two words"}, "one encoded API key"),
        ({"url": "https://kibana", "api_key_file": Path("/nowhere/key")}, "cannot be read"),
        ({"url": "https://kibana", "ca_certs": Path("/nowhere/ca")}, "cannot be used"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_sent(settings, told):
    with pytest.raises(ConfigError, match=told) as raised:
        Kibana(KibanaSettings(**settings))
    assert "secret" not in str(raised.value)


def test_a_kibana_without_the_api_is_told_apart_from_a_dashboard_that_is_not_there():
    with (
        FakeKibana() as kibana,
        Kibana(KibanaSettings(url=f"{kibana.url}/base")) as store,
        pytest.raises(ConfigError, match=r"needs Kibana 9\.5"),
    ):
        store.get("x")

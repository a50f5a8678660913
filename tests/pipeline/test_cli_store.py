"""Which cluster the settings name, with which key, and that it answers as SQL does (`--store elastic`)."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from funnelgate import Context
from reporting.elastic.opening import shipping
from reporting.errors import EXIT_OK, EXIT_USAGE
from reporting.plans import PlanKind
from reporting.stores.base import RecordQuery
from tests.pipeline.clusters import name_cluster, set_up, settings
from tests.pipeline.conftest import Ended
from tests.pipeline.project import DAY_1, DAY_2, DAY_3, Project, new_project, run_here, store_of
from tests.servers.rest import call, remove_everything

Main = Callable[..., Ended]


@pytest.fixture(scope="module")
def shipped(
    three_days: Project, elastic_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Project, datetime]]:
    """Three days and two re-runs, one of which counts, in SQL and in the cluster; and a moment before the re-runs."""
    project = Project(Path(shutil.copytree(three_days.folder, tmp_path_factory.mktemp("shipped") / "days")))
    moment = datetime.now(UTC)
    run_here(project, DAY_2, kind=PlanKind.RERUN, source=None, tasks=("dedup",), promote=True)
    run_here(project, DAY_3, kind=PlanKind.RERUN, source=None, tasks=("merge",))
    prefix = f"shipped-{secrets.token_hex(4)}"
    set_up(elastic_url, prefix)
    name_cluster(project, elastic_url, prefix)
    told: list[str] = []
    with store_of(project) as store, shipping(store, settings(elastic_url, prefix), told.append):
        pass
    assert told == []
    call(elastic_url, "POST", f"/{prefix}-*/_refresh")
    yield project, moment
    remove_everything(elastic_url, prefix)


@pytest.mark.elasticsearch
@pytest.mark.parametrize(
    "command",
    [
        ("funnel",),
        ("funnel", "--date", str(DAY_2)),
        ("funnel", "--from", str(DAY_1), "--to", str(DAY_3)),
        ("funnel", "--plan", "daily-20261102"),
        ("funnel", "--plan", "rerun-20261102-1"),
        ("funnel", "--plan", "rerun-20261103-1"),
        ("funnel", "--date", str(DAY_2), "--as-of", "BEFORE"),
        ("balance",),
        ("balance", "--date", str(DAY_2)),
        ("balance", "--all-plans", "--explain"),
        ("records", "list", "--from", str(DAY_1), "--to", str(DAY_3)),
        ("records", "history", "dedup/2026-11-02/all/all/rerun-20261102-1"),
    ],
    ids=" ".join,
)
def test_the_cluster_answers_as_sql_does(
    shipped: tuple[Project, datetime], main_in: Main, command: tuple[str, ...]
) -> None:
    project, moment = shipped
    asked = [moment.isoformat() if word == "BEFORE" else word for word in command]
    by_default, sql, cluster = (
        main_in(project.folder, *asked, *store, "--json") for store in ((), ("--store", "sql"), ("--store", "elastic"))
    )
    assert cluster.code == sql.code == by_default.code == EXIT_OK, cluster.err
    assert json.loads(cluster.out) == json.loads(sql.out)
    assert sql.out == by_default.out
    assert len(json.loads(sql.out)) > 0
    assert cluster.err == sql.err


@pytest.mark.elasticsearch
def test_as_of_a_whole_second_is_that_moment_and_not_the_second(
    shipped: tuple[Project, datetime], main_in: Main
) -> None:
    """Elasticsearch fills what a moment lacks with its greatest value: 12:00:00 would be 12:00:00.999999999."""
    project, _ = shipped
    with store_of(project) as store:
        moments = sorted(record.reported_at for record in store.records(RecordQuery(planids=("daily-20261103",))))
    second = moments[len(moments) // 2].replace(microsecond=0)  # that record was reported within it, and is not known
    asked = ("records", "list", "--date", str(DAY_3), "--as-of", second.isoformat(), "--json")
    found = [main_in(project.folder, *asked, "--store", store) for store in ("sql", "elastic")]
    assert found[0].out == found[1].out
    assert all(datetime.fromisoformat(one["reported_at"]) <= second for one in json.loads(found[1].out))


def test_a_store_that_is_not_there_and_one_that_is_not_named_are_refused(tmp_path: Path, main_in: Main) -> None:
    project = new_project(tmp_path / "project")
    ended = main_in(project.folder, "funnel", "--store", "elastic")
    assert ended.code == EXIT_USAGE
    assert "elastic.url is not set" in ended.err
    ended = main_in(project.folder, "balance", "--store", "elastik")
    assert ended.code == EXIT_USAGE
    assert "'elastik' is not one of 'sql', 'elastic'" in ended.err


def test_a_key_in_the_file_is_refused_where_it_stands_and_not_shown(tmp_path: Path, main_in: Main) -> None:
    (tmp_path / "funnelgate.yaml").write_text("elastic:\n  url: https://h:9200\n  api_key: topsecret\n")
    ended = main_in(tmp_path, "config", "show")
    assert ended.code == EXIT_USAGE
    assert "funnelgate.yaml:3: elastic.api_key: a key must not stand in a file of settings" in ended.err
    assert "FUNNELGATE_ELASTIC__API_KEY" in ended.err
    assert "topsecret" not in ended.err + ended.out


def test_a_key_in_the_file_is_refused_though_the_environment_has_another(
    tmp_path: Path, main_in: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUNNELGATE_ELASTIC__API_KEY", "other")
    (tmp_path / "funnelgate.yaml").write_text("elastic: {api_key: topsecret}\n")
    ended = main_in(tmp_path, "config", "show", "--json")
    assert (ended.code, ended.out) == (EXIT_USAGE, "")
    assert "funnelgate.yaml:1: " in ended.err


def test_a_key_from_the_environment_is_used_and_never_shown(
    tmp_path: Path, main_in: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUNNELGATE_ELASTIC__API_KEY", "topsecret")
    (tmp_path / "funnelgate.yaml").write_text("elastic:\n  url: https://h:9200\n  api_key:\n")
    for options in ([], ["--json"]):
        ended = main_in(tmp_path, "config", "show", *options)
        assert ended.code == EXIT_OK
        assert "FUNNELGATE_ELASTIC__API_KEY" in ended.out
        assert "topsecret" not in ended.out + ended.err
    context = Context(tmp_path / "funnelgate.yaml")
    assert context.elastic.api_key == SecretStr("topsecret")
    assert "topsecret" not in repr(context.elastic) + repr(context.loaded) + str(context.describe())


def test_files_of_the_cluster_are_found_from_any_folder(tmp_path: Path) -> None:
    path = tmp_path / "funnelgate.yaml"
    path.write_text("elastic: {url: 'https://h:9200', ca_certs: certs/ca.crt, api_key_file: /run/key}\n")
    found = Context(path).elastic
    assert (found.ca_certs, found.api_key_file) == (tmp_path / "certs/ca.crt", Path("/run/key"))

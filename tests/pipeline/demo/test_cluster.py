"""The demo with a cluster: it ends well only when the cluster answers as SQL does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from checks.demo import StoryChecks
from checks.spec import load_checks
from funnelgate import Context
from pipeline.demo import story
from pipeline.demo.cluster import Elastic, ReadBack, read_back, set_up
from pipeline.demo.stage import open_stage, stage_of
from pipeline.place import Place
from reporting.errors import EXIT_FAILED, EXIT_INFRASTRUCTURE, EXIT_OK, EXIT_USAGE, StoreError, UsageError
from reporting.stores.elastic import ElasticStore
from reporting.testing import make_plan
from tests.pipeline.conftest import Ended, main_in
from tests.pipeline.project import DAY_1, Project, new_project, row, run_here
from tests.servers.ports import free_port
from tests.servers.rest import call

__all__ = ["main_in"]
Main = Callable[..., Ended]
DEMO_DAY = "2026-10-05"
RULES = Path(story.__file__).parent / "checks.yaml"


def place_of(project: Project, url: str, prefix: str) -> Place:
    """Open a project that names a cluster."""
    path = project.folder / "funnelgate.yaml"
    path.write_text(path.read_text() + json.dumps({"elastic": {"url": url, "prefix": prefix}})[1:-1] + "\n")
    return Context(path).place


def delete_record(url: str, prefix: str, subinstance: str = "*") -> None:
    """Delete one record there, by requests of the test's own."""
    _, found = call(url, "POST", f"/{prefix}-records-*/_search?size=1", {"query": {"term": {"task": "embed"}}})
    hit = found["hits"]["hits"][0]
    assert call(url, "DELETE", f"/{hit['_index']}/_doc/{hit['_id']}")[0] == 200


@pytest.fixture(scope="module")
def one_day(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One small day of two packages, run and not shipped. Read only: change a copy."""
    project = new_project(tmp_path_factory.mktemp("one") / "day", package_items=3)
    project.manifest(DAY_1, [row(project.drawn(number), f"s{number}") for number in range(6)])
    run_here(project, DAY_1)
    return project


@pytest.fixture
def day_of_mine(one_day: Project, tmp_path: Path) -> Project:
    """A copy of that day."""
    return Project(Path(shutil.copytree(one_day.folder, tmp_path / "mine")))


@pytest.mark.slow
@pytest.mark.elasticsearch
def test_what_was_shipped_reads_back_equal_and_a_deleted_record_does_not(
    day_of_mine: Project, elastic_url: str, elastic_prefix: str
) -> None:
    place = place_of(day_of_mine, elastic_url, elastic_prefix)
    set_up(place, [DAY_1], Elastic(elastic_url, elastic_prefix))
    first = read_back(place, [DAY_1])
    assert (first.equal, first.missing, first.different, first.extra, first.differs) == (True, 0, 0, 0, ())
    assert first.compared > first.shipped > 0  # an entry becomes its event, its record and its line
    set_up(place, [DAY_1], None)  # again: its own plans are no strangers
    delete_record(elastic_url, elastic_prefix)
    second = read_back(place, [DAY_1])
    assert (second.equal, second.missing) == (False, 1)
    assert any(line.startswith(f"funnel of {DAY_1}, embed: SQL ") for line in second.differs)
    assert any(line.startswith(f"balance of {DAY_1}, daily-20261101: ") for line in second.differs)


@pytest.mark.slow
@pytest.mark.elasticsearch
def test_a_second_act_leaves_the_cluster_as_it_is_though_the_environment_names_it(
    day_of_mine: Project, elastic_url: str, elastic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = (day_of_mine.folder / "funnelgate.yaml").read_text()
    place = place_of(day_of_mine, elastic_url, elastic_prefix)
    set_up(place, [DAY_1], None)
    monkeypatch.setenv("FUNNELGATE_ELASTIC__URL", elastic_url)
    monkeypatch.setenv("FUNNELGATE_ELASTIC__PREFIX", elastic_prefix)
    for name, value in {"LOST_ON": 0, "SHRUNK_ON": 0, "_repair": lambda *_, **__: None}.items():
        monkeypatch.setattr(story, name, value)
    acted = open_stage(lambda path: Context(path).place, stage_of(place, plain) / "funnelgate.yaml")
    checks = StoryChecks(acted.store, acted.topology, load_checks(RULES, acted.topology))
    told = story.play(acted, checks, [DAY_1], Console(file=StringIO()), workers=1, quiet=True)
    assert any(case.is_open for case in told.lost)
    assert read_back(place, [DAY_1]).equal


@pytest.mark.slow
@pytest.mark.elasticsearch
def test_a_cluster_with_another_runs_plans_is_refused(tmp_path: Path, elastic_url: str, elastic_prefix: str) -> None:
    place = place_of(new_project(tmp_path / "project"), elastic_url, elastic_prefix)
    set_up(place, [DAY_1], None)
    stranger = make_plan("daily-20261101", dates=(DAY_1,), created_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    with ElasticStore.open(place.elastic) as cluster, cluster.begin() as work:
        work.put_plan(stranger)
    with pytest.raises(UsageError, match=r"holds plan daily-20261101, made 2026-01-02 03:04 .* take another --prefix"):
        set_up(place, [DAY_1], None)


def test_a_cluster_that_is_away_is_told_before_any_work(tmp_path: Path, main_in: Main) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    ended = main_in(tmp_path, "demo", "mine", "--days", "1", "--elasticsearch", url)
    assert ended.code == EXIT_INFRASTRUCTURE
    assert url in ended.err
    assert Context(tmp_path / "mine/funnelgate.yaml").store.plans() == []
    other = main_in(tmp_path, "demo", "mine", "--days", "1")
    assert other.code == EXIT_USAGE
    assert "mine/funnelgate.yaml is of a demo with another --elasticsearch or --prefix, or none" in other.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--elasticsearch", "http://u:secret@h"), "elastic.url: holds a user and password"),
        (("--elasticsearch", "ftp://h"), "elastic.url: 'ftp://h' must begin with https://"),
        (("--elasticsearch", "http://h", "--prefix", "Shop"), "--prefix 'Shop' begins index names: use"),
    ],
)
def test_options_that_cannot_be_used_leave_no_trace(
    tmp_path: Path, main_in: Main, options: tuple[str, ...], message: str
) -> None:
    ended = main_in(tmp_path, "demo", "mine", *options)
    assert ended.code == EXIT_USAGE
    assert message in ended.err
    assert "secret" not in ended.err
    assert list(tmp_path.iterdir()) == []


def test_another_cluster_in_the_environment_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUNNELGATE_ELASTIC__URL", "http://elsewhere:9200")
    place = place_of(new_project(tmp_path / "project"), "http://here:9200", "demo")
    with pytest.raises(UsageError, match=r"http://elsewhere:9200 .* unset FUNNELGATE_ELASTIC__URL"):
        set_up(place, [DAY_1], Elastic("http://here:9200", "demo"))


def test_what_cannot_be_delivered_is_infrastructure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.demo.cluster.DRAIN_SECONDS", 0.1)
    place = place_of(new_project(tmp_path / "project"), f"http://127.0.0.1:{free_port()}", "demo")
    with place.store.begin() as work:
        work.put_plan(make_plan("shadow"))
    with pytest.raises(StoreError, match=r"the demo's days are done, but \d+ entr.* wait"):
        read_back(place, [DAY_1])


@pytest.mark.parametrize("what", ["quarantined", "missing", "different", "extra", "differs"])
def test_any_difference_is_one(what: str) -> None:
    found = ReadBack(
        url="u", prefix="p", shipped=9, quarantined=0, compared=9, missing=0, different=0, extra=0, differs=()
    )
    assert found.equal
    assert not found.model_copy(update={what: ("line",) if what == "differs" else 1}).equal


@pytest.mark.slow
@pytest.mark.elasticsearch
def test_the_demo_ships_and_both_stores_answer_equally(tmp_path: Path, elastic_url: str, elastic_prefix: str) -> None:
    def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "funnelgate", *arguments]
        return subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=900, check=False)

    options = ("--days", "1", "--elasticsearch", elastic_url, "--prefix", elastic_prefix)
    done = command("demo", "demo", *options, "--json", cwd=tmp_path)
    assert done.returncode == EXIT_OK, done.stderr
    found = ReadBack.model_validate(json.loads(done.stdout)["elasticsearch"])
    assert (found.equal, found.missing, found.different, found.extra) == (True, 0, 0, 0)
    project = tmp_path / "demo"
    moment = json.loads(command("plan", "list", "--json", cwd=project).stdout)[-1]["created_at"]
    span = ("--from", DEMO_DAY, "--to", DEMO_DAY)
    for asked in (
        ("funnel", *span),
        ("funnel", "--plan", "daily-20261005"),
        ("funnel", "--plan", "rerun-20261005-1"),
        ("funnel", *span, "--as-of", moment),
        ("balance",),
        ("balance", "--all-plans"),
    ):
        sql, cluster = (command(*asked, "--store", store, "--json", cwd=project) for store in ("sql", "elastic"))
        assert cluster.returncode == sql.returncode == EXIT_OK, (asked, cluster.stderr)
        assert json.loads(cluster.stdout) == json.loads(sql.stdout) != [], asked
    delete_record(elastic_url, elastic_prefix)
    again = command("demo", "demo", *options, cwd=tmp_path)
    assert again.returncode == EXIT_FAILED
    assert " 1 missing, 0 different, 0 extra" in again.stdout

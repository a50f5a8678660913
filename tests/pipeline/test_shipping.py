"""Shipping beside the work: everything arrives where there is a cluster, and nothing is lost or held up where not."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from funnelgate import Context
from reporting.elastic.opening import open_sink, shipping
from reporting.errors import EXIT_OK
from reporting.outbox import Entry, OutboxStatus, Topic
from reporting.outbox_sql import SqlOutbox
from reporting.stores.base import RecordQuery
from reporting.stores.sql import SqlStore
from reporting.testing import make_plan, make_record
from tests.pipeline.clusters import name_cluster, set_up, settings
from tests.pipeline.conftest import Ended
from tests.pipeline.project import DAY_1, Project, new_project, row, store_of
from tests.servers.fault_proxy import FaultProxy
from tests.servers.ports import free_port
from tests.servers.rest import call
from tests.servers.tls_proxy import TlsProxy

pytestmark = pytest.mark.elasticsearch
Main = Callable[..., Ended]


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> Iterator[None]:
    """`worker` in this process sets its own."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def indices(elastic_url: str, elastic_prefix: str) -> str:
    """The prefix of a cluster that is set up."""
    set_up(elastic_url, elastic_prefix)
    return elastic_prefix


@pytest.fixture
def finished(three_days: Project, tmp_path: Path) -> Project:
    """Three days that were run and not yet shipped."""
    return Project(Path(shutil.copytree(three_days.folder, tmp_path / "finished")))


def dead_url() -> str:
    return f"http://127.0.0.1:{free_port()}"


def status(project: Project) -> OutboxStatus:
    with store_of(project) as store:
        return SqlOutbox(store).status()


def in_cluster(url: str, prefix: str) -> dict[str, tuple[int, int]]:
    """Return key to (version, input) of every record there, by a request of the test's own."""
    call(url, "POST", f"/{prefix}-*/_refresh")
    _, answer = call(url, "POST", f"/{prefix}-records-*/_search?size=10000", {"query": {"match_all": {}}})
    parts = ("task", "date", "category", "subinstance", "planid")
    found = [hit["_source"] for hit in answer["hits"]["hits"]]
    return {"/".join(one[part] for part in parts): (one["version"], one["input"]) for one in found}


def in_sql(project: Project) -> dict[str, tuple[int, int]]:
    with store_of(project) as store:
        return {str(record.key): (record.version, record.input) for record in store.records(RecordQuery())}


def run_again(project: Project) -> tuple[str, ...]:
    """A command that does nothing but ship: the day is done."""
    return ("run", "--source", f"{DAY_1}.csv", "--date", str(DAY_1), "--json")


@pytest.mark.slow
def test_what_a_dead_cluster_left_waiting_is_shipped_by_the_next_run_which_says_nothing(
    finished: Project, main_in: Main, elastic_url: str, indices: str
) -> None:
    waiting = status(finished).pending
    name_cluster(finished, dead_url(), indices)
    main_in(finished.folder, *run_again(finished))
    name_cluster(finished, elastic_url, indices)
    ended = main_in(finished.folder, *run_again(finished))
    assert (ended.code, ended.err) == (EXIT_OK, "")
    assert in_cluster(elastic_url, indices) == in_sql(finished)
    after = status(finished)
    assert (after.pending, after.shipped, after.quarantined) == (0, waiting, 0)
    assert waiting > len(in_sql(finished))  # plans and manifests too


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "ships"),
    [
        (("worker", "--drain"), True),
        (("worker", "--drain", "--parent", str(os.getppid())), False),  # the parent does
        (("scheduler", "--once", "--source", "none/{date}.csv"), True),
        (("backfill", "--date", str(DAY_1), "--source", "none/{date}.csv"), True),
        (("backfill", "--date", str(DAY_1), "--source", "none/{date}.csv", "--dry-run"), False),
        (("plan", "list"), False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_who_works_ships(finished: Project, main_in: Main, command: tuple[str, ...], ships: bool) -> None:
    name_cluster(finished, dead_url(), "funnelgate")
    ended = main_in(finished.folder, *command)
    assert ended.code == EXIT_OK
    assert ("entries wait to be shipped to" in ended.err) == ships


def test_with_ship_false_it_is_left_to_a_shipper(finished: Project, main_in: Main) -> None:
    name_cluster(finished, dead_url(), "funnelgate", ship=False)
    waiting = status(finished).pending
    ended = main_in(finished.folder, *run_again(finished))
    assert (ended.code, ended.err) == (EXIT_OK, "")
    assert status(finished).pending == waiting > 0


def test_without_a_cluster_nothing_is_queued(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    place = Context(project.folder / "funnelgate.yaml").place
    with place.store as store, place.shipping(), store.begin() as work:
        work.put_plan(make_plan("daily-1"))
        work.put_record(make_record("collect"))
    assert status(project).pending == 0


@pytest.mark.slow
def test_a_cluster_that_is_down_changes_nothing_but_one_line_at_the_end(finished: Project, main_in: Main) -> None:
    without = main_in(finished.folder, *run_again(finished))
    url = dead_url()
    name_cluster(finished, url, "funnelgate")
    waiting = status(finished).pending
    ended = main_in(finished.folder, *run_again(finished))
    assert (ended.code, ended.out) == (without.code, without.out)
    assert ended.err.count("\n") == 1
    assert ended.err.startswith(f"{waiting} entries wait to be shipped to {url} (")
    assert ended.err.endswith("); `funnelgate records ship` ships them\n")
    assert status(finished).pending == waiting
    assert "shipping waits: " in (finished.folder / "state/funnelgate.log").read_text()


def test_a_cluster_that_is_not_set_up_is_told_and_gets_nothing(
    finished: Project, main_in: Main, elastic_url: str, elastic_prefix: str
) -> None:
    name_cluster(finished, elastic_url, elastic_prefix)
    ended = main_in(finished.folder, *run_again(finished))
    assert ended.code == EXIT_OK
    assert "run `funnelgate records setup`" in ended.err
    assert call(elastic_url, "GET", f"/{elastic_prefix}-*")[1] == {}


def test_a_wrong_key_is_told_without_the_key(
    finished: Project, main_in: Main, elastic_url: str, elastic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the right one the next hindrance is told: that nobody has run setup."""
    right, wrong = (base64.b64encode(f"id:{secrets.token_hex(8)}".encode()).decode() for _ in range(2))
    with TlsProxy(elastic_url, right, trustme.CA()) as proxy:
        shutil.copy(proxy.ca_pem, finished.folder / "ca.pem")
        name_cluster(finished, proxy.url, elastic_prefix, ca_certs="ca.pem")
        monkeypatch.setenv("FUNNELGATE_ELASTIC__API_KEY", wrong)
        ended = main_in(finished.folder, *run_again(finished))
        assert ended.code == EXIT_OK
        assert "key" in ended.err
        assert wrong not in ended.err + ended.out + (finished.folder / "state/funnelgate.log").read_text()
        monkeypatch.delenv("FUNNELGATE_ELASTIC__API_KEY")
        (finished.folder / "elastic.key").write_text(right + "\n")
        name_cluster(finished, proxy.url, elastic_prefix, ca_certs="ca.pem", api_key_file="elastic.key")
        assert "run `funnelgate records setup`" in main_in(finished.folder, *run_again(finished)).err


@pytest.mark.slow
def test_an_outage_in_the_middle_ends_by_itself(sqlite_store: SqlStore, elastic_url: str, indices: str) -> None:
    told: list[str] = []
    outbox = SqlOutbox(sqlite_store)
    with FaultProxy(elastic_url) as proxy, shipping(sqlite_store, settings(proxy.url, indices), told.append):
        put(sqlite_store, 0, 20)
        await_shipped(outbox)
        proxy.refuse()
        put(sqlite_store, 20, 40)
        assert outbox.status().pending > 0
        proxy.pass_through()
        await_shipped(outbox)
    assert told == []
    assert len(in_cluster(elastic_url, indices)) == 40


@pytest.mark.slow
def test_a_cluster_that_hangs_does_not_hold_up_the_end(sqlite_store: SqlStore, elastic_url: str) -> None:
    """Its requests would take ten minutes each: the test would not end."""
    told: list[str] = []
    put(sqlite_store, 0, 3)
    with FaultProxy(elastic_url, everything=True) as proxy:
        proxy.slow(3600)
        patient = settings(proxy.url, "funnelgate", timeout_seconds=600)
        with shipping(sqlite_store, patient, told.append, flush_seconds=0.2):
            proxy.await_faults()
        waiting = SqlOutbox(sqlite_store).status().pending
    (line,) = told
    assert line.startswith(f"{waiting} entries wait to be shipped to {proxy.url} (the other side does not answer; ")
    for thread in threading.enumerate():  # the proxy's end has cut what they waited for
        if thread.name.startswith("shipper"):
            thread.join(60)
            assert not thread.is_alive()


def test_an_interrupt_waits_for_nothing_and_still_tells(sqlite_store: SqlStore) -> None:
    told: list[str] = []
    url = dead_url()
    put(sqlite_store, 0, 1)
    with pytest.raises(KeyboardInterrupt), shipping(sqlite_store, settings(url, "funnelgate"), told.append):
        raise KeyboardInterrupt
    assert told == [f"2 entries wait to be shipped to {url}; `funnelgate records ship` ships them"]


@pytest.mark.slow
def test_what_is_refused_for_good_is_told(sqlite_store: SqlStore, elastic_url: str, indices: str) -> None:
    told: list[str] = []
    first = make_record("collect", input=5)
    with sqlite_store.begin() as work:
        work.put_record(first)
    with shipping(sqlite_store, settings(elastic_url, indices), told.append):
        pass
    body = first.model_copy(update={"input": 6, "output": 6, "produced": 6}).model_dump_json()
    entry = SqlOutbox(sqlite_store).status()
    assert (entry.pending, told) == (0, [])
    at = datetime.now(UTC).isoformat()
    SqlOutbox(sqlite_store).queue([Entry(0, Topic.RECORD, first.key.document_id(), first.version, body, at)])
    with shipping(sqlite_store, settings(elastic_url, indices), told.append):
        pass
    assert told == ["1 refused for good and put aside; `funnelgate records status` tells them and why"]


@pytest.mark.slow
def test_writers_and_the_shipper_share_sqlite(sqlite_store: SqlStore, elastic_url: str, indices: str) -> None:
    """Four writers beside the shipper, whose settling takes the same write lock: nobody fails, nothing is lost."""
    told: list[str] = []
    failed: list[BaseException] = []

    def write(start: int) -> None:
        try:
            for number in range(start, start + 100):
                put(sqlite_store, number, number + 1)
        except BaseException as error:  # noqa: BLE001 - raised again below, by the test's own thread
            failed.append(error)

    with shipping(sqlite_store, settings(elastic_url, indices), told.append):
        writers = [threading.Thread(target=write, args=(1000 * n,)) for n in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
    assert (failed, told) == ([], [])
    assert len(in_cluster(elastic_url, indices)) == 400


@pytest.mark.slow
def test_a_sink_without_a_registry_finds_the_plans_in_the_cluster_itself(elastic_url: str, indices: str) -> None:
    record = make_record("collect", planid="mine")
    entry = Entry(1, Topic.RECORD, record.key.document_id(), record.version, record.model_dump_json(), "")
    outcomes = open_sink(settings(elastic_url, indices)).deliver([entry])
    assert call(elastic_url, "POST", f"/{indices}-*/_refresh")[0] == 200
    assert [outcome.error for outcome in outcomes] == [""]
    _, answer = call(elastic_url, "GET", f"/{indices}-plans/_doc/mine")
    assert answer["found"]
    _, answer = call(elastic_url, "POST", f"/{indices}-effective/_search")
    assert [hit["_source"]["effective_planid"] for hit in answer["hits"]["hits"]] == ["mine"]


def put(store: SqlStore, first: int, last: int) -> None:
    """Book made records, each in a transaction of its own, under one plan."""
    with store.begin() as work:
        work.put_plan(make_plan("daily-1"))
    for number in range(first, last):
        with store.begin() as work:
            work.put_record(make_record("embed", planid="daily-1", subinstance=f"{number:04}"))


def await_shipped(outbox: SqlOutbox) -> None:
    deadline = time.monotonic() + 60
    while outbox.status().pending:
        assert time.monotonic() < deadline, "not shipped within a minute"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_day_with_worker_processes_arrives_through_a_bad_network(
    tmp_path: Path, elastic_url: str, indices: str
) -> None:
    project = small_day(tmp_path)
    with FaultProxy(elastic_url) as proxy:
        proxy.item_429(0.3, seed=4)
        name_cluster(project, proxy.url, indices)
        assert project.run_day(DAY_1)["state"] == "complete"
        assert proxy.faults["item_429"] > 0
    name_cluster(project, elastic_url, indices)
    assert project.call("worker", "--drain").returncode == EXIT_OK
    assert status(project).pending == 0
    assert in_cluster(elastic_url, indices) == in_sql(project)


@pytest.mark.slow
def test_a_day_is_done_though_every_connection_is_refused(tmp_path: Path, elastic_url: str, indices: str) -> None:
    project = small_day(tmp_path)
    with FaultProxy(elastic_url, everything=True) as proxy:
        proxy.refuse()
        name_cluster(project, proxy.url, indices)
        done = project.call("run", "--source", f"{DAY_1}.csv", "--date", str(DAY_1), "--json")
    assert (done.returncode, json.loads(done.stdout)["state"]) == (EXIT_OK, "complete")
    waiting = status(project).pending
    assert waiting >= len(in_sql(project))
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"{waiting} entries wait to be shipped to {proxy.url} (")
    assert in_cluster(elastic_url, indices) == {}


def small_day(tmp_path: Path) -> Project:
    project = new_project(tmp_path / "project")
    project.manifest(DAY_1, [row(project.drawn(number), f"s{number}") for number in range(20)])
    return project

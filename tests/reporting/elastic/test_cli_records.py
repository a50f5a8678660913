"""`funnelgate records setup|ship|status|revive|verify|replay|export`: what they print, and how they end."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from reporting.cli_records import declared_metrics, months_between
from reporting.elastic.client import connect
from reporting.elastic.mappings import component_templates, index_templates
from reporting.elastic.names import Kind
from reporting.elastic.setup import setup
from reporting.outbox import Entry
from reporting.outbox_sql import SqlOutbox
from reporting.record import TaskRecord
from reporting.settings import ElasticSettings
from reporting.spool import Spool
from reporting.spool_store import SpoolStore
from reporting.stores import open_store
from reporting.stores.base import RecordQuery
from reporting.stores.sql import SqlStore
from reporting.testing import DAY, MOMENT, make_plan, make_record
from reporting.topology import TaskSpec, Topology
from tests.conftest import REPOSITORY
from tests.reporting.conftest import Ran
from tests.servers.ports import free_port
from tests.servers.rest import call, remove_everything

pytestmark = pytest.mark.elasticsearch

RECORD = make_record("index", planid="p", dropped={"blurred": 1})
RECORDS = "records-2026.11"


def fits(name: str, ran: Ran) -> Any:
    """Return what a command printed for programs, after its schema was held against it."""
    schema = json.loads((REPOSITORY / "docs" / "schemas" / f"{name}.json").read_text(encoding="utf-8"))
    data = ran.json()
    jsonschema.Draft202012Validator(schema).validate(data)
    return data


@pytest.fixture(scope="module")
def shared_prefix(elastic_url: str) -> Iterator[str]:
    """A prefix that is set up; tests empty it."""
    prefix = f"cli-{secrets.token_hex(4)}"
    with connect(ElasticSettings(url=elastic_url)) as client:
        setup(client, prefix, ())
    yield prefix
    remove_everything(elastic_url, prefix)


@pytest.fixture
def cluster(
    project: Path, elastic_url: str, shared_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, str]]:
    """A project whose settings name the cluster: its address and the prefix."""
    monkeypatch.setenv("FUNNELGATE_ELASTIC__URL", elastic_url)
    monkeypatch.setenv("FUNNELGATE_ELASTIC__PREFIX", shared_prefix)
    yield elastic_url, shared_prefix
    _, rows = call(elastic_url, "GET", f"/_cat/indices/{shared_prefix}-*?h=index&format=json")
    for index in (row["index"] for row in rows if not row["index"].endswith("-plans")):
        call(elastic_url, "DELETE", f"/{index}")
    for planid in ("p", "unregistered"):
        call(elastic_url, "DELETE", f"/{shared_prefix}-plans/_doc/{planid}?refresh=true")


@pytest.fixture
def store(project: Path) -> Iterator[SqlStore]:
    """The project's store, with one record of one plan."""
    with open_store(f"sqlite:///{project / 'state' / 'store.db'}") as store:
        with store.begin() as work:
            work.put_plan(make_plan("p", completed_at=MOMENT))
            work.put_record(RECORD)
        yield store


def waiting(store: SqlStore) -> int:
    return SqlOutbox(store).status().pending


def poison(store: SqlStore) -> None:
    """Queue an entry that no cluster will take."""
    SqlOutbox(store).queue([Entry(0, "record", "bad", 1, "no JSON", "2026-11-01T00:00:00.000000+00:00")])


# --- setup


@pytest.mark.slow
def test_setup_makes_everything_once_and_the_second_call_changes_nothing(project, run, elastic_url, monkeypatch):
    prefix = f"cli-{secrets.token_hex(4)}"
    monkeypatch.setenv("FUNNELGATE_ELASTIC__URL", elastic_url)
    monkeypatch.setenv("FUNNELGATE_ELASTIC__PREFIX", prefix)
    span = ("--from", "2026-12-30", "--to", "2027-01-02")
    try:
        trial = fits("setup", run("records", "setup", *span, "--dry-run", "--json"))
        assert call(elastic_url, "GET", f"/_cat/indices/{prefix}*?format=json")[1] == []
        done = fits("setup", run("records", "setup", *span, "--json"))
        assert done == {**trial, "dry_run": False}
        assert len(done["created"]) == len(component_templates(prefix, ())) + len(index_templates(prefix)) + 4 + 4 * 2
        again = run("records", "setup", *span)
        assert (again.code, again.out) == (0, f"0 created, 0 updated, {len(done['created'])} unchanged\n")
    finally:
        remove_everything(elastic_url, prefix)


def test_the_metrics_of_every_task_get_a_field():
    spec = TaskSpec(unit_in="a", unit_out="a")
    tasks = {"a": spec.model_copy(update={"metrics": ("x", "y")}), "b": spec.model_copy(update={"metrics": ("y",)})}
    graph = Topology.model_validate({"tasks": tasks, "edges": [{"from": "a", "to": "b"}]})
    assert declared_metrics(graph) == {"x", "y"}


def test_months_are_those_that_two_days_span():
    days = [DAY.replace(year=year, month=month) for year, month in ((2026, 11), (2026, 12), (2027, 1))]
    assert months_between(days[0], days[2].replace(day=28)) == days
    assert months_between(days[0].replace(day=30), days[0].replace(day=30)) == days[:1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--months", "1", "--to", "2027-01-01"), "give either --months or --to"),
        (("--from", "2027-02-01", "--to", "2027-01-01"), "the last day 2027-01-01 is before the first, 2027-02-01"),
        (("--from", "soon"), "'soon' is no day"),
    ],
)
def test_setup_of_days_that_make_no_sense_ends_with_2(options, says, cluster, run):
    refused(run("records", "setup", *options), 2, says)


# --- what is wrong with the cluster


def refused(ran: Ran, code: int, *parts: str) -> None:
    """Assert an exit code, and one line of error."""
    assert ran.code == code, ran
    assert ran.out == ""
    assert len(ran.err.strip().splitlines()) == 1, ran.err
    for part in ("error: ", *parts):
        assert part in ran.err


COMMANDS = (("ship",), ("verify",), ("replay",), ("setup",), ("export", "--store", "elastic"))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_a_cluster_in_the_settings_the_error_says_where_to_name_it(command, store, run):
    refused(run("records", *command), 2, "elastic.url is not set")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_cluster_that_is_not_there_ends_with_4_at_once_and_nothing_is_lost(command, store, run, monkeypatch):
    monkeypatch.setenv("FUNNELGATE_ELASTIC__URL", f"http://127.0.0.1:{free_port()}")
    refused(run("records", *command), 4, "cannot be reached: Connection refused; check that it runs and elastic.url")
    assert waiting(store) == 2


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"URL": "127.0.0.1:9200"}, "must begin with https://"),
        ({"URL": "http://me:geheim@127.0.0.1:1"}, "holds a user and password"),
        ({"URL": "https://127.0.0.1:1", "CA_CERTS": "absent.pem"}, "absent.pem"),
        ({"URL": "http://10.0.0.1:9200", "API_KEY": "Z2VoZWlt"}, "would send the API key unencrypted"),
    ],
)
def test_wrong_settings_end_with_2_and_show_no_secret(command, settings, says, store, run, monkeypatch):
    for name, value in settings.items():
        monkeypatch.setenv(f"FUNNELGATE_ELASTIC__{name}", value)
    ran = run("records", *command)
    refused(ran, 2, says)
    assert "geheim" not in ran.err
    assert "Z2VoZWlt" not in ran.err
    assert waiting(store) == 2


@pytest.mark.parametrize("command", [one for one in COMMANDS if one != ("setup",)], ids=" ".join)
def test_before_setup_the_error_says_to_run_it(command, store, run, elastic_url, monkeypatch):
    monkeypatch.setenv("FUNNELGATE_ELASTIC__URL", elastic_url)
    monkeypatch.setenv("FUNNELGATE_ELASTIC__PREFIX", "never-set-up")
    refused(run("records", *command), 2, "never-set-up-plans is not there; run `funnelgate records setup`")
    assert waiting(store) == 2


# --- ship, status, revive


def test_what_waits_is_shipped_and_then_nothing_waits(store, cluster, run):
    before = fits("status", run("records", "status", "--json"))
    assert (before["pending"], before["shipped"], before["cluster"]["documents"]["records"]) == (2, 0, 0)
    assert before["oldest_seconds"] >= 0
    assert before["bytes"] > 0
    done = fits("ship", run("records", "ship", "--json"))
    assert (done["delivered"], done["pending"], done["quarantined"]) == (2, 0, 0)
    again = run("records", "ship")
    assert (again.code, again.out, again.err) == (0, "0 shipped, 0 left\n", "")
    after = fits("status", run("records", "status", "--json"))
    assert (after["pending"], after["oldest_seconds"], after["bytes"], after["shipped"]) == (0, None, 0, 2)
    assert after["cluster"]["reachable"]
    assert fits("verify", run("records", "verify", "--json"))["missing"] == 0
    documents = fits("status", run("records", "status", "--json"))["cluster"]["documents"]
    assert documents == dict.fromkeys((*Kind,), 1) | dict.fromkeys(
        ("expected", "verdicts", "evaluations", "incidents"), 0
    )
    assert "0 waiting (0 bytes); 2 shipped" in run("records", "status").out


@pytest.mark.slow
def test_a_block_ends_with_4_and_its_reason_and_everything_still_waits(store, cluster, run):
    url, prefix = cluster
    call(url, "PUT", f"/{prefix}-plans/_settings", {"index.blocks.write": True})
    try:
        ran = run("records", "ship")
    finally:
        call(url, "PUT", f"/{prefix}-plans/_settings", {"index.blocks.write": None})
    assert ran.code == 4
    assert "cluster_block_exception" in ran.err
    assert "an operator has blocked writing" in ran.err
    assert waiting(store) > 0
    assert run("records", "ship").code == 0
    assert run("records", "verify").code == 0


@pytest.mark.slow
def test_an_entry_that_is_refused_for_good_is_put_aside_listed_and_queued_again(store, cluster, run):
    poison(store)
    ran = run("records", "ship")
    assert (ran.code, ran.out) == (1, "2 shipped, 0 left\n")
    assert "1 put aside (1 refused, 0 in conflict); `funnelgate records status` tells why" in ran.err
    status = fits("status", run("records", "status", "--json"))
    assert status["quarantined"] == 1
    (aside,) = status["put_aside"]
    assert (aside["topic"], aside["document_id"], aside["fate"]) == ("record", "bad", "poison")
    assert "not a readable entry" in aside["error"]
    assert "poison: record bad: not a readable entry" in run("records", "status").out
    assert run("records", "ship").code == 0  # nothing new was put aside
    trial = fits("revive", run("records", "revive", "--dry-run", "--json"))
    assert (trial["revived"], len(trial["put_aside"])) == (0, 1)
    assert run("records", "revive").out == "1 queued again\n"
    assert waiting(store) == 1
    assert fits("revive", run("records", "revive", "--json")) == {"revived": 0, "put_aside": []}


@pytest.mark.slow
def test_a_version_booked_by_another_with_other_content_is_put_aside_as_a_conflict(store, cluster, run, tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'other.db'}") as other, other.begin() as work:
        work.put_record(make_record("index", planid="p", input=3))
    url = f"sqlite:///{tmp_path / 'other.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUNNELGATE_STORE__URL", url)
        assert run("records", "ship").code == 0
    ran = run("records", "ship")
    assert ran.code == 1
    assert "1 put aside (0 refused, 1 in conflict)" in ran.err
    replayed = run("records", "replay", "--json")
    assert fits("replay", replayed)["conflicts"] == 1
    assert run("records", "verify").code == 0


@pytest.mark.slow
def test_while_another_ships_nothing_is_shipped_and_the_end_says_so(store, cluster, run):
    assert SqlOutbox(store).lead("another", 600.0)
    ran = run("records", "ship", "--seconds", "0")
    assert ran.code == 4
    assert "2 entries wait" in ran.err
    assert "another shipper is at work" in ran.err
    SqlOutbox(store).resign("another")
    assert run("records", "ship", "--seconds", "60").code == 0
    assert SqlOutbox(store).lead("another", 600.0)
    assert run("records", "ship").code == 0  # nothing waits: nothing to wait for


@pytest.mark.slow
def test_a_spool_is_shipped_and_its_plan_counts_although_nobody_registered_it(cluster, run, tmp_path):
    url, prefix = cluster
    folder = tmp_path / "spool"
    with Spool(folder) as spool, SpoolStore(spool).begin() as work:
        work.put_record(make_record("index", planid="unregistered"))
    assert fits("status", run("records", "status", "--spool", str(folder), "--json"))["pending"] == 1
    ran = run("records", "ship", "--spool", str(folder), "--json")
    assert (ran.code, fits("ship", ran)["delivered"]) == (0, 1)
    _, answer = call(url, "POST", f"/{prefix}-effective/_refresh")
    _, answer = call(url, "GET", f"/{prefix}-effective/_search")
    (line,) = answer["hits"]["hits"]
    assert line["_source"]["effective_planid"] == "unregistered"
    assert not (Path("state") / "store.db").exists()  # no SQL store was made on the way


def test_a_spool_that_is_not_there_ends_with_2(cluster, run):
    refused(run("records", "ship", "--spool", "nowhere"), 2, "--spool nowhere: no such folder")


@pytest.mark.slow
def test_the_status_is_shown_also_when_the_cluster_is_away_or_none_is_named(store, run, monkeypatch):
    none = run("records", "status", "--json")
    assert fits("status", none)["cluster"] is None
    assert "elastic.url is not set" in run("records", "status").out
    monkeypatch.setenv("FUNNELGATE_ELASTIC__URL", f"http://127.0.0.1:{free_port()}")
    away = run("records", "status", "--json")
    assert away.code == 0
    cluster = fits("status", away)["cluster"]
    assert (cluster["reachable"], cluster["version"], cluster["documents"]) == (False, None, None)
    assert "cannot be reached" in cluster["error"]
    assert "cluster not reachable: " in run("records", "status").out


# --- verify, replay, export


def test_a_document_deleted_by_hand_ends_verify_with_1_until_a_replay(store, cluster, run):
    url, prefix = cluster
    assert run("records", "ship").code == 0
    assert run("records", "verify").code == 0
    call(url, "DELETE", f"/{prefix}-{RECORDS}/_doc/{RECORD.key.document_id()}")
    ran = run("records", "verify", "--json")
    found = fits("verify", ran)
    assert (ran.code, found["compared"], found["missing"], found["different"], found["extra"]) == (1, 4, 1, 0, 0)
    assert found["examples"] == [
        {"kind": "records", "id": RECORD.key.document_id(), "key": str(RECORD.key), "what": "missing", "fields": []}
    ]
    text = run("records", "verify")
    assert f"missing: records {RECORD.key}" in text.out
    assert "`funnelgate records replay` makes the cluster equal to SQL" in text.out
    assert fits("verify", run("records", "verify", "--examples", "0", "--json"))["examples"] == []
    assert run("records", "verify", "--date", "2026-11-02").code == 0
    trial = run("records", "replay", "--dry-run")
    assert "1 would be written" in trial.out
    assert f"missing: records {RECORD.key}" in trial.out
    done = run("records", "replay", "--json")
    assert (done.code, fits("replay", done)["written"]) == (0, 1)
    assert run("records", "verify").code == 0


@pytest.mark.slow
def test_what_still_waits_is_named_as_the_reason(store, cluster, run):
    ran = run("records", "verify")
    assert ran.code == 1
    assert "2 entries still wait to be shipped and may explain it" in ran.out
    assert fits("verify", run("records", "verify", "--json"))["pending"] == 2


@pytest.mark.slow
def test_extra_documents_stay_unless_told_otherwise(store, cluster, run):
    url, prefix = cluster
    run("records", "ship")
    call(url, "PUT", f"/{prefix}-{RECORDS}/_doc/by-hand", {"task": "x", "date": "2026-11-01"})
    kept = run("records", "replay")
    assert (kept.code, "1 documents that SQL does not know stay; --prune deletes them" in kept.out) == (0, True)
    assert run("records", "verify").code == 1
    assert "1 deleted" in run("records", "replay", "--prune").out
    assert run("records", "verify").code == 0


@pytest.mark.parametrize("command", ["verify", "replay", "export"])
def test_days_that_make_no_sense_end_with_2(command, cluster, run):
    refused(run("records", command, "--date", "x"), 2, "'x' is no day")
    refused(run("records", command, "--date", "2026-11-01", "--to", "2026-11-01"), 2, "give either --date, or --from")
    refused(run("records", command, "--from", "2026-11-02", "--to", "2026-11-01"), 2, "swap them")


@pytest.mark.slow
@pytest.mark.parametrize("source", ["sql", "elastic"])
def test_records_are_exported_from_either_store(source, store, cluster, run, tmp_path):
    newer = make_record("index", planid="p", attempt=2)
    with store.begin() as work:
        work.put_record(newer)
    run("records", "ship")
    run("records", "verify")  # refreshes
    out = run("records", "export", "--store", source).out
    assert [TaskRecord.from_document(json.loads(line)) for line in out.splitlines()] == store.records(RecordQuery())
    ran = run("records", "export", "--events", "--store", source, "--date", "2026-11-01", "--out", "e.jsonl")
    assert (ran.code, ran.out, ran.err) == (0, "", "2 records written to e.jsonl\n")
    lines = Path("e.jsonl").read_text(encoding="utf-8").splitlines()
    assert [TaskRecord.from_document(json.loads(line)) for line in lines] == [RECORD, newer]
    assert run("records", "export", "--store", source, "--from", "2026-11-02").out == ""


def test_an_unknown_format_ends_with_2(store, run):
    refused(run("records", "export", "--format", "xml"), 2, "--format 'xml' is none; expected jsonl, csv, parquet")


@pytest.mark.slow
def test_on_a_terminal_progress_is_shown_on_standard_error_only(store, cluster, run, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shipped = run("records", "ship", "--json")
    assert fits("ship", shipped)["delivered"] == 2
    assert "2 of 2 entries shipped" in shipped.err
    verified = run("records", "verify", "--json")
    assert (fits("verify", verified)["missing"], verified.code) == (0, 0)
    assert "records compared" in verified.err

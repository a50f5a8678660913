"""A pipeline of one's own: a recorder, a spool folder, a sink, and nothing else of ours. The example runs."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import reporting
from reporting.digest import Digest
from reporting.effective import leaf_of
from reporting.errors import ConfigError, StoreError
from reporting.key import RunKey
from reporting.outbox import Fate, Outcome
from reporting.plans import PlanKind
from reporting.record import State, TaskRecord
from reporting.recorder import Recorder
from reporting.spool import Spool
from reporting.spool_store import SpoolStore
from reporting.stores.base import RecordQuery
from reporting.testing import make_plan
from tests.architecture.pages import blocks

KEY = RunKey.model_validate({"task": "filter", "date": "2026-11-01", "planid": "p1"})


def work(recorder, *, until=None, key=KEY):
    """Take three items, keep two, drop one, and perhaps raise."""
    with recorder.task(key) as books:
        books.take(["a", "b", "c"])
        if until is not None:
            raise until
        books.keep(["a", "b"])
        books.drop("blurred", ["c"])


class Cluster:
    """A sink that keeps what it is given; while it is down nothing can be delivered."""

    def __init__(self):
        self.entries = []
        self.down = False

    def open(self):
        if self.down:
            raise StoreError("https://es:9200: connection refused")
        return self

    def deliver(self, entries):
        if self.down:
            raise StoreError("https://es:9200: connection refused")
        self.entries += entries
        return [Outcome(entry, Fate.DELIVERED) for entry in entries]

    def records(self):
        return [TaskRecord.model_validate_json(entry.body) for entry in self.entries if entry.topic == "record"]


def spooled(folder):
    with Spool(folder) as spool:
        return [TaskRecord.model_validate_json(entry.body) for entry in spool.peek(10**6, 10**9)]


def test_the_first_line_of_a_user_gets_the_recorder_and_no_library_it_does_not_need():
    code = (
        "import sys; from reporting import Recorder, RunKey; import reporting.recorder as r\n"
        "assert Recorder is r.Recorder\n"
        "print(sorted({'sqlalchemy', 'elasticsearch', 'pandas', 'typer', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_hub_has_no_other_names():
    with pytest.raises(AttributeError, match="'reporting' has no attribute 'Nonsense'"):
        _ = reporting.Nonsense


def test_records_to_a_spool_are_there_when_the_block_ends(tmp_path):
    with Recorder.to_spool(tmp_path) as recorder:
        work(recorder)
        with pytest.raises(ValueError, match="bad"):
            work(recorder, until=ValueError("bad"), key=KEY.model_copy(update={"task": "embed"}))
        first, second = spooled(tmp_path)
    assert (first.key, first.state, first.output) == (KEY, State.SUCCEEDED, 2)
    assert (second.state, second.failed) == (State.FAILED, {"ValueError": 3})


def test_a_recorder_with_a_sink_ships_beside_the_work_and_leaves_nothing(tmp_path):
    cluster = Cluster()
    with Recorder.to_sink(cluster.open, tmp_path) as recorder:
        for number in range(20):
            work(recorder, key=KEY.model_copy(update={"subinstance": f"{number:04}"}))
    assert sorted(record.key.subinstance for record in cluster.records()) == [f"{number:04}" for number in range(20)]
    assert spooled(tmp_path) == []


def test_an_outage_keeps_records_in_the_spool_says_so_and_the_next_recorder_ships_them(tmp_path, caplog):
    cluster = Cluster()
    cluster.down = True
    with caplog.at_level(logging.WARNING, "funnelgate"):
        recorder = Recorder.to_sink(cluster.open, tmp_path, name="https://es:9200")
        work(recorder)
        recorder.close(flush_seconds=0)
    told = caplog.messages[-1]
    assert f"1 entries wait in the spool {tmp_path} and are not yet at https://es:9200" in told
    cluster.down = False
    with Recorder.to_sink(cluster.open, tmp_path):
        pass
    assert [record.key for record in cluster.records()] == [KEY]


def test_closing_twice_does_nothing_more(tmp_path):
    cluster = Cluster()
    recorder = Recorder.to_sink(cluster.open, tmp_path)
    work(recorder)
    recorder.close()
    recorder.close()
    assert len(cluster.entries) == 1


def test_a_process_that_never_closes_its_recorder_ships_at_its_end(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from reporting import Recorder, RunKey\n"
        "from reporting.outbox import Fate, Outcome\n"
        "class Sink:\n"
        "    def deliver(self, entries):\n"
        "        with Path(sys.argv[2]).open('a') as file:\n"
        "            file.writelines(entry.document_id + '\\n' for entry in entries)\n"
        "        return [Outcome(entry, Fate.DELIVERED) for entry in entries]\n"
        "recorder = Recorder.to_sink(Sink, sys.argv[1])\n"
        "for n in range(50):\n"
        "    with recorder.task(RunKey(task='t', date='2026-11-01', planid=f'p{n}')) as books: books.take(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "spool", tmp_path / "sunk"], check=True)
    assert len(set((tmp_path / "sunk").read_text().split())) == 50
    assert spooled(tmp_path / "spool") == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"url": "es:9200"}, "es:9200"),
        ({"url": "https://es:9200", "prefix": "Upper"}, "prefix"),
        ({"url": "https://es:9200", "ca_certs": Path("absent.pem")}, "absent.pem"),
        ({"url": "https://es:9200", "ca_fingerprint": "xyz"}, "ca_fingerprint"),
        ({"url": "https://es:9200", "api_key": "no key: secret"}, "API_KEY"),
    ],
)
def test_what_no_cluster_could_take_is_refused_at_once_and_no_secret_told(arguments, says, tmp_path):
    with pytest.raises(ConfigError, match=says) as refused:
        Recorder.to_elasticsearch(**arguments, spool=tmp_path)
    assert "secret" not in str(refused.value)


def test_the_key_comes_from_the_environment_where_none_is_given(tmp_path, monkeypatch):
    seen = []

    def open_sink(settings):
        seen.append(settings)
        return Cluster()

    monkeypatch.setattr("reporting.elastic.opening.open_sink", open_sink)
    monkeypatch.setenv("FUNNELGATE_ELASTIC__API_KEY", "ZW52aXJvbm1lbnQ=")
    with Recorder.to_elasticsearch("https://es:9200", tmp_path / "a", prefix="test") as recorder:
        work(recorder)
    with Recorder.to_elasticsearch("https://es:9200", tmp_path / "b", api_key="Z2l2ZW4=") as recorder:
        work(recorder)
    assert [one.api_key.get_secret_value() for one in seen] == ["ZW52aXJvbm1lbnQ=", "Z2l2ZW4="]
    assert [one.prefix for one in seen] == ["test", "funnelgate"]


# --- the example and the page ----------------------------------------------------------------------------


def environment(**more):
    """Return what a user's terminal gives: this Python's commands first, and the checkout importable."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(Path(__file__).parents[2]), **more}


def test_the_example_in_python_books_every_line_of_its_day(repository, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("shoe\nhat\n\nshoe\nx\n")
    script = repository / "examples" / "own_pipeline" / "filter_day.py"
    for day in ("2026-11-01", "2026-11-02"):
        subprocess.run([sys.executable, script, words, day, tmp_path / "spool"], env=environment(), check=True)
    records = spooled(tmp_path / "spool")
    assert [(str(r.key), r.input, r.output, r.dropped) for r in records] == [
        (f"filter/{day}/all/all/nightly-{day}", 5, 2, {"duplicate": 1, "empty": 1, "too_short": 1})
        for day in ("2026-11-01", "2026-11-02")
    ]
    assert all(record.digest_in is not None for record in records)


def test_the_example_in_a_shell_books_what_it_counts(repository, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("shoe\nhat\n\nshoe\nx\n")
    script = repository / "examples" / "own_pipeline" / "filter_day.sh"
    done = subprocess.run(
        ["bash", script, words, "2026-11-01", tmp_path / "spool"],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (record,) = spooled(tmp_path / "spool")
    assert (str(record.key), record.input, record.output) == ("count/2026-11-01/all/all/nightly-2026-11-01", 5, 3)
    assert record.dropped == {"empty": 1, "duplicate": 1}
    assert record.seconds >= 0


def test_the_example_in_a_shell_books_a_failure_and_fails_itself(repository, tmp_path):
    script = repository / "examples" / "own_pipeline" / "filter_day.sh"
    done = subprocess.run(
        ["bash", script, tmp_path / "absent.txt", "2026-11-01", tmp_path / "spool"],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    (record,) = spooled(tmp_path / "spool")
    assert (record.state, record.input) == (State.FAILED, 0)


def test_the_python_of_the_page_runs_as_it_stands(repository, tmp_path, monkeypatch):
    """All but the cluster: the recorder of the page writes to the spool of the page."""
    page = repository / "docs" / "own-pipeline.md"
    cluster = Cluster()
    monkeypatch.setattr("reporting.elastic.opening.open_sink", lambda _: cluster)
    monkeypatch.chdir(tmp_path)
    (first, *others) = [text for text in blocks(page, "python") if "spark" not in text]
    text = re.sub("/var/spool/funnelgate", str(tmp_path / "spool"), "\n".join([first, *others, "recorder.close()"]))
    exec(compile(text, page.name, "exec"), {})
    assert [(str(record.key), record.input, record.output) for record in cluster.records()] == [
        ("filter/2026-11-01/shoes/all/nightly-1", 3, 2),
        ("filter/2026-11-02/all/all/nightly-1", 2, 1),
    ]
    assert [entry.topic for entry in cluster.entries if entry.topic != "record"] == ["plan", "expected"]


def test_the_commands_of_the_page_write_what_they_say(repository, tmp_path):
    for text in blocks(repository / "docs" / "own-pipeline.md", "bash"):
        command = text.replace("/var/spool/funnelgate", str(tmp_path / "spool"))
        subprocess.run(["bash", "-ec", command], env=environment(), cwd=tmp_path, check=True)
    counted, digested = spooled(tmp_path / "spool")
    assert (counted.input, counted.output, counted.failed, counted.metrics) == (
        100,
        90,
        {"OSError": 3},
        {"sharpness": 0.8},
    )
    assert (digested.input, digested.output) == (3, 2)
    assert (digested.digest_in, digested.digest_out) == (str(Digest.of("abc")), str(Digest.of("ab")))


# --- a real cluster ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_a_pipeline_of_ones_own_recorded_before_and_after_the_setup_is_in_the_cluster(
    elastic_url, elastic_prefix, tmp_path
):
    from reporting.elastic.client import connect
    from reporting.elastic.setup import setup
    from reporting.settings import ElasticSettings
    from reporting.stores.elastic import ElasticStore

    settings = ElasticSettings(url=elastic_url, prefix=elastic_prefix)
    keys = [KEY.model_copy(update={"subinstance": f"{number:04}"}) for number in range(30)]
    early = Recorder.to_elasticsearch(elastic_url, tmp_path, prefix=elastic_prefix)
    for key in keys[:10]:
        work(early, key=key)
    early.close(flush_seconds=0)  # there are no indices yet: all of it stays in the spool
    assert len(spooled(tmp_path)) == 10
    with connect(settings) as client:
        setup(client, elastic_prefix, ())
    plan = make_plan("p1", PlanKind.RERUN, dates=(KEY.date,))
    with Recorder.to_elasticsearch(elastic_url, tmp_path, prefix=elastic_prefix) as recorder:
        for key in keys[10:]:
            work(recorder, key=key)
        with recorder.task(keys[0], attempt=2) as books:
            books.take(3)
            books.keep(2)
            books.drop("blurred", 1)
        for changed in (plan, plan.model_copy(update={"reason": "repaired"})):
            with Spool(tmp_path) as spool, SpoolStore(spool).begin() as unit:
                unit.put_plan(changed)
                unit.expect("p1", [leaf_of(key) for key in keys])
    assert spooled(tmp_path) == []
    with Spool(tmp_path) as spool:
        assert (spool.dead(), spool.status().shipped) == ([], 35)
    with connect(settings) as client:
        client.indices.refresh(index=f"{elastic_prefix}-*")
    with ElasticStore.open(settings) as store:
        records = store.records(RecordQuery(planids=("p1",)))
        assert [record.key for record in records] == keys
        assert {(record.input, record.output) for record in records} == {(3, 2)}
        assert len(store.history(keys[0])) == 2
        found = store.get_plan("p1")
        assert found is not None
        assert (found.kind, found.reason) == (PlanKind.RERUN, "repaired")
        assert store.expected("p1") == {leaf_of(key) for key in keys}

"""OpenLineage events as records: what facets carry is booked, what they do not is named, and nothing is made up.

`openlineage/nightly.jsonl` was written by openlineage-python 1.54.0 (spec 2-0-2), the reference client.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting.errors import DataError
from reporting.key import RunKey
from reporting.openlineage import Event, convert, read_events, task_name
from reporting.record import State
from reporting.spool import Spool

NIGHTLY = Path(__file__).parent / "openlineage" / "nightly.jsonl"
DAG = "01931f10-0000-7000-8000-00000000da60"
FILE = Path("events.jsonl")


def event(kind="COMPLETE", at="2026-11-01T10:00:00Z", *, run="r1", job="filter", facets=None, **more):
    return {
        "eventType": kind,
        "eventTime": at,
        "producer": "https://example.org/producer",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": run, "facets": facets or {}},
        "job": {"namespace": "ns", "name": job},
        **more,
    }


def taken(*counts):
    return [
        {"namespace": "s3", "name": f"in{number}", "inputFacets": {"inputStatistics": {"rowCount": count}}}
        for number, count in enumerate(counts)
    ]


def handed_on(*counts):
    return [
        {"namespace": "s3", "name": f"out{number}", "outputFacets": {"outputStatistics": {"rowCount": count}}}
        for number, count in enumerate(counts)
    ]


def a_run(inputs=None, outputs=None, drops=None, *, kind="COMPLETE", facets=None, **more):
    """Return the two events of a run."""
    end = {"funnelgate_drops": drops} if drops is not None else {}
    return [
        event("START", "2026-11-01T09:00:00Z", **more),
        event(
            kind,
            "2026-11-01T10:00:00Z",
            facets=end | (facets or {}),
            inputs=taken(10) if inputs is None else inputs,
            outputs=handed_on(10) if outputs is None else outputs,
            **more,
        ),
    ]


def converted(events, **options):
    return convert([Event(line, one) for line, one in enumerate(events, 1)], FILE, **{"planid": "p1", **options})


def missing(events, **options):
    found = converted(events, **options)
    assert found.records == []
    (run,) = found.incomplete
    return "; ".join(run.missing)


# --- the reference client's events ----------------------------------------------------------------


def test_the_reference_clients_events_are_the_records_they_mean():
    found = convert(read_events(NIGHTLY), NIGHTLY)
    booked = [(r.key.task, r.state.value, r.input, r.output, r.produced, r.dropped, r.failed) for r in found.records]
    assert booked == [
        ("nightly.filter", "succeeded", 100, 90, 90, {"blurred": 7}, {"OSError": 3}),
        ("nightly.join", "succeeded", 100, 100, 100, {}, {}),
        ("nightly.embed", "failed", 60, 0, 0, {}, {"SparkException": 60}),
        ("nightly.embed", "succeeded", 60, 60, 60, {}, {}),
    ]
    first, _, failed, repaired = found.records
    assert first.key == RunKey.model_validate({"task": "nightly.filter", "date": "2026-11-01", "planid": DAG})
    assert first.seconds == 120.5
    assert first.versions["spark"] == "4.0.1"
    assert first.versions["openlineage_adapter"] == "1.38.0"
    assert failed.error is not None
    assert failed.error.message == "org.apache.spark.SparkException: Job aborted: no space"
    assert failed.key == repaired.key
    assert failed.version < repaired.version
    assert (found.runs, found.ignored) == (6, 1)


def test_the_reference_clients_incomplete_runs_are_listed_with_what_they_lack():
    found = convert(read_events(NIGHTLY), NIGHTLY)
    assert [run.job for run in found.incomplete] == ["airflow/nightly.index", "airflow/nightly.report"]
    unexplained, running = (" ".join(run.missing) for run in found.incomplete)
    assert "input 60, output 58" in unexplained
    assert "2 unexplained" in unexplained
    assert "the run has not ended" in running
    assert any("input is the sum of 2 datasets: 90 + 10" in note for note in found.notes)


def test_a_json_array_says_the_same_as_json_lines(tmp_path):
    lines = NIGHTLY.read_text().splitlines()
    array = tmp_path / "array.json"
    array.write_text("\n [" + ",\n".join(lines) + "]")
    assert convert(read_events(array), array) == convert(read_events(NIGHTLY), NIGHTLY)


def test_the_order_of_events_does_not_matter():
    events = list(read_events(NIGHTLY))
    expected = convert(events, NIGHTLY)
    for seed in range(5):
        random.Random(seed).shuffle(events)
        assert convert(events, NIGHTLY) == expected


# --- what is booked ---------------------------------------------------------------------------------


def test_a_difference_that_no_facet_explains_gives_no_record():
    text = missing(a_run(taken(10), handed_on(8)))
    assert "input 10, output 8, dropped {}, failed {}: 2 unexplained" in text
    assert "funnelgate_drops" in text


def test_more_out_than_in_gives_no_record_also_when_the_run_failed():
    assert "-2 unexplained" in missing(a_run(taken(8), handed_on(10)))
    assert "-2 unexplained" in missing(a_run(taken(8), handed_on(10), kind="FAIL"))


def test_a_task_that_changes_the_unit_says_its_output():
    (record,) = converted(a_run(taken(10), handed_on(24), {"dropped": {"blurred": 2}, "output": 8})).records
    assert (record.input, record.output, record.produced) == (10, 8, 24)


@pytest.mark.parametrize(
    ("inputs", "outputs", "says"),
    [
        ([], handed_on(1), "no row count of inputs: the run names no input"),
        (taken(1), [], "no row count of outputs: the run names no output"),
        (
            [{"namespace": "s3", "name": "raw"}],
            handed_on(1),
            "no row count of input s3/raw: facet inputStatistics missing",
        ),
        (taken(1), [{"namespace": "s3", "name": "x", "outputFacets": {"outputStatistics": {"size": 5}}}], "s3/x"),
        (taken(1, None), handed_on(1), "s3/in1"),
        (taken(-1), handed_on(1), "row count -1 of input s3/in0 is no count"),
        (taken(True), handed_on(1), "row count True"),
        (taken("7"), handed_on(7), "row count '7'"),
        (taken(1.5), handed_on(1), "row count 1.5"),
    ],
)
def test_a_count_that_is_missing_or_none_is_named(inputs, outputs, says):
    assert says in missing(a_run(inputs, outputs))


def test_zero_is_a_count():
    (record,) = converted(a_run(taken(0), handed_on(0))).records
    assert (record.input, record.output) == (0, 0)


@pytest.mark.parametrize(
    ("drops", "says"),
    [
        ({"dropped": {"blurred": -1}}, "dropped.blurred"),
        ({"dropped": {"a/b": 1}}, "dropped.a/b"),
        ({"dropped": {"blurred": "2"}}, "dropped.blurred"),
        ({"droped": {}}, "droped"),
    ],
)
def test_a_drops_facet_that_cannot_be_used_is_named(drops, says):
    text = missing(a_run(taken(10), handed_on(8), drops))
    assert "run facet funnelgate_drops is unusable" in text
    assert says in text


def test_the_base_fields_that_every_facet_has_are_no_drops():
    drops = {"_producer": "https://x", "_schemaURL": "https://y", "dropped": {"blurred": 2}}
    assert converted(a_run(taken(10), handed_on(8), drops)).records[0].dropped == {"blurred": 2}


def test_data_quality_metrics_count_where_there_are_no_input_statistics():
    metrics = {"namespace": "s3", "name": "raw", "inputFacets": {"dataQualityMetrics": {"rowCount": 10}}}
    both = {**metrics, "inputFacets": {"dataQualityMetrics": {"rowCount": 10}, "inputStatistics": {"rowCount": 7}}}
    of_the_dataset = {"namespace": "s3", "name": "raw", "facets": {"dataQualityMetrics": {"rowCount": 4}}}
    assert [
        converted(a_run([dataset], handed_on(count))).records[0].input
        for dataset, count in ((metrics, 10), (both, 7), (of_the_dataset, 4))
    ] == [10, 7, 4]


def test_counts_that_grow_while_a_job_runs_are_not_added_up():
    running = event("RUNNING", "2026-11-01T09:30:00Z", inputs=taken(4), outputs=handed_on(4))
    (record,) = converted([*a_run(), running]).records
    assert record.input == 10


def test_an_aborted_run_without_an_error_says_so():
    (record,) = converted(a_run(taken(10), [], kind="ABORT")).records
    assert (record.state, record.output, record.failed) == (State.FAILED, 0, {"ABORT": 10})
    assert record.error is not None
    assert "errorMessage missing" in record.error.message


def test_a_failed_run_without_an_input_count_gives_no_record():
    assert "no row count of inputs" in missing(a_run([], [], kind="FAIL"))


@given(
    counts=st.tuples(*[st.integers(0, 50)] * 4),
    shift=st.sampled_from([0, 0, 1, -1]),
)
def test_a_record_is_made_exactly_when_the_books_close(counts, shift):
    kept, blurred, dead, broken = counts
    total = max(0, kept + blurred + dead + broken + shift)
    drops = {"dropped": {"blurred": blurred, "dead": dead}, "failed": {"OSError": broken}}
    found = converted(a_run(taken(total), handed_on(kept), drops))
    closes = total == sum(counts)
    assert (len(found.records), len(found.incomplete)) == ((1, 0) if closes else (0, 1))
    if closes:
        assert found.records[0].dropped_total == blurred + dead


# --- the key ----------------------------------------------------------------------------------------


def test_the_day_is_the_nominal_one_as_it_is_written_else_the_events_which_is_said():
    nominal = {"nominalTime": {"nominalStartTime": "2026-10-31T00:00:00+14:00"}}
    (record,) = converted(a_run(facets=nominal)).records
    assert record.key.date.isoformat() == "2026-10-31"
    late = [event("START", "2026-11-01T23:00:00-05:00"), event(at="2026-11-01T23:30:00-05:00", inputs=taken(1))]
    late[1]["outputs"] = handed_on(1)
    found = converted(late)
    assert found.records[0].key.date.isoformat() == "2026-11-02"
    assert any("nominalTime missing: date 2026-11-02" in note for note in found.notes)


def test_the_plan_is_the_given_one_else_the_root_of_the_parents_else_the_parent():
    parent = {"parent": {"run": {"runId": "task-run"}, "job": {"namespace": "a", "name": "b"}}}
    root = {"parent": {**parent["parent"], "root": {"run": {"runId": "dag-run"}}}}
    plans = [
        converted(a_run(facets=facets), planid=planid).records[0].key.planid
        for facets, planid in ((root, "given"), (root, None), (parent, None))
    ]
    assert plans == ["given", "dag-run", "task-run"]
    assert "name one with --planid" in missing(a_run(), planid=None)


@pytest.mark.parametrize(
    ("job", "task"),
    [
        ("dag.task", "dag.task"),
        ("s3://a/b", "s3___a_b"),
        (".hidden. ", "hidden"),
        ("a" * 300, "a" * 128),
        ("货号", "货号"),
        ("a\nb", "a_b"),
        ("...", "_"),
    ],
)
def test_any_job_name_becomes_a_valid_task_name(job, task):
    assert task_name(job) == task
    assert converted(a_run(job=job)).records[0].key.task == task


@given(st.text())
def test_a_task_name_is_always_a_valid_key_part(job):
    name = task_name(job)
    assert RunKey.model_validate({"task": name, "date": "2026-11-01", "planid": "p"}).task == name


def test_two_jobs_that_would_be_one_task_are_refused_until_they_are_told_apart():
    events = [*a_run(job="a/b", run="1"), *a_run(job="a:b", run="2")]
    with pytest.raises(DataError, match=r"'ns/a/b' and 'ns/a:b' would both be task 'a_b'.*--task-map"):
        converted(events)
    found = converted(events, tasks={"a/b": "first", "ns/a:b": "second"})
    assert [record.key.task for record in found.records] == ["first", "second"]


def test_runs_of_one_key_that_end_within_a_second_are_told_and_not_mixed():
    found = converted([*a_run(run="1"), *a_run(taken(5), handed_on(5), run="2")])
    assert [record.input for record in found.records] == [10]
    assert "ended within the same second" in found.incomplete[0].missing[0]


def test_a_run_without_a_start_or_that_ends_before_it_gives_no_record():
    start, end = a_run()
    assert "no START event" in missing([end])
    assert "is before START" in missing([{**start, "eventTime": "2026-11-01T11:00:00Z"}, end])


# --- bad files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"eventType": "START"\n', ":1: not JSON"),
        (json.dumps(event()) + "\n\n{nonsense}\n", ":3: not JSON"),
        ("[1]", ":1: an event is a JSON object, found int"),
        ("\n7\n", ":2: an event is a JSON object"),
        ('[{"a": 1},\n oops]', ":2: not JSON"),
        (json.dumps({"run": {"runId": "x"}}), ":1: not an OpenLineage run event: no 'eventTime'"),
        (json.dumps(event() | {"run": None}), ":1: not an OpenLineage run event"),
        (json.dumps(event("DONE")), "eventType 'DONE' is none of START"),
        (json.dumps(event(at="yesterday")), "yesterday"),
        (json.dumps(event() | {"inputs": [{"namespace": "x"}]}), "no 'name'"),
        (json.dumps({"hello": 1}), "neither of a run"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(text, says, tmp_path, run):
    path = tmp_path / "events.jsonl"
    path.write_text(text)
    ran = run("records", "from-openlineage", str(path), "--planid", "p", "--spool", str(tmp_path / "spool"))
    assert ran.code == 2
    assert str(path) in ran.err
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path, run):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    assert "cannot be read" in run("records", "from-openlineage", str(tmp_path / "absent")).err
    assert "not UTF-8" in run("records", "from-openlineage", str(tmp_path / "bytes")).err


# --- the command --------------------------------------------------------------------------------------


def test_the_command_writes_the_records_and_names_the_rest(tmp_path, run):
    ran = run("records", "from-openlineage", str(NIGHTLY), "--spool", str(tmp_path / "spool"), "--json")
    assert ran.code == 3
    report = ran.json()
    assert (report["runs"], report["records"], report["ignored"]) == (6, 4, 1)
    assert report["outcomes"] == {"stored": 4}
    assert [set(run) for run in report["incomplete"]] == [{"run", "job", "missing"}] * 2
    assert report["keys"][0] == f"nightly.filter/2026-11-01/all/all/{DAG}"
    with Spool(tmp_path / "spool") as spool:
        assert len(spool.peek(100, 10**9)) == 4


def test_a_dry_run_writes_nothing(tmp_path, run):
    ran = run("records", "from-openlineage", str(NIGHTLY), "--spool", str(tmp_path / "spool"), "--dry-run")
    assert ran.code == 3
    assert "6 runs: 4 records, 2 incomplete; nothing written (dry run)" in ran.out
    assert "incomplete  airflow/nightly.index" in ran.out
    assert not (tmp_path / "spool").exists()


def test_the_same_file_twice_is_a_repeat_in_the_projects_store(project, run):
    events = project / "events.jsonl"
    lines = a_run(taken(10), handed_on(8), {"dropped": {"blurred": 2}}, job="dag.hash")
    events.write_text("\n".join(map(json.dumps, lines)))
    (project / "map.yaml").write_text("dag.hash: hash\n")
    command = ("records", "from-openlineage", str(events), "--planid", "p1", "--task-map", "map.yaml", "--json")
    first, second = run(*command), run(*command)
    assert (first.code, first.json()["outcomes"]) == (0, {"stored": 1}), first.err
    assert (second.code, second.json()["outcomes"]) == (0, {"repeat": 1})
    assert len(run("records", "history", "hash/2026-11-01/all/all/p1", "--json").json()) == 1


def test_a_task_the_projects_graph_does_not_know_is_refused_and_nothing_written(project, run):
    events = project / "events.jsonl"
    events.write_text("\n".join(map(json.dumps, [*a_run(job="hash", run="1"), *a_run(job="hsh", run="2")])))
    ran = run("records", "from-openlineage", str(events), "--planid", "p1")
    assert ran.code == 2
    assert "unknown task 'hsh'; did you mean hash?" in ran.err
    assert run("records", "list", "--plan", "p1").code == 2


def test_a_task_map_that_is_none_is_refused(tmp_path, run):
    (tmp_path / "map.yaml").write_text("- a\n")
    ran = run("records", "from-openlineage", str(NIGHTLY), "--task-map", str(tmp_path / "map.yaml"))
    assert ran.code == 2
    assert "expected lines `job: task`" in ran.err

"""Run files: every form says the same, what is wrong is counted or refused, and a saved system comes back as it was."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from evaluation.answers import Answers, Hit, Status, answers_of
from evaluation.catalog import CatalogImage
from evaluation.evalset import Label, Query
from evaluation.measure import measure
from evaluation.ranking import rank
from evaluation.searchers.run_file import is_run, read_system, write_system
from evaluation.system import Fact, System, View
from reporting.errors import DataError
from tests.evaluation.slow_ranking import WORLDS, evalset_of, lists_of

SET = evalset_of(
    [CatalogImage(image_id=str(at), group_id=f"g{at % 3}", category="c") for at in range(6)],
    [Label(query_id=f"q{at}", group_id=f"g{at}") for at in range(3)],
)
TREC = "q0 Q0 3 1 0.9 me\nq0 Q0 1 2 0.5 me\n\nq1 Q0 1 1 2e0 me\n# a comment\nq2\tQ0\t99 7 -1 me\n"
COLUMNS = {
    "query_id": ["q0", "q0", "q1", "q2"],
    "image_id": ["3", "1", "1", "99"],
    "score": [0.9, 0.5, 2.0, -1.0],
}


def served(path: Path) -> Answers:
    return read_system(path, SET).views[View.SERVED]


def parquet(path: Path, columns: dict[str, Any], **metadata: str) -> Path:
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata or None), path)
    return path


def test_every_form_of_one_run_gives_the_same_answers(tmp_path):
    (tmp_path / "a.run").write_text(TREC)
    (tmp_path / "a.trec").write_bytes(b"\xef\xbb\xbf" + TREC.replace("\n", "\r\n").encode())
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(TREC.encode()))
    parquet(tmp_path / "a.parquet", COLUMNS)
    numbers = {"query_id": COLUMNS["query_id"], "image_id": pa.array([3, 1, 1, 99]), "distance": [-0.9, -0.5, -2, 1.0]}
    parquet(tmp_path / "b.parquet", numbers)
    coded = {**COLUMNS, "image_id": pa.array(COLUMNS["image_id"]).dictionary_encode(), "rank": [1, 2, 1, 1]}
    parquet(tmp_path / "c.parquet", coded)
    for path in sorted(tmp_path.iterdir()):
        assert is_run(path)
        answers = served(path)
        assert answers.query_ids == ("q0", "q1", "q2")
        assert set(answers.statuses) == {Status.ANSWERED}
        assert answers.row.tolist() == [0, 0, 1, 2]
        assert answers.image_id.tolist() == ["3", "1", "1", "99"]
        assert answers.distance.tolist() == [-0.9, -0.5, -2, 1]
        assert answers.group_id is None
    assert read_system(tmp_path / "a.run", SET).name == "a.run"
    assert len({read_system(path, SET).inputs["run"] for path in tmp_path.iterdir()}) == 6


def test_what_became_of_each_query_is_told_by_its_rows(tmp_path):
    path = parquet(
        tmp_path / "a.parquet",
        {
            "query_id": ["q2", "q0", "q1", "q0"],
            "image_id": [None, "3", None, ""],
            "distance": [None, 0.5, None, None],
            "group_id": [None, "g0", None, None],
            "status": ["timeout", None, "answered", "answered"],
            "seconds": [3.0, 0.25, None, 0.5],
            "error": ["no reply in 3 s", None, None, None],
        },
    )
    answers = served(path)
    assert answers.statuses == (Status.ANSWERED, Status.ANSWERED, Status.TIMEOUT)
    assert answers.image_id.tolist() == ["3", ""]
    assert answers.group_id is not None
    assert answers.group_id.tolist() == ["g0", ""]
    assert answers.seconds is not None
    np.testing.assert_array_equal(answers.seconds, [0.5, np.nan, 3.0])
    assert dict(answers.errors) == {"q2": "no reply in 3 s"}
    found = measure(System("run", {View.SERVED: answers}), SET)
    assert found.values["answer_rate"].tolist() == [1, 1, 0]
    assert found.views[View.SERVED].padded.tolist() == [1, 0, 0]


def test_a_searcher_that_died_half_way_leaves_queries_missing_and_scored_zero(tmp_path):
    path = tmp_path / "half.run"
    path.write_text("q0 Q0 0 1 0.9 me\n")
    system = read_system(path, SET)
    assert system.views[View.SERVED].statuses == (Status.ANSWERED, Status.MISSING, Status.MISSING)
    found = measure(system, SET)
    assert found.values["hit@1"].tolist() == [1, 0, 0]
    assert found.values["answer_rate"].mean() == pytest.approx(1 / 3)


@pytest.mark.parametrize("score", ["nan", "-inf", "1e999"])
def test_a_list_without_an_order_is_an_error_of_its_query_and_the_others_count(tmp_path, score):
    path = tmp_path / "a.run"
    path.write_text(f"q0 Q0 0 1 0.9 me\nq1 Q0 1 1 {score} me\nq1 Q0 4 1 0.3 me\n")
    answers = served(path)
    assert answers.statuses == (Status.ANSWERED, Status.ERROR, Status.MISSING)
    assert "picture '1' has distance or score" in answers.errors["q1"]
    found = measure(System("run", {View.SERVED: answers}), SET)
    assert found.values["hit@1"].tolist() == [1, 0, 0]
    assert found.values["answer_rate"].tolist() == [1, 0, 0]


def test_unknown_pictures_unknown_queries_repeated_answers_and_padding_are_counted(tmp_path):
    path = tmp_path / "a.run"
    path.write_text("q0 Q0 77 1 3 m\nq0 Q0 0 2 2 m\nq9 Q0 1 1 1 m\nq0 Q0 0 1 5 m\nq0 Q0 -1 9 0 m\nq8 Q0 1 1 1 m\n")
    system = read_system(path, SET)
    ranked = rank(system.views[View.SERVED], SET)
    assert [int(one[0]) for one in (ranked.orphans, ranked.duplicates, ranked.padded)] == [1, 1, 1]
    assert ranked.image_names[0].tolist() == ["0", "77"]
    assert system.facts == (Fact(metric="unknown_queries", value=2, n=3, examples=("q8", "q9")),)


def test_rows_that_disagree_on_their_query_are_an_error_of_it(tmp_path):
    columns = {
        "query_id": ["q0", "q0"], "image_id": ["0", None], "distance": [0.1, None], "status": ["answered", "timeout"]
    }  # fmt: skip
    answers = served(parquet(tmp_path / "a.parquet", columns))
    assert answers.statuses[0] is Status.ERROR
    assert answers.errors["q0"] == "its rows disagree on its status: answered, timeout"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty run: it answers none of 3 queries"),
        ("# nothing\n\n", "an empty run"),
        ("q0 Q0 1 1 0.5\n", r"a.run:1: 5 columns; expected 6"),
        ("q0 Q0 1 1 0.5 me\nq1 Q0 1 1 0.5 me too\n", r"a.run:2: 7 columns"),
        ("q0 Q0 1 1 high me\n", r"a.run:1: score 'high'; expected a number"),
        ("x Q0 1 1 0.5 me\ny Q0 1 1 0.5 me\n", r"none of its 2 queries \('x', ...\) is in hand@0"),
    ],
)
def test_a_run_that_cannot_be_judged_is_refused(tmp_path, text, message):
    path = tmp_path / "a.run"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_system(path, SET)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distance": [1.0] * 4}, "expected exactly one of distance and score"),
        ({"score": None}, "expected exactly one of distance and score"),
        ({"image_id": None}, "no column image_id; it has query_id, score"),
        ({"statuss": ["answered"] * 4}, "column 'statuss'; did you mean status"),
        ({"status": ["answered", "timeuot"] * 2}, "row 2: unknown status 'timeuot'; did you mean timeout"),
        ({"score": ["high"] * 4}, "column score is .*string; expected numbers"),
        ({"image_id": [0.5] * 4}, "column image_id is double; expected text or whole numbers"),
        ({"query_id": ["q0", None, "q1", "q2"]}, "row 2: no query_id"),
        (
            {"query_id": pa.array([], pa.string()), "image_id": pa.array([], pa.string()), "score": []},
            "an empty run|score",
        ),
    ],
)
def test_a_table_that_cannot_be_a_run_is_refused(tmp_path, change, message):
    columns = {name: column for name, column in {**COLUMNS, **change}.items() if column is not None}
    with pytest.raises(DataError, match=message):
        read_system(parquet(tmp_path / "a.parquet", columns), SET)


def test_files_that_are_no_runs_are_refused(tmp_path):
    bad = {"a.parquet": b"PAR?", "a.run.gz": b"\x1f\x8b\x08broken", "a.txt": b"q0 Q0 \xff 1 1 m", "a.csv": b""}
    messages = ("not a Parquet file", "the gzip is damaged", "a.txt:1: not UTF-8", "not a run by its name")
    for (name, data), message in zip(bad.items(), messages, strict=True):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=message):
            read_system(tmp_path / name, SET)
    with pytest.raises(DataError, match="cannot be read"):
        read_system(tmp_path / "none.run", SET)
    with pytest.raises(DataError, match=r"facts\.json: cannot be read"):
        read_system(tmp_path, SET)
    assert not is_run(tmp_path / "a.csv")
    assert not is_run(tmp_path)


def test_a_run_of_another_version_of_the_set_is_refused(tmp_path):
    parquet(tmp_path / "a.parquet", COLUMNS, set_id="hand@000000000000")
    assert served(tmp_path / "a.parquet").row.size == 4
    parquet(tmp_path / "b.parquet", COLUMNS, set_id="hand@111111111111")
    write_system(System("x", {View.SERVED: served(tmp_path / "a.parquet")}), tmp_path / "run", set_id="hand@1")
    for name in ("b.parquet", "run"):
        with pytest.raises(DataError, match=r"of eval set hand@1+, not of hand@000000000000"):
            read_system(tmp_path / name, SET)


@settings(max_examples=15)
@given(WORLDS, WORLDS)
def test_a_saved_system_comes_back_with_the_same_lists_and_facts(tmp_path_factory, world, other):
    evalset, answers = world
    folder = tmp_path_factory.mktemp("saved") / "run"
    system = System(
        "release 7",
        {View.SERVED: answers, View.EXACT: other[1]},
        facts=(Fact(metric="latency_p99_ms", value=12.5, samples=(12.0, 13.0)), Fact(metric="orphan_ids", value=2)),
        inputs={"index": "a" * 64},
        curve={1: 0.5, 8: 0.9},
    )
    write_system(system, folder, set_id=evalset.set_id)
    back = read_system(folder, evalset)
    assert (back.name, back.curve) == (system.name, system.curve)
    assert back.facts == (*system.facts, Fact(metric="unknown_queries", value=0, n=3))
    assert back.inputs.keys() == {"index", "run"}
    for view in system.views:
        before, after = system.views[view], back.views[view]
        assert (after.statuses, dict(after.stands_for)) == (before.statuses, dict(before.stands_for))
        lists = [[lists_of(rank(one, evalset), row) for row in range(3)] for one in (before, after)]
        assert lists[0] == lists[1]


def test_saving_is_whole_keeps_messages_and_never_overwrites(tmp_path):
    answers = answers_of(
        ["q0", "q1", "q2"],
        {"q0": [Hit("3", 0.5, "g0"), Hit("", float("nan"))], "q1": []},
        statuses={"q2": Status.ERROR},
        errors={"q2": "500"},
        seconds={"q0": 0.1},
    )
    write_system(System("a", {View.SERVED: answers}), tmp_path / "deep" / "run")
    back = read_system(tmp_path / "deep" / "run", SET).views[View.SERVED]
    assert back.statuses == answers.statuses
    assert dict(back.errors) == {"q2": "500"}
    assert back.seconds is not None
    np.testing.assert_array_equal(back.seconds, [0.1, np.nan, np.nan])
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["run"]
    with pytest.raises(DataError, match="is there already"):
        write_system(System("a", {View.SERVED: answers}), tmp_path / "deep" / "run")
    write_system(System("b", {View.SERVED: answers}), tmp_path / "again")
    assert (tmp_path / "again" / "served.parquet").read_bytes() == (
        tmp_path / "deep" / "run" / "served.parquet"
    ).read_bytes()
    with pytest.raises(DataError, match="latency is not a finite number"):
        write_system(
            System("c", {View.SERVED: answers}, facts=(Fact(metric="latency", value=float("nan")),)), tmp_path / "c"
        )


def test_a_saved_run_that_was_changed_is_refused(tmp_path):
    folder = tmp_path / "run"
    write_system(System("a", {View.SERVED: answers_of(["q0", "q1", "q2"], {"q0": [Hit("3", 0.5)]})}), folder)
    facts = json.loads((folder / "facts.json").read_text())
    whole = (folder / "served.parquet").read_bytes()
    parquet(folder / "served.parquet", COLUMNS)
    with pytest.raises(DataError, match="is not the file that was saved"):
        read_system(folder, SET)
    (folder / "served.parquet").unlink()
    with pytest.raises(DataError, match=r"served\.parquet: cannot be read"):
        read_system(folder, SET)
    (folder / "served.parquet").write_bytes(whole)
    for change, message in (
        ({"files": {"../../etc/passwd": "0"}}, "unknown file '../../etc/passwd'"),
        ({"schema": "run/2"}, "schema: Input should be 'run/1'"),
        ({"fact": []}, "fact: Extra inputs"),
    ):
        (folder / "facts.json").write_text(json.dumps({**facts, **change}))
        with pytest.raises(DataError, match=message):
            read_system(folder, SET)


def test_a_query_id_may_be_a_number_and_ids_are_written_out(tmp_path):
    evalset = evalset_of(
        [CatalogImage(image_id="9223372036854775807", group_id="g", category="c")],
        [Label(query_id="12", group_id="g")],
        queries=[Query(query_id="12", category="c", cluster="g")],
    )
    path = parquet(
        tmp_path / "a.parquet", {"query_id": [12, 12], "image_id": [2**63 - 1, -1], "distance": [0.5, float("nan")]}
    )
    ranked = rank(read_system(path, evalset).views[View.SERVED], evalset)
    assert (ranked.image_grades.tolist(), ranked.padded.tolist()) == ([[2]], [1])

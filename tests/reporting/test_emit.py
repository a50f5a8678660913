"""`records emit`: one record from a shell, checked before anything is written."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import xxhash

from reporting.digest import Digest
from reporting.record import State, TaskRecord
from reporting.spool import Spool

KEY = ("--task", "filter", "--date", "2026-11-01", "--planid", "p1")
TIMES = ("--started", "2026-11-01T06:00:00", "--finished", "2026-11-01T06:01:30+00:00")


@pytest.fixture
def emit(run, tmp_path):
    """Run `funnelgate records emit` with a key, to a spool."""

    def call(*arguments, key=KEY):
        return run("records", "emit", *key, "--spool", str(tmp_path / "spool"), *arguments)

    return call


def spooled(folder):
    with Spool(folder / "spool") as spool:
        return [TaskRecord.model_validate_json(entry.body) for entry in spool.peek(1000, 10**9)]


def test_everything_that_is_said_is_booked(emit, tmp_path):
    ran = emit(
        *("--category", "shoes", "--subinstance", "0003", "--attempt", "2", "--emit", "5"),
        *("--input", "100", "--output", "90", "--produced", "270", "--drop", "blurred=7", "--fail", "OSError=3"),
        *("--metric", "x=1.5", "--metric", "y=-2e3", "--version-of", "model=v3", "--version-of", "code=a=b"),
        *TIMES,
    )
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "filter/2026-11-01/shoes/0003/p1  stored\n"
    (record,) = spooled(tmp_path)
    assert str(record.key) == "filter/2026-11-01/shoes/0003/p1"
    assert (record.attempt, record.version) == (2, (2 << 32) + 5)
    assert (record.input, record.output, record.produced) == (100, 90, 270)
    assert (record.dropped, record.failed) == ({"blurred": 7}, {"OSError": 3})
    assert (record.metrics, record.versions) == ({"x": 1.5, "y": -2000.0}, {"model": "v3", "code": "a=b"})
    assert (record.state, record.seconds) == (State.SUCCEEDED, 90)


def test_json_is_the_record_as_it_was_written(emit, tmp_path):
    ran = emit("--input", "3", "--output", "3", "--json")
    (record,) = spooled(tmp_path)
    assert TaskRecord.from_document(ran.json()) == record


def test_a_failed_attempt_says_why(emit, tmp_path):
    arguments = ("--input", "4", "--output", "0", "--fail", "OSError=4", "--state", "failed")
    assert emit(*arguments, "--error", "OSError: disk: gone").code == 0
    (record,) = spooled(tmp_path)
    assert record.error is not None
    assert (record.state, record.error.error_class, record.error.message) == (State.FAILED, "OSError", "disk: gone")


def test_books_that_do_not_close_are_refused_with_their_numbers_and_nothing_is_written(emit, tmp_path):
    ran = emit("--input", "100", "--output", "90", "--drop", "blurred=7")
    assert (ran.code, ran.out) == (2, "")
    assert "input 100 != output 90 + dropped {'blurred': 7} + failed {} (= 97)" in ran.err
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--output", "1"), "how many items were taken in?"),
        (("--input", "1"), "how many items came out?"),
        (("--input", "1", "--output", "1", "--drop", "blurred"), "--drop 'blurred': write NAME=VALUE"),
        (("--input", "1", "--output", "1", "--drop", "blurred=x"), "'x' is no count"),
        (("--input", "1", "--output", "2", "--drop", "blurred=-1"), "'-1' is no count"),
        (("--input", "3", "--output", "1", "--drop", "a=1", "--drop", "a=1"), "'a' is given twice"),
        (("--input", "1", "--output", "1", "--drop", "a/b=0"), "'a/b' contains '/'"),
        (("--input", "1", "--output", "1", "--metric", "x=nan"), "no finite number"),
        (("--input", "1", "--output", "1", "--metric", "x=1,5"), "--metric 'x=1,5'"),
        (("--input", "1", "--output", "1", "--state", "sucess"), "unknown state 'sucess'"),
        (("--input", "1", "--output", "1", "--error", "X: y"), "--error is for --state failed"),
        (("--input", "1", "--output", "1", "--started", "noon"), "'noon' is no moment"),
        (("--input", "1", "--output", "1", "--started", "2999-01-01"), "is before started_at"),
        (("--input", "1", "--output", "1", "--digest-in", "1-2"), "--digest-in: digest '1-2'"),
        (("--input", "2", "--output", "1", "--drop", "a=1", "--digest-in", "1-2-3"), "digest_in covers 1 ids"),
        (("--input", "-1", "--output", "1"), "--input"),
        (("--input", "1", "--output", "1", "--attempt", "0"), "--attempt"),
        (("--input", "1", "--output", "1", "--ids-in", "absent"), "--ids-in absent: cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused_with_one_line(arguments, says, emit, tmp_path):
    ran = emit(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize(
    ("part", "value", "says"),
    [
        ("--date", "20261101", "is no day"),
        ("--task", "a/b", "--task 'a/b' contains '/'"),
        ("--planid", "", "must have 1 to 128 characters"),
        ("--task", "con\x1b[0m", "contains"),
    ],
)
def test_a_bad_key_is_refused(part, value, says, emit):
    key = list(KEY)
    key[key.index(part) + 1] = value
    ran = emit("--input", "1", "--output", "1", key=key)
    assert ran.code == 2
    assert says in ran.err


# --- digests --------------------------------------------------------------------------------------------


def test_files_of_ids_give_counts_and_the_digests_that_spark_gives(emit, tmp_path):
    (tmp_path / "in").write_bytes("abc\n货号-42\r\n\n".encode())
    (tmp_path / "out").write_bytes("abc\n货号-42".encode())
    assert emit("--ids-in", str(tmp_path / "in"), "--ids-out", str(tmp_path / "out"), "--drop", "empty=1").code == 0
    (record,) = spooled(tmp_path)
    assert (record.input, record.output, record.produced) == (3, 2, 2)
    # Spark SQL's xxhash64 of the three, as Spark 4 gave them.
    hashes = [1423657621850124518, -913472817075027232, -7444071767201028348]
    assert record.digest_in == digest_of(hashes)
    assert record.digest_out == digest_of(hashes[:2])
    assert xxhash.xxh64_intdigest(b"", 42) == hashes[2] % 2**64


def digest_of(hashes):
    xor = 0
    for one in hashes:
        xor ^= one
    return f"{len(hashes):x}-{sum(hashes) % 2**64:016x}-{xor % 2**64:016x}"


def test_a_digest_that_was_made_elsewhere_is_taken_as_it_is(emit, tmp_path):
    digest = str(Digest.of(["a", "b"]))
    assert emit("--digest-in", digest, "--digest-out", digest.upper()).code == 0
    (record,) = spooled(tmp_path)
    assert (record.input, record.output, record.digest_in, record.digest_out) == (2, 2, digest, digest)


def test_ids_and_digest_of_one_side_are_not_both_taken(emit, tmp_path):
    ran = emit("--input", "0", "--output", "0", "--ids-in", "x", "--digest-in", "0-0-0")
    assert "either --ids-in or --digest-in" in ran.err


# --- versions -------------------------------------------------------------------------------------------


def test_without_attempts_the_emit_that_finished_later_counts(emit, tmp_path):
    for finished in ("2026-11-01T06:00:00", "2026-11-01T06:00:01"):
        emit("--input", "1", "--output", "1", "--finished", finished)
    emit("--input", "1", "--output", "1", "--attempt", "1")
    first, second, numbered = spooled(tmp_path)
    assert first.version == (1 << 32) + int(datetime(2026, 11, 1, 6, tzinfo=UTC).timestamp())
    assert second.version == first.version + 1
    assert numbered.version == 1 << 32
    assert second.started_at == second.finished_at


def test_the_same_emit_again_is_the_same_record(emit, tmp_path):
    for _ in range(2):
        emit("--input", "1", "--output", "1", *TIMES)
    first, second = spooled(tmp_path)
    assert (first.version, first.content_hash()) == (second.version, second.content_hash())


# --- the project's store ----------------------------------------------------------------------------------

HASH = ("records", "emit", "--task", "hash", "--date", "2026-11-01", "--planid", "p1")


def test_without_a_spool_the_record_goes_to_the_projects_store(project, run):
    command = (*HASH, "--input", "5", "--output", "3", "--drop", "blurred=2", "--attempt", "1", *TIMES)
    first, second = run(*command), run(*command)
    assert (first.code, first.out.split()[-1]) == (0, "stored"), first.err
    assert (second.code, second.out.split()[-1]) == (0, "repeat")
    (row,) = run("records", "history", "hash/2026-11-01/all/all/p1", "--json").json()
    assert (row["input"], row["dropped"]) == (5, {"blurred": 2})


def test_the_same_attempt_with_other_numbers_is_a_conflict(project, run):
    run(*HASH, "--input", "5", "--output", "5", "--attempt", "1", *TIMES)
    ran = run(*HASH, "--input", "4", "--output", "4", "--attempt", "1", *TIMES)
    assert ran.code == 4
    assert "already booked with other content" in ran.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--drop", "blured=1"), "drop reason 'blured' is not declared for task 'hash'; did you mean blurred?"),
        (("--metric", "x=1", "--drop", "blurred=1"), "metric 'x' is not declared for task 'hash'"),
    ],
)
def test_the_projects_task_graph_says_what_may_be_booked(arguments, says, project, run):
    ran = run(*HASH, "--input", "2", "--output", "1", *arguments)
    assert ran.code == 2
    assert says in ran.err


def test_a_task_that_the_projects_graph_does_not_know_is_refused(project, run):
    ran = run("records", "emit", *KEY, "--input", "1", "--output", "1")
    assert ran.code == 2
    assert "unknown task 'filter'" in ran.err

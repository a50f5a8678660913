"""The spool: what goes in comes out, once, in order, and within its bounds."""

from __future__ import annotations

import json
import os
import time

import pytest

from reporting.errors import StoreError
from reporting.outbox import Fate, Outcome, Topic
from reporting.plans import Leaf, Plan
from reporting.record import TaskRecord
from reporting.segments import Fact
from reporting.spool import Spool
from reporting.spool_store import SpoolStore
from reporting.stores.base import PutOutcome
from reporting.testing import DAY, make_plan, make_record
from reporting.verdict import Outcome as Judged
from reporting.verdict import Verdict
from tests.reporting.spools import EVERYTHING, bodies, deliver, fact, opened, segments


def test_what_is_appended_is_peeked_in_order_until_it_is_settled(tmp_path):
    with opened(tmp_path) as spool:
        spool.append([fact("a", 1), fact("b", 2)])
        spool.append([fact("c", 3)])
        entries = spool.peek(*EVERYTHING)
        assert [(e.topic, e.document_id, e.version, e.body) for e in entries] == [
            ("record", "id-1", 1, "a"),
            ("record", "id-2", 2, "b"),
            ("record", "id-3", 3, "c"),
        ]
        assert spool.peek(*EVERYTHING) == entries
        spool.settle([Outcome(entries[1], Fate.DELIVERED)])
        assert bodies(spool) == ["a", "c"]
        spool.settle([Outcome(entries[0], Fate.STALE), Outcome(entries[2], Fate.DELIVERED)])
        assert bodies(spool) == []
        assert spool.status().shipped == 3


@pytest.mark.parametrize("text", ["", "\n", "a\r\nb", "\u2028", "货号", "\x00", '"\\', "x" * 300_000, "\udc80"])
def test_any_text_comes_back_as_it_was(text, tmp_path):
    with opened(tmp_path) as spool:
        spool.append([fact(text), fact("next")])
        spool.append([fact("last")])
        assert bodies(spool) == [text, "next", "last"]


def test_a_peek_ends_at_its_limits_but_gives_at_least_one(tmp_path):
    with opened(tmp_path) as spool:
        for _ in range(5):
            spool.append([fact("x" * 100), fact("y" * 100)])
        assert len(spool.peek(3, 10**6)) == 3
        assert len(spool.peek(100, 350)) == 3
        assert len(spool.peek(100, 1)) == 1


def test_a_second_spool_on_the_folder_sees_the_same_entries_under_the_same_numbers(tmp_path):
    with opened(tmp_path) as writer, opened(tmp_path) as reader:
        writer.append([fact("a"), fact("b")])
        assert reader.peek(*EVERYTHING) == writer.peek(*EVERYTHING)
        deliver(reader, limit=1)
        assert bodies(writer) == ["b"]


def test_an_empty_unit_of_work_writes_nothing(tmp_path):
    with opened(tmp_path) as spool:
        spool.append([])
    assert segments(tmp_path) == []


def test_retried_and_blocked_entries_stay_where_they_are(tmp_path):
    with opened(tmp_path) as spool:
        spool.append([fact("a"), fact("b"), fact("c")])
        a, b, c = spool.peek(*EVERYTHING)
        spool.settle([Outcome(a, Fate.RETRY, "429"), Outcome(b, Fate.DELIVERED), Outcome(c, Fate.BLOCKED, "read only")])
        assert bodies(spool) == ["a", "c"]
        assert (spool.status().pending, spool.status().shipped) == (2, 1)


def test_settling_again_changes_and_counts_nothing(tmp_path):
    with opened(tmp_path) as spool:
        spool.append([fact("a"), fact("b")])
        outcomes = [Outcome(entry, Fate.DELIVERED) for entry in spool.peek(*EVERYTHING)]
        spool.settle(outcomes[:1])
        spool.settle(outcomes)
        spool.settle(outcomes)
        assert (spool.status().pending, spool.status().shipped) == (0, 2)


def test_segments_are_closed_at_their_size_and_deleted_when_all_of_them_is_settled(tmp_path):
    with opened(tmp_path, segment_bytes=1000) as spool:
        for number in range(40):
            spool.append([fact(f"{number:0100}")])
        assert len(segments(tmp_path)) > 3
        assert [int(body) for body in deliver(spool)] == list(range(40))
        assert len(segments(tmp_path)) == 1  # the one it writes to
        spool.append([fact("next")])
        assert bodies(spool) == ["next"]
        deliver(spool)
    with opened(tmp_path) as spool:
        assert bodies(spool) == []
    assert segments(tmp_path) == []
    assert list((tmp_path / "progress").iterdir()) == []


def test_short_lived_writers_one_after_another_leave_one_file(tmp_path):
    for number in range(20):
        with opened(tmp_path) as spool:
            spool.append([fact(str(number))])
    assert len(segments(tmp_path)) == 1
    with opened(tmp_path) as spool:
        assert [int(body) for body in bodies(spool)] == list(range(20))
        assert spool.status().pending == 20


def test_a_segment_with_settled_lines_that_the_disk_lost_is_not_gone_on_with(tmp_path):
    """After a power cut the progress may be there without the lines: their places must not be used again."""
    with opened(tmp_path) as spool:
        spool.append([fact("kept")])
        length = segments(tmp_path)[0].stat().st_size
        spool.append([fact("lost")])
        last = spool.peek(*EVERYTHING)[1]
        spool.settle([Outcome(last, Fate.DELIVERED)])
    os.truncate(segments(tmp_path)[0], length)
    with opened(tmp_path) as spool:
        spool.append([fact("new1")])
        assert sorted(bodies(spool)) == ["kept", "new1"]


def test_numbers_rise_also_when_the_clock_was_put_back(tmp_path, monkeypatch):
    with opened(tmp_path, segment_bytes=1) as spool:
        spool.append([fact("a")])
        monkeypatch.setattr(time, "time_ns", lambda: 1000)
        for body in "bcd":
            spool.append([fact(body)])
        assert bodies(spool) == ["a", "b", "c", "d"]
        assert spool.stamp() < spool.stamp()


@pytest.mark.parametrize("cut", [1, 5, 20, 60])
def test_a_torn_last_line_is_never_delivered_and_blocks_nothing(cut, tmp_path):
    with opened(tmp_path) as spool:
        spool.append([fact("whole")])
        spool.append([fact("torn-1"), fact("torn-2")])
    (segment,) = segments(tmp_path)
    os.truncate(segment, segment.stat().st_size - cut)
    with opened(tmp_path) as spool:
        spool.append([fact("after")])
        assert bodies(spool) == ["whole", "after"]
        assert spool.status().pending == 2
        deliver(spool)
        spool.close()
        assert bodies(spool) == []
    assert segments(tmp_path) == []


@pytest.mark.parametrize("at", [0, 10, 20, 40, -3])
def test_a_line_that_was_changed_is_put_aside_and_the_others_are_delivered(at, tmp_path):
    with opened(tmp_path) as spool:
        for body in ("first", "spoilt", "last"):
            spool.append([fact(body)])
    (segment,) = segments(tmp_path)
    lines = segment.read_bytes().splitlines(keepends=True)
    spoilt = bytearray(lines[1])
    spoilt[at] ^= 1
    segment.write_bytes(lines[0] + bytes(spoilt) + lines[2])
    with opened(tmp_path) as spool:
        assert bodies(spool) == ["first", "last"]
        assert bodies(spool) == ["first", "last"]
        assert spool.status().quarantined == 1
        (dead,) = spool.dead()
        assert (dead.fate, dead.entry.topic) == (Fate.POISON, "")
        assert "checksum" in dead.error
        deliver(spool)
        assert spool.status().pending == 0
        assert spool.revive() == 0


def test_poison_and_conflicts_are_put_aside_with_their_errors_and_come_back_when_revived(tmp_path):
    with opened(tmp_path) as spool:
        spool.append([fact("good", 1), fact("bad", 2), fact("twice", 3)])
        good, bad, twice = spool.peek(*EVERYTHING)
        spool.settle(
            [
                Outcome(good, Fate.DELIVERED),
                Outcome(bad, Fate.POISON, "mapper: no field x"),
                Outcome(twice, Fate.CONFLICT, "other content"),
            ]
        )
        assert spool.dead() == [
            Outcome(bad, Fate.POISON, "mapper: no field x"),
            Outcome(twice, Fate.CONFLICT, "other content"),
        ]
        status = spool.status()
        assert (status.pending, status.quarantined, status.shipped) == (0, 2, 1)
        assert spool.revive() == 2
        assert spool.dead() == []
        assert [entry[1:5] for entry in spool.peek(*EVERYTHING)] == [bad[1:5], twice[1:5]]
        assert spool.status().quarantined == 0


def test_what_is_put_aside_stands_in_a_file_of_json_lines(tmp_path):
    with opened(tmp_path) as spool:
        spool.append([fact("bad")])
        deliver(spool, fate=Fate.POISON, error="never")
    (path,) = (tmp_path / "dead").iterdir()
    (row,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert (row["body"], row["error"], row["fate"]) == ("bad", "never", "poison")


def fill(spool: Spool, unit: list[Fact]) -> None:
    for _ in range(100):
        spool.append(unit)


def test_above_max_bytes_an_append_is_refused_whole_and_goes_on_when_there_is_room(tmp_path):
    with opened(tmp_path, max_bytes=2000) as spool:
        unit = [fact("x" * 100), fact("y" * 100)]
        for _ in range(5):
            spool.append(unit)
        with pytest.raises(StoreError, match=r"would exceed max_bytes 2000; nothing was recorded"):
            fill(spool, unit)
        assert 10 <= len(bodies(spool)) < 20
        assert len(bodies(spool)) % 2 == 0
        deliver(spool)
        spool.append([fact("z")])
        assert bodies(spool) == ["z"]


def test_a_folder_that_cannot_be_one_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"spool .*file/spool: cannot make it"):
        Spool(tmp_path / "file" / "spool")


def test_the_age_and_number_of_what_waits_are_known(tmp_path):
    with opened(tmp_path, segment_bytes=500) as spool:
        assert spool.status().model_dump() == {
            "pending": 0,
            "oldest_seconds": None,
            "quarantined": 0,
            "shipped": 0,
            "bytes": 0,
        }
        for number in range(30):
            spool.append([fact(str(number)), fact("x")])
        deliver(spool, limit=13)
        status = spool.status()
        assert (status.pending, status.shipped) == (47, 13)
        assert status.oldest_seconds is not None
        assert 0 <= status.oldest_seconds < 3600
        assert 47 < status.bytes <= sum(path.stat().st_size for path in segments(tmp_path))


def test_a_unit_of_work_is_appended_whole_with_topics_ids_and_versions(tmp_path):
    record, plan = make_record(attempt=3), make_plan("p1")
    verdict = Verdict(
        verdict_id="v1", date=DAY, planid="p1", outcome=Judged.PASS, inputs={}, decided_at=record.reported_at
    )
    leaves = [Leaf("embed", DAY, "shoes", f"{number:05}") for number in range(7000)]
    with opened(tmp_path) as spool:
        with SpoolStore(spool).begin() as work:
            assert work.put_record(record) is PutOutcome.STORED
            work.put_plan(plan)
            work.expect("p1", leaves)
            work.put_verdict(verdict)
        assert len(segments(tmp_path)[0].read_bytes().splitlines()) == 1
        entries = spool.peek(*EVERYTHING)
        assert [(entry.topic, entry.document_id) for entry in entries] == [
            (Topic.RECORD, record.key.document_id()),
            (Topic.PLAN, "p1"),
            (Topic.EXPECTED, "p1"),
            (Topic.EXPECTED, "p1"),
            (Topic.VERDICT, "v1"),
        ]
        assert TaskRecord.model_validate_json(entries[0].body) == record
        assert entries[0].version == record.version
        assert Plan.model_validate_json(entries[1].body) == plan
        manifests = [json.loads(entry.body) for entry in entries[2:4]]
        assert {manifest["planid"] for manifest in manifests} == {"p1"}
        assert [row for manifest in manifests for row in manifest["leaves"]] == [
            [leaf.task, leaf.date.isoformat(), leaf.category, leaf.subinstance] for leaf in leaves
        ]
        assert Verdict.model_validate_json(entries[4].body) == verdict


def test_versions_of_plans_rise(tmp_path):
    with opened(tmp_path) as spool:
        for _ in range(50):
            with SpoolStore(spool).begin() as work:
                work.put_plan(make_plan("p1"))
        versions = [entry.version for entry in spool.peek(*EVERYTHING)]
    assert versions == sorted(set(versions))
    assert versions[-1] < 1 << 62  # fits a version of Elasticsearch


def test_a_unit_of_work_that_raises_leaves_nothing(tmp_path):
    def broken(store: SpoolStore) -> None:
        with store.begin() as work:
            work.put_record(make_record())
            raise KeyError("x")

    with opened(tmp_path) as spool:
        with pytest.raises(KeyError):
            broken(SpoolStore(spool))
        assert bodies(spool) == []

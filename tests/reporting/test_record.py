"""Records: the books of one attempt must close, or there is no record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reporting.digest import Digest
from reporting.record import EMITS_PER_ATTEMPT, Consumed, State, TaskRecord, version_of
from reporting.testing import DAY, MOMENT, make_record

COUNTS = st.integers(0, 2**53)
MAPS = st.dictionaries(st.sampled_from(["blurred", "too_small", "OSError", "truncated"]), COUNTS, max_size=3)


@given(output=COUNTS, dropped=MAPS, failed=MAPS, surplus=st.integers(-5, 5))
def test_a_record_exists_exactly_when_its_books_close(output, dropped, failed, surplus):
    taken = output + sum(dropped.values()) + sum(failed.values()) + surplus
    fields = make_record(input=0).model_dump()
    fields |= {"input": taken, "output": output, "produced": output, "dropped": dropped, "failed": failed}
    if surplus == 0:
        record = TaskRecord.model_validate(fields)
        assert record.input == record.output + record.dropped_total + record.failed_total
    else:
        with pytest.raises(ValidationError):
            TaskRecord.model_validate(fields)


def test_books_that_do_not_close_are_told_with_key_and_numbers():
    with pytest.raises(ValidationError, match=r"quality/2026-11-01/all/all/daily: input 10 != output 3 .*\(= 3\)"):
        make_record(input=10, output=3)


@pytest.mark.parametrize("name", ["input", "output", "produced", "attempt"])
def test_counts_are_never_negative(name):
    with pytest.raises(ValidationError, match="greater than or equal"):
        TaskRecord.model_validate({**make_record(input=0).model_dump(), name: -1})


def test_produced_is_free_where_the_unit_changes():
    assert make_record("detect", input=2, produced=7).produced == 7


@pytest.mark.parametrize("side", ["digest_in", "digest_out"])
def test_a_digest_must_cover_exactly_what_is_booked(side):
    fields: dict[str, Any] = {side: str(Digest.of(["a", "b"]))}
    assert getattr(make_record(input=2, **fields), side) == fields[side]
    with pytest.raises(ValidationError, match=f"{side} covers 2 ids, booked are 3"):
        make_record(input=3, **fields)


def test_digest_out_is_over_what_was_produced_not_over_what_was_kept():
    crops = Digest.of(["a#0", "a#1", "a#2"])
    assert make_record(input=1, produced=3, digest_out=str(crops)).digest_out == str(crops)


def test_a_digest_in_another_form_is_refused():
    with pytest.raises(ValidationError, match="not of the form"):
        make_record(digest_in="abc")


@given(attempt=st.integers(1, 2**20), emit=st.integers(0, EMITS_PER_ATTEMPT - 1))
def test_versions_order_attempts_first_and_emits_second(attempt, emit):
    version = version_of(attempt, emit)
    assert divmod(version, 2**32) == (attempt, emit)
    assert version < version_of(attempt + 1, 0)
    assert make_record(attempt=attempt, emit=emit).version == version


@pytest.mark.parametrize(("attempt", "emit"), [(0, 0), (1, -1), (1, 2**32)])
def test_versions_outside_their_range_are_refused(attempt, emit):
    with pytest.raises(ValueError, match="must be >= 1"):
        version_of(attempt, emit)


@pytest.mark.parametrize("version", [2**32 - 1, 2 * 2**32])
def test_a_version_of_another_attempt_is_refused(version):
    with pytest.raises(ValidationError, match="does not belong to attempt 1"):
        make_record(version=version)


def test_times_are_kept_in_utc():
    shanghai = datetime(2026, 11, 1, 14, tzinfo=timezone(timedelta(hours=8)))
    record = make_record(started_at=shanghai, finished_at=shanghai, reported_at=shanghai)
    assert record.reported_at == datetime(2026, 11, 1, 6, tzinfo=UTC)
    assert record.reported_at.tzinfo is UTC
    assert record.to_document()["reported_at"] == "2026-11-01T06:00:00Z"


def test_times_without_a_zone_are_refused():
    with pytest.raises(ValidationError, match="timezone"):
        make_record(started_at=MOMENT.replace(tzinfo=None))


def test_an_end_before_its_begin_is_refused():
    with pytest.raises(ValidationError, match="is before started_at"):
        make_record(finished_at=MOMENT - timedelta(hours=1))


def test_seconds_are_the_wall_time():
    assert make_record(started_at=MOMENT - timedelta(seconds=1.5)).seconds == 1.5


FULL = make_record(
    "embed",
    category="鞋",
    subinstance="0003",
    input=9,
    dropped={"undecodable": 3},
    failed={"OSError": 4},
    consumed=(Consumed(task="categorise", date=DAY, planid="daily", count=9),),
    digest_in=str(Digest.of("abcdefghi")),
    versions={"model": "m1"},
    metrics={"rate": 0.1 + 0.2},
)


def test_a_record_survives_both_of_its_written_forms():
    assert TaskRecord.from_document(FULL.to_document()) == FULL
    assert TaskRecord.model_validate_json(FULL.model_dump_json()) == FULL


def test_a_document_has_the_keys_parts_at_its_top():
    document = FULL.to_document()
    assert {part: document[part] for part in ("task", "date", "category", "subinstance", "planid")} == {
        "task": "embed",
        "date": "2026-11-01",
        "category": "鞋",
        "subinstance": "0003",
        "planid": "daily",
    }
    assert "key" not in document


def test_unknown_fields_are_refused():
    with pytest.raises(ValidationError, match="extra"):
        TaskRecord.from_document({**FULL.to_document(), "outptu": 1})


def test_a_record_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        FULL.input = 0


CHANGES = {
    "state": State.SKIPPED,
    "metrics": {"rate": 0.3},
    "versions": {},
    "produced": 1,
    "consumed": (),
    "digest_in": None,
    "started_at": MOMENT - timedelta(hours=1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_content_hash_sees_every_change(name):
    assert FULL.model_copy(update={name: CHANGES[name]}).content_hash() != FULL.content_hash()


def test_the_content_hash_does_not_see_when_it_was_reported():
    assert FULL.model_copy(update={"reported_at": MOMENT + timedelta(days=1)}).content_hash() == FULL.content_hash()


def test_the_content_hash_does_not_depend_on_the_order_of_reasons():
    """The same attempt booked by two emits may meet its reasons in another order."""
    one = make_record(input=10, dropped={"a": 1, "b": 2}, metrics={"x": 1.0, "y": 2.0})
    two = make_record(input=10, dropped={"b": 2, "a": 1}, metrics={"y": 2.0, "x": 1.0})
    assert one == two
    assert one.content_hash() == two.content_hash()

"""Documents and back: nothing of a record is lost, and the shipper's short way gives the same document."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting.digest import Digest
from reporting.elastic.documents import (
    effective_document,
    plan_document,
    plan_of,
    record_document,
    record_of,
    record_source,
    source_of_body,
)
from reporting.plans import Leaf, PlanKind
from reporting.record import Consumed, State, TaskFailure
from reporting.testing import DAY, MOMENT, make_plan, make_record

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
PLAIN = st.text("abcdefgh=\"',:{}[]schöne鞋", min_size=1, max_size=12).map(str.strip).filter(bool)


@st.composite
def records(draw):
    """Records with every field in use, and texts that try to look like JSON."""
    dropped = draw(
        st.dictionaries(st.sampled_from(["blurred", "pipeline", "version", "routing", "a=b"]), st.integers(0, 2**40))
    )
    failed = draw(st.dictionaries(NAMES, st.integers(0, 99), max_size=3))
    produced = draw(st.integers(0, 50))
    error = draw(
        st.none() | st.builds(TaskFailure, error_class=NAMES, message=NAMES | st.just(',"reported_at":"2026"'))
    )
    attempt = draw(st.integers(1, 9))
    return make_record(
        draw(st.sampled_from(["quality", "hash", "Größe"])),
        category=draw(st.sampled_from(["all", "shoes & 鞋", "reported_at"])),
        input=sum(dropped.values()) + sum(failed.values()) + draw(st.integers(0, 2**50)),
        dropped=dropped,
        failed=failed,
        produced=produced,
        attempt=attempt,
        emit=draw(st.integers(0, 5)),
        state=State.FAILED if error else State.SUCCEEDED,
        error=error,
        consumed=tuple(
            Consumed(task="t", date=DAY, planid="p", count=n) for n in draw(st.lists(st.integers(0, 9), max_size=2))
        ),
        digest_out=draw(st.none() | st.just(str(Digest.of([str(n) for n in range(produced)])))),
        versions=draw(st.dictionaries(NAMES, NAMES, max_size=3)),
        metrics=draw(st.dictionaries(PLAIN, st.floats(allow_nan=False, allow_infinity=False), max_size=3)),
        reported_at=MOMENT + timedelta(microseconds=draw(st.integers(0, 10**10))),
    )


@given(record=records(), mapped=st.sets(PLAIN, max_size=2))
def test_the_short_way_from_json_gives_the_document_of_the_record(record, mapped):
    mapped |= set(list(record.metrics)[:1])
    assert source_of_body(record.model_dump_json(), mapped) == record_source(record, mapped)


@given(record=records())
def test_a_record_is_read_back_from_its_document_exactly(record):
    as_json = json.loads(json.dumps(record_document("p", record).source))
    assert record_of(as_json) == record


def test_each_version_that_a_record_names_is_one_keyword_whatever_stands_in_it():
    record = make_record(versions={"space": "1f=2", "model": "net|2, beta"})
    for source in (record_source(record), source_of_body(record.model_dump_json())):
        assert source["versions_by"] == ["model=net|2, beta", "space=1f=2"]
    assert record_source(make_record(versions={}))["versions_by"] == []


def test_a_record_is_read_from_a_document_of_the_release_that_had_no_such_keywords():
    record = make_record(versions={"model": "net"})
    source = record_document("p", record).source
    del source["versions_by"]
    assert record_of(source) == record


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"key": {}}', "null", '{"key": null}', '{"key": {"task": "a"}}'])
def test_json_that_is_no_record_is_refused(body):
    with pytest.raises((ValueError, KeyError, TypeError)):
        source_of_body(body)


def test_a_document_that_lacks_a_field_is_no_record():
    source = record_document("p", make_record()).source
    del source["exact"]
    with pytest.raises(ValueError, match="not the document of a record"):
        record_of(source)


def test_a_plan_is_read_back_from_its_document():
    plan = make_plan("r1", PlanKind.RERUN, dates=[DAY, DAY + timedelta(days=1)], config={"a": [1, {"b": None}]})
    assert plan_of(json.loads(json.dumps(plan_document("p", plan, 3).source))) == plan


def test_a_join_with_the_effective_lines_hides_no_column_of_a_record():
    """ES|QL's LOOKUP JOIN overwrites columns of the same name."""
    line = effective_document("p", Leaf("hash", DAY), "daily", False, 1).source
    assert set(line) & set(record_source(make_record())) == {"effective_key"}

"""The shipped doubles: factories make valid records, and the faulty store fails as often and where it was told."""

from __future__ import annotations

import doctest

import pytest

import reporting.booking
import reporting.digest
import reporting.errors
import reporting.key
import reporting.logs
import reporting.measures
import reporting.record
import reporting.recorder
import reporting.testing
from reporting.errors import StoreError
from reporting.plans import PlanKind, PlanState
from reporting.record import State
from reporting.stores.base import RecordQuery
from reporting.stores.memory import MemoryStore
from reporting.testing import MOMENT, FaultyStore, make_plan, make_record

MODULES = (
    reporting.booking,
    reporting.digest,
    reporting.errors,
    reporting.key,
    reporting.logs,
    reporting.measures,
    reporting.record,
    reporting.recorder,
    reporting.testing,
)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings_are_true(module):
    found = doctest.testmod(module)
    assert (found.failed, found.attempted > 0) == (0, True)


def test_a_made_record_keeps_what_it_neither_dropped_nor_failed():
    record = make_record(input=10, dropped={"blurred": 3}, failed={"OSError": 2})
    assert (record.output, record.produced, record.state) == (5, 5, State.FAILED)
    assert record.error is not None


def test_a_made_plan_has_the_state_of_its_times():
    states = [make_plan().state, make_plan(completed_at=MOMENT).state, make_plan(promoted_at=MOMENT).state]
    assert states == [PlanState.OPEN, PlanState.COMPLETE, PlanState.PROMOTED]
    assert make_plan(state=PlanState.ABANDONED, kind=PlanKind.RERUN).state is PlanState.ABANDONED


def put_all(store, count):
    """Put records; return which transactions failed."""
    failed = []
    for number in range(count):
        try:
            with store.begin() as work:
                work.put_record(make_record(subinstance=f"{number:03}"))
        except StoreError:
            failed.append(number)
    return failed


def test_the_same_seed_gives_the_same_faults_and_another_seed_others():
    runs = [put_all(FaultyStore(MemoryStore(), probability=0.5, seed=seed), 40) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert 0 < len(runs[0]) < 40


@pytest.mark.parametrize(("place", "kept"), [("begin", False), ("commit", False), ("acknowledge", True)])
def test_a_fault_keeps_the_transaction_only_when_it_comes_after_the_commit(place, kept):
    inner = MemoryStore()
    store = FaultyStore(inner, probability=1, seed=0, at=(place,))
    assert put_all(store, 3) == [0, 1, 2]
    assert store.faults == 3
    assert len(inner.records(RecordQuery())) == (3 if kept else 0)


def test_without_probability_nothing_fails_and_reads_pass_through():
    inner = MemoryStore()
    store = FaultyStore(inner, probability=0, seed=0)
    assert put_all(store, 3) == []
    key = make_record(subinstance="000").key
    assert store.get_record(key) == inner.get_record(key) is not None
    assert store.records(RecordQuery()) == inner.records(RecordQuery())
    assert store.totals(RecordQuery(), ["task"]) == inner.totals(RecordQuery(), ["task"])
    assert store.sums(RecordQuery(), ["task"], ["input"]) == inner.sums(RecordQuery(), ["task"], ["input"]) != []
    assert store.history(key) == inner.history(key)
    assert store.delete_plan_records("daily") == 3


@pytest.mark.parametrize("probability", [-0.1, 1.1])
def test_a_probability_outside_zero_to_one_is_refused(probability):
    with pytest.raises(ValueError, match="must lie in"):
        FaultyStore(MemoryStore(), probability=probability, seed=0)

"""A tail that fills up is noticed before it is full by `tail-near-budget`, and when it is full by the books."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import checks
import pipeline
from checks.engine import judge
from checks.faults import Fault, Spot
from checks.kinds.conservation import Conservation
from checks.mutate import mutate
from checks.result import Result, Status
from checks.spec import ChecksFile, LoadedChecks, load_checks
from checks.view import View
from pipeline.evict.decide import decide
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.tail import TailFull, fullest
from reporting.booking import Booking
from reporting.errors import EXIT_OK
from reporting.key import RunKey
from reporting.plans import Leaf
from reporting.record import TaskRecord
from reporting.testing import DAY, MOMENT, make_plan, make_record
from reporting.topology import Topology
from tests.pipeline.evict.stored_rows import Picture, stored_of

TOPOLOGY = Topology.load(Path(pipeline.__file__).parent / "default.yaml")
POLICY = EvictPolicy(window_days=10, min_per_group=1, tail_budget={"hats": 8, "shoes": 2})
OLD = [Picture(number, 0, (number,)) for number in range(3)]
"""Three products, each with one old picture."""


@cache
def shipped(*names: str) -> LoadedChecks:
    """Return some of the shipped checks."""
    loaded = load_checks(Path(checks.__file__).parent / "rules" / "default.yaml", TOPOLOGY)
    chosen = tuple(one for one in loaded.file.checks if one.id in names)
    assert len(chosen) == len(names)
    return replace(loaded, file=ChecksFile.model_construct(version=1, holidays=(), checks=chosen))


def day(record: TaskRecord) -> View:
    plan = make_plan(created_at=MOMENT, completed_at=MOMENT)
    return View(TOPOLOGY, DAY, MOMENT, [record], plans=[plan], expected={plan.planid: frozenset({Leaf("evict", DAY)})})


def filled(share: float | None) -> View:
    return day(make_record("evict", metrics={} if share is None else {"tail_fill_max": share}))


def failed(error: TailFull) -> TaskRecord:
    """Return what the task books when its tail is full: all it took in, and how full it would be."""
    books = Booking(RunKey(task="evict", date=DAY, planid="daily"), started_at=MOMENT, rules=TOPOLOGY.task("evict"))
    books.take(4)
    books.measure("tail_fill_max", error.fill)
    return books.close(finished_at=MOMENT, error=error)


def judged(view: View, *names: str) -> dict[str, Result]:
    loaded = shipped(*names)
    return {one.instance: one for one in judge(loaded.file, view, loaded.config_hash) if one.counts}


@pytest.mark.parametrize(
    ("share", "status"),
    [
        (0, Status.PASS),
        (0.9, Status.PASS),
        (0.91, Status.WARN),
        (1.0, Status.WARN),
        (1.5, Status.WARN),
        (None, Status.NOT_EVALUATED),
    ],
)
def test_it_warns_from_nine_tenths_of_a_budget_on_and_does_not_pass_what_was_not_measured(
    share: float | None, status: Status
) -> None:
    assert judged(filled(share), "tail-near-budget")["evict"].status is status


def test_a_tail_that_is_put_full_is_noticed() -> None:
    def fill(view: View, _: Spot) -> View:
        records = [record.model_copy(update={"metrics": {"tail_fill_max": 0.95}}) for record in view.records]
        return replace(view, records=records)

    full = Fault("full_tail", "A category's tail has almost no room.", lambda _: [Spot("evict")], fill)
    found = mutate(shipped("tail-near-budget"), filled(0.5), faults=[full])
    assert ([one.noticed_by for one in found.faults[0].injections], found.exit_code) == (
        [("tail-near-budget",)],
        EXIT_OK,
    )


def test_a_full_tail_fails_the_books_and_the_page_says_which_category_and_what_to_do() -> None:
    with pytest.raises(TailFull) as caught:
        decide(stored_of([*OLD, Picture(9, 0, (9,), category="hats")]), POLICY, 100)
    record = failed(caught.value)
    assert record.metrics == {"tail_fill_max": 1.5}
    found = judged(day(record), "books-close", "tail-near-budget")
    assert found["evict failed"].status is Status.FAIL
    assert (
        "1 leaf failed as a whole, first evict: TailFull: the tail is full; shoes: 3 rows that must stay"
        in found["evict failed"].reason
    )
    assert "Raise the budget in the policy" in found["evict failed"].reason
    assert found["evict"].status is Status.WARN


def test_how_full_it_is_counts_the_category_nearest_to_its_budget_and_none_without_one() -> None:
    pictures = [*OLD, Picture(3, category="hats"), Picture(4, category="mugs"), Picture(5, category="mugs")]
    stored = stored_of(pictures)
    policy = EvictPolicy(tail_budget={"shoes": 8, "hats": 2, "*": None})
    every = np.ones(6, np.bool_)
    assert fullest(stored, policy, every) == 0.5  # hats 1 of 2, shoes 3 of 8; mugs have no budget
    assert fullest(stored, policy, np.array([True] * 3 + [False] * 3)) == 0.375
    assert fullest(stored, EvictPolicy(), every) == 0
    assert fullest(stored_of([]), policy, every[:0]) == 0


def test_a_long_message_is_cut_and_a_failed_record_without_one_says_nothing() -> None:
    def reason(record: TaskRecord) -> str:
        loaded = shipped("books-close")
        assert isinstance(loaded.file.checks[0], Conservation)
        return judged(day(record), "books-close")["evict failed"].reason

    told = reason(failed(TailFull("x" * 400)))
    assert told.endswith(f"TailFull: {'x' * 300}...")
    assert reason(failed(TailFull("x")).model_copy(update={"error": None})).endswith("first evict")

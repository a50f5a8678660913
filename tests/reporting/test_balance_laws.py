"""The laws beside `equal`: a window reads what its record names, a ratio allows exactly its band."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting.balance import balance
from reporting.effective import leaf_of
from reporting.ledger import gather_books
from reporting.record import Consumed
from reporting.stores.memory import MemoryStore
from reporting.testing import DAY, MOMENT, make_plan, make_record
from tests.reporting.ledgers import close, graph, unexplained, with_tail

DAYS = [DAY + timedelta(days=n) for n in range(3)]
WINDOW = graph([{"from": "index", "to": "merge", "law": "window"}], index=("category",), merge=("category",))
COUNTS = {DAYS[0]: 5, DAYS[1]: 7, DAYS[2]: 11}
INDEXES = [make_record("index", date=day, category="hats", input=n, planid="daily") for day, n in COUNTS.items()]


def merge(counts, taken=None, planid="daily"):
    """Return the last day's merge that says it read so much of each day."""
    consumed = tuple(Consumed(task="index", date=day, planid=planid, count=n) for day, n in counts)
    return make_record(
        "merge",
        date=DAYS[-1],
        category="hats",
        input=sum(n for _, n in counts) if taken is None else taken,
        consumed=consumed,
    )


def plans():
    return [make_plan(dates=DAYS, completed_at=MOMENT)]


def test_a_window_that_took_in_what_it_names_closes():
    assert unexplained(close(WINDOW, [*INDEXES, merge(COUNTS.items())], plans())) == 0


def test_a_window_may_read_fewer_days():
    assert unexplained(close(WINDOW, [*INDEXES, merge(list(COUNTS.items())[1:])], plans())) == 0


def test_a_window_that_took_in_more_than_it_names_is_found():
    found = close(WINDOW, [*INDEXES, merge(COUNTS.items(), taken=25)], plans())
    assert [(one.where, one.handed_on, one.taken, one.residual) for one in found.residuals] == [
        ("index -> merge hats/all (sum of the window)", 23, 25, 2)
    ]


def test_a_window_that_read_less_of_a_day_than_was_handed_on_is_found():
    found = close(WINDOW, [*INDEXES, merge({**COUNTS, DAYS[1]: 4}.items())], plans())
    assert [(one.where, one.residual) for one in found.residuals] == [
        (f"index -> merge hats/all (read of {DAYS[1]} daily)", 3)
    ]


def test_a_window_that_read_one_day_twice_is_found():
    """Each reading alone agrees with what was handed on."""
    assert unexplained(close(WINDOW, [*INDEXES, merge([*COUNTS.items(), (DAYS[1], 7)])], plans())) == 7


def test_a_window_that_read_a_plan_that_never_was_is_found():
    assert unexplained(close(WINDOW, [*INDEXES, merge(COUNTS.items(), planid="ghost")], plans())) == 23


def test_a_window_is_judged_by_the_plan_it_read_not_by_the_one_that_counts_today():
    """A later repair of an old day does not break the books of a merge that ran before it."""
    fix = make_plan("fix", dates=DAYS[:1], created_at=MOMENT, completed_at=MOMENT, promoted_at=MOMENT)
    repaired = make_record("index", date=DAYS[0], category="hats", input=6, planid="fix")
    assert unexplained(close(WINDOW, [*INDEXES, repaired, merge(COUNTS.items())], [*plans(), fix])) == 0


def test_one_day_alone_closes_with_the_records_of_other_days_that_it_read():
    store = MemoryStore()
    with store.begin() as work:
        for plan in plans():
            work.put_plan(plan)
        for record in (*INDEXES, merge(COUNTS.items())):
            work.put_record(record)
    books = gather_books(store, WINDOW, DAYS[-1], DAYS[-1])
    assert {record.key.date for record in books.records} == {DAYS[-1]}
    assert sorted(record.key.date for record in books.consumed) == DAYS[:2]
    found = balance(WINDOW, books)
    assert [(row.date, row.unexplained) for row in found.rows] == [(DAYS[-1], 0)]


def test_one_day_of_a_plan_over_several_owes_nothing_of_its_other_days():
    store = MemoryStore()
    with store.begin() as work:
        work.put_plan(make_plan(dates=DAYS, created_at=MOMENT, completed_at=MOMENT))
        work.expect("daily", [leaf_of(record.key) for record in INDEXES])
        for record in INDEXES:
            work.put_record(record)
    found = balance(WINDOW, gather_books(store, WINDOW, DAYS[1], DAYS[1]))
    assert [(row.date, row.missing_leaves) for row in found.rows] == [(DAYS[1], 0)]


def ratio_edge(low, high):
    return graph([{"from": "read", "to": "detect", "ratio": [low, high]}], read=(), detect=())


@pytest.mark.parametrize(
    ("low", "high", "handed", "taken", "residual"),
    [
        (0.5, 2, 10, 5, 0),
        (0.5, 2, 10, 20, 0),
        (0.5, 2, 10, 4, 1),
        (0.5, 2, 10, 23, 3),
        (0.5, 2, 3, 1, 1),  # at least 1.5, so 2
        (1, 1.5, 3, 5, 1),  # at most 4.5, so 4
        (0, 0.29, 100, 29, 0),  # 100 * 0.29 is 28.999999999999996 in binary
        (0.07, 1, 100, 7, 0),  # 100 * 0.07 is 7.000000000000001
        (0, 3, 0, 0, 0),
        (0, 3, 0, 2, 2),
        (0, float("inf"), 5, 10**9, 0),
        (1, float("inf"), 0, 0, 0),
    ],
)
def test_a_ratio_leaves_over_what_lies_outside_its_band(low, high, handed, taken, residual):
    records = [make_record("read", input=handed), make_record("detect", input=taken)]
    assert unexplained(close(ratio_edge(low, high), records)) == residual


DECIMALS = st.integers(0, 300).map(lambda n: n / 100)


@given(bounds=st.tuples(DECIMALS, DECIMALS).map(sorted), handed=st.integers(1, 1000), data=st.data())
def test_a_ratio_closes_exactly_when_it_lies_in_the_band_as_written(bounds, handed, data):
    low, high = bounds
    # Counts at and beside the bounds: elsewhere rounding cannot matter.
    taken = max(0, round(handed * data.draw(st.sampled_from(bounds))) + data.draw(st.integers(-1, 1)))
    records = [make_record("read", input=handed), make_record("detect", input=taken)]
    inside = Fraction(str(low)) <= Fraction(taken, handed) <= Fraction(str(high))
    assert (unexplained(close(ratio_edge(low, high), records)) == 0) == inside


TAIL = with_tail()


def reads(task, taken, *read, day=DAYS[-1]):
    """Return what a task of a day has booked; it says it read so much of (task, day)."""
    consumed = tuple(Consumed(task=source, date=of, planid="daily", count=count) for source, of, count in read)
    return make_record(task, date=day, category="hats", input=taken, consumed=consumed)


EARLIER = reads("tail", 5, ("index", DAYS[0], 5), day=DAYS[1])
TAILED = reads("tail", 12, ("tail", DAYS[1], 5), ("index", DAYS[1], 7))
MERGED = reads("merge", 23, ("tail", DAYS[2], 12), ("index", DAYS[2], 11))


def test_several_windows_make_up_one_input_and_what_a_task_takes_in_again_is_one_of_them():
    assert unexplained(close(TAIL, [*INDEXES, EARLIER, TAILED, MERGED], plans())) == 0


@pytest.mark.parametrize(
    ("tail", "merge", "found"),
    [
        # its own rows of the day before are gone, and it does not say so
        (
            reads("tail", 7, ("tail", DAYS[1], 5), ("index", DAYS[1], 7)),
            reads("merge", 18, ("tail", DAYS[2], 7), ("index", DAYS[2], 11)),
            {"tail hats/all (sum of the window)": 5},
        ),
        (reads("tail", 7, ("index", DAYS[1], 7)), None, {f"merge hats/all (read of {DAYS[2]} daily)": 5}),
        # it took in fewer of its own than it had handed on
        (
            reads("tail", 10, ("tail", DAYS[1], 3), ("index", DAYS[1], 7)),
            reads("merge", 21, ("tail", DAYS[2], 10), ("index", DAYS[2], 11)),
            {f"tail hats/all (read of {DAYS[1]} daily)": 2},
        ),
        (
            None,
            reads("merge", 11, ("index", DAYS[2], 11), ("tail", DAYS[2], 12)),
            {"merge hats/all (sum of the window)": 12},
        ),
        (
            None,
            reads("merge", 20, ("index", DAYS[2], 11), ("tail", DAYS[2], 9)),
            {f"merge hats/all (read of {DAYS[2]} daily)": 3},
        ),
    ],
)
def test_rows_that_get_lost_between_windows_are_found_once(tail, merge, found):
    closed = close(TAIL, [*INDEXES, EARLIER, tail or TAILED, merge or MERGED], plans())
    assert {one.where.partition(" -> ")[2]: one.residual for one in closed.residuals} == found

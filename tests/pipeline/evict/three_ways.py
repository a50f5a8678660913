"""One day decided three ways, by the engine, by the naive loops and by SQL; they must agree in every column."""

from __future__ import annotations

import atexit
import functools

import duckdb
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.evict.decide import decide
from pipeline.evict.decisions import Decisions, Reason
from pipeline.evict.farthest import Distance
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import NEVER, Stored
from pipeline.evict.tail import TailFull
from tests.pipeline.evict.naive import Apart, Said, naive
from tests.pipeline.evict.sql_oracle import by_sql
from tests.pipeline.evict.stored_rows import Picture, stored_of

DAY = 100
CATEGORIES = ("hats", "shoes")


@functools.cache
def connection() -> duckdb.DuckDBPyConnection:
    """Return the process's database, in memory."""
    atexit.register(connection.cache_clear)  # one that is open at the end is reported as a leak
    return duckdb.connect(config={"threads": 1})


def policies() -> st.SearchStrategy[EvictPolicy]:
    """Draw policies: small numbers, so that few pictures meet every rule."""
    budgets = st.dictionaries(st.sampled_from((*CATEGORIES, "*")), st.none() | st.integers(1, 6), max_size=2)
    return st.builds(
        lambda least, more, **rest: EvictPolicy(min_per_group=least, max_per_group=more and least + more - 1, **rest),
        least=st.integers(1, 3),
        more=st.none() | st.integers(1, 3),
        window_days=st.integers(1, 20),
        delist_days=st.integers(0, 10),
        tail_budget=budgets,
    )


def pictures(most: int = 25) -> st.SearchStrategy[list[Picture]]:
    """Draw stored pictures of few groups around `DAY`, days in the future and the same group twice included."""
    days = st.integers(DAY - 30, DAY + 3)
    one = st.builds(
        Picture,
        id=st.integers(0, 2**62),
        last_seen=days,
        groups=st.lists(st.sampled_from((0, 1, 2, 3, 7, 2**40)), min_size=1, max_size=3).map(tuple),
        value=st.sampled_from((-1.0, -0.0, 0.0, 0.25, 0.5, 1.0)) | st.floats(-1, 1, width=32),
        pinned=_seldom(),
        taken_down=_seldom(),
        indexed=_seldom().map(lambda rare: not rare),
        gone_since=st.none() | st.none() | days,
        marked_on=st.none() | days,
        category=st.sampled_from(CATEGORIES),
    )
    return st.lists(one, max_size=most, unique_by=lambda picture: picture.id)


def by_engine(
    rows: list[Picture], policy: EvictPolicy, day: int, apart: Apart | None = None
) -> tuple[dict[int, Said], dict[str, int]] | None:
    """Return what the engine decides, as `naive` does; None where the tail is full."""
    stored = stored_of(rows)
    try:
        decided = decide(stored, policy, day, distance=apart and distances(stored, apart))
    except TailFull:
        return None
    return said_of(stored, decided), decided.degraded


def agreed(
    rows: list[Picture], policy: EvictPolicy, day: int, apart: Apart | None = None, *, sql: bool = True
) -> dict[int, Said] | None:
    """Return what the engine decides after comparing it with the oracles; None where all find the tail full.

    SQL takes 20 ms where the loops take a tenth of one, and knows no distances.
    """
    ours = by_engine(rows, policy, day, apart)
    try:
        expected = naive(rows, policy, day, apart)
    except TailFull:
        expected = None
    assert ours == expected
    if sql and apart is None:
        assert by_sql(connection(), rows, policy, day) == expected
    return ours and ours[0]


def said_of(stored: Stored, decided: Decisions) -> dict[int, Said]:
    """Return the decisions row by row, by picture."""
    columns = (decided.reason, decided.why, decided.rank, decided.group, decided.better, decided.marked_on)
    rows = zip(stored.ids.tolist(), *(column.tolist() for column in columns), strict=True)
    return {
        id_: Said(Reason(reason), Reason(why), rank, group, better, None if marked == NEVER else marked)
        for id_, reason, why, rank, group, better, marked in rows
    }


def distances(stored: Stored, apart: Apart) -> Distance:
    """Return distances between rows from those between ids."""

    def between(some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float32]:
        ids = stored.ids.tolist()
        return np.array([[apart(ids[one], ids[other]) for other in others] for one in some], np.float32)

    return between


def _seldom() -> st.SearchStrategy[bool]:
    return st.integers(0, 7).map(lambda number: number == 7)

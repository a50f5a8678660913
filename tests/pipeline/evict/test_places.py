"""Rows are found by name whatever the names are: as a dictionary of Python finds them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evict.places import Places

# Few digits behind a long common beginning: names that share their key are then the rule.
SHA256 = st.text("01ef", min_size=3, max_size=3).map(lambda end: "0" * 14 + end + "a" * 47)
ANY = st.text("ab\x00é1", max_size=3) | st.text("ab", max_size=2).map(lambda end: "a" * 16 + end)


def column(names: Sequence[str | None], cuts: list[int], kind: Any = None) -> Any:
    """Return names as a chunked column whose chunks are slices of one array."""
    whole = pa.array(list(names), kind or pa.string())
    edges = [0, *sorted({cut for cut in cuts if cut < len(names)}), len(names)]
    return pa.chunked_array([whole.slice(a, b - a) for a, b in pairwise(edges)], whole.type)


@settings(max_examples=150, deadline=None)
@given(
    names=st.lists(SHA256, unique=True, max_size=12) | st.lists(ANY, unique=True, max_size=12),
    asked=st.lists(SHA256 | ANY | st.none(), max_size=12),
    cuts=st.lists(st.integers(0, 11), max_size=3),
    in_order=st.booleans(),
    wide=st.booleans(),
)
def test_every_name_is_found_where_it_is_and_no_other(
    names: list[str], asked: list[str | None], cuts: list[int], in_order: bool, wide: bool
) -> None:
    names = sorted(names) if in_order else names
    wanted = [*asked, *names[::2]]
    places = Places(column(names, cuts, pa.large_string() if wide else pa.string()))
    rows = places.rows_of(column(wanted, cuts, pa.string() if wide else pa.large_string()))
    known = {name: row for row, name in enumerate(names)}
    assert rows.tolist() == [-1 if one is None else known.get(one, -1) for one in wanted]
    assert len(places) == len(names)
    assert places.mask_of(pa.array(wanted, pa.string())).tolist() == [name in set(wanted) for name in names]


def test_blocks_are_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.evict.places._BLOCK", 3)
    names = [f"{number:064x}" for number in np.random.default_rng(1).integers(0, 2**60, 40).tolist()]
    found = Places(pa.array(sorted(names))).rows_of(pa.array([*reversed(names), "x"]))
    assert found.tolist() == [*(sorted(names).index(name) for name in reversed(names)), -1]


def test_the_keys_of_sha256_rise_so_that_a_sorted_library_is_not_sorted_again() -> None:
    places = Places(pa.array(sorted(f"{number:064x}" for number in (1, 5 << 192, 5 << 200, (1 << 256) - 1, 10 << 252))))
    assert places._order is None

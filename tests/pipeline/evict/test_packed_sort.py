"""Orders by packed keys are those of `np.lexsort`, however wide the keys are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.evict.packed_sort import falling, order_of


@settings(max_examples=30)
@given(
    data=st.data(),
    rows=st.integers(0, 30),
    widths=st.lists(st.sampled_from((0, 1, 7, 32, 63, 64)), min_size=1, max_size=5),
)
def test_the_order_is_that_of_a_stable_sort_by_all_keys(data: st.DataObject, rows: int, widths: list[int]) -> None:
    few = [data.draw(arrays(np.uint64, rows, elements=st.integers(0, 3))) for _ in widths]
    # Stretched to its width, so that ties stay ties and keys too wide to be packed together occur.
    fields = [field * np.uint64(((1 << width) - 1) // 3) for field, width in zip(few, widths, strict=True)]
    np.testing.assert_array_equal(order_of(*fields), np.lexsort(fields[::-1]))


def test_keys_of_mixed_types_keep_all_their_bits() -> None:
    small, wide = np.array([1, 0, 1, 0], np.uint8), np.array([7, 2**32 - 1, 6, 2**32 - 2], np.uint32)
    assert order_of(small, wide).tolist() == [3, 1, 2, 0]
    assert order_of(wide, small).tolist() == [2, 0, 3, 1]


@pytest.mark.parametrize("rows", [0, 1])
def test_no_rows_and_one_row_have_an_order(rows: int) -> None:
    assert order_of(np.full(rows, 2**64 - 1, np.uint64)).tolist() == list(range(rows))


@settings(max_examples=30)
@given(values=arrays(np.float32, st.integers(0, 20), elements=st.floats(-2, 2, width=32)))
def test_codes_rise_exactly_where_values_fall(values: np.ndarray) -> None:
    codes = falling(values).astype(np.int64)
    np.testing.assert_array_equal(np.sign(codes[:, None] - codes), np.sign(values - values[:, None]))

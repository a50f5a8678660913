"""Which of a picture's offers belong to which of its objects.

A picture of three products comes with the offers of all three. What the merchant declared says which offer means
which object: by its category, the only thing both sides have. No offer is lost over it: what fits no object of the
picture better than this one stays with it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def categories_elsewhere(items: Sequence[str], placed: Sequence[str]) -> list[list[str]]:
    """Return for each object the categories, sorted, of the other objects of its picture.

    Args:
        items: the picture each object belongs to.
        placed: the category each object went to.

    Example:
        >>> categories_elsewhere(["p", "p", "q", "p"], ["hats", "mugs", "hats", "mugs"])
        [['mugs'], ['hats', 'mugs'], [], ['hats', 'mugs']]
    """
    of_item: dict[str, Counter[str]] = defaultdict(Counter)
    for item, category in zip(items, placed, strict=True):
        of_item[item][category] += 1
    return [
        sorted(name for name, count in of_item[item].items() if count - (name == category))
        for item, category in zip(items, placed, strict=True)
    ]


def offers_of_category(
    entries: pa.Table, category: str, fallback: str, elsewhere: Sequence[list[str] | None]
) -> pa.Table:
    """Return the entries of one category's objects with only the offers that belong to them.

    An object keeps the offers that were declared as its category, and those of a category that none of the picture's
    objects has; where none was declared as its category, it keeps all. Its group and title are those of the first
    offer declared as its category, else they stay.

    Args:
        entries: one row an object: `offers` (list of `OFFER`, never empty), `group` and `title`.
        category: of all the objects.
        fallback: what an offer without a declared category counts as.
        elsewhere: for each object the categories of the other objects of its picture (`categories_elsewhere`); None
            where that is not known: an offer that was declared as another category then goes.

    Returns:
        The table with `offers`, `group` and `title` replaced; rows and their order stay.
    """
    if not entries.num_rows:
        return entries
    offers = entries["offers"].combine_chunks()
    flat, parents = offers.flatten(), np.asarray(pc.list_parent_indices(offers))
    declared = pc.fill_null(pc.struct_field(flat, "category"), "")
    declared = pc.if_else(pc.equal(declared, ""), fallback, declared)
    mine = np.asarray(pc.equal(declared, category).to_numpy(zero_copy_only=False), np.bool_)
    claims = np.zeros(entries.num_rows, np.bool_)
    claims[parents[mine]] = True
    keep = mine | ~claims[parents] | _unclaimed(declared.to_pylist(), parents, elsewhere)
    order = np.lexsort((np.arange(len(parents)), ~mine, parents))
    order = order[keep[order]]
    starts = np.concatenate([[0], np.cumsum(np.bincount(parents[keep], minlength=entries.num_rows))])
    chosen = flat.take(pa.array(order))
    first = chosen.take(pa.array(starts[:-1]))
    out = entries.set_column(
        entries.column_names.index("offers"),
        "offers",
        pa.ListArray.from_arrays(pa.array(starts, pa.int32()), chosen).cast(offers.type),
    )
    for name in ("group", "title"):
        value = pc.if_else(pa.array(claims), pc.struct_field(first, name), entries[name].combine_chunks())
        out = out.set_column(out.column_names.index(name), name, value)
    return out


def _unclaimed(
    declared: list[str], parents: NDArray[np.int64], elsewhere: Sequence[list[str] | None]
) -> NDArray[np.bool_]:
    """Tell for each offer whether it is known that no other object of its picture has the category it declares."""
    return np.array(
        [
            (others := elsewhere[row]) is not None and name not in others
            for name, row in zip(declared, parents, strict=True)
        ],
        np.bool_,
    )

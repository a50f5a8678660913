"""Which product groups a picture belongs to: names from the catalogue, or look-alikes where it is silent.

A picture's groups are those that its offers name; where none of them names one, the picture is a group of its own, and
so stays (issue 9: fail safe). One named group is enough: offers were put together because their photograph is the same
one, so it shows the same product, whichever merchant left the group out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

OWN = "picture:"
"""Prefix of the group of a picture without one, before the picture's sha256 (of look-alikes: of the first one's)."""
_ESCAPE = "group:"

# Rows decided together, and leaders looked at together: a block of cosines is 1,024 x 8,192 float32, 32 MB.
_BLOCK = 1024
_CHUNK = 8192
_NAMED = 1 << 20
SLACK = 1e-6
"""By which a cosine of float32 vectors may miss the threshold: equal vectors often have 0.9999999."""


@dataclass(frozen=True, eq=False)
class Grouping:
    """Memberships of n rows in g groups, p of them.

    Attributes:
        member_rows: Row of each membership, (p,) int64, rising; every row has at least one.
        member_groups: Number of its group, (p,) int64 in [0, g), rising within a row; no membership twice.
        names: Name of each group by its number, sorted by code points: Arrow `large_string` (g,).
    """

    member_rows: NDArray[np.int64]
    member_groups: NDArray[np.int64]
    names: Any

    def numbers_of(self, declared: Iterable[str]) -> NDArray[np.int64]:
        """Return the numbers, rising, of those of these groups that there are; as catalogue and policy name them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pa.array([group_name(name) for name in declared], pa.large_string())
        found = pc.index_in(wanted, value_set=self.names).drop_null()
        return np.unique(np.asarray(found, np.int64))


@dataclass(frozen=True, eq=False)
class Space:
    """Vectors that may be compared with each other: of one model, thus of one category.

    Attributes:
        rows: Row of the live table of each, (k,) int64, no row twice.
        vectors: (k, d) float32, of any length; a zero or a not finite one is like no other.
    """

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]


def group_name(declared: str) -> str:
    """Return the name under which a declared group is kept: itself, unless it could be taken for a picture's own.

    Example:
        >>> group_name("g17"), group_name("picture:ab"), group_name("group:x")
        ('g17', 'group:picture:ab', 'group:group:x')
    """
    return _ESCAPE + declared if declared.startswith((OWN, _ESCAPE)) else declared


def groups_of(live: Any, *, cosine: float | None = None, spaces: Sequence[Space] = ()) -> Grouping:
    """Return the groups of every row of a live table; does not depend on the order of its rows but for `member_rows`.

    Args:
        live: Columns of `LIVE_SCHEMA`: picture (no two alike), group, offers, first_day. The own `group` counts only
            where there are no offers; an empty or null name is none.
        cosine: `EvictPolicy.near_duplicate`: pictures without a named group whose cosine reaches it are one group,
            see `look_alikes`; None: each is its own.
        spaces: Vectors; a picture without one is its own group. Pictures of two spaces never share a group by looks.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    rows, names = _named(live)
    own = np.ones(live.num_rows, np.bool_)
    own[rows] = False
    without = np.flatnonzero(own)
    leaders = np.arange(live.num_rows)
    if cosine is not None:
        _find_leaders(leaders, own, live, spaces, cosine)
    every = pa.chunked_array([*names.chunks, *_own_names(live["picture"], leaders[without])], pa.large_string())
    encoded = pc.dictionary_encode(every).combine_chunks()
    order = np.asarray(pc.sort_indices(encoded.dictionary), np.int64)
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    numbers = number[np.asarray(encoded.indices, np.int64)]
    return _sorted(np.concatenate([rows, without]), numbers, encoded.dictionary.take(pa.array(order)))


def _own_names(pictures: Any, leaders: NDArray[np.int64]) -> Iterator[Any]:
    """Yield the names of groups that are called by a picture, Arrow arrays one after the other."""
    import pyarrow as pa
    import pyarrow.compute as pc

    prefix, empty = (pa.scalar(text, pa.large_string()) for text in (OWN, ""))
    for start in range(0, len(leaders), _NAMED):  # text of all of them may not fit one array of 32-bit offsets
        some = pictures.take(pa.array(leaders[start : start + _NAMED])).cast(pa.large_string())
        yield from pc.binary_join_element_wise(prefix, some, empty).chunks


def in_order(groups: Grouping, order: NDArray[np.int64]) -> Grouping:
    """Return the memberships of rows that are put into another order: `order` has the rows as they come then."""
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return _sorted(place[groups.member_rows], groups.member_groups, groups.names)


def _sorted(rows: NDArray[np.int64], numbers: NDArray[np.int64], names: Any) -> Grouping:
    """Sort memberships by row and group, each once."""
    low = np.int64(max(len(names) - 1, 0).bit_length())
    key = rows << low | numbers  # Arrow has at most 2^31 rows of strings, and so many names
    if not (key[1:] > key[:-1]).all():
        key.sort()  # not np.unique: numpy hashes for it, at five times the cost
        key = key[np.diff(key, prepend=-1) > 0]
    return Grouping(key >> low, key & ((np.int64(1) << low) - 1), names)


def _named(live: Any) -> tuple[NDArray[np.int64], Any]:
    """Return (row, name) of every group that is named: of offers, and of rows without offers their own."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    names: list[Any] = []
    start = 0
    # Chunk by chunk: the strings of millions of offers do not fit into one array of 32-bit offsets.
    for chunk in live["offers"].chunks:
        rows.append(np.asarray(pc.list_parent_indices(chunk), np.int64) + start)
        names.append(pc.struct_field(pc.list_flatten(chunk), "group").cast(pa.large_string()))
        start += len(chunk)
    bare = np.ones(live.num_rows, np.bool_)
    bare[np.concatenate(rows)] = False
    own = np.flatnonzero(bare)
    rows.append(own)
    names += live["group"].take(pa.array(own)).cast(pa.large_string()).chunks
    named = pa.chunked_array(names, pa.large_string())
    there = np.asarray(pc.fill_null(pc.not_equal(named, ""), False), np.bool_)
    every = np.concatenate(rows)
    if not there.all():  # else nothing is copied: these are the names of 20 million pictures
        every, named = every[there], named.filter(pa.array(there))
    reserved = pc.or_(pc.starts_with(named, OWN), pc.starts_with(named, _ESCAPE))
    if not pc.any(reserved).as_py():
        return every, named
    prefixed = pc.binary_join_element_wise(
        pa.scalar(_ESCAPE, pa.large_string()), named, pa.scalar("", pa.large_string())
    )
    return every, pc.if_else(reserved, prefixed, named)


def _find_leaders(
    leaders: NDArray[np.int64], own: NDArray[np.bool_], live: Any, spaces: Sequence[Space], cosine: float
) -> None:
    """Write the leader of every row without a named group into `leaders`."""
    import pyarrow.compute as pc

    order = np.asarray(pc.sort_indices(live, [("first_day", "ascending"), ("picture", "ascending")]), np.int64)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    for space in spaces:
        mine = np.flatnonzero(own[space.rows])
        mine = mine[np.argsort(place[space.rows[mine]])]
        rows = space.rows[mine]
        leaders[rows] = rows[look_alikes(space.vectors[mine], cosine)]


def look_alikes(vectors: NDArray[np.float32], cosine: float) -> NDArray[np.int64]:
    """Cluster vectors around leaders, in their order (leader clustering, Hartigan 1975, section 3.2).

    A row joins the nearest earlier leader (ties: the earliest) whose cosine reaches the threshold, else it leads. Only
    leaders attract, as in `pipeline.images.near`: no chain forms, and two of a cluster are at most twice the angle of
    the threshold apart. Where rows come oldest first, a newcomer never renames or divides the clusters before it.

    Time is n x leaders x d, exactly; memory is blocks of 32 MB beside one normalised copy.

    Args:
        vectors: (n, d) float32; a zero or not finite row leads itself alone.
        cosine: In (0, 1]; a cosine that misses it by less than `SLACK` reaches it.

    Returns:
        (n,) int64: the row that each follows; its own number for a leader.
    """
    unit, usable = normalised(vectors)
    followed = np.arange(len(unit))
    rows = np.flatnonzero(usable)
    least = np.float32(cosine - SLACK)
    leaders = np.empty(0, np.int64)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        best = np.full(len(block), -np.inf, np.float32)
        whom = np.full(len(block), -1, np.int64)
        for at in range(0, len(leaders), _CHUNK):
            some = leaders[at : at + _CHUNK]
            cosines = unit[block] @ unit[some].T
            nearest = cosines.argmax(axis=1)
            reached = cosines[np.arange(len(block)), nearest]
            nearer = reached > best
            best[nearer], whom[nearer] = reached[nearer], some[nearest[nearer]]
        _within(block, unit[block] @ unit[block].T, best, whom, least)
        followed[block] = whom
        leaders = np.concatenate([leaders, block[whom == block]])
    return followed


def _within(
    block: NDArray[np.int64],
    cosines: NDArray[np.float32],
    best: NDArray[np.float32],
    whom: NDArray[np.int64],
    least: np.float32,
) -> None:
    """Decide a block in its order, after all leaders before it were looked at; `whom` is filled."""
    for number in range(len(block)):
        if best[number] < least:
            whom[number] = block[number]
            later = slice(number + 1, None)
            nearer = cosines[number, later] > best[later]
            # Only a match is remembered, so that `best` below the threshold stays: nobody yet.
            best[later] = np.where(nearer, cosines[number, later], best[later])
            whom[later] = np.where(nearer, block[number], whom[later])


def normalised(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the vectors at length 1, (n, d) float32, and which are finite and not zero, (n,) bool; others are zero."""
    found = np.array(vectors, np.float32)
    usable = np.isfinite(found).all(axis=1)
    found[~usable] = 0
    lengths = np.sqrt(np.einsum("ij,ij->i", found, found, dtype=np.float64))
    usable &= lengths > 0
    found /= np.where(usable, lengths, 1.0)[:, None].astype(np.float32)
    return found, usable

"""Canonical ranking: the order of operations is part of every metric's definition.

Raw hits -> drop empty ids (-1) -> drop the query's very picture, by hash and never by place -> sort by (distance, id)
-> collapse repeated pictures, counting them -> collapse to product groups; cut at k and score: evaluation/metrics.py.
Without it a tied run is worth whatever its order of ties gives: one TREC run with 99.5 % tied scores has success@10
0.63 in one library and 0.49 in another (evaluation-index-eviction.md, 0 and 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date as Date
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.answers import Answers, Status
from evaluation.evalset import EvalSet
from evaluation.measured import Bools, Floats, Ranked
from evaluation.truth import Codes, Names, Record, Truth, ordered_codes, record_of, truth_of
from reporting.errors import DataError

NEVER = -1
"""Grade beyond a list's end."""


def rank(answers: Answers, evalset: EvalSet, *, day: Date | None = None) -> Ranked:
    """Rank a system's answers canonically, to the ends of their lists.

    - Ids that are decimal numbers come by value and before others, others by their UTF-8 bytes.
    - A picture is as relevant as the best label of its groups in the catalogue of record, and not at all while it is
      not live: what the system claims for a hit never makes it relevant.
    - A hit belongs to the group that the system shows for it; without one, to the catalogue's (of several, the best
      labelled one, then the first by name). A picture that is an orphan or not live is a group of its own then.
    - A shown group is as relevant as its nearest picture, the one that a user sees; of several at the very same
      distance, as the least relevant. So nobody gains by showing strangers as one group.
    - A query that was not answered has an empty list, whatever came of it before it failed.

    Args:
        answers: To all queries of the set, in its order.
        evalset: The set.
        day: Which pictures are live; None: those without a takedown on record.

    Raises:
        DataError: Queries of another set, columns of different lengths, a row of no query, or a hit whose distance is
            not a finite number (an empty id may have any).
    """
    return rank_record(answers, record_of(evalset, day))


def rank_record(answers: Answers, record: Record) -> Ranked:
    """Rank as `rank` does, with the set already read into columns."""
    _refuse_broken(answers, record)
    truth = truth_of(record, answers.stands_for)
    n = len(record.query_ids)
    answered = np.array([status is Status.ANSWERED for status in answers.statuses], np.bool_)
    row = np.asarray(answers.row, np.int64)
    image, names = ordered_codes(answers.image_id, numbers_first=True)
    shown, places, groups = _shown_groups(answers, record, names)
    hits = _Hits(row, image, np.asarray(answers.distance, np.float64), shown).take(answered[row])
    known = _places(names, truth.images)
    own = _own_pairs(truth.own, known, len(truth.images))
    hits, dropped = _cleaned(hits, names, own, record)
    in_catalog = known[hits.image]
    grade, group = _judged(hits, in_catalog, truth, len(record.groups))
    if hits.shown is not None:
        group = np.where(places[hits.shown] < 0, group, places[hits.shown])
    place = _first_places(hits.row, group, len(groups))
    by_image, by_group = _Grid(hits.row, n), _Grid(hits.row[place], n)
    return Ranked(
        image_grades=by_image.lay(grade, NEVER),
        image_names=by_image.lay(names[hits.image], ""),
        image_distances=by_image.lay(hits.distance, np.nan),
        group_grades=by_group.lay(_group_grades(hits, grade, group, place), NEVER),
        group_names=by_group.lay(groups[group[place]], ""),
        group_distances=by_group.lay(hits.distance[place], np.nan),
        findable=truth.findable,
        findable_groups=truth.findable_groups,
        answered=answered,
        padded=dropped.padded,
        self_matches=dropped.self_matches,
        duplicates=dropped.duplicates,
        orphans=_counted(hits.row[in_catalog < 0], n),
        findable_same=truth.findable_same,
    )


@dataclass(frozen=True, slots=True)
class _Hits:
    """h hits: row of the query, number of the picture in order of ids, distance, code of the shown group by name."""

    row: Codes
    image: Codes
    distance: Floats
    shown: Codes | None

    def take(self, which: Bools | Codes) -> _Hits:
        """Return some of the hits, by mask or in an order; the same hits where the mask is all true."""
        if which.dtype == np.bool_ and which.all():
            return self
        shown = None if self.shown is None else self.shown[which]
        return _Hits(self.row[which], self.image[which], self.distance[which], shown)


def _places(names: Names, among: Names) -> Codes:
    """Return the place of each name in a list of distinct names, -1 where it is not there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    places = pc.index_in(pa.array(names, pa.string()), value_set=pa.array(among, pa.string()))
    return np.asarray(pc.fill_null(places, -1).to_numpy(zero_copy_only=False), np.int64)


class _Dropped(NamedTuple):
    """How many hits of each query fell away, (n,) each."""

    padded: Codes
    self_matches: Codes
    duplicates: Codes


def _cleaned(hits: _Hits, names: NDArray[np.object_], own: Codes, record: Record) -> tuple[_Hits, _Dropped]:
    """Drop padding, then self-matches, sort by (distance, id), and keep the first of each id: 4.2's order."""
    n = len(record.query_ids)
    is_padding = _is_one_of(hits.image, np.flatnonzero(names == ""))
    padded = _counted(hits.row[is_padding], n)
    hits = hits.take(~is_padding)
    _refuse_unordered(hits, names, record)
    is_own = _is_one_of(hits.row * len(names) + hits.image, own)
    self_matches = _counted(hits.row[is_own], n)
    hits = hits.take(~is_own)
    hits = hits.take(_canonical_order(hits))
    first = _first_places(hits.row, hits.image, len(names))
    duplicates = _counted(hits.row, n) - _counted(hits.row[first], n)
    return hits.take(first), _Dropped(padded, self_matches, duplicates)


def _is_one_of(values: Codes, few: Codes) -> Bools:
    return np.isin(values, few) if few.size else np.zeros(len(values), np.bool_)


def _own_pairs(own: Codes, known: Codes, images: int) -> Codes:
    """Turn pairs of query and picture of the catalogue into pairs of query and picture name that was returned."""
    code_of = np.full(images, -1, np.int64)
    code_of[known[known >= 0]] = np.flatnonzero(known >= 0)
    row, code = own // max(1, images), code_of[own % max(1, images)] if images else own
    return (row * len(known) + code)[code >= 0]


def _shown_groups(answers: Answers, record: Record, images: Names) -> tuple[Codes | None, Codes, Names]:
    """Code the groups that the system shows in order of names (None: it shows none), and name all groups by number.

    The groups of the catalogue come first, then one for each picture name, for hits without a group, then those that
    only the system knows. The second of the three says for each code which number it is, -1 for "".
    """
    groups = np.concatenate([record.groups, images])
    if answers.group_id is None:
        return None, np.zeros(0, np.int64), groups
    shown, names = ordered_codes(answers.group_id)
    place = _places(names, record.groups)
    place = np.where(place < 0, len(groups) + np.arange(len(names)), place)
    return shown, np.where(names == "", -1, place), np.concatenate([groups, names])


def _judged(hits: _Hits, known: Codes, truth: Truth, group_count: int) -> tuple[NDArray[np.int8], Codes]:
    """Grade the hits by the catalogue, and say to which of its groups each belongs (its own where it has none)."""
    grade = np.zeros(len(known), np.int8)
    group = group_count + hits.image
    if len(truth.images):
        own = truth.image_group[known]
        group = np.where((known >= 0) & (own >= 0), own, group)
    if len(truth.pairs):
        pair = hits.row * len(truth.images) + known
        at = np.minimum(np.searchsorted(truth.pairs, pair), len(truth.pairs) - 1)
        is_relevant = (truth.pairs[at] == pair) & (known >= 0)
        grade[is_relevant] = truth.grades[at[is_relevant]]
        group[is_relevant] = truth.pair_group[at[is_relevant]]
    return grade, group


def _canonical_order(hits: _Hits) -> Codes:
    """Order by (query, distance, id); the group closes the key where one picture is shown under two at one distance."""
    h = len(hits.row)
    order = np.argsort(hits.row, kind="stable") if np.any(hits.row[1:] < hits.row[:-1]) else np.arange(h)
    grid = _Grid(hits.row[order], int(hits.row.max(initial=-1)) + 1)
    # Short rows sort several times faster than one long column; who ties is put in order afterwards.
    inner = np.argsort(grid.lay(hits.distance[order], np.inf), axis=1)
    order = order[grid.flat(inner)]
    row, distance = hits.row[order], hits.distance[order]
    ties = (row[1:] == row[:-1]) & (distance[1:] == distance[:-1])
    tied = np.flatnonzero(np.concatenate([ties, [False]]) | np.concatenate([[False], ties])) if h else np.arange(0)
    if tied.size:
        them = order[tied]
        shown = np.zeros(len(them), np.int64) if hits.shown is None else hits.shown[them]
        order[tied] = them[np.lexsort((shown, hits.image[them], hits.distance[them], hits.row[them]))]
    return order


def _first_places(row: Codes, key: Codes, keys: int) -> Codes:
    """Return, rising, the places where a key comes first in its row; rows rise.

    Args:
        row: (h,) rows.
        key: (h,) in [0, keys).
        keys: How many there may be.
    """
    counts = np.bincount(row) if len(row) else np.zeros(1, np.int64)
    width = int(counts.max())
    if float(len(counts)) * keys * max(1, width) >= 2.0**63:
        return np.sort(np.unique(row * keys + key, return_index=True)[1])
    starts = np.cumsum(counts) - counts
    # One sort of packed numbers is several times faster than an argsort.
    packed = np.sort((row * keys + key) * max(1, width) + np.arange(len(row)) - starts[row])
    pair, place = np.divmod(packed, max(1, width))
    is_first = np.ones(len(row), np.bool_)
    is_first[1:] = pair[1:] != pair[:-1]
    return np.sort(starts[pair[is_first] // keys] + place[is_first])


def _group_grades(hits: _Hits, grade: NDArray[np.int8], group: Codes, place: Codes) -> NDArray[np.int8]:
    """Grade the groups whose nearest hits stand at `place`: the lowest grade among their hits at that distance."""
    if hits.shown is None:  # the catalogue's own groups are of one grade
        return grade[place]
    key = hits.row * (int(group.max(initial=0)) + 1) + group
    order = np.argsort(key[place])
    sorted_place = place[order]
    member = np.searchsorted(key[sorted_place], key)
    is_nearest = hits.distance == hits.distance[sorted_place][member]
    lowest = grade[sorted_place]
    np.minimum.at(lowest, member[is_nearest], grade[is_nearest])
    grades = np.empty_like(lowest)
    grades[order] = lowest
    return grades


class _Grid:
    """Lists of n queries as a grid: one row a query, as wide as the longest list and at least 1."""

    def __init__(self, row: Codes, n: int):
        counts = np.bincount(row, minlength=n)
        self._shape = (n, int(max(1, counts.max(initial=0))))
        self._starts = np.cumsum(counts) - counts
        is_full = len(row) == n * self._shape[1]
        # Where each entry of the column lies in the grid; no need to look where all lists are of one length.
        self._at = None if is_full else np.arange(len(row)) + (np.arange(n) * self._shape[1] - self._starts)[row]

    def lay(self, values: NDArray[Any], beyond: object) -> NDArray[Any]:
        """Lay out a column of the lists, with `beyond` after each list's end."""
        if self._at is None:
            return values.reshape(self._shape)
        grid = np.full(self._shape[0] * self._shape[1], beyond, values.dtype)
        grid[self._at] = values
        return grid.reshape(self._shape)

    def flat(self, inner: Codes) -> Codes:
        """Turn places within the rows of a grid into places in the column."""
        inner += self._starts[:, None]
        return inner.reshape(-1) if self._at is None else inner.reshape(-1)[self._at]


def _counted(row: Codes, n: int) -> Codes:
    return np.bincount(row, minlength=n).astype(np.int64)


def _refuse_broken(answers: Answers, record: Record) -> None:
    if answers.query_ids != record.query_ids:
        ours = set(record.query_ids)
        strange = next((one for one in answers.query_ids if one not in ours), None)
        what = "other queries or another order" if strange is None else f"query {strange!r}"
        raise DataError(
            f"answers: {what} than eval set {record.set_id} has ({len(answers.query_ids)} queries, expected"
            f" {len(record.query_ids)}); answers and set must be of one version"
        )
    h = len(answers.row)
    lengths = {"image_id": len(answers.image_id), "distance": len(answers.distance)}
    if answers.group_id is not None:
        lengths["group_id"] = len(answers.group_id)
    wrong = [f"{name} {length}" for name, length in lengths.items() if length != h]
    if wrong or len(answers.statuses) != len(answers.query_ids):
        raise DataError(
            f"answers: {h} rows with {', '.join(wrong) or 'all columns'}, {len(answers.statuses)} statuses for"
            f" {len(answers.query_ids)} queries; expected one of each"
        )
    low, high = (int(answers.row.min()), int(answers.row.max())) if h else (0, 0)
    if low < 0 or high >= max(1, len(record.query_ids)):
        raise DataError(f"answers: hits of rows {low} to {high}; expected 0 to {len(record.query_ids) - 1}")


def _refuse_unordered(hits: _Hits, names: Names, record: Record) -> None:
    """A list with a distance that is not finite has no order."""
    bad = np.flatnonzero(~np.isfinite(hits.distance))
    if bad.size:
        at = bad[0]
        raise DataError(
            f"answers: query {record.query_ids[hits.row[at]]}, picture {names[hits.image[at]]}: distance"
            f" {hits.distance[at]} ({bad.size} such hits); expected a finite number: mark the query as an error instead"
        )

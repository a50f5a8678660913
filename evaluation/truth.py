"""What is right for each query, as integer codes: the set's labels joined with the catalogue of record.

Labels point to product groups, pictures belong to groups: a (query, picture) pair is relevant if one of the picture's
groups is labelled for the query with a grade >= 1 and the picture is live. Nothing here has seen an index.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date as Date

import numpy as np
from numpy.typing import NDArray

from evaluation.evalset import EvalSet
from reporting.errors import DataError

Codes = NDArray[np.int64]
Names = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Record:
    """A set's labels and catalogue as columns, read once for all views of a system.

    Attributes:
        set_id: Of the set.
        query_ids: n ids.
        query_sha256: n hashes, "" unknown.
        image_ids: c names, one a row of the catalogue.
        image_sha256: c hashes, "" unknown.
        is_live: (c,) bool: findable on the day asked for.
        groups: Distinct names of the catalogue's and the labels' groups, by their UTF-8 bytes.
        image_group: (c,) int64, into `groups`.
        label_row: (l,) int64: the query of each label of grade >= 1.
        label_group: (l,) int64, into `groups`.
        label_grade: (l,) int64, 1 or 2.
    """

    set_id: str
    query_ids: tuple[str, ...]
    query_sha256: tuple[str, ...]
    image_ids: tuple[str, ...]
    image_sha256: tuple[str, ...]
    is_live: NDArray[np.bool_]
    groups: Names
    image_group: Codes
    label_row: Codes
    label_group: Codes
    label_grade: Codes


@dataclass(frozen=True, slots=True)
class Truth:
    """A `Record` under the names by which one system returns pictures (its `stands_for` applied).

    A pair is `query row * len(images) + picture`; pairs rise.

    Attributes:
        images: (i,) distinct picture names.
        image_group: (i,) int64: the first live group of a picture by name, -1 if the picture is not live.
        pairs: (p,) int64: the relevant pairs, the queries' own pictures left out.
        grades: (p,) int8, 1 or 2: the highest of the picture's groups.
        pair_group: (p,) int64: the group of that grade, the first by name.
        own: (o,) int64: pairs of a query and its very picture, by hash.
        findable: (n,) int64: relevant pictures.
        findable_same: (n,) int64: those of grade 2.
        findable_groups: (n,) int64: relevant groups with at least one such picture.
    """

    images: Names
    image_group: Codes
    pairs: Codes
    grades: NDArray[np.int8]
    pair_group: Codes
    own: Codes
    findable: Codes
    findable_same: Codes
    findable_groups: Codes


def record_of(evalset: EvalSet, day: Date | None) -> Record:
    """Read a set into columns.

    Args:
        evalset: The set.
        day: A picture counts if it is live on this day (`CatalogImage.is_live`); None: if no takedown is on record.

    Raises:
        DataError: A label names a query that the set does not have, or a query is there twice.
    """
    row_of = evalset.row_of
    if len(row_of) != len(evalset.queries):
        raise DataError(f"eval set {evalset.set_id}: a query_id occurs twice; rebuild it with `evaluate build-set`")
    labels = [label for label in evalset.labels if label.grade > 0]
    lost = next((label for label in labels if label.query_id not in row_of), None)
    if lost is not None:
        raise DataError(
            f"eval set {evalset.set_id}: the label ({lost.query_id}, {lost.group_id}) is of no query of the set;"
            " rebuild it with `evaluate build-set`"
        )
    catalog = evalset.catalog
    codes, groups = ordered_codes([image.group_id for image in catalog] + [label.group_id for label in labels])
    return Record(
        set_id=evalset.set_id,
        query_ids=tuple(query.query_id for query in evalset.queries),
        query_sha256=tuple(query.sha256 for query in evalset.queries),
        image_ids=tuple(image.image_id for image in catalog),
        image_sha256=tuple(image.sha256 for image in catalog),
        is_live=np.array([image.is_live(day) for image in catalog], np.bool_),
        groups=groups,
        image_group=codes[: len(catalog)],
        label_row=np.array([row_of[label.query_id] for label in labels], np.int64),
        label_group=codes[len(catalog) :],
        label_grade=np.array([label.grade for label in labels], np.int64),
    )


def truth_of(record: Record, stands_for: Mapping[str, str]) -> Truth:
    """Join labels and catalogue under a system's names for pictures.

    Args:
        record: The set in columns.
        stands_for: image_id of the catalogue -> image_id under which the system returns it. A picture that stands for
            others has the groups and the hashes of all of them, and counts once.
    """
    names = [stands_for.get(name, name) for name in record.image_ids] if stands_for else record.image_ids
    image, images = ordered_codes(names)
    own = _own_pairs(record, image, len(images))
    live = np.flatnonzero(record.is_live)
    live_image, live_group = image[live], record.image_group[live]
    n = len(record.query_ids)
    first_group = np.full(len(images), len(record.groups), np.int64)
    np.minimum.at(first_group, live_image, live_group)
    # Every label meets the live pictures of its group: `reach` pictures from `start` on, in order of the group.
    by_group = np.argsort(live_group, kind="stable")
    start, end = (np.searchsorted(live_group[by_group], record.label_group, side=side) for side in ("left", "right"))
    reach = end - start
    label = np.repeat(np.arange(len(reach)), reach)
    within = np.arange(len(label)) - np.repeat(np.cumsum(reach) - reach, reach)
    pairs = record.label_row[label] * len(images) + live_image[by_group[start[label] + within]]
    label = label[is_other := ~np.isin(pairs, own)]
    pairs = pairs[is_other]
    order = np.lexsort((record.label_group[label], -record.label_grade[label], pairs))
    distinct, first = np.unique(pairs[order], return_index=True)
    best = label[order[first]]
    row = distinct // max(1, len(images))
    grades = record.label_grade[best]
    found_groups = np.unique(record.label_row[label] * len(record.groups) + record.label_group[label])
    return Truth(
        images=images,
        image_group=np.where(first_group < len(record.groups), first_group, -1),
        pairs=distinct,
        grades=grades.astype(np.int8),
        pair_group=record.label_group[best],
        own=own,
        findable=np.bincount(row, minlength=n).astype(np.int64),
        findable_same=np.bincount(row[grades == 2], minlength=n).astype(np.int64),
        findable_groups=np.bincount(found_groups // max(1, len(record.groups)), minlength=n).astype(np.int64),
    )


def _own_pairs(record: Record, image: Codes, count: int) -> Codes:
    """Pair each query with the pictures of its very bytes."""
    asked: dict[str, list[int]] = {}
    for row, sha256 in enumerate(record.query_sha256):
        if sha256:
            asked.setdefault(sha256, []).append(row)
    if not asked:
        return np.zeros(0, np.int64)
    pairs = {
        row * count + int(image[at])
        for at, sha256 in enumerate(record.image_sha256)
        if sha256 in asked
        for row in asked[sha256]
    }
    return np.array(sorted(pairs), np.int64)


def ordered_codes(values: Iterable[str | None] | Names, *, numbers_first: bool = False) -> tuple[Codes, Names]:
    """Give each distinct text a number, so that numbers are in order as the texts are.

    Args:
        values: h texts; None counts as "".
        numbers_first: Decimal numbers (ASCII digits only) come first, by value, "7" before "07"; without it, and for
            all others, the order is that of the UTF-8 bytes.

    Returns:
        (h,) int64 codes, and the distinct texts by code.

    Example:
        >>> codes, names = ordered_codes(["b", "10", "9"], numbers_first=True)
        >>> codes.tolist(), names.tolist()
        ([2, 1, 0], ['9', '10', 'b'])
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    # From an array of objects Arrow would first import pandas.
    column = pa.array(values.tolist() if isinstance(values, np.ndarray) else list(values), pa.string())
    encoded = pc.fill_null(column, "").dictionary_encode()
    distinct = encoded.dictionary
    if numbers_first:
        digits = pc.ascii_ltrim(distinct, characters="0")
        is_number = pc.ascii_is_decimal(distinct)
        length = pc.if_else(is_number, pc.binary_length(digits), pa.scalar(2**31 - 1, pa.int32()))
        text = pc.if_else(is_number, digits, distinct)
        table = pa.table({"length": length, "text": text, "zeros": pc.binary_length(distinct)})
        order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in table.column_names]).to_numpy()
    else:
        order = pc.sort_indices(distinct).to_numpy()
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    names: Names = np.empty(len(order), np.object_)
    names[:] = distinct.take(pa.array(order)).to_pylist()
    return place[encoded.indices.to_numpy()], names

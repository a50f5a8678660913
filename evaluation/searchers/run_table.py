"""The rows of a run file, however it was written, as `Answers` to a set: what is wrong in them is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluation.answers import Answers, Status
from evaluation.evalset import EvalSet
from evaluation.measured import Floats
from evaluation.system import Fact
from reporting.errors import DataError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class RunTable:
    """h rows of a run.

    Attributes:
        source: Where they come from, for messages.
        query_id: (h,) pyarrow strings.
        image_id: (h,) pyarrow strings; null in a row that is no hit and only tells what became of its query.
        distance: (h,) float64, NaN unknown.
        group_id: (h,) pyarrow strings, null unknown; None: the run has none.
        status: (h,) pyarrow strings, null for `answered`; None: every query with a row was answered.
        seconds: (h,) float64, NaN unknown; None: not measured.
        error: (h,) pyarrow strings, null for none; None: no messages.
    """

    source: str
    query_id: pa.Array
    image_id: pa.Array
    distance: Floats
    group_id: pa.Array | None = None
    status: pa.Array | None = None
    seconds: Floats | None = None
    error: pa.Array | None = None


def answers_from(table: RunTable, evalset: EvalSet) -> tuple[Answers, tuple[Fact, ...]]:
    """Turn the rows of a run into answers to a set's queries, in the set's order.

    Nothing is dropped silently: a query of the set without a row is missing; one whose hits have a distance that is no
    finite number has no order and is an error, as is one whose rows disagree on its status; an image_id of "" or "-1"
    is padding; rows of queries that the set does not have are the fact `unknown_queries`. Rows of one query may lie
    anywhere; a picture returned twice is counted when the list is ranked.

    Raises:
        DataError: No row at all, no row of any query of the set, a row without a query, or an unknown status.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    _refuse_empty(table, evalset)
    query_ids = tuple(query.query_id for query in evalset.queries)
    place = pc.fill_null(pc.index_in(table.query_id, value_set=pa.array(query_ids, pa.string())), -1)
    row = np.asarray(place.to_numpy(zero_copy_only=False), np.int64)
    here = row >= 0
    strangers = pc.unique(table.query_id.filter(pa.array(~here))).to_pylist()
    if not here.any():
        raise DataError(
            f"{table.source}: none of its {len(strangers)} queries ({strangers[0]!r}, ...) is in {evalset.set_id}"
            f" ({query_ids[0]!r}, ...); it answers another set, or another version of it"
        )
    is_hit = here & np.asarray(table.image_id.is_valid().to_numpy(zero_copy_only=False))
    image = pc.fill_null(table.image_id, "")
    image = pc.if_else(pc.equal(image, "-1"), "", image)
    is_real = np.asarray(pc.not_equal(image, "").to_numpy(zero_copy_only=False))
    unordered = is_hit & is_real & ~np.isfinite(table.distance)
    statuses, errors = _outcomes(table, query_ids, row, unordered)
    at = np.flatnonzero(is_hit)
    group = None if table.group_id is None else _objects(pc.fill_null(table.group_id, ""))[at]
    answers = Answers(
        query_ids=query_ids,
        statuses=statuses,
        row=row[at],
        image_id=_objects(image)[at],
        distance=table.distance[at],
        group_id=group,
        seconds=_seconds(table, row, len(query_ids)),
        errors=errors,
    )
    unknown = Fact(
        metric="unknown_queries",
        value=len(strangers),
        n=len(strangers) + len(np.unique(row[here])),
        examples=tuple(sorted(strangers)[:EXAMPLES]),
    )
    return answers, (unknown,)


def _refuse_empty(table: RunTable, evalset: EvalSet) -> None:
    if not len(table.query_id):
        raise DataError(
            f"{table.source}: an empty run: it answers none of {len(evalset.queries)} queries of {evalset.set_id};"
            " a system that was not asked has no score"
        )
    if table.query_id.null_count:
        at = table.query_id.is_valid().index(False).as_py()
        raise DataError(f"{table.source}: row {at + 1}: no query_id; every row belongs to a query")


def _outcomes(
    table: RunTable, query_ids: Sequence[str], row: NDArray[np.int64], unordered: NDArray[np.bool_]
) -> tuple[tuple[Status, ...], dict[str, str]]:
    """Say what became of each query, and what the unanswered ones said."""
    statuses = [Status.MISSING] * len(query_ids)
    for at in np.unique(row[row >= 0]):
        statuses[at] = Status.ANSWERED
    errors: dict[str, str] = {}
    if table.status is not None:
        for at, told in _told(table, table.status, row).items():
            statuses[at] = told[0] if len(told) == 1 else Status.ERROR
            if len(told) > 1:
                errors[query_ids[at]] = f"its rows disagree on its status: {', '.join(sorted(told))}"
    if table.error is not None:
        said = np.asarray(table.error.is_valid().to_numpy(zero_copy_only=False)) & (row >= 0)
        for place in np.flatnonzero(said):
            errors.setdefault(query_ids[row[place]], table.error[place].as_py())
    for place in np.flatnonzero(unordered):
        query = query_ids[row[place]]
        if statuses[row[place]] is Status.ANSWERED:
            statuses[row[place]] = Status.ERROR
            errors[query] = (
                f"picture {table.image_id[place].as_py()!r} has distance or score {table.distance[place]}: the list has"
                " no order"
            )
    return tuple(statuses), errors


def _told(table: RunTable, column: pa.Array, row: NDArray[np.int64]) -> dict[int, list[Status]]:
    """Return the distinct statuses of each query."""
    import pyarrow.compute as pc

    encoded = pc.fill_null(column, Status.ANSWERED.value).dictionary_encode()
    names = encoded.dictionary.to_pylist()
    known = [status.value for status in Status]
    for name in names:
        if name not in known:
            place = encoded.indices.index(names.index(name)).as_py()
            raise DataError(f"{table.source}: row {place + 1}: unknown status {name!r}; {nearest(name, known)}")
    codes = encoded.indices.to_numpy()
    told: dict[int, list[Status]] = {}
    for pair in np.unique(row[row >= 0] * len(names) + codes[row >= 0]):
        told.setdefault(int(pair) // len(names), []).append(Status(names[pair % len(names)]))
    return told


def _seconds(table: RunTable, row: NDArray[np.int64], n: int) -> Floats | None:
    """Return the longest time that a query's rows tell."""
    if table.seconds is None:
        return None
    seconds = np.full(n, np.nan)
    np.fmax.at(seconds, row[row >= 0], table.seconds[row >= 0])
    return seconds


def _objects(column: Any) -> NDArray[np.object_]:
    objects = np.empty(len(column), np.object_)
    objects[:] = column.to_pylist()
    return objects

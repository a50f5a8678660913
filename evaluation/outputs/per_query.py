"""per_query.parquet: one row a query, every metric of every system, its lists and why it was lost; and reading it back.

Columns of a system begin with its role: `candidate.hit@10`, `release.top`, ... Where ties can change a metric its value
is the worst order's, `.best` and `.expected` the others. `ROLE.top` has the first products with the picture each is
shown by, `ROLE.images` the first pictures. The file's metadata names set, cut and systems under the key `funnelgate`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluation.evalset import EvalSet
from evaluation.measured import Measured, Ranked
from evaluation.metrics import first_relevant_rank
from evaluation.outputs.hit_lists import Catalogue, nearest_places
from evaluation.slices import relevant_groups
from evaluation.system import View
from evaluation.why_lost import Loss, LossReader
from reporting.errors import DataError, UsageError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

TOP = 10
"""Products of a list, at least; as many as the deepest cut if that is deeper."""
IMAGES = 100
METADATA = b"funnelgate"


def per_query_bytes(
    evalset: EvalSet,
    systems: Mapping[str, Measured],
    readers: Mapping[str, LossReader],
    catalogue: Catalogue,
    *,
    k: int,
) -> bytes:
    """Return the table as the bytes of a Parquet file; equal arguments give equal bytes under one version of pyarrow.

    Args:
        evalset: The set.
        systems: Role (`candidate`, `release`, `champion`) -> what was measured of it.
        readers: Role -> of its losses at k.
        catalogue: The set's.
        k: The cut that `why` speaks of.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = _of_queries(evalset, next(iter(systems.values())))
    for role, measured in systems.items():
        losses = [readers[role].of(row) for row in range(len(evalset.queries))]
        of_role = {**_of_system(measured, losses), **_lists(measured, catalogue, max(TOP, k))}
        columns |= {f"{role}.{name}": column for name, column in of_role.items()}
    about = {"schema": "per_query/1", "set_id": evalset.set_id, "k": k}
    named = {**about, "systems": {role: measured.system for role, measured in systems.items()}}
    table = pa.table(columns).replace_schema_metadata({METADATA: json.dumps(named)})
    stream = BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def _of_queries(evalset: EvalSet, measured: Measured) -> dict[str, Any]:
    import pyarrow as pa

    queries, served, relevant = evalset.queries, measured.views[View.SERVED], relevant_groups(evalset)
    texts = ("query_id", "category", "cluster", "query_type", "source", "path")
    inside: list[list[str]] = [[] for _ in queries]
    for name, mask in measured.slices.items():
        for row in np.flatnonzero(mask):
            inside[row].append(name)
    return {
        **{name: pa.array([getattr(query, name) for query in queries], pa.string()) for name in texts},
        "captured_day": pa.array([query.captured_day for query in queries], pa.date32()),
        "slices": pa.array(inside, pa.list_(pa.string())),
        "expected": pa.array([sorted(relevant[query.query_id]) for query in queries], pa.list_(pa.string())),
        "findable": pa.array(served.findable),
        "findable_groups": pa.array(served.findable_groups),
    }


def _of_system(measured: Measured, losses: Sequence[Loss | None]) -> dict[str, Any]:
    import pyarrow as pa

    served = measured.views[View.SERVED]
    rank = first_relevant_rank(served.group_grades > 0)
    told = [str(one) for one in measured.statuses] or ["answered" if one else "unanswered" for one in served.answered]
    columns = {
        "status": pa.array(told, pa.string()),
        "error": pa.array([measured.errors.get(name) for name in measured.query_ids], pa.string()),
        "seconds": pa.array(measured.seconds, pa.float64(), mask=np.isnan(measured.seconds)),
        "rank": pa.array(rank, pa.int64(), mask=rank == 0),
        "why": pa.array([None if loss is None else loss.why.value for loss in losses], pa.string()),
        "why_said": pa.array([None if loss is None else loss.said for loss in losses], pa.string()),
    }
    columns |= {name: pa.array(values, pa.float64()) for name, values in sorted(measured.values.items())}
    for name, bounds in sorted(measured.bounds.items()):
        columns[name] = pa.array(bounds[0], pa.float64())
        columns |= {f"{name}.best": pa.array(bounds[1]), f"{name}.expected": pa.array(bounds[2])}
    counts = ("padded", "self_matches", "duplicates", "orphans")
    return columns | {name: pa.array(getattr(served, name)) for name in counts}


def _lists(measured: Measured, catalogue: Catalogue, top: int) -> dict[str, Any]:
    served = measured.views[View.SERVED]
    here = slice(None), slice(IMAGES)
    is_there = served.image_grades[here] >= 0
    texts = served.image_names[here][is_there]
    return {
        "top": _top(served, catalogue, top),
        "images": _list_array(is_there, _text(texts)),
        "image_distances": _list_array(is_there, served.image_distances[here][is_there]),
        "image_grades": _list_array(is_there, served.image_grades[here][is_there]),
    }


def _top(ranked: Ranked, catalogue: Catalogue, top: int) -> pa.Array:
    """Return the first products as a list of structs a query."""
    import pyarrow as pa

    places = nearest_places(ranked, top, catalogue)
    is_there = places >= 0
    images = np.take_along_axis(ranked.image_names, np.maximum(places, 0), axis=1)[is_there].tolist()
    fields = {
        "group": _text(ranked.group_names[:, :top][is_there]),
        "image": pa.array(images, pa.string()),
        "grade": pa.array(ranked.group_grades[:, :top][is_there]),
        "distance": pa.array(ranked.group_distances[:, :top][is_there]),
        "category": pa.array([catalogue.category(name) or None for name in images], pa.string()),
        "day": pa.array([catalogue.day(name) for name in images], pa.date32()),
    }
    return _list_array(is_there, pa.StructArray.from_arrays(list(fields.values()), list(fields)))


def _text(values: NDArray[np.object_]) -> pa.Array:
    import pyarrow as pa

    return pa.array(values.tolist(), pa.string())


def _list_array(is_there: NDArray[np.bool_], values: Any) -> pa.Array:
    import pyarrow as pa

    offsets = np.concatenate([[0], is_there.sum(axis=1).cumsum()]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values if isinstance(values, pa.Array) else pa.array(values))


def read_query(path: Path, query_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read one query's row and what the table is about.

    Returns:
        The row, and `{"set_id", "k", "systems": {role: name}}`.

    Raises:
        DataError: The file is missing or no table of a gate.
        UsageError: It has no such query.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise DataError(f"{path}: is not there; give the folder that `funnelgate gate --out` wrote") from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: no Parquet file ({error}); run the gate again") from error
    about = (table.schema.metadata or {}).get(METADATA)
    if about is None:
        raise DataError(f"{path}: not a table of `funnelgate gate`; run the gate again")
    found = table.filter(pc.equal(table["query_id"], query_id))
    if not found.num_rows:
        near = nearest(query_id, table["query_id"].to_pylist()) if table.num_rows <= 10_000 else "look at its query_id"
        raise UsageError(f"{path}: {table.num_rows} queries, none is {query_id!r}; {near}")
    return found.to_pylist()[0], json.loads(about)

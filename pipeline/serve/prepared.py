"""Queries as a front makes them: found, cut out and embedded once, however often and by whatever they are judged.

Finding objects is most of the work of a query, and a labelled set is asked every day. What is kept is a vector for
each picture and feature space and the predicted category, no pixels: in memory for the systems of one judgement, and
in the lake (`prepared/KEY/SHA256.parquet`) for those of later days. The key names everything that a query is made of
but its picture: front, our code, and the libraries that decode and compute. A folder that no judgement has looked at
for `release gc`'s grace is swept.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.category.decision import Decision
from pipeline.images.decode import PictureError
from pipeline.release.retention import PREPARED
from pipeline.serve.query import QueryObject, Vectors, decide_all, find_objects
from pipeline.tasks.built_with import code_of
from reporting.errors import DataError

if TYPE_CHECKING:
    from pipeline.lake import Lake
    from pipeline.models.session import Float32
    from pipeline.serve.front import QueryFront
    from pipeline.serve.generation import Generation

_LIBRARIES = ("numpy", "onnxruntime", "pillow")
_SCHEMA = pa.schema(
    [
        ("picture", pa.string()),  # sha256 of its bytes
        ("decision", pa.string()),  # JSON of the Decision; null where the front predicts nothing
        ("vectors", pa.map_(pa.string(), pa.binary())),  # space id -> float32, little-endian
    ]
)


class Query(NamedTuple):
    """One query as a front makes it: its vector in each feature space, and its predicted category."""

    vectors: dict[str, Float32]
    decision: Decision | None


class Prepared:
    """Queries that were prepared before.

    Args:
        lake: Where they are kept for later; None: in memory alone. A picture that cannot be decoded is not kept there.
    """

    def __init__(self, lake: Lake | None = None) -> None:
        self._lake = lake if lake is not None and lake.is_local else None
        self._known: dict[QueryFront | None, dict[str, Query | PictureError]] = {}

    def of(self, generation: Generation, pictures: Sequence[bytes]) -> list[Query | PictureError]:
        """Return each picture's query; what is not known yet is prepared in one batch.

        Raises:
            DataError: what is kept is damaged, or the front's models are other ones here.
        """
        known = self._of_front(generation.front)
        spaces = {entry.space_id for entry in generation.entries.values() if entry.rows}
        names = [hashlib.sha256(picture).hexdigest() for picture in pictures]
        new = {
            name: picture for name, picture in zip(names, pictures, strict=True) if not _has(known.get(name), spaces)
        }
        made = dict(zip(new, _prepare(generation, list(new.values())), strict=True))
        known |= made
        self._keep(generation.front, made)
        return [known[name] for name in names]

    def _of_front(self, front: QueryFront | None) -> dict[str, Query | PictureError]:
        if front not in self._known:
            self._known[front] = {} if self._lake is None else dict(_read(self._lake, _folder(front)))
        return self._known[front]

    def _keep(self, front: QueryFront | None, made: dict[str, Query | PictureError]) -> None:
        sound = {name: query for name, query in made.items() if isinstance(query, Query)}
        if self._lake is not None and sound:
            data = _encoded(sound)
            self._lake.put_once(f"{_folder(front)}/{hashlib.sha256(data).hexdigest()}.parquet", data)


def _has(known: Query | PictureError | None, spaces: set[str]) -> bool:
    return isinstance(known, PictureError) or (known is not None and spaces <= known.vectors.keys())


def _folder(front: QueryFront | None) -> str:
    """Return where the queries of a front are kept: another front, code or library has another folder."""
    made_of = {
        "front": None if front is None else front.model_dump(mode="json"),
        "code": code_of(__name__),
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
    }
    return f"{PREPARED}/{hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]}"


def _read(lake: Lake, folder: str) -> dict[str, Query]:
    place = lake.folder() / folder
    if not place.is_dir():
        return {}
    os.utime(place)  # a sweep's grace counts from the last who wanted it
    found: dict[str, Query] = {}
    for path in sorted(place.glob("*.parquet")):
        data = lake.read_bytes(f"{folder}/{path.name}")
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 != path.stem:
            raise DataError(
                f"{path}: has sha256 {sha256}, expected that of its name: it is damaged; delete it, the next judgement "
                "prepares its queries anew"
            )
        for name, query in _decoded(data).items():
            before = found.get(name)
            found[name] = query if before is None else Query(before.vectors | query.vectors, query.decision)
    return found


def _encoded(queries: dict[str, Query]) -> bytes:
    rows = [
        {
            "picture": name,
            "decision": None if query.decision is None else query.decision.model_dump_json(),
            "vectors": [(space, vector.astype("<f4").tobytes()) for space, vector in sorted(query.vectors.items())],
        }
        for name, query in sorted(queries.items())
    ]
    out = BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), out)
    return out.getvalue()


def _decoded(data: bytes) -> dict[str, Query]:
    return {
        row["picture"]: Query(
            {space: np.frombuffer(vector, "<f4") for space, vector in row["vectors"]},
            None if row["decision"] is None else Decision.model_validate_json(row["decision"]),
        )
        for row in pq.read_table(BytesIO(data)).to_pylist()
    }


def _prepare(generation: Generation, pictures: Sequence[bytes]) -> list[Query | PictureError]:
    """Find, cut out, decide and embed; in every space that the generation has rows in."""
    if not pictures:
        return []
    objects = find_objects(generation.opened, pictures)
    seen = [one for one in objects if isinstance(one, QueryObject)]
    vectors = Vectors([one.pixels for one in seen])
    decisions = decide_all(generation.opened, seen, vectors)
    embedders = generation.embedders()
    of_space = {embedder.space_id: vectors.of(embedder, range(len(seen))) for embedder in embedders}
    queries = iter(
        Query({space: rows[row] for space, rows in of_space.items()}, decision)
        for row, decision in enumerate(decisions)
    )
    return [one if isinstance(one, PictureError) else next(queries) for one in objects]

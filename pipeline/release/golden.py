"""Golden queries: vectors with the answers that a release gave when it was published.

A server asks them before it lets a release answer anybody (I7 of evaluation-index-eviction.md 4.6): other ids mean
that another index, another item table, other settings or another faiss stand there than were judged.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.index.sample import sample_vectors
from reporting.errors import DataError

if TYPE_CHECKING:
    from pipeline.serve.generation import Generation, Neighbour

_K = 10
# Ids are compared to the bit. Distances are sums in float64 rounded to float32, which another CPU may add otherwise.
_DISTANCE_TOLERANCE = 1e-6


class GoldenCategory(BaseModel):
    """The golden queries of one category.

    Attributes:
        space_id: Feature space of the vectors.
        dim: Dimensions of a vector, >= 1.
        k: Neighbours of each.
        vectors: (n, dim) "<f4", L2-normalised, base64.
        ids: (n, k) "<i8", -1 where there are fewer neighbours, base64.
        distances: (n, k) "<f4", NaN likewise, base64.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    space_id: Annotated[str, Field(min_length=1)]
    dim: int = Field(ge=1)
    k: int = Field(ge=1)
    vectors: str
    ids: str
    distances: str

    @model_validator(mode="after")
    def _has_its_shapes(self) -> GoldenCategory:
        asked = len(self.asked)
        if len(self.found) != asked or len(self.far) != asked:
            raise ValueError(f"{asked} vectors with {len(self.found)} rows of ids and {len(self.far)} of distances")
        return self

    @property
    def asked(self) -> NDArray[np.float32]:
        """The vectors."""
        return _floats(self.vectors).reshape(-1, self.dim)

    @property
    def found(self) -> NDArray[np.int64]:
        """The ids."""
        return np.frombuffer(base64.b64decode(self.ids, validate=True), "<i8").astype(np.int64).reshape(-1, self.k)

    @property
    def far(self) -> NDArray[np.float32]:
        """The distances."""
        return _floats(self.distances).reshape(-1, self.k)


class Golden(BaseModel):
    """The file of golden queries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    categories: dict[str, GoldenCategory]


def golden_of(generation: Generation, per_category: int = 16) -> bytes:
    """Ask a generation and write down its answers: the same content gives the same bytes.

    Half of the vectors are stored ones, spread evenly over the index; the other half lie between two of them, so that
    the order among real neighbours is asked for too.

    Args:
        generation: What answers.
        per_category: Vectors of each category that holds anything, >= 1; fewer where it holds fewer.

    Returns:
        UTF-8 JSON.
    """
    categories = {}
    for name, shelf in sorted(generation.shelves.items()):
        if not shelf.entry.rows:
            continue
        vectors = _with_midpoints(sample_vectors(shelf.index, (per_category + 1) // 2).vectors)[:per_category]
        hits = generation.search_vectors(vectors, (name,), _K, shelf.entry.space_id)
        ids, distances = _as_arrays(hits, _K)
        categories[name] = GoldenCategory(
            space_id=shelf.entry.space_id,
            dim=vectors.shape[1],
            k=_K,
            vectors=_text(vectors.astype("<f4")),
            ids=_text(ids.astype("<i8")),
            distances=_text(distances.astype("<f4")),
        )
    return (Golden(categories=categories).model_dump_json(indent=1) + "\n").encode()


def check_golden(generation: Generation, data: bytes) -> list[str]:
    """Ask a generation the golden queries of a release.

    Args:
        generation: What answers now.
        data: From `golden_of`.

    Returns:
        What differs from the stored answers, one line for each query; [] where nothing does.

    Raises:
        DataError: The data are no golden queries.
    """
    try:
        golden = Golden.model_validate_json(data)
    except (ValidationError, ValueError) as error:
        raise DataError(f"these {len(data)} bytes are no golden queries: {error}; publish the release again") from error
    filled = {name for name, shelf in generation.shelves.items() if shelf.entry.rows}
    wrong = [f"category {name!r} has no golden queries" for name in sorted(filled - golden.categories.keys())]
    for name, of_it in sorted(golden.categories.items()):
        if name not in filled:
            wrong.append(f"category {name!r} is not there")
        else:
            wrong += _differing(generation, name, of_it)
    return wrong


def _differing(generation: Generation, name: str, golden: GoldenCategory) -> list[str]:
    space = generation.shelves[name].entry.space_id
    if space != golden.space_id:
        return [f"category {name!r} is of feature space {space}, its golden queries of {golden.space_id}"]
    hits = generation.search_vectors(golden.asked, (name,), golden.k, golden.space_id)
    ids, distances = _as_arrays(hits, golden.k)
    wrong = []
    for row, (found, expected) in enumerate(zip(ids, golden.found, strict=True)):
        if not np.array_equal(found, expected):
            place = int(np.flatnonzero(found != expected)[0])
            wrong.append(
                f"category {name!r}, query {row}: id {found[place]} at rank {place + 1}, not {expected[place]}"
            )
        elif not np.allclose(distances[row], golden.far[row], rtol=0, atol=_DISTANCE_TOLERANCE, equal_nan=True):
            wrong.append(f"category {name!r}, query {row}: the same ids at other distances")
    return wrong


def _with_midpoints(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    between = vectors + np.roll(vectors, -1, axis=0)
    norms = np.linalg.norm(between, axis=1, keepdims=True)
    real = norms[:, 0] > np.float32(1e-3)  # two opposite vectors have nothing between them
    return np.ascontiguousarray(np.concatenate([vectors, between[real] / norms[real]]), np.float32)


def _as_arrays(hits: list[list[Neighbour]], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    ids = np.full((len(hits), k), -1, np.int64)
    distances = np.full((len(hits), k), np.nan, np.float32)
    for row, of_it in enumerate(hits):
        ids[row, : len(of_it)] = [one.id for one in of_it]
        distances[row, : len(of_it)] = [one.distance for one in of_it]
    return ids, distances


def _text(array: NDArray[np.generic]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _floats(text: str) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)

"""`GallerySpec`: the JSON beside a gallery's rows: whose space they live in, by which rules they vote, how well."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from reporting.errors import DataError
from reporting.key import ALL, Name

_NOT_DECISIVE = {"sha256", "metrics", "licence", "source"}
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class FusionRules(BaseModel):
    """How votes and the detector's word become a category; chosen by `pipeline.category.fit`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    alpha: float = Field(default=0.4, ge=0, le=1)
    """Weight of the detector; that of the vote is 1 - alpha."""
    tau: float = Field(default=0.05, ge=0.005, le=10)
    """Scale of similarity: a neighbour that is nearer by tau weighs e times as much."""
    prior_power: float = Field(default=0.5, ge=0, le=2)
    """A vote is divided by (groups of its category in the gallery) to this power: 0 not at all, 1 fully."""
    min_score: float = Field(default=0.0, ge=0, le=1)
    """Fused score below which no category is taken."""
    min_similarity: float = Field(default=-1.0, ge=-1, le=1)
    """Cosine of the nearest row below which no category is taken: nothing like it is in the gallery."""
    neighbours: int = Field(default=20, ge=1, le=1000)
    """How many groups vote, the nearest ones."""


class GallerySpec(FusionRules):
    """Everything about a gallery but its rows; stored as `gallery.json`."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: int = Field(ge=1)
    categories: tuple[Name, ...] = Field(min_length=1)
    """Sorted; each has at least one group."""
    embedder: str
    """Name of the model whose vectors these are."""
    space_id: str
    """The feature space; only vectors of the same one may be compared with the rows."""
    dim: int = Field(ge=1)
    rows: int = Field(ge=1)
    groups: int = Field(ge=1)
    cut_by: str
    """What found the objects that the rows are of: a detector's version, or in words."""
    margin: float = Field(ge=0)
    """As of the task crop."""
    side: int = Field(ge=1)
    """As of the task crop."""
    rows_sha256: Sha256
    """Of `gallery.npz`."""
    sha256: Sha256
    """Of all that decides about a category: the rows, and every field but metrics, licence and source."""
    metrics: dict[str, float] = Field(default_factory=dict)
    licence: str = Field(min_length=1)
    """SPDX expression of the pictures that the rows were computed from."""
    source: str = ""

    @model_validator(mode="after")
    def _categories_are_a_set(self) -> Self:
        if list(self.categories) != sorted(set(self.categories)) or ALL in self.categories:
            raise ValueError(f"categories must be sorted, distinct and not {ALL!r}, found {list(self.categories)}")
        return self

    @classmethod
    def sealed(cls, **fields: Any) -> Self:
        """Return a spec with its `sha256` computed.

        Raises:
            DataError: a field is missing, unknown or out of range.
        """
        try:
            unsealed = cls.model_validate({**fields, "sha256": "0" * 64})
        except ValidationError as error:
            raise DataError(f"gallery {fields.get('name')!r}: {faults_of(error)}; correct names and labels") from None
        return unsealed.model_copy(update={"sha256": unsealed.content_sha256()})

    def content_sha256(self) -> str:
        """Return what `sha256` must be."""
        content = self.model_dump(mode="json", exclude=_NOT_DECISIVE)
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()


def faults_of(error: ValidationError) -> str:
    """Return what is wrong with a spec, each fault with its field, in one line."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors()
    )


class About(NamedTuple):
    """Where a gallery comes from; see the fields of `GallerySpec`."""

    name: str
    version: int
    embedder: str
    space_id: str
    cut_by: str
    margin: float
    side: int
    licence: str
    source: str

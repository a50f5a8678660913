"""A labelled evaluation set: queries, labels that point to product groups, and the catalogue of record.

Built once by `funnelgate evaluate build-set`, content-addressed and never changed: `NAME@SHA12/` (evaluation/
building.py writes it, evaluation/set_files.py reads it back and refuses a file whose hash is not the one on record).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date as Date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from evaluation.catalog import CatalogImage


class Query(BaseModel):
    """One labelled query.

    Attributes:
        query_id: Names it in runs and reports: text without blanks, unique.
        path: Its picture, relative to the set's root; "" where the set only serves run files.
        sha256: Of the picture's bytes; a hit on this very picture is dropped as a self-match. "": unknown.
        near: Perceptual hash of 64 bits, hex, for the search for near copies in the gallery; "": none was made.
        category: True category.
        cluster: The unit of resampling: the product shown (the queries of one product are not independent).
        query_type: `live`, `screenshot`, `crop`, ... ; free text.
        source: Label campaign or other origin of the label; free text.
        captured_day: When the picture was taken; None: unknown.
        tags: Slices of its own, e.g. `hard`.
        weight: Not used by any metric that gates; kept for reports. > 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    query_id: str = Field(min_length=1, pattern=r"^\S+$")
    path: str = ""
    sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    near: str = Field(default="", pattern="^([0-9a-f]{16})?$")
    category: str = Field(min_length=1)
    cluster: str = Field(min_length=1)
    query_type: str = "unknown"
    source: str = "unknown"
    captured_day: Date | None = None
    tags: tuple[str, ...] = ()
    weight: float = Field(default=1.0, gt=0)


class Label(BaseModel):
    """What a query should find.

    Attributes:
        query_id: Of the query.
        group_id: Product group of the catalogue.
        grade: 2 the same item, 1 an acceptable variant, 0 a hard negative (shown to a labeller and refused).
        labellers: How many people looked; >= 1.
        agreed: Share of them that gave this grade, in (0, 1].
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    query_id: str = Field(min_length=1)
    group_id: str = Field(min_length=1)
    grade: int = Field(default=2, ge=0, le=2)
    labellers: int = Field(default=1, ge=1)
    agreed: float = Field(default=1.0, gt=0, le=1)


class Gallery(BaseModel):
    """What should be findable, and from which world it comes.

    Attributes:
        query_domain: e.g. `phone photos in shops`; reported, so that nobody compares across domains unknowingly.
        gallery_domain: e.g. `merchants' studio pictures`.
        as_of: The day of the catalogue's snapshot; None: not dated.
        window_days: Days after which a picture leaves the window, for the slice `age`; None: no window.
        self_match: `forbid`: a query picture that is in the gallery too refuses the set (leakage); `drop`: it may be,
            and its hit is dropped as a self-match.
        no_distractors: Why the catalogue holds no distractor, which makes the task easier than life; "": it holds some.
            Printed wherever the set is named.
        min_queries: Slice (`freq=tail`) or dimension (`category=*`) to the queries that it must have at least.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    query_domain: str = Field(min_length=1)
    gallery_domain: str = Field(min_length=1)
    as_of: Date | None = None
    window_days: int | None = Field(default=None, ge=1)
    self_match: str = Field(default="forbid", pattern="^(forbid|drop)$")
    no_distractors: str = Field(default="", pattern=r"^(\S.{8,}\S)?$")
    min_queries: dict[str, PositiveInt] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EvalSet:
    """A set in memory.

    Attributes:
        name: Chosen by its builder.
        sha256: Of the content (queries, labels, catalogue, gallery), whatever the order of rows or the place of files.
        queries: At least one, by query_id as text.
        labels: By (query_id, group_id); each query has at least one of grade >= 1.
        catalog: By (image_id, group_id).
        gallery: What should be findable.
        root: Folder that pictures' paths start from; None where there are no pictures.
    """

    name: str
    sha256: str
    queries: tuple[Query, ...]
    labels: tuple[Label, ...]
    catalog: tuple[CatalogImage, ...]
    gallery: Gallery
    root: Path | None = None

    @property
    def set_id(self) -> str:
        """Return `NAME@SHA12`, the name of its folder."""
        return f"{self.name}@{self.sha256[:12]}"

    @property
    def row_of(self) -> Mapping[str, int]:
        """Return the row of each query by its id."""
        return {query.query_id: row for row, query in enumerate(self.queries)}

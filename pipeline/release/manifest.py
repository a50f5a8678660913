"""What a release is: for each category one model and one index, named by content, under one number."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from pipeline.serve.front import QueryFront

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1)]


class CategoryIndex(BaseModel):
    """One category of a release: index, item table and the model whose vectors it holds.

    Attributes:
        model: Name and version of the embedder.
        space_id: Feature space; a query vector of another space is refused, never answered.
        index_path: Where the index lies, relative to the lake.
        index_sha256: Of the index bytes.
        items_path: Where the item table (id to offers, group, title) lies, relative to the lake.
        items_sha256: Of the item table's bytes.
        rows: Rows of the index, >= 0.
        nprobe: Lists to probe, as evaluated, >= 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Name
    space_id: Name
    index_path: Name
    index_sha256: Sha256
    items_path: Name
    items_sha256: Sha256
    rows: int = Field(ge=0)
    nprobe: int = Field(ge=1)


class ReleaseDraft(BaseModel):
    """A release before it has a number.

    Attributes:
        created_at: When it was put together, aware.
        date: Day of the plan.
        planid: Plan that built it.
        verdict_id: Verdict that allows it.
        categories: The indexes by category, at least one.
        front: What a query goes through before the indexes. None, as in releases of before there was a detector: it
            is searched as a whole, in every category.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    created_at: AwareDatetime
    date: dt.date
    planid: Name
    verdict_id: Name
    categories: dict[Name, CategoryIndex] = Field(min_length=1)
    front: QueryFront | None = None


class ReleaseManifest(ReleaseDraft):
    """A published release.

    Attributes:
        number: Rises by at least one from release to release, >= 1; never used twice. A crash between a
            manifest and its pointer can leave a gap.
        parent: Number that was current before, None for the first.
    """

    number: int = Field(ge=1)
    parent: int | None = Field(default=None, ge=1)

    def has_content_of(self, other: ReleaseDraft) -> bool:
        """Say whether both serve the same: plan, date, categories and front; time and verdict do not count."""
        mine = (self.planid, self.date, self.categories, self.front)
        return mine == (other.planid, other.date, other.categories, other.front)

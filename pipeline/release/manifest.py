"""What a release is: for each category one model and one index, named by content, under one number."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from pipeline.release.numbered import Numbered
from pipeline.serve.front import QueryFront
from pipeline.serve.ranking import RankSettings

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1)]
NO_VERDICT = "no verdict"
OTHER_INPUTS = "other inputs"
"""What a waiver stands in for, in its own words; `pipeline.release.publishing` has the others."""


class DayRows(BaseModel):
    """One day's part of a category's index.

    Attributes:
        shard_path: Folder of the day's shard (`index.faiss`, `shard.json`), relative to the lake.
        shard_sha256: Of the shard's index bytes.
        rows: Rows taken from it, >= 0.
        rows_sha256: Of those rows, see `pipeline.index.lists.rows_sha256`: equal hashes are equal rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shard_path: Name
    shard_sha256: Sha256
    rows: int = Field(ge=0)
    rows_sha256: Sha256


class CategoryIndex(BaseModel):
    """One category of a release: index, item table and the model whose vectors it holds.

    Attributes:
        model: Name and version of the embedder.
        space_id: Feature space; a query vector of another space is refused, never answered.
        index_path: Where the index lies, relative to the lake. A candidate's is not there yet: it is searched
            virtually over its shards until a PASS lets it be written.
        index_sha256: Of the index bytes.
        items_path: Where the item table (id to offers, group, title) lies, relative to the lake.
        items_sha256: Of the item table's bytes.
        rows: Rows of the index, >= 0.
        index_bytes: Size of the index, >= 1; None in releases of before it was noted.
        nprobe: Lists to probe, as evaluated, >= 1.
        codec: How vectors are stored, see `pipeline.index.codec`.
        fingerprint: Training fingerprint; None in releases of before it was noted.
        quantizer_path: Empty trained index, relative to the lake; None in releases of before it was noted.
        days: What each day gave; empty in releases of before it was noted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Name
    space_id: Name
    index_path: Name
    index_sha256: Sha256
    items_path: Name
    items_sha256: Sha256
    rows: int = Field(ge=0)
    index_bytes: int | None = Field(default=None, ge=1)
    nprobe: int = Field(ge=1)
    codec: Name = "flat"
    fingerprint: Sha256 | None = None
    quantizer_path: Name | None = None
    days: dict[dt.date, DayRows] = Field(default_factory=dict)


class Waiver(BaseModel):
    """A publication without the PASS it needs, answered for by a person; it is kept with the release.

    Attributes:
        by: Who.
        why: The reason, at least ten characters.
        at: When.
        instead_of: What was missing: `FAIL`, `INCONCLUSIVE`, `no verdict`, `stale ancestors`, ...
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Name
    why: Annotated[str, Field(min_length=10)]
    at: AwareDatetime
    instead_of: Name


class Decision(BaseModel):
    """Who decided something about a release, and why.

    Attributes:
        by: Who.
        why: The reason, at least ten characters.
        at: When.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Name
    why: Annotated[str, Field(min_length=10)]
    at: AwareDatetime


class ResourceRef(BaseModel):
    """A resource of the registry that a release needs: a model, a gallery, a dictionary.

    Attributes:
        business: Kind of resource: `model`, `detector`, `gallery`, `dictionary`, ...
        name: Its name.
        version: Its number in the registry, >= 1.
        sha256: Of its content, see `pipeline.release.resources.content_sha256`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    business: Name
    name: Name
    version: int = Field(ge=1)
    sha256: Sha256


class ReleaseDraft(BaseModel):
    """A release before it has a number.

    Attributes:
        created_at: When it was put together, aware.
        date: Day of the plan.
        planid: Plan that built it.
        verdict_id: Verdict that allows it; with a waiver the one that did not, or `none`.
        categories: The indexes by category, at least one.
        front: What a query goes through before the indexes. None, as in releases of before there was a detector: it
            is searched as a whole, in every category.
        ranking: What a result goes through after the indexes.
        golden_path: Golden queries with their answers, relative to the lake; None in releases of before there were.
        golden_sha256: Of that file.
        resources: What of the registry it needs.
        waiver: Set where it was published without a PASS.
        rollback_to: The release whose content this one takes up again; None: content of its own.
        decided: Who rolled back and why; None where nobody did.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    created_at: AwareDatetime
    date: dt.date
    planid: Name
    verdict_id: Name
    categories: dict[Name, CategoryIndex] = Field(min_length=1)
    front: QueryFront | None = None
    ranking: RankSettings = Field(default_factory=RankSettings)
    golden_path: Name | None = None
    golden_sha256: Sha256 | None = None
    resources: tuple[ResourceRef, ...] = ()
    waiver: Waiver | None = None
    rollback_to: int | None = Field(default=None, ge=1)
    decided: Decision | None = None

    def sizes(self) -> dict[str, int]:
        """Return the size in bytes of each file whose size was noted, by path."""
        entries = self.categories.values()
        return {entry.index_path: entry.index_bytes for entry in entries if entry.index_bytes is not None}

    def files(self) -> dict[str, str]:
        """Return the sha256 of every file that answering a query needs, by its path relative to the lake."""
        found = {entry.index_path: entry.index_sha256 for entry in self.categories.values()}
        found |= {entry.items_path: entry.items_sha256 for entry in self.categories.values()}
        if self.golden_path is not None and self.golden_sha256 is not None:
            found[self.golden_path] = self.golden_sha256
        return found


class ReleaseManifest(ReleaseDraft, Numbered):
    """A published release: a draft with its number and its parent."""

    def has_content_of(self, other: ReleaseDraft) -> bool:
        """Say whether both serve the same: plan, date, indexes, front, ranking; time, verdict, waiver do not count."""
        return _content(self) == _content(other)


def _content(one: ReleaseDraft) -> tuple[object, ...]:
    return (one.planid, one.date, one.categories, one.front, one.ranking, one.golden_sha256, one.resources)

"""What differs between two releases, day by day, from the hashes that their manifests note.

`pipeline.verify_release` proves these hashes from the bytes of the indexes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from pipeline.index.changes import Changes, changed_days
from pipeline.release.manifest import CategoryIndex, ReleaseManifest
from pipeline.release.objects import inside
from reporting.errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IdsOf = Callable[[CategoryIndex, dt.date], "NDArray[np.int64]"]


class CategoryDiff(BaseModel):
    """What differs in one category.

    Attributes:
        change: `added`, `removed`, `changed` or `same`.
        days_changed: Days whose rows differ, rising; of an index whose days were not noted it is empty.
        days_known: False where a release of before days were noted is compared: then only totals are.
        rows_added: Rows that only the second has.
        rows_removed: Rows that only the first has.
        index_changed: Whether the index bytes differ.
        items_changed: Whether the item table differs: offers, titles, `last_seen`.
        model_changed: Model or feature space, `old -> new`; None where they are the same.
        training_changed: Whether the quantizer was trained anew.
        nprobe: `old -> new`; None where it is the same.
    """

    model_config = ConfigDict(frozen=True)

    change: str
    days_changed: tuple[dt.date, ...] = ()
    days_known: bool = True
    rows_added: int = 0
    rows_removed: int = 0
    index_changed: bool = False
    items_changed: bool = False
    model_changed: str | None = None
    training_changed: bool = False
    nprobe: str | None = None


class ReleaseDiff(BaseModel):
    """What differs between two releases.

    Attributes:
        first: Number of the one before.
        second: Number of the one after.
        days_changed: Days whose rows differ in any category, rising.
        rows_added: Sum over the categories.
        rows_removed: Sum over the categories.
        categories: By category, those without a difference too.
        models_changed: Categories whose model or feature space is another.
        front_changed: Whether detector, crop or gallery differ.
        ranking_changed: Whether what comes after the index differs.
        resources_changed: Resources of the registry, `old -> new`.
        same_content: Whether nothing that answers a query differs.
    """

    model_config = ConfigDict(frozen=True)

    first: int
    second: int
    days_changed: tuple[dt.date, ...]
    rows_added: int
    rows_removed: int
    categories: dict[str, CategoryDiff]
    models_changed: tuple[str, ...]
    front_changed: bool
    ranking_changed: bool
    resources_changed: tuple[str, ...]
    same_content: bool


def diff_releases(first: ReleaseManifest, second: ReleaseManifest, ids_of: IdsOf | None = None) -> ReleaseDiff:
    """Compare two releases.

    Args:
        first: The one before.
        second: The one after.
        ids_of: Gives the ids that a day gave to an index, only asked for days that differ on both sides; without it
            such a day counts as replaced whole.
    """
    names = sorted({*first.categories, *second.categories})
    found = {name: _compare(first.categories.get(name), second.categories.get(name), ids_of) for name in names}
    old, new = ({(ref.business, ref.name): ref.version for ref in one.resources} for one in (first, second))
    resources = [
        f"{business}/{name} {old.get((business, name), 'none')} -> {new.get((business, name), 'none')}"
        for business, name in sorted({*old, *new})
        if old.get((business, name)) != new.get((business, name))
    ]
    return ReleaseDiff(
        first=first.number,
        second=second.number,
        days_changed=tuple(sorted({day for one in found.values() for day in one.days_changed})),
        rows_added=sum(one.rows_added for one in found.values()),
        rows_removed=sum(one.rows_removed for one in found.values()),
        categories=found,
        models_changed=tuple(name for name, one in found.items() if one.model_changed is not None),
        front_changed=first.front != second.front,
        ranking_changed=first.ranking != second.ranking,
        resources_changed=tuple(resources),
        same_content=first.has_content_of(second),
    )


def _compare(first: CategoryIndex | None, second: CategoryIndex | None, ids_of: IdsOf | None) -> CategoryDiff:
    if first is None or second is None:
        return _one_sided(first, second)
    known = bool(first.days or not first.rows) and bool(second.days or not second.rows)
    changes = _changes(first, second, ids_of) if known else Changes((), *_totals(first, second))
    models = [f"{one.model} ({one.space_id})" for one in (first, second)]
    return CategoryDiff(
        change="same" if first == second else "changed",
        days_changed=changes.days_changed,
        days_known=known,
        rows_added=changes.rows_added,
        rows_removed=changes.rows_removed,
        index_changed=first.index_sha256 != second.index_sha256,
        items_changed=first.items_sha256 != second.items_sha256,
        model_changed=None if models[0] == models[1] else " -> ".join(models),
        training_changed=first.fingerprint != second.fingerprint,
        nprobe=None if first.nprobe == second.nprobe else f"{first.nprobe} -> {second.nprobe}",
    )


def _one_sided(first: CategoryIndex | None, second: CategoryIndex | None) -> CategoryDiff:
    present = first or second
    assert present is not None
    return CategoryDiff(
        change="removed" if second is None else "added",
        days_changed=tuple(sorted(day for day, part in present.days.items() if part.rows)),
        days_known=bool(present.days or not present.rows),
        rows_added=0 if second is None else second.rows,
        rows_removed=0 if first is None else first.rows,
        index_changed=True,
        items_changed=True,
        model_changed=f"{first.model} -> none" if first else f"none -> {present.model}",
    )


def _changes(first: CategoryIndex, second: CategoryIndex, ids_of: IdsOf | None) -> Changes:
    if ids_of is None:
        return changed_days(first.days, second.days)
    return changed_days(
        first.days, second.days, first_ids=lambda day: ids_of(first, day), second_ids=lambda day: ids_of(second, day)
    )


def _totals(first: CategoryIndex, second: CategoryIndex) -> tuple[int, int]:
    """Return rows added and removed where only totals are known: none for equal bytes, else the indexes as a whole."""
    same = first.index_sha256 == second.index_sha256
    return (0, 0) if same else (second.rows, first.rows)


def day_ids(root: Path, entry: CategoryIndex, day: dt.date) -> NDArray[np.int64]:
    """Return the ids that a day gave to an index, from its item table, (n,) int64, rising.

    Raises:
        StoreError: The item table is missing or damaged.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = inside(root, entry.items_path)
    try:
        rows = pq.ParquetFile(path).read(columns=["id", "first_day"])
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path}: cannot be read: {error}; restore the item table") from error
    mine = rows.filter(pc.equal(rows["first_day"], pa.scalar(day, pa.date32())))
    return np.sort(mine["id"].to_numpy().astype(np.int64, copy=False))

"""Whether a release is what its manifest says: every category's bytes, counts, ids, and the rows of each day."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.index.anatomy import file_sha256
from pipeline.index.opened import open_file
from pipeline.index.verify import Verified, verify_days, verify_file
from pipeline.index.violations import Violation, differing
from pipeline.release.pointer import release_of
from reporting.errors import DataError

if TYPE_CHECKING:
    from pipeline.release.manifest import CategoryIndex


def verify_release(root: Path, number: int) -> Verified:
    """Verify the indexes and item tables of a release, category by category.

    Args:
        root: The lake, on this machine.
        number: Of the release.

    Returns:
        Rows and duplicates of all categories; `fingerprint` and `sha256` only where there is one category.

    Raises:
        StoreError: There is no such release, or its manifest is broken.
    """
    manifest = release_of(root, number)
    found = [_verified(root, name, entry) for name, entry in sorted(manifest.categories.items())]
    only = found[0] if len(found) == 1 else None
    return Verified(
        rows=sum(one.rows for one in found),
        duplicates=sum(one.duplicates for one in found),
        fingerprint=None if only is None else only.fingerprint,
        sha256=None if only is None else only.sha256,
        violations=tuple(violation for one in found for violation in one.violations),
    )


def _verified(root: Path, category: str, entry: CategoryIndex) -> Verified:
    """Verify one category: its index by itself, then its item table, then both together, day by day."""
    claims = {"sha256": entry.index_sha256, "rows": entry.rows, "codec": entry.codec, "fingerprint": entry.fingerprint}
    known = {field: claim for field, claim in claims.items() if claim is not None}
    try:
        index_path, items_path = _inside(root, entry.index_path), _inside(root, entry.items_path)
        found = verify_file(index_path, name=category, claims=known)
        wrong = differing(category, {"items_sha256": (file_sha256(items_path), entry.items_sha256)})
    except DataError as error:
        broken = Violation(category, "file", str(error), "the file that the manifest names")
        return Verified(rows=0, duplicates=0, fingerprint=None, sha256=None, violations=(broken.as_json(),))
    if not wrong and not found.violations and entry.days:
        days = {day: (one.rows, one.rows_sha256) for day, one in entry.days.items()}
        wrong = verify_days(open_file(index_path), _ids_by_day(items_path), days, category)
    return found.model_copy(update={"violations": (*found.violations, *(one.as_json() for one in wrong))})


def _inside(root: Path, path: str) -> Path:
    """Return a path of a manifest below the lake.

    Raises:
        DataError: It leads out of it.
    """
    full = (root / path).resolve()
    if not full.is_relative_to(root.resolve()):
        raise DataError(f"{path}: leads out of the lake {root}; restore the manifest")
    return full


def _ids_by_day(items: Path) -> dict[dt.date, NDArray[np.int64]]:
    """Read an item table's ids by the day whose shard gave them."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(items) as file:
        table = file.read(columns=["id", "first_day"])
    ids = table["id"].to_numpy().astype(np.int64)
    days = table["first_day"].to_numpy()
    return {day.astype(dt.date): ids[days == day] for day in np.unique(days)}

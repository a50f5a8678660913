"""What differs between two releases: only the days whose hashes differ, and ids say what came and went."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.release.diff import day_ids, diff_releases
from pipeline.release.manifest import CategoryIndex, ReleaseManifest, ResourceRef
from pipeline.serve.ranking import RankSettings
from reporting.errors import StoreError
from tests.pipeline.releasing import draft, entry

D1, D2, D3 = (dt.date(2026, 11, day) for day in (1, 2, 3))
DAYS = {D1: (10, "one"), D2: (20, "two")}


def release(root: Path, number: int, text: str, **changes: Any) -> ReleaseManifest:
    days = changes.pop("days", DAYS)
    made = draft(root, text, days=days).model_copy(update=changes)
    return ReleaseManifest(**dict(made), number=number)


def test_the_same_content_differs_in_nothing(tmp_path: Path) -> None:
    found = diff_releases(release(tmp_path, 1, "a"), release(tmp_path, 2, "a"))
    assert found.same_content
    assert (found.days_changed, found.rows_added, found.rows_removed) == ((), 0, 0)
    assert found.categories["shoes"].change == "same"


def test_a_rebuilt_day_is_the_only_one_named_and_ids_say_what_came_and_went(tmp_path: Path) -> None:
    first, second = release(tmp_path, 1, "a"), release(tmp_path, 2, "b", days={**DAYS, D2: (19, "two rebuilt")})
    ids = {1: np.arange(20), 2: np.arange(3, 22)}

    def ids_of(index: CategoryIndex, day: dt.date) -> Any:
        assert day == D2  # the others need not be looked at
        return ids[1 if index == first.categories["shoes"] else 2]

    found = diff_releases(first, second, ids_of)
    assert (found.days_changed, found.rows_added, found.rows_removed) == ((D2,), 2, 3)
    shoes = found.categories["shoes"]
    assert (shoes.change, shoes.index_changed, shoes.items_changed, shoes.days_known) == ("changed", True, True, True)
    whole = diff_releases(first, second)
    assert (whole.days_changed, whole.rows_added, whole.rows_removed) == ((D2,), 19, 20)


def test_a_day_that_came_and_one_that_went_count_with_all_their_rows(tmp_path: Path) -> None:
    found = diff_releases(
        release(tmp_path, 1, "a"), release(tmp_path, 2, "b", days={D2: (20, "two"), D3: (5, "three")})
    )
    assert (found.days_changed, found.rows_added, found.rows_removed) == ((D1, D3), 5, 10)


def test_categories_models_ranking_front_and_resources_are_told(tmp_path: Path) -> None:
    refs = [ResourceRef(business="model", name="lite0", version=number, sha256="a" * 64) for number in (1, 2)]
    first = release(tmp_path, 1, "a", resources=(refs[0],))
    shoes, bags = first.categories["shoes"], entry(tmp_path, "bags", days={D3: (4, "bags")})
    other = shoes.model_copy(update={"model": "lite1@1", "space_id": "lite1", "nprobe": 9, "fingerprint": "f" * 64})
    changes = {
        "categories": {"shoes": other, "bags": bags},
        "ranking": RankSettings(group=False),
        "resources": (refs[1],),
    }
    found = diff_releases(first, release(tmp_path, 2, "a", **changes))
    assert found.models_changed == ("bags", "shoes")
    assert found.categories["shoes"].model_changed == "lite0@1 (lite0) -> lite1@1 (lite1)"
    assert found.categories["shoes"].nprobe == "4 -> 9"
    assert found.categories["shoes"].training_changed
    assert found.categories["shoes"].days_changed == ()
    assert (found.categories["bags"].change, found.categories["bags"].rows_added) == ("added", 4)
    assert (found.days_changed, found.rows_added, found.rows_removed) == ((D3,), 4, 0)
    assert (found.ranking_changed, found.front_changed) == (True, False)
    assert found.resources_changed == ("model/lite0 1 -> 2",)
    back = diff_releases(release(tmp_path, 2, "a", **changes), first)
    assert (back.categories["bags"].change, back.rows_removed) == ("removed", 4)


def test_a_release_of_before_days_were_noted_is_compared_by_its_totals(tmp_path: Path) -> None:
    old, new = release(tmp_path, 1, "a", days={}), release(tmp_path, 2, "b")
    found = diff_releases(old, new).categories["shoes"]
    assert (found.days_known, found.days_changed, found.rows_added, found.rows_removed) == (False, (), 30, 7)
    same = diff_releases(old, release(tmp_path, 3, "a", days={})).categories["shoes"]
    assert (same.change, same.rows_added, same.rows_removed) == ("same", 0, 0)


def test_the_ids_of_a_day_are_read_from_the_item_table(tmp_path: Path) -> None:
    table = pa.table({"id": [9, 4, 7, 1], "first_day": pa.array([D1, D2, D1, D3], pa.date32())})
    pq.write_table(table, tmp_path / "items.parquet")
    (tmp_path / "t").mkdir()
    (tmp_path / "items.parquet").rename(tmp_path / "t/items.parquet")
    index = entry(tmp_path, "a").model_copy(update={"items_path": "t/items.parquet"})
    assert day_ids(tmp_path, index, D1).tolist() == [7, 9]
    assert day_ids(tmp_path, index, dt.date(2020, 1, 1)).tolist() == []
    (tmp_path / "t/items.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(StoreError, match="restore the item table"):
        day_ids(tmp_path, index, D1)

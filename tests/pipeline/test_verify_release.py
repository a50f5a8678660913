"""`index verify --release`: the manifest against bytes, counts, ids and each day's rows."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.index.merge import merge_to
from pipeline.index.part import ShardPart
from pipeline.index.quantizer import fingerprint, from_bytes, to_bytes, train_quantizer
from pipeline.index.shard import build_shard, describe_shard
from pipeline.release.manifest import CategoryIndex, DayRows, ReleaseDraft
from pipeline.release.pointer import publish
from pipeline.verify_release import verify_release

DAYS = (dt.date(2026, 11, 1), dt.date(2026, 11, 2))


def unit(rows: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def released(root: Path, *, day_of_3: dt.date = DAYS[0], **claims: Any) -> None:
    """Publish shoes: ids 0 to 3 of the first day (of which 2 is not kept), 4 to 6 of the second."""
    quantizer = to_bytes(train_quantizer(unit(200, 0), nlist=4))
    parts = []
    for day, ids, keep in ((DAYS[0], [0, 1, 2, 3], [0, 1, 3]), (DAYS[1], [4, 5, 6], [4, 5, 6])):
        data = build_shard(quantizer, np.array(ids), unit(len(ids), ids[0]))
        manifest = describe_shard(data, category="shoes", date=day, space_id="lite0/1")
        parts.append(ShardPart(manifest, data, np.array(keep)))
    merged = merge_to(root / "shoes.faiss", quantizer, parts, category="shoes", space_id="lite0/1")
    days = [DAYS[0], DAYS[0], day_of_3, DAYS[1], DAYS[1], DAYS[1]]
    pq.write_table(
        pa.table({"id": [0, 1, 3, 4, 5, 6], "first_day": pa.array(days, pa.date32())}), root / "items.parquet"
    )
    facts = {
        "model": "lite0",
        "space_id": "lite0/1",
        "index_path": "shoes.faiss",
        "index_sha256": merged.sha256,
        "items_path": "items.parquet",
        "items_sha256": sha256(root / "items.parquet"),
        "rows": 6,
        "nprobe": 1,
        "fingerprint": fingerprint(from_bytes(quantizer)),
        "days": {
            day: DayRows(shard_path="x", shard_sha256="0" * 64, rows=one.rows, rows_sha256=one.rows_sha256)
            for day, one in merged.days.items()
        },
    }
    entry = CategoryIndex.model_validate(facts | claims)
    now = dt.datetime(2026, 11, 3, tzinfo=dt.UTC)
    publish(root, ReleaseDraft(created_at=now, date=DAYS[1], planid="p", verdict_id="v", categories={"shoes": entry}))


def fields(root: Path) -> list[str]:
    return [f"{one['shard']}: {one['field']}" for one in verify_release(root, 1).violations]


def test_a_sound_release_has_no_violation(tmp_path):
    released(tmp_path)
    found = verify_release(tmp_path, 1)
    assert (found.rows, found.duplicates, found.violations) == (6, 0, ())
    assert found.sha256 == sha256(tmp_path / "shoes.faiss")


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"rows": 7}, ["shoes: rows"]),
        ({"fingerprint": "1" * 64}, ["shoes: fingerprint"]),
        ({"codec": "sq8"}, ["shoes: codec"]),
        ({"index_sha256": "1" * 64}, ["shoes: sha256"]),
        ({"items_sha256": "1" * 64}, ["shoes: items_sha256"]),
        ({"index_path": "gone.faiss"}, ["shoes: file"]),
        ({"index_path": "../shoes.faiss"}, ["shoes: file"]),
        ({"items_path": "/etc/hostname"}, ["shoes: file"]),
    ],
)
def test_what_the_manifest_says_otherwise_is_named_by_category_and_field(claims, expected, tmp_path):
    (tmp_path / "lake").mkdir()
    released(tmp_path / "lake", **claims)
    assert fields(tmp_path / "lake") == expected


def test_a_row_that_moved_to_another_day_is_seen_in_both(tmp_path):
    released(tmp_path, day_of_3=DAYS[1])
    assert fields(tmp_path) == [f"shoes, {day}: {field}" for day in DAYS for field in ("rows", "rows_sha256")]


def test_a_row_that_the_item_table_does_not_list_is_seen(tmp_path):
    items = tmp_path / "short.parquet"
    days = [DAYS[0], DAYS[0], DAYS[1], DAYS[1], DAYS[1]]
    pq.write_table(pa.table({"id": [0, 1, 4, 5, 6], "first_day": pa.array(days, pa.date32())}), items)
    released(tmp_path, items_path="short.parquet", items_sha256=sha256(items))
    assert fields(tmp_path)[-1] == "shoes: rows"

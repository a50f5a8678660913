"""A lake from before a picture held several objects goes on: its days stay in the window, its ids resolve."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date as Date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sqlalchemy import update

from pipeline.index.shard import ShardManifest
from pipeline.index.shard_folder import shard_path
from pipeline.item_ids import resolve_ids
from pipeline.lake import Lake
from pipeline.serve.answer import answer
from reporting import tables as t
from reporting.plans import PlanState
from reporting.stores.base import RecordQuery
from tests.pipeline.arrivals import DELISTED, OFFERS
from tests.pipeline.project import Project, row, run_here, store_of

DAY_4 = Date(2026, 11, 4)
SHARD_OF_BEFORE = ("id", "item", "picture", "placed", "sku", "merchant", "category")


def as_of_before(project: Project) -> None:
    """Take away what the lake and the store have had since."""
    lake = project.folder / "lake"
    for path in lake.glob("index/**/items.parquet"):
        table = pq.ParquetFile(path).read()
        pq.write_table(table.select([name for name in SHARD_OF_BEFORE if name in table.column_names]), path)
    for path in lake.glob("index/**/shard.json"):
        _back_into_the_partition(lake, path)
    shutil.rmtree(lake / "shards")
    for path in lake.glob("dedup/**/live.parquet"):
        table = pq.ParquetFile(path).read()
        offers = table["offers"].combine_chunks()
        fields = [field for field in offers.type.value_type if field.name != "category"]
        slim = pa.StructArray.from_arrays([pc.struct_field(offers.flatten(), f.name) for f in fields], fields=fields)
        place = table.column_names.index("offers")
        pq.write_table(table.set_column(place, "offers", pa.ListArray.from_arrays(offers.offsets, slim)), path)
    with store_of(project) as store, store.begin() as work:
        new = ("x0", "y0", "x1", "y1", "score", "label", "class_scores")
        work.connection.execute(update(t.item_id).values(dict.fromkeys(new)))


def _back_into_the_partition(lake: Path, path: Path) -> None:
    """Put a day's shard where it lay before shards had a place of their own, with the manifest that it had."""
    manifest = ShardManifest.model_validate_json(path.read_bytes())
    shutil.copyfile(lake / "shards" / shard_path(manifest) / "index.faiss", path.parent / "shard.faiss")
    known = {"category", "date", "space_id", "fingerprint", "rows", "dim", "nlist", "sha256"}
    path.write_text(manifest.model_dump_json(include=known))


@pytest.fixture
def project(three_days: Project, copy_of: Callable[[Project], Project]) -> Project:
    copied = copy_of(three_days)
    as_of_before(copied)
    return copied


@pytest.mark.slow
def test_a_day_after_the_upgrade_merges_the_old_days_with_its_own(project: Project) -> None:
    back = project.folder / "pictures" / "7.png"
    copied = row("pictures/7.png", "s7", category="green")  # was off the shelf, and comes back: its id is its old one
    project.manifest(DAY_4, [copied, row(project.drawn(300), "new", category="red")])
    (plan,) = run_here(project, DAY_4)
    assert plan.state is PlanState.COMPLETE
    lake = Lake(str(project.folder / "lake"))
    for name, offers in OFFERS.items():
        (hit,) = answer(lake, project.folder / "pictures" / name, 1).results
        assert {(offer.merchant, offer.sku) for offer in hit.offers} == offers
    (hit,) = answer(lake, back, 1).results
    with store_of(project) as store:
        merged = store.records(RecordQuery(tasks=("merge",), date_from=DAY_4))
        resolved = resolve_ids(store, range(1, 100))
    assert sum(record.output for record in merged) == 29 + 2
    assert hit.distance == pytest.approx(0, abs=1e-6)
    assert hit.item < max(resolved)
    assert resolved[hit.item].box == (0, 0, 96, 96)
    assert resolved[max(resolved)].box == (0, 0, 96, 96)
    boxes = [found.box for number, found in resolved.items() if number not in (hit.item, max(resolved))]
    assert boxes == [None] * (31 + len(DELISTED) - 2 - 1)

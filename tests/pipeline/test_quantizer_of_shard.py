"""Which quantizer a shard was built on: by category and training, and none other."""

from __future__ import annotations

import pytest

from pipeline.index.shard import ShardManifest
from pipeline.quantizers import quantizer_of
from reporting import tables as t
from reporting.errors import ContractViolation
from reporting.stores.sql import SqlStore

ONE, OTHER = "1" * 64, "2" * 64


def shard(fingerprint: str, **changes: object) -> ShardManifest:
    base = {"category": "hats", "date": "2026-11-02", "space_id": "s", "rows": 1, "dim": 4, "nlist": 1}
    return ShardManifest.model_validate(base | {"fingerprint": fingerprint, "sha256": "0" * 64} | changes)


def note(store: SqlStore, category: str, fingerprint: str, revision: int) -> None:
    row = {"category": category, "space_id": "s", "codec": "flat", "revision": revision, "fingerprint": fingerprint}
    told = {"path": f"{category}/{revision}", "trained_on": "", "created_at": ""}
    with store.begin() as work:
        work.connection.execute(t.quantizer.insert(), row | told)


def test_it_is_found_by_category_and_training_and_of_two_alike_the_first_revision_is_taken(sqlite_store: SqlStore):
    for category, fingerprint, revision in (
        ("hats", OTHER, 1), ("hats", ONE, 3), ("hats", ONE, 2), ("bags", ONE, 1),
    ):  # fmt: skip
        note(sqlite_store, category, fingerprint, revision)
    found = [quantizer_of(sqlite_store, category, shard(ONE)) for category in ("hats", "bags")]
    assert [(one.path, one.fingerprint) for one in found] == [("hats/2", ONE), ("bags/1", ONE)]
    assert quantizer_of(sqlite_store, "hats", shard(OTHER)).path == "hats/1"


def test_a_shard_of_no_quantizer_of_the_category_is_named_with_the_day_to_index_again(sqlite_store: SqlStore):
    note(sqlite_store, "bags", ONE, 1)
    with pytest.raises(ContractViolation) as caught:
        quantizer_of(sqlite_store, "hats", shard(ONE))
    assert str(caught.value) == (
        f"shard hats/2026-11-02: fingerprint {ONE} is that of no quantizer of category 'hats'; re-run index for "
        "2026-11-02"
    )
    with pytest.raises(ContractViolation, match=r"^tail hats/2026-09-01\.\.2026-11-02: "):
        quantizer_of(sqlite_store, "hats", shard(ONE, since="2026-09-01"))

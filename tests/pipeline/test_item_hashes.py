"""The digest of a column is that of its ids one by one."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from pipeline.item_hashes import digest_of, item_hashes
from reporting.booking import Booking
from reporting.digest import Digest
from reporting.key import RunKey

IDS = st.lists(st.text("0123456789abcdef", min_size=64, max_size=64)) | st.lists(st.text(max_size=70))


@given(IDS, st.booleans())
def test_every_hash_is_that_of_the_library_xxhash_and_the_digest_that_of_the_ids(ids: list[str], wide: bool) -> None:
    column = pa.chunked_array([pa.array(ids[1:3], pa.string()), pa.array(ids, pa.string()).slice(1)], pa.string())
    column = column.cast(pa.large_string()) if wide else column
    hashes = item_hashes(column)
    every = [*ids[1:3], *ids[1:]]
    assert hashes.tolist() == [xxhash.xxh64_intdigest(one.encode(), 42) for one in every]
    assert digest_of(hashes) == Digest.of(every)


def test_blocks_and_chosen_ids_make_the_same_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.item_hashes._BLOCK", 3)
    ids = [f"{number:064x}" for number in range(10)]
    hashes = item_hashes(pa.array([*ids, "short"]))
    assert digest_of(hashes) == Digest.of([*ids, "short"])
    keep = np.arange(11) % 3 == 0
    assert digest_of(hashes[keep]) == Digest.of(
        [one for one, stays in zip([*ids, "short"], keep, strict=True) if stays]
    )


def test_books_take_a_digest_for_its_ids() -> None:
    start = datetime(2026, 11, 1, tzinfo=UTC)
    records = []
    for items in (lambda some: some, Digest.of):
        books = Booking(RunKey(task="evict", date=start.date(), planid="p"), started_at=start)
        books.take(items(["a", "b", "c"]))
        books.keep(items(["a"]))
        books.keep(items([]))
        books.drop("old", items(["b"]))
        books.fail("Broken", items(["c"]))
        records.append(books.close(finished_at=start))
    assert records[0] == records[1]
    assert (records[1].input, records[1].dropped, records[1].digest_out) == (3, {"old": 1}, str(Digest.of(["a"])))

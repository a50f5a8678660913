"""Shards: what is built is a pure function of its rows, and what is described is read from the bytes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from pipeline.index.lists import id_blocks, read_rows, rows_sha256
from pipeline.index.quantizer import codec_of, fingerprint, from_bytes
from pipeline.index.shard import ShardSource, build_shard, describe_shard, open_shard, stored_ids
from reporting.errors import ContractViolation, DataError
from tests.pipeline.shard_parts import CODECS, DAY, bytes_of, part, quantizer, unit


@pytest.mark.parametrize("codec", CODECS)
def test_a_manifest_says_what_the_bytes_hold(codec):
    ids = np.concatenate([np.arange(500, 520), np.arange(9000, 9010)])
    data = build_shard(quantizer(codec), ids[::-1].copy(), unit(30))
    source = ShardSource(task="embed", planid="p1", attempts={"0": 2}, sha256="a" * 64)
    said = describe_shard(
        data, category="shoes", date=DAY, space_id="s", source=source, attempt=3, builder="funnelgate 0.1"
    )
    index = from_bytes(data)
    assert said.sha256 == hashlib.sha256(data).hexdigest()
    assert (said.fingerprint, said.codec) == (fingerprint(index), codec_of(index)) == (said.fingerprint, codec)
    assert (said.rows, said.dim, said.nlist) == (30, 8, 5)
    assert said.id_blocks == id_blocks(ids) == ((500, 519), (9000, 9009))
    assert said.rows_sha256 == rows_sha256(read_rows(index))
    assert (said.source, said.attempt, said.builder) == (source, 3, "funnelgate 0.1")


def test_a_shard_that_faiss_filled_unsorted_has_the_row_hash_of_the_sorted_one():
    vectors, ids = unit(50), np.random.default_rng(0).permutation(50)
    index = from_bytes(quantizer())
    index.add_with_ids(vectors, ids)
    from pipeline.index.quantizer import to_bytes

    raw = describe_shard(to_bytes(index), category="shoes", date=DAY, space_id="s")
    ours = describe_shard(build_shard(quantizer(), ids, vectors), category="shoes", date=DAY, space_id="s")
    assert raw.sha256 != ours.sha256
    assert raw.rows_sha256 == ours.rows_sha256


def test_a_manifest_of_before_its_newer_fields_still_reads():
    full = part([1, 2], unit(2)).manifest
    old = full.model_dump(exclude={"codec", "id_blocks", "rows_sha256", "source", "attempt", "builder"})
    again = type(full).model_validate(old)
    assert (again.codec, again.id_blocks, again.rows_sha256, again.attempt) == ("flat", (), None, 0)


def test_an_open_shard_is_mapped_and_gives_its_ids(tmp_path):
    one = part([5, 3, 9], unit(3))
    (tmp_path / "x").write_bytes(bytes_of(one))
    for index in (open_shard(one.manifest, bytes_of(one)), open_shard(one.manifest, tmp_path / "x")):
        assert sorted(stored_ids(index).tolist()) == [3, 5, 9]


def test_opening_unverified_still_compares_every_claim_but_the_sha256(tmp_path):
    one = part([5, 3, 9], unit(3), sha256="0" * 64)
    assert open_shard(one.manifest, bytes_of(one), verify=False).rows == 3
    with pytest.raises(ContractViolation, match="sha256 is"):
        open_shard(one.manifest, bytes_of(one))
    lying = one.manifest.model_copy(update={"rows": 4, "codec": "sq8"})
    with pytest.raises(ContractViolation, match=r"rows is 3, expected 4; .*codec is flat, expected sq8"):
        open_shard(lying, bytes_of(one), verify=False)
    with pytest.raises(DataError, match="gone does not exist"):
        open_shard(one.manifest, tmp_path / "gone", verify=False)


@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        ([1, 1], unit(2), "occur more than once"),
        ([1, -2], unit(2), "id -2 is negative"),
        ([1], unit(2), "1 ids with vectors of shape"),
        ([1, 2], unit(2, dim=9), r"expected \(2, 8\)"),
        ([1, 2], unit(2) * np.float32(1.1), "not L2-normalised"),
    ],
)
def test_a_shard_of_bad_rows_is_refused(ids, vectors, message):
    with pytest.raises(DataError, match=message):
        build_shard(quantizer(), np.array(ids, np.int64), vectors)


def test_a_shard_is_never_built_on_rows_that_are_already_there():
    with pytest.raises(DataError, match="already holds 1 rows"):
        build_shard(bytes_of(part([1], unit(1))), np.array([2]), unit(1))

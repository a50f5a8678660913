"""The contract: every clause, broken alone, is refused with the shard and the field named."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.index.contract import check_contract, id_violations, require_contract
from pipeline.index.merge import ShardPart
from pipeline.index.quantizer import from_bytes, to_bytes, train_quantizer
from pipeline.index.shard import describe_shard
from reporting.errors import ContractViolation, DataError
from tests.pipeline.shard_parts import CATEGORY, DAY, SPACE, bytes_of, described, on_disk, part, quantizer, unit


def check(parts, trained=None) -> list[str]:
    return [
        str(one) for one in check_contract(trained or quantizer(), parts, category=CATEGORY, space_id=SPACE)
    ]  # fmt: skip


def test_shards_of_one_training_break_nothing_and_come_back_by_day():
    parts = [part(range(day * 9, day * 9 + 9), unit(9, seed=day), day=day) for day in (2, 0, 1)]
    assert check(parts) == []
    opened = require_contract(quantizer(), parts, category=CATEGORY, space_id=SPACE)
    assert [one.name for one in opened] == [f"shard shoes/2026-03-0{day}" for day in (1, 2, 3)]


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"category": "hats"}, "shard hats/2026-03-01: category is hats, expected shoes"),
        ({"space_id": "lite0/2"}, "shard shoes/2026-03-01: space_id is lite0/2, expected lite0/1"),
        ({"rows": 3}, "shard shoes/2026-03-01: rows is 2, expected 3"),
        ({"dim": 9}, "shard shoes/2026-03-01: dim is 8, expected 9"),
        ({"nlist": 4}, "shard shoes/2026-03-01: nlist is 5, expected 4"),
        ({"codec": "sq8"}, "shard shoes/2026-03-01: codec is flat, expected sq8"),
        ({"fingerprint": "0" * 64}, f"expected {'0' * 64}"),
        ({"sha256": "0" * 64}, f"expected {'0' * 64}"),
        (
            {"id_blocks": ((1, 1),)},
            "shard shoes/2026-03-01: id_blocks is 1 ids elsewhere, first 2, expected all",
        ),
        ({"id_blocks": ((2, 3), (1, 1))}, "expected rising and disjoint ranges"),
        ({"id_blocks": ((1, 2), (2, 3))}, "expected rising and disjoint ranges"),
    ],
)
def test_a_manifest_that_lies_is_refused_with_shard_and_field(claim, message):
    found = check([part([1, 2], unit(2), **claim)])
    assert any(message in one for one in found), found
    assert all(next(iter(claim)) in one for one in found)
    with pytest.raises(ContractViolation, match=next(iter(claim))) as refused:
        require_contract(quantizer(), [part([1, 2], unit(2), **claim)], category=CATEGORY, space_id=SPACE)
    assert refused.value.exit_code == 1


def test_every_broken_clause_of_every_shard_is_listed():
    found = check([part([1], unit(1), category="hats", rows=7), part([2], unit(1), day=1, space_id="other")])
    assert [one.split(" is ")[0] for one in found] == [
        "shard hats/2026-03-01: rows",
        "shard hats/2026-03-01: category",
        "shard shoes/2026-03-02: space_id",
    ]


@pytest.mark.parametrize(
    ("other", "fields"),
    [
        (lambda: quantizer(seed=9), {"fingerprint"}),
        (lambda: quantizer("sq8"), {"fingerprint", "codec"}),
        (lambda: quantizer(nlist=3), {"fingerprint", "nlist"}),
        (lambda: to_bytes(train_quantizer(unit(400, dim=4), nlist=5)), {"fingerprint", "dim"}),
    ],
)
def test_a_shard_of_another_training_is_refused_though_its_manifest_is_true(other, fields):
    trained = other()
    stranger = part([2], unit(1, dim=from_bytes(trained).d), day=2, trained=trained)
    found = check([part([1], unit(1)), stranger])
    assert {one.split(": ")[1].split(" is ")[0] for one in found} == fields
    assert all(one.startswith("shard shoes/2026-03-03") for one in found)


@pytest.mark.parametrize("flip", [0, 40, 200, -1])
def test_one_changed_byte_is_refused_before_faiss_reads_it(flip, monkeypatch):
    good = part([1, 2], unit(2))
    changed = bytearray(bytes_of(good))
    changed[flip] ^= 1
    trained = quantizer()
    read: list[int] = []
    really = faiss.deserialize_index

    def spying(data: np.ndarray) -> faiss.Index:
        read.append(len(data))
        return really(data)

    monkeypatch.setattr(faiss, "deserialize_index", spying)
    found = check([ShardPart(good.manifest, bytes(changed))], trained)
    assert len(found) == 1
    assert "shard shoes/2026-03-01: sha256 is" in found[0]
    assert read == [len(trained)]  # the quantizer alone


def test_a_missing_shard_file_is_named(tmp_path):
    good = part([1], unit(1))
    with pytest.raises(DataError, match=r"shard shoes/2026-03-01: .*gone.faiss does not exist"):
        check([ShardPart(good.manifest, tmp_path / "gone.faiss")])


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ([2, 1], "keep_ids do not rise"),
        ([1, 1], "1 ids occur more than once, first 1"),
        ([-1, 1], "id -1 is negative"),
    ],
)
def test_ids_to_keep_must_be_ids_in_order(keep, message):
    with pytest.raises(DataError, match=message):
        check([part([1, 2], unit(2), keep=keep)])


def test_ids_to_keep_must_be_in_their_shard():
    (found,) = check([part([1, 2, 3], unit(3), keep=[2, 5, 9])])
    assert found.startswith("shard shoes/2026-03-01: keep_ids is 2 that are not in the shard, first 5")


def test_an_id_in_two_shards_is_refused_unless_one_of_them_drops_it():
    first, second, far = part([1, 2, 3], unit(3)), part([3, 4], unit(2), day=1), part([90], unit(1), day=2)
    (found,) = check([far, second, first])
    assert found.startswith("shard shoes/2026-03-01 and shard shoes/2026-03-02: ids is 1 shared, first 3")
    assert check([first, ShardPart(second.manifest, second.index, np.array([4])), far]) == []


def test_two_shards_whose_ids_interleave_without_meeting_are_merged_with_and_without_blocks():
    even, odd = part(range(0, 400, 2), unit(200)), part(range(1, 400, 2), unit(200), day=1)
    assert check([even, odd]) == []
    assert check([part(range(0, 400, 2), unit(200), id_blocks=()), odd]) == []


def test_a_negative_or_repeated_id_inside_a_shard_is_refused():
    index = from_bytes(quantizer())
    index.add_with_ids(unit(4), np.array([5, 5, -3, 8]))
    found = check([described(to_bytes(index))])
    assert [one.split(", expected")[0] for one in found] == [
        "shard shoes/2026-03-01: ids is id -3",
        "shard shoes/2026-03-01: ids is 1 more than once, first 5",
    ]


def test_counts_that_do_not_add_up_are_refused():
    index = from_bytes(bytes_of(part([1, 2, 3], unit(3))))
    index.ntotal = 4
    found = check([described(to_bytes(index))])
    assert found == ["shard shoes/2026-03-01: rows is 3, expected 4"]


def test_a_shard_whose_rows_lie_in_another_file_is_refused(tmp_path):
    index = from_bytes(bytes_of(part(range(30), unit(30))))
    lists = faiss.OnDiskInvertedLists(index.nlist, index.code_size, str(tmp_path / "rows.ivf"))
    lists.merge_from_1(index.invlists)
    index.replace_invlists(lists, False)
    data = to_bytes(index)
    manifest = describe_shard(data, category=CATEGORY, date=DAY, space_id=SPACE)
    with pytest.raises(ContractViolation, match=r"shard shoes/2026-03-01: index holds list [0-4] elsewhere"):
        check([ShardPart(manifest, data)])


def test_files_and_bytes_are_judged_alike(tmp_path):
    parts = [part([1, 2], unit(2)), part([2, 3], unit(2), day=1), part([7], unit(1), day=2, rows=2)]
    assert check(on_disk(parts, tmp_path)) == check(parts) != []


@settings(max_examples=25)
@given(
    st.lists(st.lists(st.integers(0, 60), unique=True, max_size=12), max_size=5),
    st.integers(0, 3),
)
def test_shared_ids_are_found_exactly_when_two_shards_share_one(owners, gap):
    parts = [
        part(sorted(ids), unit(len(ids)), day=day, id_blocks=() if day == gap else blocks_of(ids))
        for day, ids in enumerate(owners)
    ]
    count: dict[int, int] = {}
    for ids in owners:
        for one in ids:
            count[one] = count.get(one, 0) + 1
    shared = sorted(one for one, times in count.items() if times > 1)
    found = check(parts)
    assert bool(found) == bool(shared)
    if shared:
        assert f"first {shared[0]}" in found[0]


def blocks_of(ids: list[int]) -> tuple[tuple[int, int], ...]:
    """Cover ids in two ranges: wider than they must be, as a counter's blocks are."""
    low, high = [one for one in ids if one < 30], [one for one in ids if one >= 30]
    return tuple((min(some), max(some)) for some in (low, high) if some)


@settings(max_examples=60)
@given(
    st.lists(st.integers(-2, 40), max_size=30),
    st.lists(st.integers(0, 40), min_size=2, max_size=8, unique=True),
)
def test_ids_outside_their_blocks_are_counted(ids, edges):
    edges = sorted(edges)[: len(edges) // 2 * 2]
    blocks = list(zip(edges[::2], edges[1::2], strict=True))
    outside = [one for one in ids if not any(first <= one <= last for first, last in blocks)]
    found = [one for one in id_violations("x", np.array(ids, np.int64), blocks) if one.field == "id_blocks"]
    assert [one.found for one in found] == ([f"{len(outside)} ids elsewhere, first {min(outside)}"] if outside else [])

"""Digests: Spark's own numbers, free of order, mergeable, and blind to no swap of one id for another."""

from __future__ import annotations

from functools import reduce

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from reporting.digest import EMPTY_DIGEST, Digest, item_hash

# Any id that UTF-8 can carry; lone surrogates cannot be encoded.
IDS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=30)


@pytest.mark.parametrize(
    ("item", "spark"),
    [("abc", 1423657621850124518), ("货号-42", -913472817075027232), ("", -7444071767201028348)],
)
def test_hashes_are_those_of_spark_sql_xxhash64(item, spark):
    """Values seen on Spark 4: `SELECT xxhash64(id)`, a signed 64-bit integer there."""
    assert item_hash(item) == spark % 2**64


def brute_force(ids):
    hashes = [int.from_bytes(xxhash.xxh64(i.encode(), seed=42).digest(), "big") for i in ids]
    return Digest(len(hashes), sum(hashes) % 2**64, reduce(lambda a, b: a ^ b, hashes, 0))


@given(ids=IDS)
def test_a_digest_is_count_sum_and_xor_of_the_hashes(ids):
    assert Digest.of(ids) == brute_force(ids)
    assert Digest.of(iter(ids)) == brute_force(ids)


@given(ids=IDS, data=st.data())
def test_order_and_grouping_do_not_matter(ids, data):
    shuffled = data.draw(st.permutations(ids))
    cut = data.draw(st.integers(0, len(ids)))
    assert Digest.of(shuffled[:cut]) + Digest.of(shuffled[cut:]) == Digest.of(ids)


@given(a=IDS, b=IDS, c=IDS)
def test_merging_is_associative_and_commutative_with_the_empty_digest_as_its_zero(a, b, c):
    x, y, z = map(Digest.of, (a, b, c))
    assert (x + y) + z == x + (y + z)
    assert x + y == y + x
    assert x + EMPTY_DIGEST == x


@given(ids=IDS.filter(bool), other=st.text("abc", max_size=5), at=st.integers(0))
def test_equal_counts_of_different_ids_differ(ids, other, at):
    index = at % len(ids)
    swapped = [*ids[:index], other, *ids[index + 1 :]]
    assert (Digest.of(swapped) == Digest.of(ids)) == (sorted(swapped) == sorted(ids))


def test_an_id_twice_is_not_an_id_missing():
    """Xor alone would cancel the pair."""
    assert Digest.of(["a", "a", "b"]) != Digest.of(["b"])
    assert Digest.of(["a", "a", "b", "b"]) != Digest.of(["a", "a", "c", "c"])


@given(ids=IDS)
def test_the_text_form_reads_back(ids):
    digest = Digest.of(ids)
    assert Digest.parse(str(digest)) == digest


def test_the_text_form_is_hexadecimal_with_sixteen_digits():
    assert str(Digest(255, 1, 2**64 - 1)) == "ff-0000000000000001-ffffffffffffffff"
    assert str(EMPTY_DIGEST) == "0-0000000000000000-0000000000000000"


@pytest.mark.parametrize("text", ["", "1-2", "1-2-3-4", "x-0-0", "1-2-", "-1-2-3"])
def test_another_form_is_refused(text):
    with pytest.raises(ValueError, match=r"digest|invalid literal"):
        Digest.parse(text)

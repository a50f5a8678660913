"""The hashes of a whole column of ids: what `reporting.digest` computes one by one, for sha256 in numpy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reporting.digest import Digest, item_hash

_SHA256: Final = 64
_BLOCK: Final = 1 << 18
# The constants and steps of XXH64 (github.com/Cyan4973/xxHash, doc/xxhash_spec.md).
_PRIMES: Final = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)
_P1, _P2, _P3, _P4, _ = (np.uint64(prime) for prime in _PRIMES)
_SEED: Final = 42  # Spark SQL's, as in `reporting.digest`
_STARTS: Final = tuple(
    np.uint64((_SEED + more) % (1 << 64)) for more in (_PRIMES[0] + _PRIMES[1], _PRIMES[1], 0, -_PRIMES[0])
)

Hashes = NDArray[np.uint64]


def item_hashes(items: Any) -> Hashes:
    """Return `reporting.digest.item_hash` of each id, (n,) uint64.

    Args:
        items: Arrow `string` or `large_string`, chunked or not, (n,) without nulls. Names of 64 bytes are fast.
    """
    return np.concatenate([np.empty(0, np.uint64), *_blocks(items)])


def digest_of(hashes: Hashes) -> Digest:
    """Return the digest of the ids that have these hashes.

    Example:
        >>> digest_of(np.array([item_hash("a"), item_hash("b")], np.uint64)) == Digest.of(["a", "b"])
        True
    """
    return Digest(len(hashes), int(hashes.sum(dtype=np.uint64)), int(np.bitwise_xor.reduce(hashes, initial=0)))


def _blocks(items: Any) -> Iterator[Hashes]:
    import pyarrow as pa

    for chunk in items.chunks if isinstance(items, pa.ChunkedArray) else [items]:
        for start in range(0, len(chunk), _BLOCK):
            some = chunk.slice(start, _BLOCK).cast(pa.large_string())
            _, places, text = some.buffers()
            offsets = np.frombuffer(places, np.int64)[some.offset : some.offset + len(some) + 1]
            if (np.diff(offsets) == _SHA256).all():
                yield _hashed(np.frombuffer(text, np.uint8)[offsets[0] : offsets[-1]].view("<u8").reshape(-1, 8))
            else:
                yield np.array([item_hash(item) for item in some.to_pylist()], np.uint64)


def _hashed(words: Hashes) -> Hashes:
    """Return the XXH64 of 64 bytes each, given as (n, 8) uint64: two stripes of four lanes."""
    lanes = [_stepped(_stepped(start, words[:, lane]), words[:, lane + 4]) for lane, start in enumerate(_STARTS)]
    found = _rotated(lanes[0], 1) + _rotated(lanes[1], 7) + _rotated(lanes[2], 12) + _rotated(lanes[3], 18)
    for lane in lanes:
        found = (found ^ _stepped(np.uint64(0), lane)) * _P1 + _P4
    found += np.uint64(_SHA256)
    found = (found ^ found >> np.uint64(33)) * _P2
    found = (found ^ found >> np.uint64(29)) * _P3
    return found ^ found >> np.uint64(32)


def _stepped(before: Hashes | np.uint64, words: Hashes) -> Hashes:
    return _rotated(before + words * _P2, 31) * _P1


def _rotated(values: Hashes, bits: int) -> Hashes:
    return values << np.uint64(bits) | values >> np.uint64(64 - bits)

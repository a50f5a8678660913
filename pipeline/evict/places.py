"""Where each picture of a table is, found without a hash table of text: 20 million sha256 are 1.4 GB of it already."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 20
_DIGITS = 16
"""Of a name that make its key: 64 bits of a sha256. Two of 20 million pictures share them once in 100,000 libraries;
whether two names are the same is always settled by the names."""
_SHA256 = 64


class Places:
    """Finds the rows of pictures by their names; any names do, but those of sha256 are found fast.

    Args:
        pictures: Arrow `string` or `large_string`, chunked or not, (n,) without nulls, no two alike. It is not copied.
    """

    def __init__(self, pictures: Any):
        self._pictures = pictures
        keys = np.concatenate([np.empty(0, np.uint64), *_keys_of(pictures)])
        # Libraries are sorted by sha256, and then so are the keys.
        self._order = None if bool((keys[1:] >= keys[:-1]).all()) else np.argsort(keys, kind="stable")
        self._keys = keys if self._order is None else keys[self._order]

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._keys)

    def rows_of(self, wanted: Any) -> NDArray[np.int64]:
        """Return the row of each wanted picture, -1 where it is not there; (k,) int64.

        Args:
            wanted: Arrow `string` or `large_string`, chunked or not, (k,); a null is not there.
        """
        found = [np.empty(0, np.int64)]
        start = 0
        for keys in _keys_of(wanted):
            found.append(self._found(keys, wanted.slice(start, len(keys))))
            start += len(keys)
        return np.concatenate(found)

    def mask_of(self, wanted: Any) -> NDArray[np.bool_]:
        """Tell of each picture whether it is among the wanted ones, (n,) bool."""
        mask = np.zeros(len(self), np.bool_)
        rows = self.rows_of(wanted)
        mask[rows[rows >= 0]] = True
        return mask

    def _found(self, keys: NDArray[np.uint64], wanted: Any) -> NDArray[np.int64]:
        import pyarrow as pa

        found = np.full(len(keys), -1, np.int64)
        asked = np.argsort(keys)  # neighbours are then looked for side by side, which is what memory is fast at
        at = np.searchsorted(self._keys, keys[asked])
        while len(asked):
            likely = at < len(self._keys)
            asked, at = asked[likely], at[likely]
            likely = self._keys[at] == keys[asked]
            asked, at = asked[likely], at[likely]
            rows = at if self._order is None else self._order[at]
            same = _equal(self._pictures.take(pa.array(rows)), wanted.take(pa.array(asked)))
            found[asked[same]] = rows[same]
            asked, at = asked[~same], at[~same] + 1  # another name with the same key is beside it
        return found


def _equal(some: Any, others: Any) -> NDArray[np.bool_]:
    import pyarrow as pa
    import pyarrow.compute as pc

    wide = pa.large_string()
    return np.asarray(pc.fill_null(pc.equal(some.cast(wide), others.cast(wide)), False), np.bool_)


def _keys_of(names: Any) -> Iterator[NDArray[np.uint64]]:
    """Yield the keys of names, block by block, (k,) uint64: they rise as sha256 in lower case do."""
    import pyarrow as pa

    for chunk in names.chunks if isinstance(names, pa.ChunkedArray) else [names]:
        wide = pa.types.is_large_string(chunk.type)
        _, places, text = chunk.buffers()
        data = np.frombuffer(text or b"", np.uint8)
        offsets = np.frombuffer(places or b"", np.int64 if wide else np.int32)
        offsets = offsets[chunk.offset : chunk.offset + len(chunk) + 1]
        for start in range(0, len(chunk), _BLOCK):
            yield _packed(_first_digits(offsets[start : start + _BLOCK + 1].astype(np.int64), data))


def _first_digits(offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the first 16 bytes of each name, (k, 16) uint8; zeros after the end of a shorter one."""
    lengths = np.diff(offsets)
    if (lengths == _SHA256).all():
        return data[offsets[0] : offsets[-1]].reshape(-1, _SHA256)[:, :_DIGITS]
    column = np.arange(_DIGITS)
    there = column < lengths[:, None]
    digits = np.zeros((len(lengths), _DIGITS), np.uint8)
    digits[there] = data[(offsets[:-1, None] + column)[there]]
    return digits


def _packed(digits: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return 16 hexadecimal digits each as one number; of other characters as some number."""
    values = (digits & 15) + 9 * (digits >> 6)  # "0" is 0x30, "a" is 0x61
    pairs = np.ascontiguousarray(values[:, ::2] << 4 | values[:, 1::2])
    return pairs.view(">u8").reshape(-1).astype(np.uint64)

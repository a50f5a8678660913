"""An order-free, mergeable fingerprint of a set of item ids.

(count, sum mod 2^64, xor) over the XXH64 with seed 42 of each UTF-8 id. Seed 42 is Spark SQL's
`xxhash64(id)`, so a Spark job books the same digest in one line. Equal counts of different ids
differ in sum and xor: 16 bytes a leaf tell them apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import xxhash

_SEED = 42  # Spark SQL's seed: org.apache.spark.sql.catalyst.expressions.XxHash64
_MASK = (1 << 64) - 1


def item_hash(item: str) -> int:
    """Return the unsigned 64-bit hash of one id.

    Example:
        >>> item_hash("abc")
        1423657621850124518
    """
    return xxhash.xxh64_intdigest(item.encode(), _SEED)


@dataclass(frozen=True, slots=True)
class Digest:
    """Fingerprint of a multiset of ids; the empty set is (0, 0, 0)."""

    count: int = 0
    sum: int = 0
    xor: int = 0

    @classmethod
    def of(cls, items: Iterable[str]) -> Digest:
        """Digest of all `items`, in any order.

        Example:
            >>> Digest.of(["a", "b"]) == Digest.of(["b"]) + Digest.of(["a"])
            True
        """
        count = total = folded = 0
        for item in items:
            value = xxhash.xxh64_intdigest(item.encode(), _SEED)
            count += 1
            total += value
            folded ^= value
        return cls(count, total & _MASK, folded)

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read the form written by `str()`.

        Raises:
            ValueError: the text has another form.
        """
        parts = text.split("-")
        if len(parts) != 3:
            raise ValueError(f"digest {text!r} is not of the form count-sum-xor in hexadecimal")
        return cls(*(int(part, 16) for part in parts))

    @staticmethod
    def count_of(text: str) -> int:
        """Return the count of a text that `parse` reads."""
        return int(text.partition("-")[0], 16)

    def __add__(self, other: Digest) -> Digest:
        return Digest(self.count + other.count, (self.sum + other.sum) & _MASK, self.xor ^ other.xor)

    def __str__(self) -> str:
        return f"{self.count:x}-{self.sum:016x}-{self.xor:016x}"


EMPTY_DIGEST = Digest()

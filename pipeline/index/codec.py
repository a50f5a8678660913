"""How a vector is stored inside an inverted list, as one word of the settings.

| codec | bytes a vector of d dimensions | what is lost |
|---|---|---|
| `flat` | 4 d | nothing |
| `sq8` | d | one byte a dimension of the residual, on a range learnt in training |
| `pq<M>`, `pq<M>x<bits>` | M bits / 8 | product quantisation of the residual in M parts (Jegou 2011) |
| `opq<M>`, `opq<M>_<D>` (and `x<bits>`) | M bits / 8 | the same after a learnt rotation, to D dimensions (Ge 2013) |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from reporting.errors import ConfigError, DataError

Kind = Literal["flat", "sq8", "pq", "opq"]

# faiss' own rule (ClusteringParameters::min_points_per_centroid); below it faiss prints a warning.
MIN_POINTS_PER_CENTROID = 39
# 8 bits: what a part is quantised with unless it is said otherwise. 4 to 12 are what faiss can search and train.
_BITS = 8
_PATTERN = re.compile(
    r"(?P<rotated>o?)pq(?P<parts>[1-9]\d{0,3})(?:_(?P<dim>[1-9]\d{0,4}))?(?:x(?P<bits>[1-9]\d?))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec; `str` writes it as `parse` reads it, the same codec always as the same text.

    Attributes:
        kind: `flat`, `sq8`, `pq` or `opq`.
        parts: Parts that a vector is cut into for product quantisation; 0 for the others.
        bits: Bits a part, 4 to 12; 0 for the others.
        rotated_dim: Dimensions after the rotation of `opq`; 0: as many as before, and for the others.
    """

    kind: Kind
    parts: int = 0
    bits: int = 0
    rotated_dim: int = 0

    @classmethod
    def parse(cls, text: str) -> Codec:
        """Read a codec.

        Raises:
            ConfigError: It is none; the message says what there is.

        Example:
            >>> Codec.parse("opq16_64")
            Codec(kind='opq', parts=16, bits=8, rotated_dim=64)
            >>> str(Codec.parse("pq16x8"))
            'pq16'
        """
        if text == "flat":
            return cls("flat")
        if text == "sq8":
            return cls("sq8")
        match = _PATTERN.fullmatch(text)
        if match is None or (match["dim"] and not match["rotated"]):
            raise ConfigError(
                f"codec {text!r} is unknown; expected flat, sq8, pq<parts>, pq<parts>x<bits>, opq<parts> or"
                " opq<parts>_<dimensions>, for example pq32 or opq16_64"
            )
        parts, bits, dim = int(match["parts"]), int(match["bits"] or _BITS), int(match["dim"] or 0)
        if not 4 <= bits <= 12:
            raise ConfigError(f"codec {text!r} has {bits} bits a part; expected 4 to 12")
        if dim % parts:
            raise ConfigError(f"codec {text!r}: {dim} dimensions cannot be cut into {parts} equal parts")
        return cls("opq" if match["rotated"] else "pq", parts, bits, dim)

    def __str__(self) -> str:
        if self.kind in ("flat", "sq8"):
            return self.kind
        dim = f"_{self.rotated_dim}" if self.rotated_dim else ""
        return f"{self.kind}{self.parts}{dim}{'' if self.bits == _BITS else f'x{self.bits}'}"

    def stored_dim(self, dim: int) -> int:
        """Return the dimensions of what is stored, for vectors of `dim` dimensions.

        Raises:
            DataError: `dim` cannot be cut into the codec's parts, or is less than what the rotation must give.
        """
        stored = self.rotated_dim or dim
        if stored > dim:
            raise DataError(f"codec {self}: vectors of {dim} dimensions cannot be rotated to {stored}")
        if self.parts and stored % self.parts:
            raise DataError(
                f"codec {self}: {stored} dimensions cannot be cut into {self.parts} equal parts; choose a divisor"
            )
        return stored

    def code_size(self, dim: int) -> int:
        """Return the bytes of one stored vector of `dim` dimensions, ids apart; errors as `stored_dim`."""
        stored = self.stored_dim(dim)
        if self.parts:
            return (self.parts * self.bits + 7) // 8
        return 4 * stored if self.kind == "flat" else stored

    @property
    def min_rows(self) -> int:
        """Training vectors that the codec itself needs, besides those of the lists."""
        if self.parts:
            return MIN_POINTS_PER_CENTROID << self.bits
        return 0 if self.kind == "flat" else 1

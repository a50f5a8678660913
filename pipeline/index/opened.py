"""An index that is open for search: in memory, mapped from a file, or virtual over several mapped shards."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from pipeline.index.quantizer import from_bytes
from pipeline.index.wrapped import Transform, apply_all, ivf_of, transforms_of
from reporting.errors import DataError


@dataclass(frozen=True, eq=False)
class OpenIndex:
    """What `search_index` and `index_vectors` read; never changed.

    Attributes:
        index: A faiss index: an inverted file, alone or behind a linear transform.
        keep: The ids that count, (n,) int64, strictly rising; None: all. Only a virtual merge has some that do not.
        owned: What faiss borrows (mapped shards, their lists) and Python must keep alive.
    """

    index: Any
    keep: NDArray[np.int64] | None = None
    owned: tuple[Any, ...] = field(default=(), repr=False)
    _parameters: dict[int, Any] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def ivf(self) -> faiss.IndexIVF:
        """The inverted file."""
        return ivf_of(self.index)

    @cached_property
    def transforms(self) -> tuple[Transform, ...]:
        """What a query goes through before the inverted file."""
        return transforms_of(self.index)

    def transform(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return queries (n, dim) float32 as the inverted file sees them."""
        return apply_all(self.transforms, queries) if self.transforms else queries

    def parameters(self, nprobe: int) -> Any:
        """Return faiss' search parameters for `nprobe` lists, made once and shared by all threads."""
        made: Any = self._parameters.get(nprobe)
        if made is None:
            kind: Any = faiss.SearchParametersIVF
            made = kind(nprobe=nprobe)
            self._parameters[nprobe] = made
        return made

    @cached_property
    def stored(self) -> int:
        """Rows that lie in it, counting or not."""
        return int(self.ivf.ntotal)

    @cached_property
    def rows(self) -> int:
        """Rows that count."""
        return self.stored if self.keep is None else len(self.keep)

    @cached_property
    def dim(self) -> int:
        """Dimensions of a query."""
        return int(self.index.d)

    @cached_property
    def nlist(self) -> int:
        """Inverted lists."""
        return int(self.ivf.nlist)

    @cached_property
    def is_flat(self) -> bool:
        """Whether a code is the vector itself."""
        return type(self.ivf) is faiss.IndexIVFFlat

    @cached_property
    def packed_size(self) -> int:
        """Bytes of a candidate: its code, and before it the number of its list where decoding needs that."""
        ivf: Any = self.ivf
        return int(ivf.code_size) + (0 if self.is_flat else int(ivf.coarse_code_size()))


def opened(index: Any) -> OpenIndex:
    """Return an index open for search; one that is so already as it is."""
    return index if isinstance(index, OpenIndex) else OpenIndex(index)


def open_bytes(data: bytes, *, where: str = "index bytes") -> OpenIndex:
    """Open an index from its bytes; errors as `from_bytes`."""
    return OpenIndex(from_bytes(data, where=where))


def open_file(path: Path) -> OpenIndex:
    """Map an index file read-only; pages are read when searched. The file must never be written again (SIGBUS).

    Raises:
        DataError: It is missing, broken or holds no inverted file.
    """
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    except RuntimeError as error:
        raise DataError(f"{path}: faiss cannot read this file; restore it or build it again") from error
    ivf_of(index, str(path))
    return OpenIndex(index)

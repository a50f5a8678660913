"""Training and search on a GPU, with the answers that the processor gives.

Behind the extra `gpu` (faiss-gpu-cu12, which shares its import name with the extra `cpu`: install exactly one). A
GPU trains other centroids than a processor does, since it adds in another order, so that only one of them may train
a category's quantizer; its search is only asked for candidates, which are ranked as `search_index` ranks them.
`examples/gpu/compare.py` compares the two on a machine that has one.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from pipeline.index.codec import Codec
from pipeline.index.lists import decode, read_rows
from pipeline.index.opened import OpenIndex
from pipeline.index.quantizer import train_quantizer
from pipeline.index.search import Neighbours, find_candidates, search_by
from reporting.errors import ConfigError

# faiss' own limit on a GPU, of neighbours and of lists alike (GPU_MAX_SELECTION_K).
MOST_ON_GPU = 2048


def require_gpu(device: int = 0) -> None:
    """Do nothing if faiss can use this GPU.

    Raises:
        ConfigError: faiss was built without GPUs, or there is none of that number.
    """
    if not hasattr(faiss, "StandardGpuResources"):
        raise ConfigError(
            "the faiss installed here is the processor's; for a GPU install funnelgate[gpu] into an environment of"
            " its own (pip install 'funnelgate[gpu]'), never beside funnelgate[cpu]: both are called faiss"
        )
    found = int(faiss.get_num_gpus())
    if not 0 <= device < found:
        raise ConfigError(f"there is no GPU {device}: faiss sees {found}; check nvidia-smi and CUDA_VISIBLE_DEVICES")


def train_on_gpu(
    vectors: NDArray[np.float32], *, nlist: int, codec: str = "flat", seed: int = 1234, device: int = 0
) -> Any:
    """Train as `train_quantizer` does, with k-means' assignments, which take the time, on a GPU.

    Raises:
        ConfigError: There is no such GPU or codec.
        DataError: As `train_quantizer`.
    """
    require_gpu(device)
    gpu: Any = faiss
    dim = Codec.parse(codec).stored_dim(vectors.shape[1])
    assigner = gpu.GpuIndexFlatIP(gpu.StandardGpuResources(), dim, _config(gpu.GpuIndexFlatConfig(), device))
    return train_quantizer(vectors, nlist=nlist, codec=codec, seed=seed, assigner=assigner)


def on_gpu(source: OpenIndex, device: int = 0) -> MirroredIndex:
    """Copy an index to a GPU for search; its codes stay in memory as well, in rising order of id.

    Raises:
        ConfigError: There is no such GPU.
    """
    require_gpu(device)
    gpu: Any = faiss
    resources = gpu.StandardGpuResources()
    mirror = gpu.index_cpu_to_gpu(resources, device, source.ivf)
    return MirroredIndex(source, mirror, most=MOST_ON_GPU, owned=(resources,))


def _config(config: Any, device: int) -> Any:
    config.device = device
    return config


class MirroredIndex:
    """An index of which a copy elsewhere finds the candidates; its answers are `search_index`'s to the bit.

    Attributes:
        source: The index itself.
    """

    def __init__(self, source: OpenIndex, mirror: Any, *, most: int | None = None, owned: tuple[Any, ...] = ()) -> None:
        """Read the source's rows.

        Args:
            source: The index, in memory or mapped; not changed.
            mirror: A faiss index of the same rows, after the transform if there is one.
            most: Candidates, and lists, that the mirror can be asked for at most; None: any number.
            owned: What the mirror borrows.
        """
        self.source = source
        self._mirror, self._most, self._owned = mirror, most, owned
        rows = read_rows(OpenIndex(source.index, owned=source.owned))
        order = np.argsort(rows.ids)
        self._ids = rows.ids[order]
        self._numbers, self._codes = rows.list_numbers[order], rows.codes[order]

    def search(self, queries: NDArray[np.float32], k: int, nprobe: int) -> Neighbours:
        """Search as `search_index(source, queries, k, nprobe)` does, with its arguments, answers and errors.

        Where the mirror cannot be asked for so many candidates or lists, the source answers.
        """
        return search_by(self._find, self.source, queries, k, nprobe)

    def _find(
        self, source: OpenIndex, block: NDArray[np.float32], count: int, nprobe: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        if self._most is not None and max(count, nprobe) > self._most:
            return find_candidates(source, block, count, nprobe)
        parameters: Any = faiss.SearchParametersIVF
        scores, ids = self._mirror.search(block, count, params=parameters(nprobe=nprobe))
        places = np.searchsorted(self._ids, np.maximum(ids, self._ids[0]).reshape(-1))
        vectors = decode(source, self._numbers[places], self._codes[places])
        return scores, ids, vectors.reshape(*ids.shape, -1)

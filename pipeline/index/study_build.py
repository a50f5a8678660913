"""How a study builds, searches, merges and shrinks one kind of index, with a clock beside it."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
from numpy.typing import NDArray

from pipeline.index.merge import ShardPart, merge_to
from pipeline.index.quantizer import to_bytes, train_quantizer
from pipeline.index.shard import build_shard, describe_shard
from pipeline.index.study import Contender, OnStep, Point, StudySettings, Truth
from pipeline.index.wrapped import ivf_of
from reporting.errors import DataError, StoreError

_CATEGORY, _SPACE, _FIRST_DAY = "study", "study", dt.date(2000, 1, 1)
_EF_SEARCH = (16, 32, 64, 128, 256, 512)
_ENOUGH, _NO_MORE = 0.9995, 0.002
"""A sweep ends where everything is found, or where twice the work finds this little more, twice in a row."""
_LEAST_TIMED = 20
TRAIN_ROWS, TRAIN_ROWS_A_LIST = 1 << 14, 64
"""Rows that training is given: faiss wants 39 a list and 9,984 for a byte a part, and OPQ takes minutes for more."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What every kind of index is measured on; shapes as `run_study`."""

    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]
    truth: Truth
    settings: StudySettings
    folder: Path

    def parts(self) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Cut ids and vectors into the parts, equal to one row."""
        cuts = np.linspace(0, len(self.ids), self.settings.parts + 1).astype(int)
        return [(self.ids[a:b], self.vectors[a:b]) for a, b in pairwise(cuts)]

    def sample(self, rows: int) -> NDArray[np.float32]:
        """Return at most so many vectors to train on, spread evenly."""
        places = np.linspace(0, len(self.vectors) - 1, min(rows, len(self.vectors))).astype(int)
        return np.ascontiguousarray(self.vectors[places])


def inverted_file(bench: Bench, codec: str, nlist: int, on_step: OnStep) -> Contender:
    """Measure an inverted file; one list and flat vectors is the exact index. Merged and verified as a release is."""
    is_flat = nlist == 1 and codec == "flat"
    name = "Flat (exact)" if is_flat else f"IVF{nlist} {codec}"
    family: Literal["flat", "ivf"] = "flat" if is_flat else "ivf"
    on_step(f"{name}: build")
    began = time.perf_counter()
    try:
        sample = bench.sample(max(TRAIN_ROWS, TRAIN_ROWS_A_LIST * nlist))
        quantizer = to_bytes(train_quantizer(sample, nlist=nlist, codec=codec, seed=bench.settings.seed))
    except DataError as error:
        return Contender(name=name, family=family, codec=codec, skipped=str(error))
    train_seconds = time.perf_counter() - began
    folder = bench.folder / "parts"
    try:
        folder.mkdir(parents=True)
        parts, add_seconds = _parts(bench, quantizer, folder)
        on_step(f"{name}: merge")
        began = time.perf_counter()
        merge_to(folder / "merged.faiss", quantizer, parts, category=_CATEGORY, space_id=_SPACE)
        merge_seconds = time.perf_counter() - began
        size = (folder / "merged.faiss").stat().st_size
        index = faiss.read_index(str(folder / "merged.faiss"))
    except OSError as error:
        raise _no_room(folder, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    points = _sweep_lists(bench, index, name, on_step)
    on_step(f"{name}: delete")
    delete_seconds, no_delete = _delete(index, bench.parts()[0][0])
    return Contender(
        name=name,
        family=family,
        codec=codec,
        bytes_per_vector=size / len(bench.ids),
        build_seconds=train_seconds + add_seconds,
        merge_seconds=merge_seconds,
        delete_seconds=delete_seconds,
        no_delete=no_delete,
        points=tuple(points),
    )


def _parts(bench: Bench, quantizer: bytes, folder: Path) -> tuple[list[ShardPart], float]:
    """Build and write a shard of each part; the seconds are those of building alone."""
    parts, seconds = [], 0.0
    for number, (ids, vectors) in enumerate(bench.parts()):
        began = time.perf_counter()
        data = build_shard(quantizer, ids, vectors)
        seconds += time.perf_counter() - began
        day = _FIRST_DAY + dt.timedelta(number)
        manifest = describe_shard(data, category=_CATEGORY, date=day, space_id=_SPACE)
        path = folder / f"{number}.faiss"
        path.write_bytes(data)
        parts.append(ShardPart(manifest, path, None))
    return parts, seconds


def graph(bench: Bench, on_step: OnStep) -> Contender:
    """Measure an HNSW graph of whole vectors; merging and deleting are tried, and faiss' refusal is kept."""
    links, dim = bench.settings.hnsw_m, bench.vectors.shape[1]
    name = f"HNSW{links} flat"
    on_step(f"{name}: build")
    began = time.perf_counter()
    inner = faiss.IndexHNSWFlat(dim, links, faiss.METRIC_INNER_PRODUCT)
    index = faiss.IndexIDMap(inner)
    for ids, vectors in bench.parts():
        index.add_with_ids(vectors, ids)
    build_seconds = time.perf_counter() - began
    size = _file_size(index, bench.folder / "graph.faiss")
    points: list[Point] = []
    for effort in sorted({max(effort, bench.truth.k) for effort in _EF_SEARCH}):
        inner.hnsw.efSearch = effort
        on_step(f"{name}: search, efSearch {effort}")
        points.append(_measure(bench, index, effort))
        if _is_enough(points):
            break
    on_step(f"{name}: merge, delete")
    other = faiss.IndexIDMap(faiss.IndexHNSWFlat(dim, links, faiss.METRIC_INNER_PRODUCT))
    merge_seconds, no_merge = _tried(lambda: index.merge_from(other, 0))
    delete_seconds, no_delete = _delete(index, bench.parts()[0][0])
    return Contender(
        name=name,
        family="hnsw",
        codec="flat",
        bytes_per_vector=size / len(bench.ids),
        build_seconds=build_seconds,
        merge_seconds=merge_seconds,
        delete_seconds=delete_seconds,
        no_merge=no_merge,
        no_delete=no_delete,
        points=tuple(points),
    )


def _file_size(index: Any, path: Path) -> int:
    """Return the bytes of an index as a file, which is written and deleted."""
    try:
        faiss.write_index(index, str(path))
        return path.stat().st_size
    except (OSError, RuntimeError) as error:
        raise _no_room(path, error) from error
    finally:
        path.unlink(missing_ok=True)


def _no_room(path: Path, error: Exception) -> StoreError:
    return StoreError(f"{path}: {error}; a study needs room for the vectors twice: set TMPDIR to a larger disk")


def _sweep_lists(bench: Bench, index: Any, name: str, on_step: OnStep) -> list[Point]:
    """Search with 1, 2, 4, ... lists; one point without a setting where there is only one list."""
    ivf = ivf_of(index)
    if ivf.nlist == 1:
        on_step(f"{name}: search")
        return [_measure(bench, index, None)]
    points: list[Point] = []
    nprobe = 1
    while True:
        ivf.nprobe = min(nprobe, ivf.nlist)
        on_step(f"{name}: search, nprobe {ivf.nprobe}")
        points.append(_measure(bench, index, ivf.nprobe))
        if nprobe >= ivf.nlist or _is_enough(points):
            return points
        nprobe *= 2


def _is_enough(points: list[Point]) -> bool:
    """Say whether a sweep has found everything, or has stopped finding more."""
    stuck = len(points) > 3 and points[-1].recall - points[-3].recall < _NO_MORE
    return points[-1].recall >= _ENOUGH or stuck


def _measure(bench: Bench, index: Any, setting: int | None) -> Point:
    """Search all queries at once for what is found, then one after another on one thread for the time.

    The clock is the thread's own CPU time: a machine that does other work beside does not change it much.
    """
    _, found = index.search(bench.queries, bench.truth.k)
    singles = [bench.queries[row : row + 1] for row in range(len(bench.queries))]
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        count, began = 0, time.thread_time()
        while count < _LEAST_TIMED or time.thread_time() - began < bench.settings.seconds:
            index.search(singles[count % len(singles)], bench.truth.k)
            count += 1
            if count >= 10 * len(singles) and count >= _LEAST_TIMED:
                break
        spent = time.thread_time() - began
    finally:
        faiss.omp_set_num_threads(threads)
    return Point(setting=setting, recall=bench.truth.recall_of(found), queries_per_second=count / max(spent, 1e-9))


def _delete(index: Any, ids: NDArray[np.int64]) -> tuple[float | None, str | None]:
    """Take ids out of an index in memory: (seconds, None), or (None, why it cannot)."""
    before = index.ntotal
    found = _tried(lambda: index.remove_ids(ids))
    if found[0] is not None and index.ntotal != before - len(ids):
        raise DataError(f"faiss removed {before - index.ntotal} rows where {len(ids)} were named")
    return found


def _tried(action: Any) -> tuple[float | None, str | None]:
    """Run what faiss may refuse: (seconds, None), or (None, its reason)."""
    began = time.perf_counter()
    try:
        action()
    except RuntimeError as error:
        return None, str(error).rpartition(": ")[2].strip() or "not implemented"
    return time.perf_counter() - began, None

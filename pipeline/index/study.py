"""Kinds of index side by side on the same vectors: what each finds, how fast, in how many bytes, and how it ages."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import faiss
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from reporting.errors import DataError, UsageError

OnStep = Callable[[str], None]
"""Told the name of each step as it begins."""

# Two float32 kernels differ by less on the inner product of two unit vectors (d <= 4096), see search.py.
_TIE = 1e-5
_TARGET = 0.95
# Where the target is out of reach: the fastest point within half a percentage point of the highest recall.
_NEARLY = 0.005


class Point(BaseModel):
    """One setting of an index's search.

    Attributes:
        setting: nprobe of an inverted file, efSearch of a graph; None where there is none.
        recall: Mean share of the k nearest that are found, 0..1; see `recall_of`.
        queries_per_second: One query after another, by the CPU seconds of the one thread that searches.
    """

    model_config = ConfigDict(frozen=True)

    setting: int | None
    recall: float
    queries_per_second: float


class Contender(BaseModel):
    """One kind of index.

    Attributes:
        name: For people: `IVF256, sq8`.
        family: `flat` (exact), `ivf`, `hnsw`.
        codec: How vectors are stored.
        bytes_per_vector: Size of the file divided by the rows.
        build_seconds: Training and adding, of all parts.
        merge_seconds: From parts on the disk to one file that is flushed; None: it cannot.
        delete_seconds: Taking the rows of one part out, in memory; None: it cannot.
        no_merge: Why it cannot, in faiss' words.
        no_delete: Likewise.
        skipped: Why it was not measured at all; then there are no points.
        points: In rising order of the setting.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    family: Literal["flat", "ivf", "hnsw"]
    codec: str
    bytes_per_vector: float | None = None
    build_seconds: float | None = None
    merge_seconds: float | None = None
    delete_seconds: float | None = None
    no_merge: str | None = None
    no_delete: str | None = None
    skipped: str | None = None
    points: tuple[Point, ...] = ()

    def at(self, target: float) -> Point | None:
        """Return the fastest point that finds at least `target`, None where none does."""
        enough = [point for point in self.points if point.recall >= target]
        return max(enough, key=lambda point: point.queries_per_second, default=None)

    @property
    def best_recall(self) -> float:
        """The highest recall reached, 0 without points."""
        return max((point.recall for point in self.points), default=0.0)


class StudySettings(BaseModel):
    """What is compared, and how.

    Attributes:
        k: Neighbours wanted.
        target: Recall at which speeds are compared.
        parts: Parts (days) that the vectors are built in, merged from, and of which one is deleted.
        codecs: Codecs of the inverted files, see `pipeline.index.codec`.
        nlist: Inverted lists; None: chosen by `choose_nlist`.
        hnsw_m: Links of a graph's node; 0 leaves HNSW out.
        seed: Of the training, and of which rows are held out.
        seconds: CPU seconds that the searches of one point are timed for, at most; 20 queries in any case.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    k: int = Field(default=10, ge=1)
    target: float = Field(default=_TARGET, gt=0, le=1)
    parts: int = Field(default=4, ge=2)
    codecs: tuple[str, ...] = Field(min_length=1)
    nlist: int | None = Field(default=None, ge=1)
    hnsw_m: int = Field(default=32, ge=0)
    seed: int = Field(default=1234, ge=0)
    seconds: float = Field(default=1.0, gt=0)


class Study(BaseModel):
    """The result of a study.

    Attributes:
        vectors_sha256: Of base and queries, see `pipeline.index.vector_file`.
        rows: Vectors indexed.
        dim: Dimensions.
        queries: Queries asked.
        settings: As used; `nlist` and `codecs` as chosen.
        threads: Threads that building used; searching used one.
        machine: Kind of processor.
        faiss: Version of faiss.
        contenders: In the order measured.
    """

    model_config = ConfigDict(frozen=True)

    vectors_sha256: str
    rows: int
    dim: int
    queries: int
    settings: StudySettings
    threads: int
    machine: str
    faiss: str
    contenders: tuple[Contender, ...]


def default_codecs(dim: int) -> tuple[str, ...]:
    """Return the codecs that are compared unless others are named, with at least 4 dimensions a part.

    Example:
        >>> default_codecs(128), default_codecs(6), default_codecs(1280)[2]
        (('flat', 'sq8', 'pq32', 'opq32'), ('flat', 'sq8', 'pq1', 'opq1'), 'pq64')
    """
    # 64 parts are the most that the literature and faiss' own tables take: more bytes than that buy sq8
    parts = max(number for number in range(1, min(64, max(1, dim // 4)) + 1) if dim % number == 0)
    return ("flat", "sq8", f"pq{parts}", f"opq{parts}")


def hold_out(
    ids: NDArray[np.int64], vectors: NDArray[np.float32], count: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Take `count` rows out as queries: (ids left, vectors left, queries), those left in their order.

    Raises:
        UsageError: Fewer than half of the rows would be left.
    """
    if not 1 <= count <= len(ids) // 2:
        raise UsageError(f"{count} of {len(ids)} rows cannot be held out as queries: say 1 to {len(ids) // 2}")
    chosen = np.zeros(len(ids), np.bool_)
    chosen[np.random.default_rng(seed).permutation(len(ids))[:count]] = True
    return ids[~chosen], np.ascontiguousarray(vectors[~chosen]), np.ascontiguousarray(vectors[chosen])


class Truth:
    """The exact answer to every query, and what an answer is worth by it."""

    def __init__(
        self, ids: NDArray[np.int64], vectors: NDArray[np.float32], queries: NDArray[np.float32], k: int
    ) -> None:
        """Search by brute force; shapes (n,), (n, d), (q, d)."""
        order = np.argsort(ids, kind="stable")
        self._ids, self._places = ids[order], order
        self._vectors, self._queries, self.k = vectors, queries, min(k, len(ids))
        scores, _ = faiss.knn(queries, vectors, self.k, metric=faiss.METRIC_INNER_PRODUCT)
        self._least = scores[:, -1].astype(np.float64)

    def recall_of(self, found: NDArray[np.int64]) -> float:
        """Return the mean over the queries of the share of the k nearest that were found, 0..1.

        A found id counts if its own inner product, of the vector as it was before any codec, is at least that of
        the k-th nearest (an exact tie of the k-th counts as well as the k-th: they are equally near). An id found
        twice counts once; -1 and unknown ids do not count.

        Args:
            found: Shape (q, at least k) int64.
        """
        found = found[:, : self.k]
        at = np.minimum(np.searchsorted(self._ids, found), len(self._ids) - 1)
        known = self._ids[at] == found
        ordered = np.sort(found, axis=1)
        rows = np.arange(len(found))[:, None]
        first = np.ones(found.shape, np.bool_)
        first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        seen = np.empty(found.shape, np.bool_)
        seen[rows, np.argsort(found, axis=1, kind="stable")] = first
        near = np.einsum(
            "qkd,qd->qk", self._vectors[self._places[at]].astype(np.float64), self._queries.astype(np.float64)
        )
        hits = known & seen & (near >= self._least[:, None] - _TIE)
        return float(hits.sum(axis=1).mean() / self.k)


def run_study(
    ids: NDArray[np.int64],
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    settings: StudySettings,
    *,
    folder: Path,
    vectors_sha256: str,
    on_step: OnStep = lambda _: None,
) -> Study:
    """Build, search, merge and shrink each kind of index on the same vectors.

    Args:
        ids: Shape (n,) int64, >= 0, unique.
        vectors: Shape (n, d) float32, L2-normalised.
        queries: Shape (q, d) float32, L2-normalised, q >= 1; none of them among the vectors, or recall flatters.
        settings: What is compared.
        folder: Where the indexes may lie meanwhile: twice the bytes of the vectors; left empty.
        vectors_sha256: Told in the result.
        on_step: Told each step.

    Raises:
        DataError: Too few vectors to compare anything, or queries of another dimension.
    """
    from pipeline.index.quantizer import choose_nlist
    from pipeline.index.study_build import Bench, graph, inverted_file

    if len(ids) < settings.parts or not len(queries) or queries.shape[1:] != vectors.shape[1:]:
        raise DataError(
            f"{len(ids)} vectors of {vectors.shape[1]} dimensions with queries of shape {queries.shape}; expected at"
            f" least {settings.parts} vectors and a query, of equal dimensions"
        )
    nlist = settings.nlist or max(2, choose_nlist(len(ids), 1, exact_rows=0))
    settings = settings.model_copy(update={"nlist": nlist})
    on_step("exact answers")
    truth = Truth(ids, vectors, queries, settings.k)
    bench = Bench(ids, vectors, queries, truth, settings, folder)
    contenders = [inverted_file(bench, "flat", 1, on_step)]
    contenders += [inverted_file(bench, codec, nlist, on_step) for codec in settings.codecs]
    contenders += [graph(bench, on_step)] if settings.hnsw_m else []
    return Study(
        vectors_sha256=vectors_sha256,
        rows=len(ids),
        dim=vectors.shape[1],
        queries=len(queries),
        settings=settings,
        threads=faiss.omp_get_max_threads(),
        machine=_processor(),
        faiss=faiss.__version__,
        contenders=tuple(contenders),
    )


def findings(study: Study) -> list[str]:
    """Return in sentences what the figures say at the target: the fastest, the smallest, and who cannot age."""
    target, k = study.settings.target, study.settings.k
    reached = [(one, point) for one in study.contenders if (point := one.at(target)) is not None]
    lines = []
    if not reached:
        best = max(study.contenders, key=lambda one: one.best_recall)
        lines.append(f"None reaches recall@{k} {target:g}; {best.name} comes nearest with {best.best_recall:.3f}.")
    else:
        fast, point = max(reached, key=lambda pair: pair[1].queries_per_second)
        small, slow = min(reached, key=lambda pair: pair[0].bytes_per_vector or 0.0)
        lines.append(
            f"At recall@{k} of at least {target:g}, {fast.name} is the fastest: {point.queries_per_second:,.0f} queries"
            f" a second and core, {fast.bytes_per_vector:,.0f} bytes a vector."
        )
        if small is not fast:
            lines.append(
                f"{small.name} is the smallest: {small.bytes_per_vector:,.0f} bytes a vector,"
                f" {slow.queries_per_second:,.0f} queries a second and core."
            )
    missed = [one for one in study.contenders if one.points and one.at(target) is None and reached]
    lines += [f"{one.name} does not get there: at most {one.best_recall:.3f}." for one in missed]
    lines += [f"{one.name} was not measured: {one.skipped}." for one in study.contenders if one.skipped]
    for one in study.contenders:
        cannot = [word for word, why in (("merge", one.no_merge), ("delete", one.no_delete)) if why]
        if cannot:
            again = f"; a new day means a new build, {one.build_seconds:,.1f} s here" if one.build_seconds else ""
            lines.append(f"{one.name}: {' and '.join(f'no {word}' for word in cannot)}{again}.")
    return lines


def shown_point(one: Contender, target: float) -> Point:
    """Return the point that stands for a contender: its fastest at the target, else near its highest recall."""
    found = one.at(target) or one.at(one.best_recall - _NEARLY)
    assert found is not None, f"{one.name} has no points"
    return found


def in_words(one: Contender, point: Point) -> str:
    """Say how a point was searched: `nprobe 8`, `efSearch 64`, or `all` where everything is scanned."""
    if point.setting is None:
        return "all"
    return f"{'efSearch' if one.family == 'hnsw' else 'nprobe'} {point.setting}"


def _processor() -> str:
    """Name the processor as the system does."""
    try:
        lines: Sequence[str] = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        lines = ()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()

"""What the frozen backbone answers for every picture of a set, computed once and kept on disk in float16.

A chunk of pictures is one file, renamed into place when it is whole: a run that was stopped goes on where it was.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.learn.backbone import LEVELS
from pipeline.learn.scenes import Scene
from pipeline.models.boxes import letterbox
from pipeline.models.preprocess import preprocess
from pipeline.models.spec import InputSpec
from reporting.errors import DataError, StoreError

CHUNK = 64
"""Pictures a file: about 25 MB at 256 px."""
_BATCH = 8


class Pictures(Protocol):
    """Pictures with boxes, by number; picklable, since worker processes read it."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, number: int) -> Scene:
        """Return one."""

    def identity(self) -> str:
        """Return a digest of what the pictures are made of: who has another may answer other pictures."""


class Chunk(NamedTuple):
    """Some pictures' maps and boxes."""

    maps: dict[str, NDArray[np.float16]]
    """Level to (n, channels, height, width)."""
    boxes: list[NDArray[np.float32]]
    """(k, 4) each, in pixels of the network's input."""
    labels: list[NDArray[np.int64]]
    """(k,) each."""


def compute(
    pictures: Pictures, backbone: Path, spec: InputSpec, folder: Path, *, workers: int, on_done: Callable[[int], None]
) -> list[Path]:
    """Return the files of all chunks, in order; those that are there already are not computed again.

    Args:
        pictures: The set.
        backbone: ONNX file with input `pixels` and the maps c2..c5.
        spec: How a picture becomes the input.
        folder: Of the files; of this set and backbone alone.
        workers: Processes, at least 1.
        on_done: Called with the number of pictures of each finished chunk.

    Raises:
        DataError: a picture cannot be read.
        StoreError: a worker process was ended from outside.
    """
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(pictures), CHUNK)
    paths = [folder / f"{start:07d}.npz" for start in starts]
    todo = []
    for start, path in zip(starts, paths, strict=True):
        if path.exists():
            on_done(min(CHUNK, len(pictures) - start))
        else:
            todo.append((start, path))
    if todo:
        _compute_all(todo, (pictures, backbone, spec), workers, on_done)
    for left in folder.glob("*.part"):  # of runs that were stopped
        left.unlink(missing_ok=True)
    return paths


def _compute_all(
    todo: Sequence[tuple[int, Path]],
    opened: tuple[Pictures, Path, InputSpec],
    workers: int,
    on_done: Callable[[int], None],
) -> None:
    # Spawned: ONNX Runtime's threads do not survive a fork. An executor, not a Pool: one whose worker is killed (for
    # want of memory, say) waits for its answer for ever.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(todo)), mp_context=context, initializer=_open, initargs=opened)
    try:
        for done in as_completed([pool.submit(_compute, job) for job in todo]):
            on_done(done.result())
    except BrokenProcessPool as error:
        raise StoreError(
            "a process that computes features has died, perhaps for want of memory; the same command again goes on"
            " where this one was, with fewer --workers if need be"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


class _Worker(NamedTuple):
    pictures: Pictures
    session: object
    spec: InputSpec


_worker: list[_Worker] = []


def _open(pictures: Pictures, backbone: Path, spec: InputSpec) -> None:
    from pipeline.models.session import OrtSession

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent lets chunks be finished
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker[:] = [_Worker(pictures, OrtSession(backbone), spec)]


def _end_with_parent() -> None:
    """Wait for the process that started this one, and end: nobody else would end it if that one was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _compute(job: tuple[int, Path]) -> int:
    from pipeline.models.session import OrtSession

    start, path = job
    pictures, session, spec = _worker[0]
    assert isinstance(session, OrtSession)
    scenes = [pictures[number] for number in range(start, min(start + CHUNK, len(pictures)))]
    parts: dict[str, list[NDArray[np.float16]]] = {level: [] for level in LEVELS}
    for first in range(0, len(scenes), _BATCH):
        answer = session.run(preprocess([scene.image for scene in scenes[first : first + _BATCH]], spec))
        for level in LEVELS:
            parts[level].append(answer[level].astype(np.float16))
    boxes = [to_input(scene, spec) for scene in scenes]
    # Written beside its place and renamed: half a file is never taken for a whole one.
    waiting = path.with_suffix(f".{os.getpid()}.part")
    with waiting.open("wb") as file:
        arrays: dict[str, Any] = {level: np.concatenate(part) for level, part in parts.items()}
        np.savez(
            file,
            **arrays,
            counts=np.array([len(box) for box in boxes], np.int64),
            boxes=np.concatenate(boxes),
            labels=np.concatenate([scene.labels for scene in scenes]),
        )
    waiting.replace(path)
    return len(scenes)


def to_input(scene: Scene, spec: InputSpec) -> NDArray[np.float32]:
    """Return a picture's boxes in pixels of the network's input, (k, 4) float32."""
    height, width = scene.image.shape[:2]
    fit = letterbox((width, height), (spec.width, spec.height))
    scale = np.array([fit.width / width, fit.height / height] * 2, np.float32)
    moved: NDArray[np.float32] = scene.boxes * scale + np.array([fit.left, fit.top] * 2, np.float32)
    return moved


def read(path: Path) -> Chunk:
    """Read one file that `compute` wrote.

    Raises:
        DataError: it is damaged.
    """
    try:
        # Opened here: of a damaged file that it opened itself, numpy leaves the handle open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            cuts = np.cumsum(arrays["counts"])[:-1]
            return Chunk(
                {level: arrays[level] for level in LEVELS},
                np.split(arrays["boxes"], cuts),
                np.split(arrays["labels"], cuts),
            )
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: damaged: {error}; delete it, and the same command computes it again") from error


def read_all(paths: Sequence[Path]) -> Chunk:
    """Read several files into one chunk; its maps are allocated once."""
    first, last = read(paths[0]), read(paths[-1])
    count = (len(paths) - 1) * len(first.boxes) + len(last.boxes)  # only the last may hold fewer
    maps = {level: np.empty((count, *first.maps[level].shape[1:]), np.float16) for level in LEVELS}
    boxes: list[NDArray[np.float32]] = []
    labels: list[NDArray[np.int64]] = []
    for path in paths:
        chunk = read(path)
        for level in LEVELS:
            maps[level][len(boxes) : len(boxes) + len(chunk.boxes)] = chunk.maps[level]
        boxes += chunk.boxes
        labels += chunk.labels
    return Chunk(maps, boxes, labels)

"""From files to boxes against a bare ONNX Runtime loop; and objects cut out of one picture against single pictures."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pipeline.images.crop import DEFAULT_MARGIN, DEFAULT_SIDE, crop_object, crop_objects
from pipeline.images.decode import DecodeLimits
from pipeline.models.catalog import DEFAULT_DETECTOR, DEFAULT_EMBEDDER, SHIPPED, open_detector, open_embedder
from pipeline.models.detections import Box, Found
from pipeline.models.detector import Detector

COUNT, BATCH, ROUNDS = 48, 8, 5
K = 4
LIMITS = DecodeLimits()


def drawn(count: int, size: tuple[int, int], first_seed: int = 0) -> list[bytes]:
    """Return JPEGs of smooth shapes with edges, about as large as photos of that size."""
    files = []
    for seed in range(first_seed, first_seed + count):
        rng = np.random.default_rng(seed)
        total = np.zeros((size[1], size[0], 3))
        for octave in range(1, 8):
            grid = Image.fromarray(rng.integers(0, 256, (2**octave, 2**octave, 3)).astype(np.uint8))
            way = Image.Resampling.NEAREST if octave in (3, 6) else Image.Resampling.BICUBIC
            total += (np.asarray(grid.resize(size, way)) - 127.0) / octave
        files.append(jpeg(Image.fromarray(np.clip(127.0 + total * 0.8, 0, 255).astype(np.uint8))))
    return files


def jpeg(image: Image.Image) -> bytes:
    out = BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()


def camera_photos() -> list[bytes]:
    return drawn(COUNT, (1000, 750))


def shop_photos() -> list[bytes]:
    """Return grocery photos (464 x 348, or as high), or none where the shared data is absent."""
    root = Path(os.environ.get("FUNNELGATE_SHARED", "../shared")) / "data" / "grocery"
    if not (root / "train.txt").exists():
        return []
    lines = (root / "train.txt").read_text().splitlines()
    return [(root / line.split(",")[0]).read_bytes() for line in lines[:: len(lines) // COUNT]][:COUNT]


def bare_session(detector: Detector) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    path = SHIPPED / DEFAULT_DETECTOR / "model.onnx"
    assert detector.spec.name == DEFAULT_DETECTOR
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def bare_batch(files: Sequence[bytes], detector: Detector) -> npt.NDArray[np.float32]:
    """Decode, resize and normalise with nothing around it: no EXIF, no letterbox, no checks."""
    spec = detector.spec.input
    batch = np.empty((len(files), 3, spec.height, spec.width), dtype=np.float32)
    mean, std = (np.array(values, dtype=np.float32)[:, None, None] for values in (spec.mean, spec.std))
    for place, data in enumerate(files):
        with Image.open(BytesIO(data)) as image:
            image.draft("RGB", (spec.width, spec.height))
            small = image.convert("RGB").resize((spec.width, spec.height), Image.Resampling.BILINEAR)
        np.subtract(np.asarray(small).transpose(2, 0, 1), mean, out=batch[place])
    batch /= std
    return batch


def crop(data: bytes, box: Box | None) -> npt.NDArray[np.uint8]:
    return crop_object(data, box, margin=DEFAULT_MARGIN, side=DEFAULT_SIDE, limits=LIMITS)


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def medians(*works: Callable[[], object]) -> list[float]:
    """Return the median CPU seconds of each, all run interleaved after one round to warm up."""
    for work in works:
        work()
    rows = [[cpu_seconds(work) for work in works] for _ in range(ROUNDS)]
    return [statistics.median(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("source", [shop_photos, camera_photos])
def test_detecting_costs_little_more_than_the_bare_network(benchmark: Any, source: Callable[[], list[bytes]]) -> None:
    """Books the share of a bare decode-resize-run loop's speed that `Detector.detect` keeps (aim: .80)."""
    files = source()
    if not files:
        pytest.skip("no shared data: set FUNNELGATE_SHARED to the folder that holds data/grocery")
    detector = open_detector(DEFAULT_DETECTOR)
    assert isinstance(detector, Detector)
    session = bare_session(detector)
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    ready = [bare_batch(batch, detector) for batch in batches]

    def bare() -> list[Any]:
        return [session.run(None, {"pixels": bare_batch(batch, detector)}) for batch in batches]

    def network() -> list[Any]:
        return [session.run(None, {"pixels": batch}) for batch in ready]

    def ours() -> list[Any]:
        return detector.detect(files, LIMITS)

    bare_s, network_s, our_s = medians(bare, network, ours)
    benchmark.extra_info |= {
        "pictures": len(files),
        "mean_bytes": sum(map(len, files)) // len(files),
        "network_cpu_ms_per_picture": round(network_s / len(files) * 1e3, 2),
        "bare_cpu_ms_per_picture": round(bare_s / len(files) * 1e3, 2),
        "detect_cpu_ms_per_picture": round(our_s / len(files) * 1e3, 2),
        "pictures_per_cpu_second": round(len(files) / our_s, 1),
        "share_of_bare_loop": round(bare_s / our_s, 3),
    }
    found = benchmark.pedantic(ours, rounds=1, iterations=1)
    assert all(isinstance(one, Found) for one in found)
    assert len(found) == sum(len(answer[0]) for answer in bare()) == len(files)


def test_cutting_objects_out_of_one_picture_against_single_pictures(benchmark: Any) -> None:
    """Books crop + embed of K objects of one picture against K single pictures, of its size and of the object's.

    The first tells what the shared decode saves, the second what cutting out costs.
    """
    scenes = drawn(COUNT // K, (1000, 750))
    boxes = [Box(10 + place * 250, 200, 240 + place * 250, 430) for place in range(K)]
    others = drawn(COUNT, (1000, 750), first_seed=1000)
    alone = [jpeg(Image.fromarray(crop(data, box))) for data in scenes for box in boxes]
    embedder = open_embedder(DEFAULT_EMBEDDER)

    def of_one() -> list[Any]:
        return [
            embedder.embed(crop_objects(data, boxes, margin=DEFAULT_MARGIN, side=DEFAULT_SIDE, limits=LIMITS))
            for data in scenes
        ]

    def of_many() -> list[Any]:
        many = [crop(data, boxes[place % K]) for place, data in enumerate(others)]
        return [embedder.embed(many[start : start + K]) for start in range(0, COUNT, K)]

    def of_files() -> list[Any]:
        whole = [crop(data, None) for data in alone]
        return [embedder.embed(whole[start : start + K]) for start in range(0, COUNT, K)]

    of_one_s, of_many_s, of_files_s = medians(of_one, of_many, of_files)
    benchmark.extra_info |= {
        "objects": COUNT,
        "of_one_cpu_ms_per_object": round(of_one_s / COUNT * 1e3, 2),
        "of_many_cpu_ms_per_object": round(of_many_s / COUNT * 1e3, 2),
        "of_files_cpu_ms_per_object": round(of_files_s / COUNT * 1e3, 2),
        "times_as_fast_as_of_many": round(of_many_s / of_one_s, 2),
        "share_of_the_speed_of_files": round(of_files_s / of_one_s, 2),
    }
    vectors = np.concatenate(benchmark.pedantic(of_one, rounds=1, iterations=1))
    assert vectors.shape[0] == sum(map(len, of_many())) == COUNT
    assert (vectors * np.concatenate(of_files())).sum(axis=1).min() > 0.8  # the same objects, but for JPEG

"""Features on disk: the backbone's own answers, computed once, whatever is stopped or damaged on the way."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.learn.backbone import LEVELS, backbone_model, input_spec
from pipeline.learn.features import CHUNK, Pictures, compute, read, read_all, to_input
from pipeline.learn.scenes import Scene
from pipeline.models.preprocess import preprocess
from pipeline.models.session import OrtSession
from pipeline.models.spec import InputSpec
from reporting.errors import DataError, StoreError
from tests.pipeline.models.blobs import detector_spec

train = [pytest.mark.slow, pytest.mark.train, pytest.mark.usefixtures("training_packages")]


class Squares:
    """Pictures of noise with `number % 4` boxes; picklable, as worker processes read it."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Scene:
        rng = np.random.default_rng(number)
        boxes = np.array([[n, 2 * n, 20 + n, 30 + n] for n in range(number % 4)], np.float32).reshape(-1, 4)
        image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        return Scene(f"s{number}", image, boxes, np.full(len(boxes), number % 3, np.int64))

    def identity(self) -> str:
        return str(self.count)


class Deadly(Squares):
    """Its worker is killed, as one is that wants too much memory."""

    def __getitem__(self, number: int) -> Scene:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(number)


class Damaged(Squares):
    """Its last picture cannot be read."""

    def __getitem__(self, number: int) -> Scene:
        if number == self.count - 1:
            raise DataError(f"picture {number}: cannot be read")
        return super().__getitem__(number)


@given(
    st.tuples(st.integers(8, 90), st.integers(8, 90)),
    st.tuples(st.sampled_from([64, 96]), st.sampled_from([64, 96])),
    st.tuples(*[st.floats(0, 1)] * 4),
)
def test_boxes_lie_on_the_input_where_the_preprocessing_puts_their_pixels(
    size: tuple[int, int], into: tuple[int, int], shares: tuple[float, ...]
) -> None:
    (left, right), (top, bottom) = (
        (low := int(min(pair) * (side - 4)), max(low + 4, int(max(pair) * side)))
        for pair, side in zip((shares[:2], shares[2:]), size, strict=True)
    )
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[top:bottom, left:right] = 255
    scene = Scene("one", image, np.array([[left, top, right, bottom]], np.float32), np.zeros(1, np.int64))
    spec = detector_spec(side=into).input.model_copy(update={"fill": (0, 0, 0), "interpolation": "nearest"})
    bright = np.argwhere(preprocess([image], spec)[0, 0] > 127)
    seen = [*bright.min(axis=0)[::-1], *(bright.max(axis=0)[::-1] + 1)]
    np.testing.assert_allclose(to_input(scene, spec)[0], seen, atol=0.5 + 1e-3)


def written(path: Path, counts: list[int]) -> Path:
    total = sum(counts)
    maps: dict[str, Any] = {
        level: np.arange(len(counts) * 4, dtype=np.float16).reshape(-1, 1, 2, 2) for level in LEVELS
    }
    boxes = np.arange(total * 4, dtype=np.float32).reshape(-1, 4)
    np.savez(path, counts=np.array(counts), boxes=boxes, labels=np.arange(total), **maps)
    return path


def test_a_chunk_is_divided_by_its_pictures(tmp_path: Path) -> None:
    chunk = read(written(tmp_path / "0.npz", [2, 0, 1]))
    assert [box.shape for box in chunk.boxes] == [(2, 4), (0, 4), (1, 4)]
    assert [labels.tolist() for labels in chunk.labels] == [[0, 1], [], [2]]


def test_chunks_are_joined_in_order(tmp_path: Path) -> None:
    paths = [written(tmp_path / f"{n}.npz", counts) for n, counts in enumerate(([1] * 3, [2] * 3, [0, 5]))]
    joined, parts = read_all(paths), [read(path) for path in paths]
    assert [len(box) for box in joined.boxes] == [1, 1, 1, 2, 2, 2, 0, 5]
    for level in LEVELS:
        np.testing.assert_array_equal(joined.maps[level], np.concatenate([part.maps[level] for part in parts]))
    np.testing.assert_array_equal(
        np.concatenate(joined.labels), np.concatenate([label for part in parts for label in part.labels])
    )


@pytest.mark.parametrize("keep", [0, 100, 1000, -30])
def test_a_damaged_chunk_is_named_with_the_remedy(tmp_path: Path, keep: int) -> None:
    path = written(tmp_path / "0000064.npz", [1, 1])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"0000064\.npz: damaged: .*; delete it"):
        read_all([path])


@pytest.fixture(scope="module")
def opened(training_packages: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, InputSpec]:
    import onnx

    model, embedder = backbone_model()
    path = tmp_path_factory.mktemp("backbone") / "backbone.onnx"
    onnx.save(model, str(path))
    return path, input_spec(64, 64, embedder)


def computed(folder: Path, opened: tuple[Path, InputSpec], pictures: Pictures, workers: int = 1) -> list[int]:
    told: list[int] = []
    paths = compute(pictures, *opened, folder, workers=workers, on_done=told.append)
    assert paths == sorted(folder.iterdir())  # nothing half-written is left
    return told


class TestComputing:
    """With the real backbone, in worker processes."""

    pytestmark = train

    def test_every_picture_has_the_backbones_own_answer(self, tmp_path: Path, opened: tuple[Path, InputSpec]) -> None:
        pictures = Squares(CHUNK + 6)
        assert sorted(computed(tmp_path / "f", opened, pictures, workers=2)) == [6, CHUNK]
        chunk = read_all(sorted((tmp_path / "f").iterdir()))
        session = OrtSession(opened[0])
        for number in (0, 1, 63, 64, 69):
            scene = pictures[number]
            for level, expected in session.run(preprocess([scene.image], opened[1])).items():
                np.testing.assert_allclose(chunk.maps[level][number], expected[0], rtol=2e-3, atol=2e-3)
            np.testing.assert_allclose(
                chunk.boxes[number], scene.boxes + np.array([0, 8, 0, 8])
            )  # 48 rows, centred on 64
            assert chunk.labels[number].tolist() == scene.labels.tolist()

    def test_what_is_there_is_not_computed_again_and_what_is_not_is(
        self, tmp_path: Path, opened: tuple[Path, InputSpec]
    ) -> None:
        pictures = Squares(3 * CHUNK)
        computed(tmp_path / "f", opened, pictures)
        before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "f").iterdir()}
        (tmp_path / "f" / "0000064.npz").unlink()
        (tmp_path / "f" / "0000064.4711.part").write_bytes(b"of a run that was killed")
        assert computed(tmp_path / "f", opened, pictures) == [CHUNK] * 3
        after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "f").iterdir()}
        assert [name for name in after if after[name] != before[name]] == ["0000064.npz"]
        assert after["0000064.npz"][0] == before["0000064.npz"][0]

    def test_a_killed_worker_ends_the_run_with_an_error_and_not_never(
        self, tmp_path: Path, opened: tuple[Path, InputSpec]
    ) -> None:
        with pytest.raises(StoreError, match="has died, perhaps for want of memory; the same command again goes on"):
            computed(tmp_path / "f", opened, Deadly(2))

    def test_a_picture_that_cannot_be_read_is_named_and_the_chunks_before_it_are_kept(
        self, tmp_path: Path, opened: tuple[Path, InputSpec]
    ) -> None:
        with pytest.raises(DataError, match=rf"picture {CHUNK + 1}: cannot be read"):
            computed(tmp_path / "f", opened, Damaged(CHUNK + 2))
        assert [path.name for path in (tmp_path / "f").iterdir()] == ["0000000.npz"]

"""The embedder: unit vectors, independent of the batch, the same on every call, and of the model it says it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.models.catalog import DEFAULT_EMBEDDER, SHIPPED, model_names, open_embedder
from pipeline.models.embedder import Embedder, normalise_rows
from pipeline.models.session import OrtSession, Session
from pipeline.models.spec import ModelSpec, load_spec
from reporting.errors import ConfigError, DataError

FOLDER = SHIPPED / DEFAULT_EMBEDDER


def pictures(count: int) -> list[npt.NDArray[np.uint8]]:
    """Blobs of colour in several sizes: smooth enough that neighbouring crops resemble each other."""
    rng = np.random.default_rng(11)
    found = []
    for index in range(count):
        cells = rng.integers(0, 256, (3 + index % 4, 4, 3), dtype=np.uint8)
        found.append(np.repeat(np.repeat(cells, 20 + index, axis=0), 31, axis=1))
    return found


class FixedSession:
    """Answers with given rows whatever it is asked, so that what surrounds the network can be computed by hand."""

    def __init__(self, rows: Any, name: str = "pooled") -> None:
        self.rows, self.name = np.asarray(rows, dtype=np.float32), name
        self.batch_sizes: list[int] = []
        self._next = 0

    def run(self, batch: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        self.batch_sizes.append(len(batch))
        answer = self.rows[self._next : self._next + len(batch)]
        self._next += len(batch)
        return {self.name: answer}


def small_spec(**output: Any) -> ModelSpec:
    content = load_spec(FOLDER).model_dump()
    content["output"] |= {"dim": 2} | output
    return ModelSpec.model_validate(content)


def test_vectors_are_float32_of_length_one_in_the_order_of_the_pictures() -> None:
    embedder = open_embedder(DEFAULT_EMBEDDER)
    images = pictures(5)
    vectors = embedder.embed(images)
    assert vectors.shape == (5, 1280)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float64), axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(embedder.embed(images[::-1])[::-1], vectors, atol=1e-5)


def test_no_picture_gives_no_rows_and_does_not_run_the_session() -> None:
    session = FixedSession(np.zeros((0, 2)))
    assert Embedder(small_spec(), session).embed([]).shape == (0, 2)
    assert session.batch_sizes == []
    assert open_embedder(DEFAULT_EMBEDDER).embed([]).shape == (0, 1280)


def test_the_batch_a_picture_came_in_does_not_change_its_vector() -> None:
    spec, session = load_spec(FOLDER), OrtSession(FOLDER / "model.onnx")
    images = pictures(9)
    alone = Embedder(spec, session, batch_size=1).embed(images)
    together = Embedder(spec, session, batch_size=8).embed(images)
    # 1e-5 is the rounding of float32 sums of a thousand terms in another order.
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_two_sessions_answer_with_equal_bytes() -> None:
    spec, images = load_spec(FOLDER), pictures(3)
    first = Embedder(spec, OrtSession(FOLDER / "model.onnx")).embed(images)
    second = Embedder(spec, OrtSession(FOLDER / "model.onnx")).embed(images)
    assert first.tobytes() == second.tobytes()


def test_swapped_colours_are_another_picture_and_another_space() -> None:
    spec, session = load_spec(FOLDER), OrtSession(FOLDER / "model.onnx")
    swapped = spec.model_copy(update={"input": spec.input.model_copy(update={"color": "BGR"})})
    images = pictures(4)
    right, wrong = Embedder(spec, session), Embedder(swapped, session)
    cosine = (right.embed(images) * wrong.embed(images)).sum(axis=1)
    assert (cosine < 0.99).all()
    assert right.space_id != wrong.space_id
    # Mean and deviation are equal in all channels, so swapping the pixels by hand must undo it.
    undone = wrong.embed([image[:, :, ::-1] for image in images])
    np.testing.assert_allclose(undone, right.embed(images), atol=1e-6)


def test_the_session_is_never_asked_for_more_than_the_batch_size() -> None:
    session = FixedSession(np.ones((7, 2)))
    Embedder(small_spec(), session, batch_size=3).embed(pictures(7))
    assert session.batch_sizes == [3, 3, 1]


def test_the_signed_square_root_is_taken_before_the_norm() -> None:
    embedder = Embedder(small_spec(transform="signed_sqrt"), FixedSession([[9.0, -16.0]]))
    np.testing.assert_allclose(embedder.embed(pictures(1)), [[0.6, -0.8]], atol=1e-7)


@pytest.mark.parametrize("row", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_a_vector_without_a_direction_is_refused_by_its_place(row: list[float]) -> None:
    session = FixedSession([[1.0, 0.0], [0.0, 2.0], row])
    with pytest.raises(DataError, match=r"vector of picture 2 .*no direction; drop the picture"):
        Embedder(small_spec(), session, batch_size=2).embed(pictures(3))


def test_a_tiny_vector_keeps_its_direction() -> None:
    # 1e-30 squared is below the smallest float32; the length is computed in float64.
    rows = np.array([[3e-30, 4e-30]], dtype=np.float32)
    np.testing.assert_allclose(normalise_rows(rows, where="test"), [[0.6, 0.8]], atol=1e-6)


@pytest.mark.parametrize("session", [FixedSession(np.ones((4, 3))), FixedSession(np.ones((4, 2)), name="logits")])
def test_an_answer_that_the_spec_does_not_describe_is_refused(session: Session) -> None:
    with pytest.raises(DataError, match="do not belong together"):
        Embedder(small_spec(), session).embed(pictures(2))


@pytest.mark.parametrize(
    "batch", [np.zeros((1, 3, 200, 224), dtype=np.float32), np.zeros((1, 3, 224, 224)), np.zeros((3, 224, 224))]
)
def test_a_batch_that_is_not_the_graphs_input_is_refused(batch: Any) -> None:
    with pytest.raises(DataError, match=r"expects \['batch', 3, 224, 224\] float32"):
        OrtSession(FOLDER / "model.onnx").run(batch)


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(DataError, match=r"model\.onnx: ONNX Runtime .* cannot load it"):
        OrtSession(path)


def test_only_an_embedders_spec_and_a_real_batch_size_make_an_embedder() -> None:
    spec = load_spec(FOLDER)
    content = spec.model_dump() | {"output": {"kind": "classifier", "tensor": "logits", "classes": ["a"]}}
    with pytest.raises(ConfigError, match="is a classifier, not an embedder"):
        Embedder(ModelSpec.model_validate(content), FixedSession([]))
    with pytest.raises(ConfigError, match="batch_size is 0"):
        Embedder(spec, FixedSession([]), batch_size=0)


def test_an_unknown_model_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown model 'efficientnet-lite1'; did you mean efficientnet-lite0\?"):
        open_embedder("efficientnet-lite1")
    with pytest.raises(ConfigError, match="none are declared"):
        open_embedder(DEFAULT_EMBEDDER, folder=tmp_path)
    with pytest.raises(ConfigError, match="unknown model"):
        open_embedder("../weights/efficientnet-lite0")


def test_a_model_is_loaded_once_a_process_and_found_in_another_folder(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "mine")
    mine = open_embedder("mine", folder=tmp_path)
    assert model_names(tmp_path) == ["mine"]
    assert open_embedder("mine", folder=tmp_path) is mine
    assert open_embedder(DEFAULT_EMBEDDER) is open_embedder(DEFAULT_EMBEDDER)
    assert open_embedder(DEFAULT_EMBEDDER) is not mine
    assert str(mine.ref) == "efficientnet-lite0@1"


def test_the_catalog_imports_no_runtime_and_opening_a_model_prints_nothing() -> None:
    code = (
        "import sys; from pipeline.models.catalog import open_embedder\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "open_embedder('efficientnet-lite0')\n"
        "assert 'onnxruntime' in sys.modules and 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def retrieval(shared_data: Path, per_class: int) -> tuple[float, float]:
    """hit@1 and hit@10 of val photos (first `per_class` of each class) over the 81 iconic pictures."""
    from PIL import Image

    def decoded(path: Path) -> npt.NDArray[np.uint8]:
        return np.asarray(Image.open(path).convert("RGB"))

    root = shared_data / "grocery"
    rows = [line.split(",") for line in (root / "classes.csv").read_text(encoding="utf-8").splitlines()[1:]]
    gallery = {int(row[1]): decoded(root / row[4].lstrip("/")) for row in rows}
    queries: list[tuple[int, npt.NDArray[np.uint8]]] = []
    seen: dict[int, int] = {}
    for line in (root / "val.txt").read_text(encoding="utf-8").splitlines():
        path, fine, _ = line.split(",")
        seen[int(fine)] = seen.get(int(fine), 0) + 1
        if seen[int(fine)] <= per_class:
            queries.append((int(fine), decoded(root / path)))
    embedder = open_embedder(DEFAULT_EMBEDDER)
    labels = np.array(list(gallery))
    cosine = embedder.embed([image for _, image in queries]) @ embedder.embed(list(gallery.values())).T
    best = labels[np.argsort(-cosine, axis=1, kind="stable")[:, :10]]
    correct = best == np.array([fine for fine, _ in queries])[:, None]
    return float(correct[:, 0].mean()), float(correct.any(axis=1).mean())


@pytest.mark.data
@pytest.mark.slow
def test_photos_find_their_catalogue_picture_far_above_chance(shared_data: Path) -> None:
    """Measured at export on all of val: hit@1 .389, hit@10 .807; chance is 1/81 and 10/81."""
    hit_1, hit_10 = retrieval(shared_data, per_class=1000)
    assert 0.36 < hit_1 < 0.42
    assert 0.77 < hit_10 < 0.84

"""The detector around its network: geometry to the upright original, order, batches, and answers that are none."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.images.decode import DecodeLimits, PictureError, decode_scaled, scale_of
from pipeline.models.boxes import letterbox
from pipeline.models.catalog import DEFAULT_EMBEDDER, SHIPPED
from pipeline.models.detections import Box, Found
from pipeline.models.detector import Detector, WholePicture, frame_of, needed_side, version_of
from pipeline.models.session import OrtSession, Session
from pipeline.models.spec import ModelSpec, load_spec
from reporting.errors import ConfigError, DataError
from tests.pipeline.models.blobs import BlobSession, FixedSession, boxes_of, detector_spec, encoded, scene

LIMITS = DecodeLimits()


def blobs(**spec: Any) -> Detector:
    return Detector(detector_spec(**spec), BlobSession())


def one_found(detector: Detector | WholePicture, data: bytes) -> Found:
    (found,) = detector.detect([data], LIMITS)
    assert isinstance(found, Found), found
    return found


@pytest.mark.parametrize("size", [(256, 256), (800, 600), (333, 1001), (90, 64), (2050, 1537)])
@pytest.mark.parametrize("side", [(256, 256), (320, 192)])
def test_boxes_are_in_pixels_of_the_original_whatever_its_size(size, side):
    width, height = size
    objects = {
        "red": Box(width // 10, height // 8, width // 2, height // 3),
        "blue": Box(width * 6 // 10, height // 2, width, height),
    }
    found = one_found(blobs(side=side), encoded(scene(size, objects)))
    assert [one.label for one in found.objects] == ["red", "blue"]
    assert [one.score for one in found.objects] == pytest.approx([0.9, 0.7])
    # An edge may lie off by one pixel of the input.
    allowed = 1 + 1.2 * max(1.0, width / side[0], height / side[1])
    for got, expected in zip(boxes_of(found), objects.values(), strict=True):
        assert np.abs(np.subtract(got, expected)).max() <= allowed, (got, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("side", [(256, 256), (128, 96)])
def test_a_turned_picture_gives_the_boxes_of_the_upright_one(orientation, file_format, side):
    # 1/8 of 1021 is 127.6: decoded at 1/4 or 1/8, the last column sticks out, and at the left where it is mirrored.
    objects = {"red": Box(80, 40, 400, 300), "green": Box(500, 400, 1021, 683)}
    found = one_found(blobs(side=side), encoded(scene((1021, 683), objects), file_format, orientation))
    for got, expected in zip(boxes_of(found), objects.values(), strict=True):
        assert got.iou(expected) > 0.93, (got, expected)
        assert np.abs(np.subtract(got, expected)).max() <= 12, (got, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_input_pixels_lie_over_the_original_to_the_fraction_of_a_pixel(orientation):
    # 128 x 86 pixels at 1/8, of which the outermost are only partly original: 3 and 5 pixels are missing.
    scaled = decode_scaled(encoded(scene((1021, 683), {}), "JPEG", orientation), min_side=86, limits=LIMITS)
    spec = detector_spec(side=(320, 192)).input
    frame, (rows, columns) = frame_of(scaled, spec), scaled.image.shape[:2]
    inner = letterbox((columns, rows), (320, 192))
    assert (scaled.scale, {rows, columns}) == (8, {128, 86})
    assert (frame.width, frame.height) == (1021, 683)
    missing = {"left": (orientation in (2, 3, 6, 7)) * (8 * columns - 1021)}
    missing["top"] = (orientation in (3, 4, 7, 8)) * (8 * rows - 683)
    x, y = np.arange(0, columns - 1), np.resize(np.arange(0, rows - 1), columns - 1)
    corners = np.stack([x, y, x + 1, y + 1], axis=1).astype(float)
    ratio = np.array([inner.width / columns, inner.height / rows] * 2)
    found = frame.to_picture(corners * ratio + [inner.left, inner.top] * 2)
    np.testing.assert_allclose(found, corners * 8 - [missing["left"], missing["top"]] * 2, atol=1e-9)


@given(st.integers(1, 4000), st.integers(1, 4000), st.sampled_from([(256, 256), (320, 192), (96, 224)]))
def test_what_is_decoded_is_as_large_as_its_place_on_the_input_and_hardly_larger_than_needed(width, height, side):
    spec = detector_spec(side=side).input
    scale = scale_of(width, height, needed_side((width, height), spec))
    ways = [(size, letterbox(size, side)) for size in ((width, height), (height, width))]
    small = [inner.width <= size[0] and inner.height <= size[1] for size, inner in ways]
    if not all(small):
        assert scale == 1  # one of the two is enlarged: nothing to save
        return
    # Sides round: a pixel may be missing.
    assert all(-(-min(size) // scale) >= min(inner.width, inner.height) for size, inner in ways)
    twice = 2 * scale
    coarser = [-(-min(size) // twice) < min(inner.width, inner.height) for size, inner in ways]
    assert scale == 8 or twice > min(width, height) or any(coarser)


@pytest.mark.parametrize(("size", "box"), [((1, 10_000), Box(0, 2000, 1, 6000)), ((10_000, 1), Box(2000, 0, 6000, 1))])
def test_a_line_of_pixels_has_objects_too(size, box):
    found = one_found(blobs(), encoded(scene(size, {"green": box})))
    assert [one.label for one in found.objects] == ["green"]
    assert boxes_of(found)[0].iou(box) > 0.97


def test_a_picture_without_objects_has_none():
    assert one_found(blobs(), encoded(scene((300, 200), {}))) == Found((), 0.0)


def test_decoded_pictures_give_the_boxes_of_the_files():
    images = [scene((300 + n, 200), {"red": Box(20, 30, 90 + n, 120)}) for n in range(3)]
    detector = blobs()
    assert detector.detect_images([np.asarray(image) for image in images]) == detector.detect(
        [encoded(image) for image in images], LIMITS
    )


def test_what_cannot_be_read_is_answered_in_its_place_and_the_rest_as_ever():
    good = [encoded(scene((200 + n, 100), {"blue": Box(10, 10, 60 + n, 70)})) for n in range(5)]
    large = encoded(scene((400, 400), {}))
    pictures = [good[0], b"no picture", good[1], good[2][:200], good[3], large, good[4]]
    session = BlobSession()
    found = Detector(detector_spec(), session, batch_size=3).detect(pictures, DecodeLimits(max_pixels=100_000))
    reasons = [one.reason for one in found if isinstance(one, PictureError)]
    assert reasons == ["not_an_image", "truncated", "too_many_pixels"]
    assert [one for one in found if isinstance(one, Found)] == blobs().detect(
        [good[0], good[1], good[3], good[4]], LIMITS
    )
    assert session.batch_sizes == [2, 1, 1]


def test_the_batch_a_picture_came_in_does_not_change_its_boxes():
    pictures = [encoded(scene((120 + 9 * n, 90), {"red": Box(5, 5, 50 + n, 60)})) for n in range(7)]
    session = BlobSession()
    together = Detector(detector_spec(), session, batch_size=3).detect(pictures, LIMITS)
    assert session.batch_sizes == [3, 3, 1]
    assert together == [one_found(blobs(), data) for data in pictures]
    order = random.Random(4).sample(range(7), 7)
    assert blobs().detect([pictures[place] for place in order], LIMITS) == [together[place] for place in order]


def test_no_picture_and_only_bad_pictures_do_not_run_the_session():
    session = BlobSession()
    detector = Detector(detector_spec(), session)
    assert detector.detect([], LIMITS) == detector.detect_images([]) == []
    (refused,) = detector.detect([b"GIF89a"], LIMITS)
    assert isinstance(refused, PictureError)
    assert session.batch_sizes == []


HEADS: dict[str, Any] = {"boxes": np.zeros((4, 4)), "scores": np.zeros((4, 1)), "classes": np.zeros((4, 3))}


def changed(name: str, value: float) -> dict[str, Any]:
    heads = {key: np.array(values) for key, values in HEADS.items()}
    heads[name][2, -1] = value
    return heads


class BrokenFrom:
    """Good heads for the first pictures, then others."""

    def __init__(self, good: int, heads: dict[str, Any]) -> None:
        self.good, self.heads, self.seen = good, heads, 0

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        rows = []
        for _ in batch:
            rows.append(HEADS if self.seen < self.good else self.heads)
            self.seen += 1
        return {name: np.stack([row[name] for row in rows]).astype(np.float32) for name in HEADS}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("scores", np.nan, r"1 of 4 values of 'scores' are not scores in 0\.\.1, e\.g\. nan"),
        ("scores", np.inf, r"'scores' are not scores in 0\.\.1, e\.g\. inf"),
        ("scores", 1.5, r"'scores' are not scores in 0\.\.1, e\.g\. 1\.5"),
        ("scores", -0.1, r"'scores' are not scores in 0\.\.1, e\.g\. -0\.1"),
        ("boxes", np.nan, r"1 of 16 values of 'boxes' are not finite, e\.g\. nan"),
        ("boxes", -np.inf, r"'boxes' are not finite, e\.g\. -inf"),
        ("classes", np.nan, r"1 of 12 values of 'classes' are not finite, e\.g\. nan"),
    ],
)
def test_numbers_that_are_none_condemn_the_model_and_name_the_picture(name, value, says):
    pictures = [b"none", *[encoded(scene((64, 64), {})) for _ in range(5)]]
    detector = Detector(detector_spec(), BrokenFrom(4, changed(name, value)), batch_size=2)
    with pytest.raises(DataError, match=rf"model blobs@1: for picture 5 of the call .*{says}; the model is broken"):
        detector.detect(pictures, LIMITS)


@pytest.mark.parametrize(
    "heads",
    [
        {},
        {"pooled": np.zeros(1280)},
        HEADS | {"boxes": np.zeros((4, 5))},
        HEADS | {"boxes": np.zeros(4)},
        HEADS | {"boxes": np.zeros((3, 4))},
        HEADS | {"scores": np.zeros((4, 3))},
        HEADS | {"classes": np.zeros((4, 2))},
        {"boxes": HEADS["boxes"], "scores": HEADS["scores"]},
    ],
    ids=["nothing", "an embedder", "five edges", "no cells", "other cells", "per class", "two classes", "no classes"],
)
def test_an_answer_that_the_spec_does_not_describe_is_refused(heads):
    with pytest.raises(DataError, match=r"expected outputs \{'boxes': \(1, .*do not belong together"):
        Detector(detector_spec(), FixedSession(**heads)).detect_images([np.zeros((64, 64, 3), np.uint8)])


@pytest.mark.parametrize("rows", [0, 2])
def test_an_answer_for_another_number_of_pictures_is_refused(rows):
    class Other:
        def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
            return {name: np.stack([value] * rows) if rows else value[None][:0] for name, value in HEADS.items()}

    with pytest.raises(DataError, match="do not belong together"):
        Detector(detector_spec(), Other()).detect_images([np.zeros((64, 64, 3), np.uint8)])


def test_a_heat_map_a_class_needs_no_logits():
    heads = {"boxes": [[0, 0, 64, 64]], "scores": [[0.1, 0.2, 0.9]]}
    (found,) = Detector(detector_spec(heat="per_class", side=(64, 64)), FixedSession(**heads)).detect_images(
        [np.zeros((32, 32, 3), np.uint8)]
    )
    assert [(one.label, one.box) for one in found.objects] == [("blue", Box(0, 0, 32, 32))]


def test_the_graph_of_an_embedder_under_a_detectors_spec_is_refused():
    session = OrtSession(SHIPPED / DEFAULT_EMBEDDER / "model.onnx")
    picture = encoded(scene((64, 64), {}))
    with pytest.raises(DataError, match=r"the session answered \{'pooled': \(1, 1280\)\}"):
        Detector(detector_spec(side=(224, 224)), session).detect([picture], LIMITS)
    with pytest.raises(DataError, match=r"expects \['batch', 3, 224, 224\] float32"):
        Detector(detector_spec(), session).detect([picture], LIMITS)


def with_resize(spec: ModelSpec, resize: str) -> ModelSpec:
    return spec.model_copy(update={"input": spec.input.model_copy(update={"resize": resize})})


@pytest.mark.parametrize(
    ("spec", "batch_size", "says"),
    [
        (load_spec(SHIPPED / DEFAULT_EMBEDDER), 8, "answers as embedder, not as detector; name a detector, or 'whole'"),
        (with_resize(detector_spec(), "stretch"), 8, "input.resize is stretch; a detector's must be letterbox"),
        (detector_spec().model_copy(update={"name": "n" * 60}), 8, "allowed are 64; give the model a shorter name"),
        (detector_spec(), 0, "batch_size is 0"),
    ],
)
def test_only_a_detectors_spec_and_a_real_batch_size_make_a_detector(spec, batch_size, says):
    session: Session = BlobSession()
    with pytest.raises(ConfigError, match=says):
        Detector(spec, session, batch_size=batch_size)


def test_the_version_changes_with_whatever_moves_the_boxes_and_with_nothing_else():
    spec = detector_spec()
    assert blobs().version == version_of(spec) == f"blobs@1:{spec.space_id}"
    others = [detector_spec(**one) for one in ({"score_thr": 0.31}, {"nms_iou": 0.4}, {"floor": 0.1}, {"topk": 9})]
    others += [detector_spec(**one) for one in ({"temperature": 2.0}, {"pre_nms": 5}, {"side": (320, 320)})]
    assert len({version_of(one) for one in [spec, *others]}) == 8
    assert version_of(spec.model_copy(update={"metrics": {"ap50": 0.9}})) == version_of(spec)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_whole_picture_is_one_box_of_the_upright_original(orientation):
    found = one_found(WholePicture(), encoded(scene((301, 200), {}), "JPEG", orientation))
    assert [(one.box, one.score, one.label) for one in found.objects] == [(Box(0, 0, 301, 200), 1.0, "")]
    assert WholePicture().version == "whole-1"
    assert WholePicture().detect_images([np.zeros((5, 9, 3), np.uint8)])[0].objects[0].box == Box(0, 0, 9, 5)


def test_a_damaged_picture_is_no_object_either():
    data = encoded(scene((301, 200), {}), "JPEG")
    found = WholePicture().detect([data, data[: len(data) // 2]], LIMITS)
    assert isinstance(found[0], Found)
    assert isinstance(found[1], PictureError)
    assert found[1].reason == "truncated"

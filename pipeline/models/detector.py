"""`Detector`: pictures in, objects with boxes out, whatever the back-end; `WholePicture` takes the picture for one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.images.decode import DecodeLimits, PictureError, Scaled, decode_opened, decode_scaled, open_picture
from pipeline.models.boxes import Frame, letterbox
from pipeline.models.detections import Box, Detection, Found
from pipeline.models.heads import Heads, found_in
from pipeline.models.preprocess import Rgb, preprocess
from pipeline.models.session import Float32, Session
from pipeline.models.spec import DetectorOutput, InputSpec, ModelRef, ModelSpec
from reporting.errors import ConfigError, DataError

MAX_VERSION_LENGTH = 64
"""Of `version`, which is part of the key under which ids are registered."""


class Detector:
    """A spec and a session, joined: the session answers heads, everything around it is numpy and shared."""

    def __init__(self, spec: ModelSpec, session: Session, *, batch_size: int = 8) -> None:
        """Join them.

        Args:
            spec: of kind detector, with a letterbox input.
            session: runs the spec's artifact. It answers, for N pictures with M cells each: `boxes` (N, M, 4)
                x0, y0, x1, y1 in input pixels; `scores` (N, M, 1), or (N, M, classes) where `heat` is `per_class`,
                in 0..1; `classes` (N, M, classes) logits where `heat` is `agnostic` and there are classes.
            batch_size: most pictures handed to the session at once, >= 1; bounds memory, not results.

        Raises:
            ConfigError: the spec is not a detector's, its pictures are not letterboxed, its version is longer than 64
                characters, or the batch size is below 1.
        """
        if not isinstance(spec.output, DetectorOutput):
            raise ConfigError(
                f"model {spec.ref} answers as {spec.kind}, not as detector; name a detector, or 'whole' to take every"
                " picture for one object"
            )
        if spec.input.resize != "letterbox":
            raise ConfigError(f"model {spec.ref}: input.resize is {spec.input.resize}; a detector's must be letterbox")
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it must be at least 1")
        self.spec = spec
        self.version = version_of(spec)
        self._output = spec.output
        self._session = session
        self._batch_size = batch_size

    @property
    def ref(self) -> ModelRef:
        """Name and version of the model, for the record's `versions`."""
        return self.spec.ref

    @property
    def space_id(self) -> str:
        """Of weights, input and output block: thresholds are part of it."""
        return self.spec.space_id

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of `Detection.class_scores`; () where it knows none."""
        return self._output.classes

    def detect(self, pictures: Sequence[bytes], limits: DecodeLimits) -> list[Found | PictureError]:
        """Return what each picture shows, or why it cannot be read, in the order of `pictures`.

        Each is decoded at the smallest scale that still fills the input; boxes are in pixels of the upright original.

        Args:
            pictures: whole files.
            limits: the pixel limit.

        Raises:
            DataError: the model answers with wrong shapes, numbers that are not finite, or scores outside 0..1.
        """
        answers: list[Found | PictureError] = []
        for start in range(0, len(pictures), self._batch_size):
            read = [_read(data, self.spec.input, limits) for data in pictures[start : start + self._batch_size]]
            numbered = [(start + place, one) for place, one in enumerate(read) if isinstance(one, Scaled)]
            found = iter(self._find(numbered))
            answers.extend(next(found) if isinstance(one, Scaled) else one for one in read)
        return answers

    def detect_images(self, images: Sequence[Rgb]) -> list[Found]:
        """Return what each picture shows, in its own pixels and in the order of `images`.

        Args:
            images: HWC uint8 RGB arrays of at least 1 x 1 px, sizes may differ; not changed.

        Raises:
            DataError: as `detect`; or a picture is not (H, W, 3) uint8 or has no pixels.
        """
        answers: list[Found] = []
        for start in range(0, len(images), self._batch_size):
            batch = images[start : start + self._batch_size]
            answers.extend(self._find([(start + place, _as_it_is(image)) for place, image in enumerate(batch)]))
        return answers

    def _find(self, numbered: Sequence[tuple[int, Scaled]]) -> list[Found]:
        if not numbered:
            return []
        batch = preprocess([scaled.image for _, scaled in numbered], self.spec.input)
        heads = self._heads(self._session.run(batch), [number for number, _ in numbered])
        return [
            found_in(one, frame_of(scaled, self.spec.input), self._output)
            for one, (_, scaled) in zip(heads, numbered, strict=True)
        ]

    def _heads(self, answers: dict[str, Float32], numbers: Sequence[int]) -> list[Heads]:
        """Split the session's answer by picture, after checking that it is one."""
        output, shapes = self._output, {name: value.shape for name, value in answers.items()}
        count, cells = len(numbers), (shapes.get("boxes") or (0, 0))[1:2]
        expected = {"boxes": (count, *cells, 4), "scores": (count, *cells, _heat_maps(output))}
        if output.heat == "agnostic" and output.classes:
            expected["classes"] = (count, *cells, len(output.classes))
        if any(shapes.get(name) != shape for name, shape in expected.items()):
            raise DataError(
                f"model {self.ref}: expected outputs {expected}, the session answered {shapes}; the spec and the"
                " artifact do not belong together"
            )
        for name in expected:
            self._refuse_broken(name, answers[name], numbers)
        logits = answers["classes"] if "classes" in expected else np.empty((count, *cells, 0), dtype=np.float32)
        return [Heads(*one) for one in zip(answers["boxes"], answers["scores"], logits, strict=True)]

    def _refuse_broken(self, name: str, values: Float32, numbers: Sequence[int]) -> None:
        fine = np.isfinite(values)
        if name == "scores":
            fine &= (values >= 0) & (values <= 1)
        if fine.all():
            return
        place = int(np.flatnonzero(~fine.all(axis=(1, 2)))[0])
        raise DataError(
            f"model {self.ref}: for picture {numbers[place]} of the call {int((~fine[place]).sum())} of"
            f" {fine[place].size} values of {name!r} are not {'scores in 0..1' if name == 'scores' else 'finite'},"
            f" e.g. {values[place][~fine[place]][0]:g}; the model is broken: restore its folder, or train it again"
        )


def version_of(spec: ModelSpec) -> str:
    """Return under which version a detector's objects are registered: `name@version:space_id`.

    Raises:
        ConfigError: it would be longer than 64 characters, more than the table of ids holds.
    """
    version = f"{spec.ref}:{spec.space_id}"
    if len(version) > MAX_VERSION_LENGTH:
        raise ConfigError(
            f"model {spec.ref}: {version!r} has {len(version)} characters, allowed are {MAX_VERSION_LENGTH};"
            " give the model a shorter name"
        )
    return version


def frame_of(scaled: Scaled, spec: InputSpec) -> Frame:
    """Return how the network's input lies over the upright original of a picture decoded at reduced scale."""
    height, width = scaled.image.shape[:2]
    inner = letterbox((width, height), (spec.width, spec.height))
    scale_x, scale_y = scaled.scale * width / inner.width, scaled.scale * height / inner.height
    shift_x, shift_y = -inner.left * scale_x - scaled.left, -inner.top * scale_y - scaled.top
    return Frame(scale_x, scale_y, shift_x, shift_y, scaled.width, scaled.height)


def needed_side(size: tuple[int, int], spec: InputSpec) -> int:
    """Return how many pixels a picture's shorter side must be decoded to so that filling the input enlarges nothing.

    Args:
        size: width and height as stored: whether EXIF lays the picture on its side is not known yet, so both ways
            are provided for.
        spec: the network's input.
    """
    into = (spec.width, spec.height)
    ways = letterbox(size, into), letterbox((size[1], size[0]), into)
    return max(min(way.width, way.height) for way in ways)


def _heat_maps(output: DetectorOutput) -> int:
    return len(output.classes) if output.heat == "per_class" else 1


def _read(data: bytes, spec: InputSpec, limits: DecodeLimits) -> Scaled | PictureError:
    try:
        image, info = open_picture(data, limits)
        return decode_opened(image, info, data, min_side=needed_side((info.width, info.height), spec))
    except PictureError as error:
        return error


def _as_it_is(image: npt.NDArray[np.uint8]) -> Scaled:
    if image.ndim != 3:
        return Scaled(image, 0, 0, 1, 0, 0)  # refused by `preprocess`, with a message for all such
    return Scaled(image, image.shape[1], image.shape[0], 1, 0, 0)


class WholePicture:
    """Takes every picture for one object, with the interface of `Detector`: for pictures that are cropped already."""

    spec: None = None
    ref = ModelRef("whole", 1)
    space_id = "whole-1"
    version = "whole-1"
    classes: tuple[str, ...] = ()

    def detect(self, pictures: Sequence[bytes], limits: DecodeLimits) -> list[Found | PictureError]:
        """Return for each picture one box, all of it, with score 1; or why it cannot be read.

        It is decoded nevertheless, at the smallest scale: a damaged file is no object.
        """
        found: list[Found | PictureError] = []
        for data in pictures:
            try:
                scaled = decode_scaled(data, min_side=1, limits=limits)
            except PictureError as error:
                found.append(error)
            else:
                found.append(_all_of(scaled.width, scaled.height))
        return found

    def detect_images(self, images: Sequence[Rgb]) -> list[Found]:
        """Return for each picture one box, all of it, with score 1."""
        return [_all_of(image.shape[1], image.shape[0]) for image in images]


def _all_of(width: int, height: int) -> Found:
    return Found((Detection(Box(0, 0, width, height), 1.0, "", ()),), 0.0)

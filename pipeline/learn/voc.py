"""Pictures with boxes in Pascal VOC's folders: Annotations/*.xml, ImageSets/Main/*.txt, JPEGImages/*."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from pipeline.images.decode import DecodeLimits, PictureError, Scaled, decode_scaled
from pipeline.learn.config import VocSource
from pipeline.learn.scenes import Scene
from reporting.errors import ConfigError, DataError

_MAX_ANNOTATION_BYTES = 1 << 20
_MAX_DEPTH = 16
"""Of elements in each other; VOC needs 4 (annotation, object, bndbox, xmin)."""
_MAX_PIXELS = 1e7
_ENDINGS = (".jpg", ".jpeg", ".png")


class Annotated(NamedTuple):
    """One picture's file and boxes."""

    picture: Path
    boxes: NDArray[np.float32]
    """(n, 4) x0, y0, x1, y1 in pixels of the upright picture, x1 and y1 exclusive; as annotated, so they may stick out
    of it."""
    names: tuple[str, ...]


@dataclass(frozen=True)
class VocSet:
    """Annotated pictures by number; with flips, four of each: as it is, mirrored, upside down, both."""

    annotated: Sequence[Annotated]
    classes: tuple[str, ...]
    flips: bool
    min_side: int = 512
    """Larger pictures are decoded at a half, quarter or eighth of their size, their shorter side no less than this."""

    def __len__(self) -> int:
        """Return the number of pictures, flips counted."""
        return len(self.annotated) * (4 if self.flips else 1)

    def identity(self) -> str:
        """Return a digest of the boxes and classes, and of each picture file's size and time of change."""
        digest = hashlib.sha256(repr((self.classes, self.flips, self.min_side)).encode())
        for picture, boxes, names in self.annotated:
            facts = picture.stat()
            digest.update(repr((picture.name, facts.st_size, facts.st_mtime_ns, names)).encode() + boxes.tobytes())
        return digest.hexdigest()

    def __getitem__(self, number: int) -> Scene:
        """Read picture `number`; the flips of one follow each other.

        Boxes are clipped to the picture, and those outside it left out.

        Raises:
            DataError: the picture cannot be read.
        """
        if not 0 <= number < len(self):
            raise IndexError(number)
        place, turn = divmod(number, 4) if self.flips else (number, 0)
        picture, boxes, names = self.annotated[place]
        try:
            scaled = decode_scaled(picture.read_bytes(), min_side=self.min_side, limits=DecodeLimits())
        except (OSError, PictureError) as error:
            raise DataError(f"{picture}: cannot be read: {error}; restore it or take it off the list") from error
        boxes, inside = _on_picture(boxes, scaled)
        labels = np.array([self.classes.index(name) for name in names], np.int64)[inside]
        return Scene(picture.stem, *_flipped(scaled.image, boxes, across=bool(turn & 1), down=bool(turn & 2)), labels)


def voc_sets(source: VocSource, *, min_side: int = 512) -> tuple[VocSet, VocSet]:
    """Return the pictures to train on and those to measure on.

    Args:
        source: Folder and lists.
        min_side: See `VocSet`.

    Raises:
        ConfigError: no folder was named.
        DataError: a list or annotation is missing or damaged, both lists share a picture, the list to measure on has
            a class that the other has not, or nothing to train on has a box.
    """
    if source.folder is None:
        raise ConfigError("source.folder: not given; name the folder with Annotations/, or use --data FOLDER")
    train, test = (read_list(source.folder, name) for name in (source.train, source.test))
    shared = {one.picture for one in train} & {one.picture for one in test}
    if shared:
        raise DataError(
            f"{source.folder}: {len(shared)} pictures are in {source.train} and in {source.test}, first"
            f" {min(shared).name}; what is measured must not be trained on"
        )
    classes = tuple(sorted({name for one in train for name in one.names}))
    if not classes:
        raise DataError(f"{source.folder}: no picture of {source.train} has a box; name another list")
    unknown = sorted({name for one in test for name in one.names} - set(classes))
    if unknown:
        raise DataError(f"{source.folder}: {source.test} has classes that {source.train} has not: {', '.join(unknown)}")
    return VocSet(train, classes, source.flips, min_side), VocSet(test, classes, flips=False, min_side=min_side)


def read_list(folder: Path, name: str) -> list[Annotated]:
    """Read the pictures that `ImageSets/Main/NAME.txt` lists, in its order.

    Raises:
        DataError: a file is missing or damaged; with file and place.
    """
    path = folder / "ImageSets" / "Main" / f"{name}.txt"
    if not path.is_file():
        raise DataError(f"{path}: no such list; expected Pascal VOC's folders")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}; expected names of pictures in UTF-8, one a line") from error
    found = []
    for line, text in enumerate(lines, start=1):
        stem = text.split()[0] if text.strip() else ""
        if not stem:
            continue
        if "/" in stem or ".." in stem:
            raise DataError(f"{path}:{line}: {stem!r} is not the name of a picture")
        found.append(_annotated(folder, stem))
    if not found:
        raise DataError(f"{path}: lists no picture")
    return found


def _annotated(folder: Path, stem: str) -> Annotated:
    pictures = [path for end in _ENDINGS if (path := folder / "JPEGImages" / f"{stem}{end}").is_file()]
    if not pictures:
        raise DataError(f"{folder / 'JPEGImages'}: no picture {stem} ({', '.join(_ENDINGS)})")
    path = folder / "Annotations" / f"{stem}.xml"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    boxes, names = parse_annotation(data, str(path))
    return Annotated(pictures[0], boxes, names)


def parse_annotation(data: bytes, where: str) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return the boxes and class names of one annotation; a box that holds nothing is left out.

    VOC counts pixels from 1 and includes the last; ours count from 0 and exclude it, so only x0 and y0 move. By
    expat without entities or document types: an annotation may come from anywhere.

    Raises:
        DataError: not XML, too large, too deep, or a name or number is missing or none.
    """
    if len(data) > _MAX_ANNOTATION_BYTES:
        raise DataError(f"{where}: {len(data)} bytes; an annotation has at most {_MAX_ANNOTATION_BYTES}")
    reader = _Reader()
    try:
        reader.parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # LookupError: an encoding nobody knows
        raise DataError(f"{where}: is no VOC annotation: {error}") from error
    kept = [(name, box) for name, box in reader.objects if box[2] > box[0] and box[3] > box[1]]
    return np.array([box for _, box in kept], np.float32).reshape(-1, 4), tuple(name for name, _ in kept)


class _Reader:
    """Collects `object` elements: the name and the four sides of `bndbox`."""

    def __init__(self) -> None:
        self.objects: list[tuple[str, tuple[float, float, float, float]]] = []
        self._path: list[str] = []
        self._text = ""
        self._values: dict[str, str] = {}
        self.parser = expat.ParserCreate()
        # Else every line break is a piece of its own, and joining a megabyte of them takes minutes.
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._refuse

    def _refuse(self, *_: object) -> None:
        raise ValueError("a document type is not allowed")

    def _start(self, name: str, _: object) -> None:
        if len(self._path) >= _MAX_DEPTH:
            raise ValueError(f"elements lie more than {_MAX_DEPTH} deep in each other")
        self._path.append(name)
        self._text = ""
        if self._path[1:] == ["object"]:
            self._values = {}

    def _characters(self, text: str) -> None:
        self._text += text

    def _end(self, name: str) -> None:
        if self._path[1:] == ["object", "name"] or self._path[1:-1] == ["object", "bndbox"]:
            self._values[name] = self._text.strip()
        if self._path[1:] == ["object"]:
            missing = [side for side in ("name", "xmin", "ymin", "xmax", "ymax") if not self._values.get(side)]
            if missing:
                raise ValueError(f"object {len(self.objects) + 1} has no {missing[0]}")
            x0, y0, x1, y1 = (float(self._values[side]) for side in ("xmin", "ymin", "xmax", "ymax"))
            if not all(abs(side) <= _MAX_PIXELS for side in (x0, y0, x1, y1)):  # neither is NaN
                raise ValueError(f"object {len(self.objects) + 1} has the box {x0}, {y0}, {x1}, {y1}")
            self.objects.append((self._values["name"], (max(0.0, x0 - 1), max(0.0, y0 - 1), x1, y1)))
        self._path.pop()


def _on_picture(boxes: NDArray[np.float32], scaled: Scaled) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the boxes that hold something of the picture, in pixels of the decoded one, and which ones these are."""
    clipped = np.clip(boxes, 0, np.array([scaled.width, scaled.height] * 2, np.float32))
    inside = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    shift = np.array([scaled.left, scaled.top] * 2, np.float32)
    return ((clipped[inside] + shift) / np.float32(scaled.scale)).astype(np.float32), inside


def _flipped(
    image: NDArray[np.uint8], boxes: NDArray[np.float32], *, across: bool, down: bool
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    height, width = image.shape[:2]
    moved = boxes.copy()
    if across:
        image = image[:, ::-1]
        moved[:, [0, 2]] = width - moved[:, [2, 0]]
    if down:
        image = image[::-1]
        moved[:, [1, 3]] = height - moved[:, [3, 1]]
    return np.ascontiguousarray(image), moved

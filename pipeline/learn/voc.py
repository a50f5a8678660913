"""Pictures with boxes in Pascal VOC's folders: Annotations/*.xml, ImageSets/Main/*.txt, JPEGImages/*."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from pipeline.images.decode import DecodeLimits, PictureError, decode_rgb
from pipeline.learn.config import VocSource
from pipeline.learn.scenes import Scene
from reporting.errors import ConfigError, DataError

_MAX_ANNOTATION_BYTES = 1 << 20
_ENDINGS = (".jpg", ".jpeg", ".png")


class Annotated(NamedTuple):
    """One picture's file and boxes."""

    picture: Path
    boxes: NDArray[np.float32]
    """(n, 4) x0, y0, x1, y1 in pixels, x1 and y1 exclusive."""
    names: tuple[str, ...]


@dataclass(frozen=True)
class VocSet:
    """Annotated pictures by number; with flips, four of each: as it is, mirrored, upside down, both."""

    annotated: Sequence[Annotated]
    classes: tuple[str, ...]
    flips: bool

    def __len__(self) -> int:
        """Return the number of pictures, flips counted."""
        return len(self.annotated) * (4 if self.flips else 1)

    def __getitem__(self, number: int) -> Scene:
        """Read picture `number`; the flips of one follow each other."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        place, turn = divmod(number, 4) if self.flips else (number, 0)
        picture, boxes, names = self.annotated[place]
        try:
            image = decode_rgb(picture.read_bytes(), min_side=512, limits=DecodeLimits())
        except (OSError, PictureError) as error:
            raise DataError(f"{picture}: cannot be read: {error}; restore it or take it off the list") from error
        labels = np.array([self.classes.index(name) for name in names], np.int64)
        return Scene(picture.stem, *_flipped(image, boxes, across=bool(turn & 1), down=bool(turn & 2)), labels)


def voc_sets(source: VocSource) -> tuple[VocSet, VocSet]:
    """Return the pictures to train on and those to measure on.

    Raises:
        ConfigError: no folder was named.
        DataError: a list or annotation is missing or damaged, or both lists share a picture.
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
    unknown = sorted({name for one in test for name in one.names} - set(classes))
    if unknown:
        raise DataError(f"{source.folder}: {source.test} has classes that {source.train} has not: {', '.join(unknown)}")
    return VocSet(train, classes, source.flips), VocSet(test, classes, flips=False)


def read_list(folder: Path, name: str) -> list[Annotated]:
    """Read the pictures that `ImageSets/Main/NAME.txt` lists, in its order.

    Raises:
        DataError: a file is missing or damaged; with file and place.
    """
    path = folder / "ImageSets" / "Main" / f"{name}.txt"
    if not path.is_file():
        raise DataError(f"{path}: no such list; expected Pascal VOC's folders")
    found = []
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
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
        DataError: not XML, too large, or a number is missing.
    """
    if len(data) > _MAX_ANNOTATION_BYTES:
        raise DataError(f"{where}: {len(data)} bytes; an annotation has at most {_MAX_ANNOTATION_BYTES}")
    reader = _Reader()
    try:
        reader.parser.Parse(data, True)
    except (expat.ExpatError, ValueError) as error:
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
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._refuse

    def _refuse(self, *_: object) -> None:
        raise ValueError("a document type is not allowed")

    def _start(self, name: str, _: object) -> None:
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
            missing = [side for side in ("name", "xmin", "ymin", "xmax", "ymax") if side not in self._values]
            if missing:
                raise ValueError(f"object {len(self.objects) + 1} has no {missing[0]}")
            x0, y0, x1, y1 = (float(self._values[side]) for side in ("xmin", "ymin", "xmax", "ymax"))
            self.objects.append((self._values["name"], (max(0.0, x0 - 1), max(0.0, y0 - 1), x1, y1)))
        self._path.pop()


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

"""Files of detectors and of the truth, one JSON object a line, gzipped or not, read strictly.

Truth, one line a picture:        {"image_id": "a.jpg", "main_box": [x0, y0, x1, y1], "category": "shoes"}
    and, where pictures show the same product, "cluster": "sku-17" (they are not independent then)
A detector, one line a picture:   {"image_id": "a.jpg", "top1_box": [x0, y0, x1, y1], "category": "shoes", "score": 0.9}
    with top1_box null where it found nothing, category null where it named none, and "seconds" if they were measured

Boxes are in pixels of the picture as it is shown, x0 <= x1 and y0 <= y1.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from reporting.errors import DataError, nearest

MAX_BYTES = 1 << 30
"""Most that a file may hold once unpacked: a small gzip must not fill the memory."""

Corners: TypeAlias = tuple[float, float, float, float]
Number: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]


def _ordered(box: Corners) -> Corners:
    if not (box[0] <= box[2] and box[1] <= box[3]):
        raise ValueError(f"box {list(box)} ends before it starts; expected [x0, y0, x1, y1] with x0 <= x1, y0 <= y1")
    return box


def _with_area(box: Corners) -> Corners:
    if not (box[0] < box[2] and box[1] < box[3]):
        raise ValueError(f"box {list(box)} has no area; expected [x0, y0, x1, y1] with x0 < x1, y0 < y1")
    return box


_Box: TypeAlias = tuple[Number, Number, Number, Number]


class TrueObject(BaseModel):
    """The main object of a picture, as people labelled it.

    Attributes:
        image_id: The picture.
        main_box: x0, y0, x1, y1 in pixels, with an area.
        category: Its category.
        cluster: The product shown; "" is the picture itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    image_id: str = Field(min_length=1)
    main_box: Annotated[_Box, AfterValidator(_with_area), Field(strict=False)]
    category: str = Field(min_length=1)
    cluster: str = ""


class FoundObject(BaseModel):
    """What a detector takes for the main object of a picture.

    Attributes:
        image_id: The picture.
        top1_box: x0, y0, x1, y1 in pixels; None: it found nothing.
        category: Of the box; None: it names none.
        score: How sure it is; None: unknown. Kept for the file's form: with one box a picture there is nothing to rank.
        seconds: Time to answer, >= 0; None: not measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    image_id: str = Field(min_length=1)
    top1_box: Annotated[_Box, AfterValidator(_ordered), Field(strict=False)] | None
    category: str | None
    score: Number | None = None
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


Row = TypeVar("Row", TrueObject, FoundObject)


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector's file.

    Attributes:
        name: The file's name.
        found: image_id -> what it found.
        sha256: Of the file.
    """

    name: str
    found: Mapping[str, FoundObject]
    sha256: str


def read_truth(path: Path) -> tuple[TrueObject, ...]:
    """Read the truth, in the file's order.

    Raises:
        DataError: `file:line: ...`: no such file, no line, a line that is no object of this form, a picture twice.
    """
    return tuple(_by_image(path, TrueObject)[0].values())


def read_detector(path: Path) -> Detector:
    """Read what a detector found.

    Raises:
        DataError: As `read_truth`.
    """
    found, sha256 = _by_image(path, FoundObject)
    return Detector(path.name, found, sha256)


def _by_image(path: Path, kind: type[Row]) -> tuple[dict[str, Row], str]:
    data = _content(path)
    rows: dict[str, Row] = {}
    lines: dict[str, int] = {}
    for number, row in _rows(path, data, kind):
        if row.image_id in rows:
            raise DataError(
                f"{path}:{number}: picture {row.image_id!r} again, first in line {lines[row.image_id]}; "
                "a picture has one main object: keep one line of it"
            )
        rows[row.image_id], lines[row.image_id] = row, number
    if not rows:
        raise DataError(f"{path}: holds no line; expected one JSON object a picture: {', '.join(kind.model_fields)}")
    return rows, hashlib.sha256(data).hexdigest()


def _rows(path: Path, data: bytes, kind: type[Row]) -> Iterator[tuple[int, Row]]:
    try:
        lines = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        place = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{place}: not UTF-8 ({error.reason}); convert the file") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, kind.model_validate_json(line)
            except ValidationError as error:
                raise DataError(f"{path}:{number}: {_told(error, kind)}") from None


def _told(error: ValidationError, kind: type[BaseModel]) -> str:
    """Say what is wrong with a line, in one sentence."""
    fault = error.errors()[0]
    where = str(fault["loc"][0]) if fault["loc"] else ""
    known = ", ".join(kind.model_fields)
    match fault["type"]:
        case "json_invalid":
            return f"{fault['msg']}; expected one JSON object with {known}"
        case "extra_forbidden":
            return f"unknown field {where!r}; {nearest(where, kind.model_fields)}"
        case "missing" | "too_long" if len(fault["loc"]) > 1 or fault["type"] == "too_long":
            return f"{where}: expected [x0, y0, x1, y1]"
        case "missing":
            return f"no field {where!r}; expected {known}"
        case "value_error":
            return f"{where}: {fault['ctx']['error']}"
        case _:
            place = ".".join(map(str, fault["loc"])) or "the line"
            return f"{place}: {fault['input']!r}: {fault['msg']}"


def _content(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            with gzip.open(BytesIO(data)) as stream:
                data = stream.read(MAX_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: the gzip is damaged ({error}); copy or make the file again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a file of one JSON object a line") from error
    if len(data) > MAX_BYTES:
        raise DataError(f"{path}: more than {MAX_BYTES >> 30} GiB once unpacked; split it by pictures")
    return data

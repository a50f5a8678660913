"""What users say about results: one line each in a file of the day, with the query's picture by its sha256.

Layout of the folder: `YYYY-MM-DD.jsonl` (UTC) and `pictures/<sha256[:2]>/<sha256>`. Nobody learns from it unseen: they
are candidates for the labelled set, which a person confirms (`funnelgate serve feedback export`).
"""

from __future__ import annotations

import base64
import binascii
import csv
import datetime as dt
import hashlib
import os
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal, TextIO

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from reporting.errors import DataError, StoreError

Text = Annotated[str, Field(max_length=1000)]
Name = Annotated[str, Field(min_length=1, max_length=300)]
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\.jsonl", re.ASCII)
CSV_COLUMNS = ("query_id", "path", "group", "category", "source", "captured_day", "tags")
"""Of the table that `evaluate build-set` takes for queries."""


class Feedback(BaseModel):
    """The body of /feedback.

    Attributes:
        verdict: `wrong`: this result is not the product; `right`: it is; `missing`: the product is not among them.
        generation: That gave the answer.
        item: Id of the result; None for `missing`.
        picture: The query, base64; None: it is not kept.
        right_group: Product group that it should have been, where the user knows.
        category: Of the query, likewise.
        note: Words of the user.
        by: Who, as the client names its users.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Literal["wrong", "right", "missing"]
    generation: int = Field(ge=1, lt=1 << 63)
    item: int | None = Field(default=None, ge=0, lt=1 << 63)
    picture: str | None = None
    right_group: Name | None = None
    category: Name | None = None
    note: Text = ""
    by: Annotated[str, Field(max_length=300)] = ""

    def data(self) -> bytes | None:
        """Return the picture's bytes.

        Raises:
            ValueError: it is no base64.
        """
        if self.picture is None:
            return None
        try:
            return base64.b64decode(self.picture, validate=True)
        except binascii.Error as error:
            raise ValueError(f"picture is no base64: {error}") from None


class KeptFeedback(BaseModel):
    """One line of a day's file.

    Attributes:
        id: Of this line: what was said when, hashed.
        at: When, aware.
        verdict, generation, item, right_group, category, note, by: As in `Feedback`.
        shown_group: Product group of the item in that generation; None where that is not held any more, or a takedown
            withholds the item.
        picture: sha256 of the query; None: it was not sent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    at: AwareDatetime
    verdict: Literal["wrong", "right", "missing"]
    generation: int
    item: int | None
    shown_group: str | None
    picture: str | None
    right_group: str | None
    category: str | None
    note: str
    by: str

    @property
    def label(self) -> str:
        """Product group that the query should be labelled with, as far as it is known; "" else."""
        return self.right_group or (self.shown_group or "" if self.verdict == "right" else "")


class FeedbackFull(StoreError):
    """The folder of feedback may not grow further (HTTP 507)."""


class FeedbackStore:
    """The folder, written by one server; safe for its threads."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Take a folder, which need not be there yet, and look how much it holds."""
        self.folder = folder
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    def keep(self, said: Feedback, data: bytes | None, shown_group: str | None, now: dt.datetime) -> KeptFeedback:
        """Write one line, its picture first; both are on the disk when it returns.

        Args:
            said: By the user.
            data: The picture's bytes, looked at already.
            shown_group: Of the item, see `KeptFeedback`.
            now: Aware.

        Raises:
            FeedbackFull: There is no room under `max_bytes`.
            StoreError: The disk refused.
        """
        picture = None if data is None else hashlib.sha256(data).hexdigest()
        facts = said.model_dump(exclude={"picture"}) | {"at": now, "shown_group": shown_group, "picture": picture}
        number = hashlib.sha256(f"{now.isoformat()} {said.model_dump_json()}".encode()).hexdigest()[:16]
        kept = KeptFeedback(id=number, **facts)
        line = kept.model_dump_json().encode() + b"\n"
        with self._lock:
            size = len(line) + len(data or b"")
            if self._bytes + size > self.max_bytes:
                raise FeedbackFull(
                    f"{self.folder}: holds {self._bytes:,} bytes of {self.max_bytes:,}; move old days away, or raise "
                    "serve.feedback_max_bytes"
                )
            try:
                if data is not None and picture is not None:
                    self._bytes += _write_once(picture_path(self.folder, picture), data)
                self._bytes += _append(self.folder / f"{now.astimezone(dt.UTC).date()}.jsonl", line)
            except OSError as error:
                raise StoreError(f"{self.folder}: feedback cannot be written: {error}") from error
        return kept


def picture_path(folder: Path, sha256: str) -> Path:
    """Return where a query's picture lies."""
    return folder / "pictures" / sha256[:2] / sha256


def _write_once(path: Path, data: bytes) -> int:
    if path.exists():
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return len(data)


def _append(path: Path, line: bytes) -> int:
    """Append a line; half a line that a crash left behind was never answered for and is cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        end = file.tell()
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return len(line)


def kept_feedback(folder: Path, first: dt.date | None = None, last: dt.date | None = None) -> Iterator[KeptFeedback]:
    """Yield what was kept, oldest first.

    Args:
        folder: Of the server; one that is not there holds nothing.
        first: Day to begin with, UTC.
        last: Day to end with, included.

    Raises:
        DataError: A line is none of ours, with file and line; half a line at a file's end is a crash and left out.
    """
    for path in sorted(folder.glob("*.jsonl")):
        if not _DAY.fullmatch(path.name):
            continue
        day = dt.date.fromisoformat(path.stem)
        if (first is not None and day < first) or (last is not None and day > last):
            continue
        yield from _lines_of(path)


def _lines_of(path: Path) -> Iterator[KeptFeedback]:
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        if not line:
            continue
        try:
            yield KeptFeedback.model_validate_json(line)
        except ValidationError as error:
            raise DataError(
                f"{path}:{number}: this is no line of feedback ({error.errors()[0]['msg']}); take it out"
            ) from None


def write_candidates(kept: Iterable[KeptFeedback], out: TextIO) -> tuple[int, int]:
    """Write queries with a kept picture as a CSV that `evaluate build-set` reads; return (rows, rows without a label).

    Paths start at the folder of feedback (`--root`). Each picture has one row; the youngest feedback that names a group
    labels it. A row whose `group` is empty is for a person to fill in: build-set refuses it until then. `tags` has
    `feedback`, the verdicts, and `shown=GROUP` of what was wrong.
    """
    by_picture: dict[str, list[KeptFeedback]] = {}
    for one in kept:
        if one.picture is not None:
            by_picture.setdefault(one.picture, []).append(one)
    writer = csv.DictWriter(out, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    unlabelled = 0
    for picture, said in by_picture.items():
        label = next((one.label for one in reversed(said) if one.label), "")
        unlabelled += not label
        tags = ["feedback", *dict.fromkeys(one.verdict for one in said)]
        tags += dict.fromkeys(f"shown={one.shown_group}" for one in said if one.verdict == "wrong" and one.shown_group)
        writer.writerow(
            {
                "query_id": f"feedback-{picture[:16]}",
                "path": picture_path(Path(), picture).as_posix(),
                "group": label,
                "category": next((one.category for one in reversed(said) if one.category), ""),
                "source": "feedback",
                "captured_day": said[0].at.astimezone(dt.UTC).date().isoformat(),
                "tags": ";".join(tags),
            }
        )
    return len(by_picture), unlabelled

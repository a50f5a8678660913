"""The champion: a release pinned by a person, against which every candidate is judged beside the last release.

With the last release alone as baseline quality rots by small steps, each within the margin (finding 11 of
evaluation-index-eviction.md). It changes only by a reviewed command, never by itself; every change is kept.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from pipeline.release.pointer import current, release_of
from reporting.errors import StoreError, UsageError

FILE = "CHAMPIONS.jsonl"


class Champion(BaseModel):
    """One promotion; the last one counts.

    Attributes:
        number: The release.
        by: Who promoted it.
        why: The reason given.
        at: When.
        verdict_id: The verdict that the release rests on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = Field(ge=1)
    by: str = Field(min_length=1)
    why: str = Field(min_length=10)
    at: AwareDatetime
    verdict_id: str


def champions(root: Path) -> list[Champion]:
    """Return every promotion, oldest first.

    Raises:
        StoreError: A line is not one of ours.
    """
    path = root / FILE
    try:
        lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(Champion.model_validate_json(line))
        except ValidationError as error:
            raise StoreError(f"{path}:{number}: is no promotion of a champion; restore the file") from error
    return found


def champion(root: Path) -> Champion | None:
    """Return the pinned champion, None if there is none."""
    return next(reversed(champions(root)), None)


def promotion(root: Path, number: int | None, *, by: str, why: str, at: AwareDatetime) -> Champion:
    """Return what promoting a release would write; nothing is written yet.

    Args:
        root: Of the releases.
        number: The release; None: the current one.
        by: Who promotes.
        why: The reason, at least ten characters.
        at: Now.

    Raises:
        UsageError: Nothing was released, there is no such release, or the reason is too short to be one.
        StoreError: The release cannot be read.
    """
    served = current(root)
    if served is None:
        raise UsageError(f"{root}: nothing has been released yet; there is nothing to pin")
    if number is not None and not 1 <= number <= served.number:
        raise UsageError(f"{root}: there is no release {number}; expected one from 1 to {served.number}")
    manifest = served if number is None else release_of(root, number)
    if len(why.strip()) < 10 or not by.strip():
        raise UsageError("--why must say why in at least ten characters, and --by who decides")
    return Champion(number=manifest.number, by=by.strip(), why=why.strip(), at=at, verdict_id=manifest.verdict_id)


def promote(root: Path, chosen: Champion) -> None:
    """Append a promotion by one rename: whatever dies in between, the old state or the new one is there.

    Raises:
        StoreError: The file holds a line that is not one of ours, or the disk refused.
    """
    line = json.dumps(chosen.model_dump(mode="json"), ensure_ascii=False, sort_keys=True) + "\n"
    path, temporary = root / FILE, root / f".{FILE}.tmp"
    try:
        with _promoting(root) as folder:
            before = path.read_bytes().removesuffix(b"\n") + b"\n" if champions(root) else b""
            with temporary.open("wb") as stream:
                stream.write(before + line.encode())
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
            os.fsync(folder)
    except OSError as error:
        raise StoreError(f"{path}: the promotion was not written: {error}; mend the disk and promote again") from error


@contextmanager
def _promoting(root: Path) -> Iterator[int]:
    """Hold the folder of the releases, so that of two promotions at once neither is lost; yield its handle."""
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)

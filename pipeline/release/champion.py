"""The champion: a release pinned by a person, against which every candidate is judged beside the last release.

With the last release alone as baseline quality rots by small steps, each within the margin (finding 11 of
evaluation-index-eviction.md). It changes only by a reviewed command, never by itself; every change is kept.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from pipeline.release.journal import append_journal, read_journal
from pipeline.release.pointer import current, release_of
from reporting.errors import UsageError

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
    return read_journal(root / FILE, Champion, "promotion of a champion")


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
    append_journal(root / FILE, chosen, Champion, "promotion of a champion")

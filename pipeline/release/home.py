"""What makes a folder a consumer's home: a mark, so that nothing is ever dropped from a publisher's lake.

`.consumer` is written by the first pull into an empty folder. Whatever deletes or refuses for the sake of being a home
asks for it; `.active` beside it holds the last release that answered here, which is kept however many come after it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.release.durable import replace_by
from pipeline.release.numbered import Sha256, bytes_of
from reporting.errors import StoreError, UsageError

MARK = ".consumer"
ACTIVE = ".active"
_SEEN = (".seen-CURRENT", "registry/*/*/channels/.seen-*")
_OF_A_LAKE = (
    "CURRENT", "releases", "registry", "objects", "shards", "quantizers", "CHAMPIONS.jsonl", "PINS.jsonl",
    "WITHHELD.jsonl",
)  # fmt: skip


class Home(BaseModel):
    """The mark of a home.

    Attributes:
        keep: Releases that the last pull of releases was told to keep, >= 1; None: there was none.
        signed: Whether that pull wanted signatures: takedowns that are lifted without one then stay in force.
        manifests: sha256 of each release's manifest that was pulled and is kept, by number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep: Annotated[int, Field(ge=1)] | None = None
    signed: bool = False
    manifests: dict[int, Sha256] = Field(default_factory=dict)


def home_at(folder: Path) -> Home | None:
    """Return the mark of a folder, None where it is no consumer's home.

    Raises:
        StoreError: The mark is damaged, or cannot be read.
    """
    path = folder / MARK
    try:
        return Home.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise StoreError(f"{path}: is no mark of a consumer's home; write {{}} into it and pull again") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error}; mend the disk") from error


def claim_home(folder: Path) -> Home:
    """Make sure that a folder is a consumer's home, and mark it where it is new; the caller holds its lock.

    A home of before there were marks is known by the numbers seen that lie beside its pointers.

    Raises:
        UsageError: It holds a publisher's work, so that dropping old releases there would destroy it.
        OSError: The disk refused.
    """
    found = home_at(folder)
    if found is not None:
        return found
    lake = [name for name in _OF_A_LAKE if (folder / name).exists()]
    follows = any(next(folder.glob(pattern), None) is not None for pattern in _SEEN)
    if lake and (not follows or ((folder / "CURRENT").exists() and not (folder / _SEEN[0]).exists())):
        raise UsageError(
            f"{folder}: holds {', '.join(lake)} and was never pulled into: it is a publisher's lake, whose old releases"
            " a pull would delete; name an empty folder as --home (are --from and --home swapped?)"
        )
    return mark_home(folder, Home())


def mark_home(folder: Path, home: Home) -> Home:
    """Write the mark if it says something new; OSError where the disk refused."""
    if home_at(folder) != home:
        replace_by(folder / MARK, bytes_of(home))
    return home


def note_active(folder: Path, number: int) -> None:
    """Note which release answers from a home, so that no pull drops it; nothing where the folder is no home.

    Raises:
        StoreError: The mark is damaged.
        OSError: The disk refused.
    """
    if home_at(folder) is not None and active_at(folder) != number:
        replace_by(folder / ACTIVE, f"{number}\n".encode())


def active_at(folder: Path) -> int | None:
    """Return the release that answered last from a home; None where none did, or the note is none."""
    try:
        text = (folder / ACTIVE).read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    return int(text) if text.isascii() and text.isdecimal() else None

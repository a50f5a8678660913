"""Pins: releases that no sweep takes, because a person says so; `PINS.jsonl` only grows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from pipeline.release.journal import append_journal, read_journal

FILE = "PINS.jsonl"
_WHAT = "pin"


class Pin(BaseModel):
    """One line: a release pinned, or let go again.

    Attributes:
        number: The release.
        by: Who.
        why: The reason.
        at: When, aware.
        lifted: True: a sweep may take it again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = Field(ge=1)
    by: Annotated[str, Field(min_length=1)]
    why: Annotated[str, Field(min_length=1)]
    at: AwareDatetime
    lifted: bool = False


def pinned(root: Path) -> frozenset[int]:
    """Return the releases that are pinned; the last line about one counts.

    Raises:
        StoreError: A line is not one of ours.
    """
    last = {line.number: line for line in read_journal(root / FILE, Pin, _WHAT)}
    return frozenset(number for number, line in last.items() if not line.lifted)


def pin(root: Path, entry: Pin) -> None:
    """Pin a release or let it go; errors as `append_journal`."""
    append_journal(root / FILE, entry, Pin, _WHAT)

"""categorise: the fan-out. Every item goes to one category and is booked there; the sums are the next task's input.

Here by the source's category, with a fallback; a predicted category replaces it when there is a detector.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from pipeline.tasks.context import LeafContext
from reporting.key import ALL

_NOT_IN_A_KEY = re.compile(r'[/\\|:*?"<>\x00-\x1f]+')


class Settings(BaseModel):
    """Nothing to set: the fallback is the one that `collect` sealed, the last of the day's categories."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def category_name(text: str, fallback: str) -> str:
    """Return the source's category as a key part: trimmed, forbidden characters replaced; empty gives the fallback.

    Example:
        >>> category_name(" Food/Fruit ", "other"), category_name("", "other")
        ('Food-Fruit', 'other')
    """
    name = _NOT_IN_A_KEY.sub("-", text).strip(". ")[:128].rstrip(". ")
    return fallback if not name or name == ALL else name


def run(leaf: LeafContext, _settings: Settings) -> None:
    """Send every item of the package to its category; every category is booked, also with 0 items."""
    rows = leaf.read("listing", "items")
    known = leaf.day_split().categories
    fallback = known[-1]
    names = [category_name(text, fallback) for text in rows["category"].to_pylist()]
    chosen = pa.array([name if name in known else fallback for name in names], pa.string())
    placed = rows.append_column("placed", chosen)
    for category in known:
        mine = placed.filter(pc.equal(chosen, category))
        items = mine["item"].to_pylist()
        books = leaf.books_of(category)
        books.take(items)
        books.keep(items)
        leaf.write(f"items-{category}", mine)

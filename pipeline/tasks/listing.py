"""listing: leave out what the source says is off the shelf."""

from __future__ import annotations

import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, write_drops


class Settings(BaseModel):
    """Nothing to set."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def run(leaf: LeafContext, _settings: Settings) -> None:
    """Drop the rows whose offer is not listed."""
    rows = leaf.read("dedup", f"items-{leaf.key.subinstance}")
    leaf.books.take(rows["item"].to_pylist())
    gone = rows.filter(pc.invert(rows["listed"]))
    drops: list[Drop] = [
        (item, "off_shelf", f"{merchant}/{sku}")
        for item, merchant, sku in zip(*(gone[name].to_pylist() for name in ("item", "merchant", "sku")), strict=True)
    ]
    write_drops(leaf, drops)
    kept = rows.filter(rows["listed"])
    leaf.write("items", kept)
    leaf.books.keep(kept["item"].to_pylist())

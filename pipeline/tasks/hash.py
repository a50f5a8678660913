"""hash: the 64-bit dHash and the colour thumbnail of every picture, by which dedup compares them."""

from __future__ import annotations

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from pipeline.images.decode import DecodeLimits, PictureError
from pipeline.images.dhash import HASH_VERSION, MIN_DETAIL, dhash64
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, keep_rows, write_drops
from pipeline.tasks.pictures import iter_pictures

THUMB_BYTES = 8 * 8 * 3


class Settings(BaseModel):
    """Limits of hashing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_detail: float = Field(default=MIN_DETAIL, ge=0)
    """Pictures with less detail get no hash: their bits would be noise, and all of them alike (vision.md (1) e1)."""
    decode: DecodeLimits = Field(default_factory=DecodeLimits)


def run(leaf: LeafContext, settings: Settings) -> None:
    """Hash every picture of the package; one that cannot be decoded is booked as failed."""
    rows = leaf.read("quality", "items")
    leaf.books.take(rows["item"].to_pylist())
    leaf.books.use("hash", HASH_VERSION)
    hashes: list[int | None] = []
    thumbs: list[bytes] = []
    kept: list[bool] = []
    drops: list[Drop] = []
    for item, data in iter_pictures(leaf.lake, rows, drops):
        try:
            found = dhash64(data, limits=settings.decode, min_detail=settings.min_detail)
        except PictureError as error:
            leaf.books.fail(error, [item])
            kept.append(False)
            continue
        hashes.append(found.value)
        thumbs.append(found.thumbnail.tobytes())
        kept.append(True)
    write_drops(leaf, drops)
    hashed = keep_rows(rows, drops).filter(pa.array(kept, pa.bool_()))
    hashed = hashed.append_column("dhash", pa.array(hashes, pa.uint64())).append_column(
        "thumb", pa.array(thumbs, pa.binary(THUMB_BYTES))
    )
    leaf.write("items", hashed)
    leaf.books.measure("unhashed", sum(value is None for value in hashes))
    leaf.books.keep(hashed["item"].to_pylist())

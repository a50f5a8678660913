"""crop: cut every object out of its picture, upright and with a margin: what is categorised and embedded from here on.

Kept as files beside the pictures, not cut again by each later task: categorise and embed would decode every picture
once more, and a repair of embed needs no picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from pipeline.images.crop import DEFAULT_MARGIN, DEFAULT_SIDE, crop_objects, encode_crop
from pipeline.images.decode import DecodeLimits, PictureError
from pipeline.models.detections import Box
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, keep_rows, write_drops
from pipeline.tasks.pictures import iter_pictures

_PLACE = ("item", "object", "x0", "y0", "x1", "y1")


class Settings(BaseModel):
    """How much of its surroundings an object keeps, and how large its crop is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    margin: float = Field(default=DEFAULT_MARGIN, ge=0, le=1)
    """Share of the box's longer side added on every side, as far as the picture reaches."""
    side: int = Field(default=DEFAULT_SIDE, ge=16, le=4096)
    """Pixels that the crop's shorter side is brought down to; a smaller crop stays as it is."""
    min_side: int = Field(default=8, ge=1)
    """An object whose box has a shorter side than this is dropped: nothing can be seen on it."""
    decode: DecodeLimits = Field(default_factory=DecodeLimits)


class _Object(NamedTuple):
    name: str
    box: Box


def run(leaf: LeafContext, settings: Settings) -> None:
    """Cut out the package's objects; output rows gain crop_pack, crop_offset and crop_bytes."""
    rows = leaf.read("detect", "items")
    leaf.books.take(rows["object"].to_pylist())
    drops: list[Drop] = []
    with leaf.create("crops.bin") as file:
        places = _cut(leaf, rows, settings, file, drops)
    write_drops(leaf, drops)
    kept = keep_rows(rows, drops, by="object")
    names = kept["object"].to_pylist()
    kept = (
        kept.append_column("crop_pack", pa.array([f"{leaf.folder}/crops.bin"] * len(names), pa.string()))
        .append_column("crop_offset", pa.array([places[name][0] for name in names], pa.int64()))
        .append_column("crop_bytes", pa.array([places[name][1] for name in names], pa.int64()))
    )
    leaf.write("items", kept)
    leaf.books.measure("bytes", sum(size for _, size in places.values()))
    leaf.books.keep(names)


def _cut(
    leaf: LeafContext, rows: pa.Table, settings: Settings, file: BinaryIO, drops: list[Drop]
) -> dict[str, tuple[int, int]]:
    """Write the crops one after another, and return (offset, bytes) by object."""
    places: dict[str, tuple[int, int]] = {}
    end = 0
    for data, objects in _by_picture(leaf, rows, drops):
        wanted = [one for one in objects if min(one.box.width, one.box.height) >= settings.min_side]
        drops += [_too_small(one, settings.min_side) for one in objects if one not in wanted]
        try:
            crops = crop_objects(
                data,
                [one.box for one in wanted],
                margin=settings.margin,
                side=settings.side,
                limits=settings.decode,
            )
        except PictureError as error:
            drops += [(one.name, "decode_error", str(error)) for one in wanted]
            continue
        for one, crop in zip(wanted, crops, strict=True):
            encoded = encode_crop(crop)
            file.write(encoded)
            places[one.name] = (end, len(encoded))
            end += len(encoded)
    return places


def _by_picture(leaf: LeafContext, rows: pa.Table, drops: list[Drop]) -> Iterator[tuple[bytes, list[_Object]]]:
    """Yield the bytes of each picture with its objects; `rows` have the objects of a picture beside each other.

    The objects of a picture that was let go are dropped when all others have been yielded.
    """
    columns = (rows[name].to_pylist() for name in _PLACE)
    members = {
        item: [_Object(row[1], Box(*row[2:])) for row in found]
        for item, found in groupby(zip(*columns, strict=True), key=_first)
    }
    starts, row = [], 0
    for objects in members.values():
        starts.append(row)
        row += len(objects)
    gone: list[Drop] = []
    for item, data in iter_pictures(leaf.lake, rows.take(pa.array(starts, pa.int64())), gone):
        yield data, members[item]
    drops += [(one.name, reason, why) for item, reason, why in gone for one in members[item]]


def _first(row: tuple[Any, ...]) -> Any:
    return row[0]


def _too_small(one: _Object, least: int) -> Drop:
    return one.name, "too_small", f"box {list(one.box)}: {one.box.width}x{one.box.height} px, the least is {least}"

"""download: bring the pictures of a package into one pack file; what does not arrive is dropped with its reason."""

from __future__ import annotations

import asyncio
import hashlib
from typing import BinaryIO

import pyarrow as pa
from pydantic import ConfigDict

from pipeline.fetch.fetch import FetchRequest, FetchResult, fetch_all
from pipeline.fetch.policy import FetchPolicy, Reason
from pipeline.images.decode import DecodeLimits, PictureError, probe
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, write_drops


class Settings(FetchPolicy):
    """The fetch policy, as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _PackWriter:
    """Appends pictures to the pack as they arrive; keeps only their places."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._end = 0
        self.places: dict[str, tuple[str, int, int]] = {}
        self.drops: list[Drop] = []

    async def accept(self, result: FetchResult) -> None:
        if result.ok is None:
            self.drops.append((result.item, str(result.reason), result.detail))
            return
        self._file.write(result.ok)
        self.places[result.item] = (hashlib.sha256(result.ok).hexdigest(), self._end, len(result.ok))
        self._end += len(result.ok)


def run(leaf: LeafContext, settings: Settings) -> None:
    """Fetch every row's picture; output rows gain picture (sha256), pack, offset and bytes."""
    rows = leaf.read("collect", f"package-{leaf.key.subinstance}")
    leaf.books.take(rows["item"].to_pylist())
    requests = (
        FetchRequest(item, location, kind)
        for item, location, kind in zip(*(rows[name].to_pylist() for name in ("item", "location", "kind")), strict=True)
    )
    limits = DecodeLimits(max_pixels=settings.max_pixels)

    def inspect(data: bytes) -> Reason | None:
        try:
            probe(data, limits)
        except PictureError as error:
            return "too_many_pixels" if error.reason in ("too_many_pixels", "too_many_scans") else "not_an_image"
        return None

    with leaf.create("pictures.bin") as file:
        writer = _PackWriter(file)
        asyncio.run(fetch_all(requests, settings, on_result=writer.accept, inspect=inspect))
    write_drops(leaf, writer.drops)
    kept = rows.filter(pa.array([item in writer.places for item in rows["item"].to_pylist()], pa.bool_()))
    kept_items = kept["item"].to_pylist()
    places = [writer.places[item] for item in kept_items]
    pack = f"{leaf.folder}/pictures.bin"
    kept = (
        kept.append_column("picture", pa.array([place[0] for place in places], pa.string()))
        .append_column("pack", pa.array([pack] * len(places), pa.string()))
        .append_column("offset", pa.array([place[1] for place in places], pa.int64()))
        .append_column("bytes", pa.array([place[2] for place in places], pa.int64()))
    )
    leaf.write("items", kept)
    leaf.books.measure("bytes", sum(place[2] for place in places))
    leaf.books.keep(kept_items)

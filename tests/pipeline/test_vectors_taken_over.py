"""embed takes over the vectors that categorise has made in its space, and makes the others of the crops."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.images.crop import encode_crop
from pipeline.lake import Lake
from pipeline.models.catalog import open_embedder
from pipeline.models.preprocess import Rgb
from pipeline.tasks import embed
from reporting.booking import Booking
from reporting.testing import MOMENT, make_record

MODEL = "efficientnet-lite0"


class Leaf:
    """As much of a leaf as `embed` needs."""

    def __init__(self, lake: Lake, rows: pa.Table):
        self.lake, self.key = lake, make_record("embed").key
        self.books = Booking(self.key, started_at=MOMENT)
        self.written: dict[str, pa.Table] = {}
        self._rows = rows

    def read(self, *_: str) -> pa.Table:
        return self._rows

    def write(self, name: str, table: pa.Table) -> None:
        self.written[name] = table


class Counting:
    """The embedder, which notes what it is asked to embed."""

    def __init__(self) -> None:
        self._embedder = open_embedder(MODEL)
        self.seen: list[Rgb] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def embed(self, images: list[Rgb]) -> Any:
        self.seen += images
        return self._embedder.embed(images)


def crops(lake: Lake, images: list[Rgb]) -> pa.Table:
    """Write the images as a pack of crops, and return their rows."""
    pack, rows = BytesIO(), []
    for number, image in enumerate(images):
        data = encode_crop(image)
        rows.append(
            {"object": f"i#{number}", "crop_pack": "p.bin", "crop_offset": pack.tell(), "crop_bytes": len(data)}
        )
        pack.write(data)
    lake.write_bytes("p.bin", pack.getvalue())
    return pa.Table.from_pylist(rows)


@pytest.mark.parametrize("given", ["some", "all", "none", "no column"])
def test_only_what_has_no_vector_of_the_space_is_embedded(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = list(np.random.default_rng(3).integers(0, 256, (4, 40, 30, 3), np.uint8))
    lake, embedder = Lake(str(tmp_path)), Counting()
    monkeypatch.setattr(embed, "open_embedder", lambda _: embedder)
    rows = crops(lake, images)
    mine = np.eye(4, embedder.dim, dtype=np.float32)
    spaces = {
        "some": ["another", embedder.space_id, "", embedder.space_id],
        "all": [embedder.space_id] * 4,
        "none": ["", "another", "", ""],
        "no column": ["", "", "", ""],
    }[given]
    if given != "no column":
        held = [vector.tolist() if space else None for vector, space in zip(mine, spaces, strict=True)]
        rows = rows.append_column("space", pa.array(spaces, pa.string()))
        rows = rows.append_column("vector", pa.array(held, pa.list_(pa.float32(), embedder.dim)))
    leaf = Leaf(lake, rows)
    embed.run(leaf, embed.Settings())  # type: ignore[arg-type]
    found = embed.vectors_of(leaf.written["items"])
    made = open_embedder(MODEL).embed(images)
    todo = [number for number, space in enumerate(spaces) if space != embedder.space_id]
    assert [image.tolist() for image in embedder.seen] == [images[number].tolist() for number in todo]
    for number in range(4):
        assert found[number] == pytest.approx(made[number] if number in todo else mine[number], abs=1e-6)
    assert set(leaf.written["items"].column_names) == {*rows.column_names, "vector"} - {"space"}
    assert leaf.written["items"]["object"].to_pylist() == rows["object"].to_pylist()


def test_a_crop_that_is_damaged_is_dropped_and_the_vectors_of_the_others_stay_with_them(tmp_path: Path) -> None:
    images = list(np.random.default_rng(4).integers(0, 256, (4, 40, 30, 3), np.uint8))
    lake = Lake(str(tmp_path))
    rows = crops(lake, images)
    data = bytearray(lake.read_bytes("p.bin"))
    start = rows["crop_offset"][1].as_py()
    data[start : start + 60] = bytes(60)
    lake.write_bytes("p.bin", bytes(data))
    embedder = open_embedder(MODEL)
    mine = np.eye(1, embedder.dim, 5, dtype=np.float32)[0]
    rows = rows.append_column("space", pa.array(["", "", embedder.space_id, ""], pa.string()))
    held = [None, None, mine.tolist(), None]
    rows = rows.append_column("vector", pa.array(held, pa.list_(pa.float32(), embedder.dim)))
    leaf = Leaf(lake, rows)
    embed.run(leaf, embed.Settings())  # type: ignore[arg-type]
    out = leaf.written["items"]
    assert out["object"].to_pylist() == ["i#0", "i#2", "i#3"]
    first, last = embedder.embed([images[0], images[3]])
    assert embed.vectors_of(out) == pytest.approx(np.stack([first, mine, last]), abs=1e-6)
    assert leaf.written["dropped"].to_pylist()[0]["item"] == "i#1"
    record = leaf.books.close(finished_at=MOMENT)
    assert (record.input, record.output, record.dropped) == (4, 3, {"undecodable": 1})

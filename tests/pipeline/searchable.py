"""A small release to search: scenes of drawn blocks on white, two categories, and stand-ins for the trained models."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]

from pipeline.category.decision import Decision
from pipeline.images.crop import crop_object
from pipeline.images.decode import DecodeLimits, PictureError, decode_rgb
from pipeline.index.quantizer import to_bytes, train_quantizer
from pipeline.index.shard import build_shard
from pipeline.lake import Lake
from pipeline.models.detections import Box, Detection, Found
from pipeline.release.manifest import CategoryIndex, ReleaseDraft
from pipeline.release.pointer import publish
from pipeline.serve.front import QueryFront
from pipeline.serve.generation import Generation
from pipeline.serve.ranking import RankSettings
from tests.pipeline.project import draw

LIMITS = DecodeLimits()
MARGIN, SIDE = 0.1, 64
SIZE = (300, 200)
MAIN, SECOND = (20, 30, 110), (200, 60, 60)
"""Left, top and side of the two blocks of each library picture."""
FRONT = QueryFront(
    detector="blocks",
    detector_version="blocks@1:1",
    margin=MARGIN,
    side=SIDE,
    by="predicted",
    gallery="blocks",
    gallery_sha256="a" * 64,
    fallback="other",
)


def scene(*blocks: tuple[int, int, int, int]) -> Image.Image:
    """Return a white picture with blocks on it: (number, left, top, side)."""
    picture = Image.new("RGB", SIZE, "white")
    for number, left, top, side in blocks:
        picture.paste(draw(number, side), (left, top))
    return picture


def encoded(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


class Blocks:
    """Finds what is not white; the largest is the surest. Counts the calls."""

    def __init__(self, version: str = FRONT.detector_version, least: int = 400) -> None:
        self.version, self.least = version, least
        self.classes: tuple[str, ...] = ("even", "odd")
        self.calls: list[int] = []

    def detect(self, pictures: Sequence[bytes], limits: DecodeLimits) -> list[Found | PictureError]:
        self.calls.append(len(pictures))
        return [self._look(data, limits) for data in pictures]

    def _look(self, data: bytes, limits: DecodeLimits) -> Found | PictureError:
        try:
            pixels = decode_rgb(data, min_side=10_000, limits=limits)
        except PictureError as error:
            return error
        labels, _ = ndimage.label((pixels < 230).any(axis=2))
        boxes = [Box(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(labels)]
        known = sorted((box for box in boxes if box.area >= self.least), key=lambda box: (-box.area, box))
        rejected = max((box.area for box in boxes if box.area < self.least), default=0)
        found = [Detection(box, min(0.99, box.area / 20_000), "even", (0.75, 0.25)) for box in known]
        return Found(tuple(found), min(0.2, rejected / 20_000))


class Means:
    """An embedder of 4 x 4 mean colours; the second of two spaces sees the picture upside down. Counts the calls."""

    dim = 48

    def __init__(self, space_id: str) -> None:
        self.space_id = space_id
        self.calls: list[int] = []

    def embed(self, images: Sequence[Any]) -> Any:
        self.calls.append(len(images))
        rows = [np.asarray(Image.fromarray(image).resize((4, 4), Image.Resampling.BOX), np.float32) for image in images]
        turned = [row[::-1] if self.space_id == "means-2" else row for row in rows]
        flat = np.stack(turned).reshape(len(images), -1) - np.float32(127.5)
        return (flat / np.linalg.norm(flat, axis=1, keepdims=True)).astype(np.float32)


@dataclass
class Models:
    """The stand-ins, as the code under test opens them by name."""

    detector: Blocks = field(default_factory=Blocks)
    embedders: dict[str, Means] = field(
        default_factory=lambda: {"one": Means("means-1"), "two": Means("means-2")},
    )
    gallery: Any = field(
        default_factory=lambda: SimpleNamespace(
            spec=SimpleNamespace(
                sha256=FRONT.gallery_sha256, categories=("even", "odd", "rare"), embedder="one", space_id="means-1"
            )
        )
    )
    decided: list[dict[str, Any]] = field(default_factory=list)
    """What `decide` was asked, call by call."""
    answers: dict[str, str] = field(default_factory=dict)
    """Category that `decide` predicts, by the hash of the pixels' vector; all others fall back."""

    def learn(self, pixels: Any, category: str) -> None:
        """Let `decide` know an object, in the gallery's space."""
        self.answers[self._key(self.embedders[self.gallery.spec.embedder].embed([pixels])[0])] = category

    def forget_calls(self) -> None:
        """Count the calls from 0 again."""
        for counts in (self.detector.calls, *(one.calls for one in self.embedders.values())):
            counts.clear()

    def decide(
        self,
        gallery: Any,
        vectors: Any,
        class_scores: Sequence[Mapping[str, float]],
        *,
        excluding: Sequence[Any],
        known: Sequence[str],
        fallback: str,
    ) -> list[Decision]:
        assert gallery is self.gallery
        assert list(excluding) == [None] * len(vectors)
        self.decided.append({"rows": len(vectors), "class_scores": list(class_scores), "known": tuple(known)})
        return [self._decision(self.answers.get(self._key(vector)), fallback) for vector in vectors]

    @staticmethod
    def _key(vector: Any) -> str:
        return hashlib.sha256(np.round(vector, 3).tobytes()).hexdigest()

    @staticmethod
    def _decision(category: str | None, fallback: str) -> Decision:
        votes = {} if category is None else {category: 0.75, "zebra": 0.25}
        return Decision(
            category=category or fallback,
            score=0.7,
            by="fallback" if category is None else "fusion",
            votes=votes,
            detector={},
            fused=votes,
            nearest=(),
            reason=f"it looks like {category}." if category else "it looks like nothing known.",
            declared="",
        )

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put the stand-ins where the code under test looks."""
        monkeypatch.setattr("pipeline.models.catalog.open_detector", {"blocks": self.detector}.__getitem__)

        def open_embedder(name: str, space_id: str | None = None) -> Any:
            return self.embedders[name.partition("@")[0]]

        monkeypatch.setattr("pipeline.models.catalog.open_embedder", open_embedder)
        monkeypatch.setattr("pipeline.serve.generation.open_embedder", open_embedder)
        monkeypatch.setattr("pipeline.category.gallery.open_gallery", {"blocks": self.gallery}.__getitem__)
        monkeypatch.setattr("pipeline.category.decision.decide", self.decide)


@dataclass(frozen=True)
class Item:
    """One indexed object."""

    id: int
    category: str
    data: bytes
    box: Box | None
    ordinal: int = 0

    @property
    def pixels(self) -> Any:
        """Cut out as the library cuts; a whole picture as it was before there were boxes."""
        if self.box is None:
            return decode_rgb(self.data, min_side=256, limits=LIMITS)
        return crop_object(self.data, self.box, margin=MARGIN, side=SIDE, limits=LIMITS)


MODEL_OF = {"even": "one", "odd": "two"}


def shelve(lake: Lake, items: Sequence[Item], models: Models) -> dict[str, CategoryIndex]:
    """Write pack, item table and index of each category."""
    return {
        category: _shelf(lake, category, [one for one in items if one.category == category], models)
        for category in sorted({one.category for one in items})
    }


def _shelf(lake: Lake, category: str, items: Sequence[Item], models: Models) -> CategoryIndex:
    embedder = models.embedders[MODEL_OF[category]]
    vectors = embedder.embed([one.pixels for one in items])
    quantizer = to_bytes(train_quantizer(vectors, nlist=1))
    index = build_shard(quantizer, np.array([one.id for one in items], np.int64), vectors)
    lake.write_bytes(f"{category}/index.faiss", index)
    lake.write_bytes(f"{category}/pictures.bin", b"".join(one.data for one in items))
    ends = np.cumsum([len(one.data) for one in items]).tolist()
    rows = [_row(one, f"{category}/pictures.bin", end - len(one.data)) for one, end in zip(items, ends, strict=True)]
    lake.write_table(f"{category}/items.parquet", pa.Table.from_pylist(rows))
    return CategoryIndex(
        model=f"{MODEL_OF[category]}@1",
        space_id=embedder.space_id,
        index_path=f"{category}/index.faiss",
        index_sha256=hashlib.sha256(index).hexdigest(),
        items_path=f"{category}/items.parquet",
        items_sha256=hashlib.sha256(lake.read_bytes(f"{category}/items.parquet")).hexdigest(),
        rows=len(items),
        nprobe=1,
    )


def _row(one: Item, pack: str, offset: int) -> dict[str, Any]:
    row = {
        "id": one.id,
        "picture": hashlib.sha256(one.data).hexdigest(),
        "group": f"g{one.id}",
        "title": f"Thing <{one.id}>",
        "first_day": dt.date(2026, 11, 1),
        "offers": [{"sku": f"s{one.id}", "merchant": "acme", "title": f"Thing <{one.id}>"}],
        "pack": pack,
        "offset": offset,
        "bytes": len(one.data),
    }
    return row if one.box is None else row | {"ordinal": one.ordinal, **one.box._asdict()}


def release(
    lake: Lake, entries: dict[str, CategoryIndex], front: QueryFront | None, ranking: RankSettings | None = None
) -> int:
    """Publish; return the number."""
    draft = ReleaseDraft(
        created_at=dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
        date=dt.date(2026, 11, 1),
        planid="p",
        verdict_id="v",
        categories=entries,
        front=front,
        ranking=ranking or RankSettings(),
    )
    return publish(Path(lake.full("")), draft).number


def box_of(place: tuple[int, int, int]) -> Box:
    """Return the box of a block."""
    left, top, side = place
    return Box(left, top, left + side, top + side)


@dataclass(frozen=True)
class Library:
    """A released library, and the folder of a project that searches it."""

    lake: Lake
    folder: Path
    items: dict[int, Item]
    models: Models
    generation: Generation

    def picture(self, name: str, data: bytes) -> Path:
        """Write a query."""
        path = self.folder / name
        path.write_bytes(data)
        return path


def make_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Release six pictures of two objects: the larger is `even` or `odd` as its number, the smaller the other way."""
    models = Models()
    models.use(monkeypatch)
    items: dict[int, Item] = {}
    for number in range(6):
        data = encoded(scene((number, *MAIN), (number + 50, *SECOND)))
        main, second = ("even", "odd") if number % 2 == 0 else ("odd", "even")
        items[number * 2 + 1] = Item(number * 2 + 1, main, data, box_of(MAIN))
        items[number * 2 + 2] = Item(number * 2 + 2, second, data, box_of(SECOND), ordinal=1)
    for item in items.values():
        models.learn(item.pixels, item.category)
    lake = Lake(str(folder / "lake"))
    entries = shelve(lake, list(items.values()), models)
    release(lake, entries, FRONT)
    (folder / "funnelgate.yaml").write_text("{}\n")
    models.forget_calls()
    return Library(lake, folder, items, models, Generation(lake, entries, FRONT))

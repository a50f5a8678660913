"""quality: leave out pictures that are too small, odd in shape, flat, blurred or broken. One scaled decode each."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from pipeline.images.decode import DecodeLimits, PictureError, decode_rgb, probe
from pipeline.images.quality import WORK_SIDE, QualityLimits, judge, measure
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, keep_rows, write_drops
from pipeline.tasks.pictures import iter_pictures


class Settings(BaseModel):
    """Limits of quality and of decoding."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limits: QualityLimits = Field(default_factory=QualityLimits)
    decode: DecodeLimits = Field(default_factory=DecodeLimits)


def run(leaf: LeafContext, settings: Settings) -> None:
    """Judge every picture of the package."""
    rows = leaf.read("download", "items")
    leaf.books.take(rows["item"].to_pylist())
    drops: list[Drop] = []
    for item, data in iter_pictures(leaf.lake, rows, drops):
        try:
            info = probe(data, settings.decode)
            measures = measure(info, decode_rgb(data, min_side=WORK_SIDE, limits=settings.decode))
        except PictureError as error:
            reason = error.reason if error.reason == "truncated" else "undecodable"
            drops.append((item, reason, str(error)))
            continue
        verdict = judge(measures, settings.limits)
        if verdict is not None:
            detail = (
                f"short side {measures.short_side} px, aspect {measures.aspect:.2f}, "
                f"contrast {measures.contrast:.1f}, sharpness {measures.sharpness:.1f}"
            )
            drops.append((item, verdict, detail))
    write_drops(leaf, drops)
    kept = keep_rows(rows, drops)
    leaf.write("items", kept)
    leaf.books.keep(kept["item"].to_pylist())

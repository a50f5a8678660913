"""The page about a trained detector: figures, the curve of the losses, and pictures of what it hits and misses."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image, ImageDraw, ImageFont

from pipeline.learn.config import DetectorConfig
from pipeline.learn.examine import BoxResult, Seen, matches
from pipeline.learn.training import Losses
from pipeline.models.spec import DetectorOutput, ModelSpec

_SHOWN = 12
_SIDE = 448
"""Pixels of a shown picture's longer side: smaller ones are enlarged, or what is written in them could not be read."""
# Of the Okabe-Ito palette, told apart by colour-blind eyes.
_TRUE, _RIGHT, _WRONG = (0, 114, 178), (0, 138, 103), (213, 94, 0)
_CURVE = (560, 160)


def write_report(
    path: Path,
    *,
    config: DetectorConfig,
    spec: ModelSpec,
    result: BoxResult,
    seen: Sequence[Seen],
    history: Sequence[Losses],
) -> Path:
    """Write one HTML file that needs no other; returns its path.

    The worst pictures are those with most true boxes missed and wrong boxes found at the model's threshold; the
    others are spread evenly over the test.
    """
    assert isinstance(spec.output, DetectorOutput)
    threshold = spec.output.score_thr
    ranked = sorted(range(len(seen)), key=lambda place: (-_faults(seen[place], threshold), place))
    step = max(1, len(seen) // _SHOWN)
    sections = [
        ("Worst pictures", [_shown(seen[place], threshold) for place in ranked[:_SHOWN]]),
        ("Pictures spread over the test", [_shown(one, threshold) for one in seen[::step][:_SHOWN]]),
    ]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("detector_report.html.j2").render(
        spec=spec,
        output=spec.output,
        config=config.model_dump(mode="json", exclude_none=True),
        result=result.model_dump(mode="json"),
        sections=sections,
        curves=_curves(history),
        size=_CURVE,
        epochs=len(history),
        colours={"true": _TRUE, "right": _RIGHT, "wrong": _WRONG},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _above(one: Seen, threshold: float) -> Seen:
    return one._replace(found=one.found._replace(objects=tuple(o for o in one.found.objects if o.score >= threshold)))


def _faults(one: Seen, threshold: float) -> int:
    """Count missed true boxes and wrong found ones."""
    kept = _above(one, threshold)
    right = matches(kept.scene, kept.found)
    return len(kept.scene.boxes) - sum(right) + right.count(False)


def _shown(one: Seen, threshold: float) -> dict[str, Any]:
    kept = _above(one, threshold)
    right = matches(kept.scene, kept.found)
    image, scale = _enlarged(Image.fromarray(kept.scene.image))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    for true in kept.scene.boxes:
        pen.rectangle(_outline(true, scale), outline=_TRUE, width=5)
    for found, is_right in zip(kept.found.objects, right, strict=True):
        x0, y0, x1, y1 = _outline(found.box, scale)
        pen.rectangle((x0, y0, x1, y1), outline=_RIGHT if is_right else _WRONG, width=2)
        text = f"{found.label} {found.score:.2f}".strip()
        across = pen.textlength(text, font=font) + 6
        left, top = max(0.0, min(x0, image.width - across)), max(0.0, y0 - 18)
        pen.rectangle((left, top, left + across, top + 18), fill=_RIGHT if is_right else _WRONG)
        pen.text((left + 3, top + 1), text, fill="white", font=font)
    return {
        "name": kept.scene.name,
        "image": _inline(image),
        "there": len(kept.scene.boxes),
        "right": sum(right),
        "wrong": right.count(False),
    }


def _enlarged(picture: Image.Image) -> tuple[Image.Image, float]:
    """Return the picture with a longer side of 448 px, and by what it was enlarged."""
    scale = _SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC), scale


def _outline(box: Iterable[float], scale: float) -> tuple[float, float, float, float]:
    """Return the corners of a box's first and last pixel in the enlarged picture."""
    x0, y0, x1, y1 = (float(side) * scale for side in box)
    return x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)


def _inline(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _curves(history: Sequence[Losses]) -> list[dict[str, Any]]:
    """Return for each loss its name, first and last value, and the points of its line, scaled to its own greatest."""
    width, height = _CURVE
    curves = []
    for name in ("heat", "box", "kind"):
        values = [float(getattr(one, name)) for one in history]
        top = max(values, default=0.0)
        if top <= 0:
            continue
        across = width / max(1, len(values) - 1)
        points = [(round(place * across, 1), round(height * (1 - v / top), 1)) for place, v in enumerate(values)]
        label = "class" if name == "kind" else name
        curves.append({"name": label, "points": points, "last": f"{values[-1]:.3f}", "first": f"{values[0]:.3f}"})
    return curves

"""The page about a trained detector: figures, the curve of the losses, and pictures of what it hits and misses."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image, ImageDraw

from pipeline.learn.config import DetectorConfig
from pipeline.learn.examine import BoxResult, Seen, matches
from pipeline.learn.training import Losses
from pipeline.models.spec import DetectorOutput, ModelSpec

_SHOWN = 12
_TRUE, _RIGHT, _WRONG = (47, 111, 223), (22, 140, 62), (214, 40, 40)
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
    image = Image.fromarray(kept.scene.image)
    draw = ImageDraw.Draw(image)
    for box in kept.scene.boxes:
        draw.rectangle([float(box[0]), float(box[1]), float(box[2]) - 1, float(box[3]) - 1], outline=_TRUE, width=1)
    for found, is_right in zip(kept.found.objects, right, strict=True):
        colour = _RIGHT if is_right else _WRONG
        x0, y0, x1, y1 = found.box
        draw.rectangle([x0, y0, x1 - 1, y1 - 1], outline=colour, width=2)
        draw.text((x0 + 3, y0 + 1), f"{found.label} {found.score:.2f}".strip(), fill=colour)
    return {
        "name": kept.scene.name,
        "image": _inline(image),
        "there": len(kept.scene.boxes),
        "right": sum(right),
        "wrong": right.count(False),
    }


def _inline(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.thumbnail((384, 384))
    image.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _curves(history: Sequence[Losses]) -> list[dict[str, str]]:
    """Return for each loss its name, its last value, and the points of its line, each scaled to its own greatest."""
    width, height = _CURVE
    curves = []
    for name in ("heat", "box", "kind"):
        values = [float(getattr(one, name)) for one in history]
        top = max(values, default=0.0)
        if top <= 0:
            continue
        across = width / max(1, len(values) - 1)
        points = " ".join(f"{place * across:.1f},{height * (1 - v / top):.1f}" for place, v in enumerate(values))
        label = "class" if name == "kind" else name
        curves.append({"name": label, "points": points, "last": f"{values[-1]:.3f}", "first": f"{values[0]:.3f}"})
    return curves

"""Boxes drawn into a picture, each with its label and score: for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from pipeline.images.decode import Scaled
from pipeline.models.detections import Detection

# Of the Okabe-Ito palette, told apart by colour-blind eyes; the darker ones, on which white text is legible.
_COLOURS = ((0, 114, 178), (213, 94, 0), (0, 138, 103), (160, 70, 130), (70, 70, 70))
_FONT_SHARE = 40
"""The longer side holds so many lines of text."""


def draw_boxes(picture: Scaled, objects: Sequence[Detection]) -> Image.Image:
    """Return the decoded picture with the boxes on it; the best object is drawn last, over the others.

    Args:
        picture: as decoded, at any scale; not changed.
        objects: boxes in pixels of the upright original.
    """
    image = Image.fromarray(picture.image)
    size = max(11, max(image.size) // _FONT_SHARE)
    pen, font, line = ImageDraw.Draw(image), ImageFont.load_default(size), max(2, size // 7)
    for place, one in reversed(list(enumerate(objects))):
        colour = _COLOURS[place % len(_COLOURS)]
        x0, x1 = ((x + picture.left) / picture.scale for x in (one.box.x0, one.box.x1))
        y0, y1 = ((y + picture.top) / picture.scale for y in (one.box.y0, one.box.y1))
        pen.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=line)
        text = f"{one.label} {one.score:.2f}".strip()
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        at_x = max(0.0, min(x0, image.width - right + left - 2 * line))
        at_y = y0 - bottom + top - 2 * line if y0 >= bottom - top + 2 * line else y0
        pen.rectangle((at_x, at_y, at_x + right - left + 2 * line, at_y + bottom - top + 2 * line), fill=colour)
        pen.text((at_x + line - left, at_y + line - top), text, fill="white", font=font)
    return image

"""What a detector answers: boxes in pixels of the upright picture, each with a score and what it looks like."""

from __future__ import annotations

from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle of whole pixels: x0 <= x < x1, y0 <= y < y1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """Pixels from left to right; 0 or less for a box that holds nothing."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Pixels from top to bottom; 0 or less for a box that holds nothing."""
        return self.y1 - self.y0

    @property
    def area(self) -> int:
        """Pixels; 0 for a box that holds nothing."""
        return max(0, self.width) * max(0, self.height)

    def iou(self, other: Box) -> float:
        """Return intersection over union, in [0, 1]; 0 where either box holds nothing.

        Example:
            >>> Box(0, 0, 2, 2).iou(Box(1, 0, 3, 2))
            0.3333333333333333
        """
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        shared = max(0, width) * max(0, height)
        return shared / (self.area + other.area - shared) if shared else 0.0


class Detection(NamedTuple):
    """One object of a picture."""

    box: Box
    """In pixels of the upright original, within the picture, never empty."""
    score: float
    """How sure the detector is that an object is there, in [0, 1]."""
    label: str
    """The likeliest class; "" where the detector knows no classes."""
    class_scores: tuple[float, ...]
    """Calibrated probabilities in the order of the spec's classes; () where it knows none."""


class Found(NamedTuple):
    """What a detector found in one picture."""

    objects: tuple[Detection, ...]
    """By falling score, ties by box."""
    best_rejected: float
    """The best score of a candidate below the threshold; 0 where there was none above the floor either."""

"""From a detector's heads to objects: candidates, suppression of repeats, thresholds, classes. Pure numpy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.models.boxes import Frame, best_first, has_area, suppress, whole_first, whole_pixels
from pipeline.models.detections import Box, Detection, Found
from pipeline.models.session import Float32
from pipeline.models.spec import DetectorOutput


class Heads(NamedTuple):
    """What a session answers for one picture with M cells."""

    boxes: Float32
    """(M, 4) x0, y0, x1, y1 in input pixels, finite."""
    scores: Float32
    """(M, 1), or (M, classes) where each class has a heat map of its own; 0..1."""
    logits: Float32
    """(M, classes), or (M, 0) where there are none."""


def found_in(heads: Heads, frame: Frame, output: DetectorOutput) -> Found:
    """Return the objects of one picture: candidates, best first, without repeats, above the threshold.

    Candidates are all cells (and classes, where each has a heat map) that score at least `floor` and whose box, clipped
    to the picture and brought to whole pixels, holds one. The best `pre_nms` go through the suppression (class by
    class, where each has a heat map), wholes go before their parts (`whole_ratio`), and what is left scores at least
    `score_thr`, or is rejected. Of equal scores the box with the smaller x0, y0, x1, y1 is first; the network's order
    decides nothing but that of equal boxes.

    Args:
        heads: of finite numbers, scores in 0..1.
        frame: from input pixels to the picture's.
        output: floor, pre_nms, nms_iou, whole_ratio, score_thr, topk, temperature and classes.
    """
    cells, maps = np.nonzero(heads.scores >= output.floor)
    boxes = whole_pixels(frame.to_picture(heads.boxes[cells]), frame.width, frame.height)
    held = has_area(boxes)
    cells, maps, boxes = cells[held], maps[held], boxes[held]
    scores = heads.scores[cells, maps]
    order = best_first(scores, boxes)[: output.pre_nms]
    order = order[suppress(boxes[order], output.nms_iou, groups=maps[order])]
    ranked = scores[order]
    if output.whole_ratio is not None:
        # Only with a score near the threshold's can a box change places with one above it.
        near = int(np.count_nonzero(ranked >= output.whole_ratio * output.score_thr))
        order[:near] = order[:near][whole_first(boxes[order[:near]], ranked[:near], output.whole_ratio)]
    accepted = ranked >= output.score_thr
    objects = []
    for place, score in list(zip(order[accepted], ranked[accepted], strict=True))[: output.topk]:
        label, shares = _classified(heads, int(cells[place]), int(maps[place]), output)
        objects.append(Detection(Box(*boxes[place].tolist()), float(score), label, shares))
    return Found(tuple(objects), float(ranked[~accepted].max(initial=0.0)))


def _classified(heads: Heads, cell: int, heat_map: int, output: DetectorOutput) -> tuple[str, tuple[float, ...]]:
    """Return the class of a candidate and the probabilities of all: a softmax, or the heats' shares of their sum."""
    if output.heat == "per_class":
        heats = heads.scores[cell].astype(np.float64)
        return output.classes[heat_map], tuple((heats / max(heats.sum(), np.finfo(float).tiny)).tolist())
    if not output.classes:
        return "", ()
    logits = heads.logits[cell].astype(np.float64) / output.temperature
    weights = np.exp(logits - logits.max())
    return output.classes[int(np.argmax(logits))], tuple((weights / weights.sum()).tolist())

"""Detectors and whole systems side by side: is the main object found, and is it put into its category?

The measures of vision.md (9): results that a person collected, of one's own versions, open detectors or competitors.
A picture that a file does not answer is a miss in each of them, and counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from evaluation.categories import CategoryResult, measure_categories
from evaluation.compare import Comparison, compare
from evaluation.comparing.box_files import Detector, FoundObject, TrueObject
from evaluation.comparing.columns import Columns, SystemColumns, unique_names
from evaluation.detection import Found, Truth, found_boxes, main_object, true_boxes
from reporting.errors import DataError, UsageError

HIT, CATEGORY, BOTH = "main_object_hit", "category", "main_object_and_category"
METRICS = (HIT, CATEGORY, BOTH)
"""IoU of the top box with the labelled one >= .5; the category is the labelled one; both. Each 0 or 1 a picture."""


class BoxComparison(BaseModel):
    """Detectors compared.

    Attributes:
        comparison: Intervals, tests, slices by category, flips.
        categories: Accuracy by category and what is mistaken for what, of each detector. Its intervals and McNemar's
            tests take pictures for independent; those of `comparison` know of clusters.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    comparison: Comparison
    categories: CategoryResult


def compare_boxes(truth: Sequence[TrueObject], detectors: Sequence[Detector], given: Sequence[str]) -> BoxComparison:
    """Compare detectors on the same pictures.

    Args:
        truth: One main object a picture.
        detectors: At least two.
        given: How the user named each.

    Raises:
        UsageError: Fewer than two detectors.
        DataError: A detector knows none of the pictures.
    """
    columns = columns_of_boxes(truth, detectors, given)
    answers = {
        system.name: [_category(detector, one) for one in truth]
        for system, detector in zip(columns.systems, detectors, strict=True)
    }
    return BoxComparison(
        comparison=compare(columns), categories=measure_categories([one.category for one in truth], answers)
    )


def columns_of_boxes(truth: Sequence[TrueObject], detectors: Sequence[Detector], given: Sequence[str]) -> Columns:
    """Put detectors side by side; as `compare_boxes`."""
    if len(detectors) < 2:
        raise UsageError(f"{len(detectors)} detectors; expected two or more to compare")
    names = unique_names([one.name for one in detectors], given)
    categories = sorted({one.category for one in truth})
    everything = np.ones(len(truth), np.bool_)
    masks = {f"category={name}": np.array([one.category == name for one in truth], np.bool_) for name in categories}
    return Columns(
        about=f"{len(truth)} pictures with a labelled main object",
        questions=tuple(one.image_id for one in truth),
        clusters=tuple(one.cluster or one.image_id for one in truth),
        slices={"all": everything, **masks},
        shares=frozenset(METRICS),
        systems=tuple(_system(truth, one, name) for one, name in zip(detectors, names, strict=True)),
        tested=METRICS,
    )


def _system(truth: Sequence[TrueObject], detector: Detector, name: str) -> SystemColumns:
    found = [detector.found.get(one.image_id) for one in truth]
    unknown = sorted(detector.found.keys() - {one.image_id for one in truth})
    if len(unknown) == len(detector.found):
        raise DataError(
            f"{detector.name}: none of its {len(unknown)} pictures ({unknown[0]!r}, ...) is in the truth "
            f"({truth[0].image_id!r}, ...); it answers other pictures, or names them otherwise"
        )
    hits = np.array([_hits(one, other) for one, other in zip(truth, found, strict=True)], np.float64)
    right = np.array([_category(detector, one) == one.category for one in truth], np.float64)
    counts = {
        "missing": sum(one is None for one in found),
        "nothing_found": sum(one is not None and one.top1_box is None for one in found),
        "no_category": sum(one is not None and not one.category for one in found),
        "unknown_pictures": len(unknown),
    }
    said = "\n".join("" if one is None else one.model_dump_json(include={"top1_box", "category"}) for one in found)
    return SystemColumns(
        name=name,
        values={HIT: hits, CATEGORY: right, BOTH: hits * right},
        answered=np.array([one is not None for one in found], np.bool_),
        lists=hashlib.sha256(said.encode()).hexdigest(),
        seconds=np.array([np.nan if one is None or one.seconds is None else one.seconds for one in found], np.float64),
        inputs={"file": detector.sha256},
        notes={what: count for what, count in counts.items() if count},
    )


def _category(detector: Detector, one: TrueObject) -> str:
    found = detector.found.get(one.image_id)
    return "" if found is None else found.category or ""


def _hits(one: TrueObject, found: FoundObject | None) -> bool:
    if found is None or found.top1_box is None:
        return False
    true = true_boxes([Truth([one.main_box], [one.category])])[0]
    return main_object(true, found_boxes([Found([found.top1_box], [1.0], [found.category or ""])])[0]).is_hit

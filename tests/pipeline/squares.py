"""Pictures with any number of objects, and the detector that finds exactly those."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.models.detections import Box
from pipeline.models.spec import SPEC_NAME
from tests.pipeline.project import Project, new_project, row

DETECTOR = Path(__file__).parent / "models" / "square-detector"
"""Made by `make_square_detector.py`; a cell's score is the difference of its red and its blue, 0 to 1."""
GRID, CELL = 8, 16
THRESHOLD = 0.5


def squares(number: int, scores: Mapping[int, float], side: int = GRID * CELL) -> Image.Image:
    """Return picture `number`: 8 x 8 grey blocks, of which some are coloured.

    Args:
        number: gives the grey blocks; any two numbers look different.
        scores: cell (0 to 63, row by row) to the score the detector gives it: red, or blue where it is negative.
        side: of the picture; a multiple of 8.
    """
    cells = np.random.default_rng(number).integers(0, 256, GRID * GRID)
    blocks = np.stack([cells] * 3, axis=1).astype(np.uint8)
    for cell, score in scores.items():
        strong = round(abs(score) * 255)
        blocks[cell] = (strong, 0, 0) if score > 0 else (0, 0, strong)
    picture = Image.fromarray(blocks.reshape(GRID, GRID, 3))
    return picture.resize((side, side), Image.Resampling.NEAREST)


def box_of(cell: int, side: int = GRID * CELL) -> Box:
    """Return where a cell lies in a picture of that side."""
    step, x, y = side // GRID, cell % GRID, cell // GRID
    return Box(x * step, y * step, (x + 1) * step, (y + 1) * step)


def many(count: int, score: float = 1.0) -> dict[int, float]:
    """Return `count` cells of one score, spread over the picture."""
    return {cell * 37 % (GRID * GRID): score for cell in range(count)}


def square_project(folder: Path, *, package_items: int = 10, **options: Any) -> Project:
    """Make an empty project that looks for squares."""
    project = new_project(folder, package_items=package_items, **options)
    project.configure(detect={"detector": str(DETECTOR)})
    return project


def drawn_rows(project: Project, pictures: Mapping[int, Mapping[int, float]], **changes: str) -> list[dict[str, str]]:
    """Write pictures (number to the scores of their cells) and return a manifest row for each, sku `sNUMBER`."""
    return [
        row(project.picture(f"{number}.png", squares(number, scores)), f"s{number}", **changes)
        for number, scores in pictures.items()
    ]


def another_version(folder: Path, version: int = 2, **output: Any) -> Path:
    """Copy the detector as a newer version, with other thresholds if given."""
    shutil.copytree(DETECTOR, folder)
    spec = json.loads((folder / SPEC_NAME).read_text())
    spec["version"] = version
    spec["output"] |= output
    (folder / SPEC_NAME).write_text(json.dumps(spec))
    return folder

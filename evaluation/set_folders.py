"""Labelled folders as sources of an evaluation set: the folders' names are the labels.

Pictures (queries as well as the catalogue) lie as `CATEGORY/GROUP/picture` or as `GROUP/picture`, one way throughout.
Distractors lie under `same_style/` and `noise/`, there as `CATEGORY/GROUP/picture`, `CATEGORY/picture` or `picture`;
without a group's name each picture is a group of its own. Hidden files and files that are no pictures are left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from evaluation.catalog import Role
from evaluation.set_tables import Row
from reporting.errors import DataError, nearest

PICTURES: Final = frozenset(
    (".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
)
"""Endings of what counts as a picture, in any case of letters."""
NO_CATEGORY: Final = "all"
"""Category of distractors that lie in no category's folder, and of everything where nothing names a category."""
_LAYOUTS: Final = "CATEGORY/GROUP/picture or GROUP/picture"


def labelled_rows(folder: Path) -> Iterator[Row]:
    """Yield a row (path, group_id and, in three levels, category) for each picture, by path.

    Raises:
        DataError: No folder, no picture in it, or pictures at another depth or at two depths.
    """
    depths: dict[int, Path] = {}
    for picture, parts in _pictures(folder):
        depths.setdefault(len(parts), picture)
        if len(parts) not in (1, 2) or len(depths) > 1:
            others = f"; {next(iter(depths.values()))} lies {next(iter(depths))} deep" if len(depths) > 1 else ""
            raise DataError(
                f"{picture}: lies {len(parts)} folders deep in {folder}{others}; expected {_LAYOUTS} throughout"
            )
        labels = dict(zip(("group_id", "category"), reversed(parts), strict=False))
        yield Row(str(picture), {"path": str(picture.relative_to(folder)), **labels})


def distractor_rows(folder: Path) -> Iterator[Row]:
    """Yield a row (path, role, category and, where a folder names it, group_id) for each distractor, by path.

    Raises:
        DataError: No folder, no picture in it, or one that lies elsewhere than the layouts say.
    """
    roles = (Role.SAME_STYLE.value, Role.NOISE.value)
    for picture, parts in _pictures(folder):
        if not parts or parts[0] not in roles:
            hint = nearest(parts[0], roles) if parts else f"expected one of: {', '.join(roles)}"
            raise DataError(f"{picture}: a folder of {folder} must say which distractor it is; {hint}")
        if len(parts) > 3:
            raise DataError(f"{picture}: lies {len(parts)} folders deep; expected {parts[0]}/CATEGORY/GROUP/picture")
        labels = dict(zip(("category", "group_id"), parts[1:], strict=False))
        yield Row(
            str(picture),
            {"path": str(picture.relative_to(folder)), "role": parts[0], "category": NO_CATEGORY, **labels},
        )


def _pictures(folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield every picture with the names of the folders between `folder` and it."""
    if not folder.is_dir():
        raise DataError(f"{folder}: is no folder; give one that holds {_LAYOUTS}")
    found = False
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        parts = Path(here).relative_to(folder).parts
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in PICTURES:
                found = True
                yield Path(here) / name, parts
    if not found:
        raise DataError(f"{folder}: holds no picture ({', '.join(sorted(PICTURES))}); expected {_LAYOUTS}")

"""The list of labelled pictures that a reference gallery is built from."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from pipeline.category.gallery import LabelledRow
from reporting.errors import DataError, nearest

REQUIRED_COLUMNS = ("path", "category", "group")
COLUMNS = (*REQUIRED_COLUMNS, "merchant", "sku")


def read_labels(path: Path) -> list[tuple[Path, LabelledRow]]:
    """Read a list of labelled pictures: CSV with the columns path, category, group and, at will, merchant and sku.

    Returns:
        Each picture's file (a relative one lies beside the list) and what it shows. The category is written as a
        source's category is: as a key part.

    Raises:
        DataError: with file and line: a column is missing or unknown, or a row has no path, category or group.
    """
    from pipeline.tasks.categorise import category_name

    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            _check_columns(path, reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; name a CSV of {', '.join(COLUMNS)}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV in UTF-8: {error}") from error
    found = []
    for line, row in rows:
        cells = {name: (row.get(name) or "").strip() for name in COLUMNS}
        category = category_name(cells["category"], "")
        missing = [name for name in REQUIRED_COLUMNS if not cells[name]] or ([] if category else ["category"])
        if missing or None in row:
            what = f"no {', '.join(missing)}" if missing else "more cells than columns"
            raise DataError(f"{path}:{line}: {what}; each row needs {', '.join(REQUIRED_COLUMNS)}")
        label = LabelledRow(category, cells["group"], cells["merchant"], cells["sku"])
        found.append((path.parent / cells["path"], label))
    if not found:
        raise DataError(f"{path}: no rows; label at least two products of each category")
    return found


def _check_columns(path: Path, names: Sequence[str]) -> None:
    for name in names:
        if name not in COLUMNS:
            raise DataError(f"{path}:1: unknown column {name!r}; {nearest(name, COLUMNS)}")
    missing = [name for name in REQUIRED_COLUMNS if name not in names]
    if missing:
        raise DataError(f"{path}:1: missing column {', '.join(missing)}; expected {', '.join(COLUMNS)}")

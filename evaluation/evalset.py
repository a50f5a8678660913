"""Labelled queries: a picture and the product group that it shows."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from evaluation.catalog import Catalog
from reporting.errors import DataError, nearest

COLUMNS = ("path", "group", "category")


class LabelledQuery(BaseModel):
    """One labelled query.

    Attributes:
        path: The picture, as written in the file; names the query in reports.
        group: The product group that counts as found.
        category: True category.
        sha256: Of the picture's bytes: a hit on this very picture is dropped as a self-match.
        line: Where it stands in the file, from 2 (the header is line 1).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(min_length=1)
    group: str = Field(min_length=1)
    category: str = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    line: int = Field(ge=2)


class EvalSet(BaseModel):
    """A labelled set.

    Attributes:
        name: File name without its ending.
        source: The file, as given.
        root: Folder that the pictures' paths start from.
        sha256: Of the content (labels and picture bytes), whatever the order of lines or the place of files.
        queries: At least one, in order of the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: Path
    root: Path
    sha256: str
    queries: tuple[LabelledQuery, ...] = Field(min_length=1)

    def picture(self, query: LabelledQuery) -> bytes:
        """Read a query's picture.

        Raises:
            DataError: The file is gone, or its bytes are not those that were labelled.
        """
        data = _read(self.root, query.path, f"{self.source}:{query.line}")
        if hashlib.sha256(data).hexdigest() != query.sha256:
            raise DataError(
                f"{self.source}:{query.line}: {query.path} has changed since the set was loaded; load it again"
            )
        return data


def load_evalset(source: Path, *, root: Path | None = None) -> EvalSet:
    """Load labelled queries from a UTF-8 CSV file with a header and the columns path, group and category.

    Every picture is read once for its hash.

    Args:
        source: The CSV file.
        root: Folder that paths are relative to, and that none may leave; default the file's own.

    Raises:
        DataError: "file:line: ..." for a missing or unknown column, an empty value, too many or too few
            fields, a picture given twice, a picture missing or outside `root`; also for a set without queries.
    """
    folder = source.parent if root is None else root
    queries: list[LabelledQuery] = []
    seen: dict[str, int] = {}
    for line, row in _rows(source):
        where = f"{source}:{line}"
        digest = hashlib.sha256(_read(folder, row["path"], where)).hexdigest()
        if digest in seen:
            raise DataError(
                f"{where}: {row['path']} is the picture of line {seen[digest]} again; a query has one label"
            )
        seen[digest] = line
        queries.append(LabelledQuery(**row, sha256=digest, line=line))
    if not queries:
        raise DataError(f"{source}: holds no query; an empty set proves nothing")
    return EvalSet(name=source.stem, source=source, root=folder, sha256=_content_hash(queries), queries=tuple(queries))


def require_known_groups(evalset: EvalSet, catalog: Catalog) -> None:
    """Raise if a label points to no group of the catalogue of record.

    Raises:
        DataError: Names the first such line.
    """
    unknown = [query for query in evalset.queries if query.group not in catalog.images_by_group]
    if unknown:
        first = unknown[0]
        hint = nearest(first.group, list(catalog.images_by_group)) if len(catalog.images_by_group) <= 10_000 else ""
        raise DataError(
            f"{evalset.source}:{first.line}: {len(unknown)} of {len(evalset.queries)} labels point to groups that"
            f" the catalogue does not have, first {first.group!r}; {hint or 'mend the label or the catalogue'}"
        )


def _rows(source: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and fields of each row, validated but for the picture."""
    try:
        with source.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, None)
            if header is None:
                raise DataError(f"{source}:1: is empty; expected the header {','.join(COLUMNS)}")
            _check_header(source, header)
            for fields in reader:
                where = f"{source}:{reader.line_num}"
                if not fields:  # a blank line
                    continue
                if len(fields) != len(header):
                    raise DataError(f"{where}: has {len(fields)} fields, expected {len(header)} as in the header")
                row = dict(zip(header, (field.strip() for field in fields), strict=True))
                empty = [name for name in COLUMNS if not row[name]]
                if empty:
                    raise DataError(f"{where}: {empty[0]} is empty; each query needs {', '.join(COLUMNS)}")
                yield reader.line_num, row
    except FileNotFoundError as error:
        raise DataError(f"{source}: does not exist; give a CSV file with {','.join(COLUMNS)}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{source}:{reader.line_num}: is no CSV: {error}; quote the field") from error


def _check_header(source: Path, header: list[str]) -> None:
    for name in header:
        if name not in COLUMNS or header.count(name) > 1:
            raise DataError(f"{source}:1: unknown or repeated column {name!r}; {nearest(name, COLUMNS)}")
    for name in COLUMNS:
        if name not in header:
            raise DataError(f"{source}:1: column {name} is missing; expected {','.join(COLUMNS)}")


def _read(root: Path, path: str, where: str) -> bytes:
    """Read a picture that must lie under the root, after symbolic links."""
    try:
        target = (root / path).resolve()
        if target.is_relative_to(root.resolve()):
            return target.read_bytes()
    # RuntimeError: a loop of symbolic links (before Python 3.13); ValueError: a NUL in the name
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{where}: picture {path!r} cannot be read: {error}; mend the path") from error
    raise DataError(f"{where}: {path} lies outside {root}; give another root or move the picture")


def _content_hash(queries: list[LabelledQuery]) -> str:
    rows = sorted([query.sha256, query.group, query.category] for query in queries)
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()

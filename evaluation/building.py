"""Build an evaluation set from what people have: labelled folders, CSV or Parquet tables, other sets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from evaluation.catalog import CatalogImage
from evaluation.evalset import EvalSet, Gallery, Label, Query
from evaluation.set_content import evalset_of
from evaluation.set_files import is_set, load_set
from evaluation.set_folders import distractor_rows, labelled_rows
from evaluation.set_pictures import NearHash, PictureRoot
from evaluation.set_rows import Sourced, catalog_image, completed, draft_of, label_of, merged
from evaluation.set_tables import CATALOG_COLUMNS, LABEL_COLUMNS, QUERY_COLUMNS, read_table
from reporting.errors import DataError

Rooted = TypeVar("Rooted", Query, CatalogImage)


@dataclass(frozen=True, slots=True)
class Sources:
    """What a set is built from.

    Attributes:
        queries: A labelled folder (see set_folders.py) or a table with the columns path or query_id, group and
            category, and those of `QUERY_COLUMNS` that are known. A query with several labels has several rows.
        labels: A table query_id, group, grade ... of labels that the queries' source does not hold.
        catalog: Tables with the columns image_id or path, group and category, and those of `CATALOG_COLUMNS`.
        gallery_from: Labelled folders of the catalogue's pictures, or sets whose catalogue is taken over.
        distractors: Folders (see set_folders.py) or tables with the columns of the catalogue, role among them.
        root: Folder that the tables' pictures lie under, and from which paths start that lead nowhere from their own
            table. None: each table's own folder.
    """

    queries: Path
    labels: Path | None = None
    catalog: tuple[Path, ...] = ()
    gallery_from: tuple[Path, ...] = ()
    distractors: tuple[Path, ...] = ()
    root: Path | None = None


def build_set(sources: Sources, *, name: str, gallery: Gallery, near_hash: NearHash | None = None) -> EvalSet:
    """Read the sources. The set's root is `sources.root` if all of its pictures lie there, else where they all lie.

    Args:
        sources: What to read.
        name: Of the set.
        gallery: What should be findable, and from which world.
        near_hash: Makes the perceptual hash of each picture that is read; None: only those in the sources are used.

    Raises:
        DataError: `file:line: ...`: a source cannot be read, a value is wrong, rows of a query disagree, or no source
            holds queries or a catalogue. What is wrong with the set as a whole is said by `validate`.
    """
    rows = list(_query_rows(sources, near_hash))
    image_rows = list(_image_rows(sources, near_hash))
    taken = [image for folder in sources.gallery_from if is_set(folder) for image in _taken_over(folder)]
    if not image_rows and not taken:
        raise DataError(f"{sources.queries}: there is no catalogue; give --catalog FILE or --gallery-from FOLDER")
    categories = completed(image_rows, rows, {image.group_id: image.category for image in taken})
    read = (catalog_image(source, categories) for source in image_rows)
    images = [*(image for image in read if image is not None), *taken]
    queries, labels = _labelled(sources, rows, categories)
    root = _root_of(sources, [*(query.path for query in queries), *(image.path for image in images)])
    return evalset_of(name, _moved(queries, root), labels, _moved(images, root), gallery, root=root)


def labelled_queries(
    sources: Sources, *, near_hash: NearHash | None = None
) -> tuple[list[Query], list[Label], Path | None]:
    """Return only the queries and labels of the sources, for a catalogue that comes from elsewhere, and their root.

    Raises:
        DataError: As `build_set`.
    """
    rows = list(_query_rows(sources, near_hash))
    queries, labels = _labelled(sources, rows, completed((), rows, {}))
    root = _root_of(sources, [query.path for query in queries])
    return _moved(queries, root), labels, root


def _labelled(
    sources: Sources, rows: Sequence[Sourced], categories: Mapping[str, str]
) -> tuple[list[Query], list[Label]]:
    if not rows:
        raise DataError(f"{sources.queries}: holds no query; an empty set proves nothing")
    drafts = [draft_of(source, categories) for source in rows]
    labels = [draft.label for draft in drafts if draft.label is not None]
    if sources.labels is not None:
        table = read_table(sources.labels, LABEL_COLUMNS, required=("query_id", "group_id"))
        labels += [label_of(row, row.text("query_id")) for row in table]
    return merged(drafts, labels), labels


def _query_rows(sources: Sources, near_hash: NearHash | None) -> Iterator[Sourced]:
    root = _picture_root(sources.queries, sources.root, near_hash)
    if sources.queries.is_dir():
        yield from (Sourced(row, root, labelled=False) for row in labelled_rows(sources.queries))
        return
    required = ("category",) if sources.labels is not None else ("group_id", "category")
    table = read_table(sources.queries, QUERY_COLUMNS, required=required, one_of=("query_id", "path"))
    yield from (Sourced(row, root) for row in table)


def _image_rows(sources: Sources, near_hash: NearHash | None) -> Iterator[Sourced]:
    named = ("image_id", "path")
    for table in sources.catalog:
        root = _picture_root(table, sources.root, near_hash)
        for row in read_table(table, CATALOG_COLUMNS, required=("group_id", "category"), one_of=named):
            yield Sourced(row, root)
    folders = [folder for folder in sources.gallery_from if not is_set(folder)]
    for folder in folders:
        root = _picture_root(folder, sources.root, near_hash)
        named_by = f"{folder.resolve().name}/" if len(folders) > 1 and root.root == folder else ""
        yield from (Sourced(row, root, named_by, labelled=False) for row in labelled_rows(folder))
    for source in sources.distractors:
        root = _picture_root(source, sources.root, near_hash)
        if source.is_dir():
            named_by = "distractors/" if root.root == source else ""
            yield from (Sourced(row, root, named_by) for row in distractor_rows(source))
        else:
            rows = read_table(source, CATALOG_COLUMNS, required=("role", "category"), one_of=named)
            yield from (Sourced(row, root) for row in rows)


def _picture_root(source: Path, root: Path | None, near_hash: NearHash | None) -> PictureRoot:
    """Return where a source's pictures lie; a folder that is given may lie outside the root of the tables."""
    here = source if source.is_dir() else source.parent
    if root is None or (source.is_dir() and not source.resolve().is_relative_to(root.resolve())):
        return PictureRoot(here, here, near_hash)
    return PictureRoot(root, here, near_hash)


def _taken_over(folder: Path) -> Iterator[CatalogImage]:
    """Yield the catalogue of another set, paths absolute."""
    found = load_set(folder)
    for image in found.catalog:
        path = str(found.root / image.path) if found.root is not None and image.path else ""
        yield image.model_copy(update={"path": path})


def _root_of(sources: Sources, paths: Iterable[str]) -> Path | None:
    """Return the folder that the set's paths start from; None if no picture's place is known."""
    folders = {Path(path).parent for path in paths if path}
    root = None if sources.root is None else sources.root.resolve()
    if root is not None and all(folder.is_relative_to(root) for folder in folders):
        return root
    return Path(os.path.commonpath(folders)) if folders else None


def _moved(rows: Sequence[Rooted], root: Path | None) -> list[Rooted]:
    """Return rows with their paths relative to the root."""
    if root is None:
        return list(rows)
    return [
        row.model_copy(update={"path": Path(os.path.relpath(row.path, root)).as_posix()}) if row.path else row
        for row in rows
    ]

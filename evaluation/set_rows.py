"""From rows of a source to the typed rows of a set; every error names the row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from evaluation.catalog import CatalogImage
from evaluation.evalset import Label, Query
from evaluation.set_folders import NO_CATEGORY
from evaluation.set_pictures import Picture, PictureRoot
from evaluation.set_tables import Row
from reporting.errors import DataError

Model = TypeVar("Model", bound=BaseModel)

_NOT_LISTED: Final = ("false", "0", "no")


@dataclass(frozen=True, slots=True)
class Sourced:
    """A row and where its picture is looked for.

    Attributes:
        row: The row.
        root: Of its picture.
        named_by: Put before the picture's name where that serves as its id (`distractors/`).
        labelled: Whether its table must name the category; folders need not.
    """

    row: Row
    root: PictureRoot
    named_by: str = ""
    labelled: bool = True

    def picture(self) -> Picture | None:
        """Read its picture, None where only its name is known.

        Raises:
            DataError: It cannot be read, or its bytes are not those of the row's sha256.
        """
        path = self.row.text("path")
        if not path:
            return None
        found = self.root.read(path, self.row.place)
        said = self.row.text("sha256")
        if said and said != found.sha256:
            raise DataError(
                f"{self.row.place}: sha256 is {said[:12]}..., but {path} has {found.sha256[:12]}...; the picture is not"
                " the one that was labelled"
            )
        return found


@dataclass(frozen=True, slots=True)
class Draft:
    """One row of a query.

    Attributes:
        place: Of the row.
        fields: Of the query; its cluster may be missing still.
        label: The row's label, None if it names no group.
    """

    place: str
    fields: Mapping[str, Any]
    label: Label | None


def completed(images: Sequence[Sourced], queries: Sequence[Sourced], known: Mapping[str, str]) -> Mapping[str, str]:
    """Return group -> category for groups whose folder names none: as the other side has it.

    Args:
        images: Rows of the catalogue.
        queries: Rows of the queries.
        known: What is known otherwise.
    """
    rows = [one.row for one in (*queries, *images)]
    named = {row.text("group_id"): row.text("category") for row in rows if row.text("category")}
    return named | dict(known)


def catalog_image(source: Sourced, categories: Mapping[str, str]) -> CatalogImage | None:
    """Return a picture of the catalogue, its path absolute; None for a row of a manifest that is not listed.

    A distractor without a group is a group of its own.

    Raises:
        DataError: A value is missing or wrong.
    """
    row = source.row
    if str(row.values.get("listed", True)).lower() in _NOT_LISTED:
        return None
    picture = source.picture()
    image_id = row.text("image_id") or (source.named_by + picture.name if picture else "")
    group = row.text("group_id") or (image_id if row.text("role") not in ("", "product") else "")
    fields = {
        "image_id": image_id,
        "group_id": group,
        "category": _category(source, categories),
        "first_day": row.day("first_day"),
        "last_day": row.day("last_day"),
        "takedown_day": row.day("takedown_day"),
        **_picture_fields(row, picture),
        **_given(row, "role", "value"),
    }
    return _typed(CatalogImage, fields, row.place)


def draft_of(source: Sourced, categories: Mapping[str, str]) -> Draft:
    """Return a row of a query, its path absolute.

    Raises:
        DataError: A value is missing or wrong.
    """
    row, picture = source.row, source.picture()
    query_id = row.text("query_id") or (source.named_by + picture.name if picture else "")
    fields = {
        "query_id": query_id,
        "category": _category(source, categories),
        "captured_day": row.day("captured_day"),
        "tags": row.words("tags"),
        **_picture_fields(row, picture),
        **_texts(row, "cluster", "query_type", "source"),
        **_given(row, "weight"),
    }
    return Draft(row.place, fields, label_of(row, query_id) if row.text("group_id") else None)


def label_of(row: Row, query_id: str) -> Label:
    """Return the label of a row.

    Raises:
        DataError: A value is missing or wrong.
    """
    fields = {"query_id": query_id, "group_id": row.text("group_id"), **_given(row, "grade", "labellers", "agreed")}
    return _typed(Label, fields, row.place)


def merged(drafts: Iterable[Draft], labels: Iterable[Label]) -> list[Query]:
    """Return one query for all of its rows. Its cluster is, where none is given, its best label's group.

    Of equally good labels the first group by name counts; a query without any label is its own cluster.

    Raises:
        DataError: Two rows of a query disagree, or a value is missing or wrong.
    """
    best: dict[str, tuple[int, str]] = {}
    for label in labels:
        rank = (-label.grade, label.group_id)
        best[label.query_id] = min(best.get(label.query_id, rank), rank)
    first: dict[str, Draft] = {}
    for draft in drafts:
        name = draft.fields["query_id"]
        before = first.setdefault(name, draft)
        differing = [field for field in draft.fields if draft.fields[field] != before.fields.get(field)]
        if differing:
            raise DataError(
                f"{draft.place}: {differing[0]} of query {name} is not as in {before.place}; the rows of a query differ"
                " only in their labels"
            )
    queries = []
    for name, draft in first.items():
        fields = {"cluster": best[name][1] if name in best else name} | dict(draft.fields)
        queries.append(_typed(Query, fields, draft.place))
    return queries


def _category(source: Sourced, categories: Mapping[str, str]) -> str:
    given = source.row.text("category")
    if given:
        return given
    if source.labelled:
        raise DataError(f"{source.row.place}: category is empty; each row of a table names one")
    return categories.get(source.row.text("group_id"), NO_CATEGORY)


def _picture_fields(row: Row, picture: Picture | None) -> dict[str, str]:
    if picture is None:
        return _texts(row, "sha256", "near")
    near = row.text("near") or picture.near
    return {"path": str(picture.path), "sha256": picture.sha256, "near": near}


def _texts(row: Row, *names: str) -> dict[str, str]:
    return {name: row.text(name) for name in names if name in row.values}


def _given(row: Row, *names: str) -> dict[str, object]:
    return {name: row.values[name] for name in names if name in row.values}


def _typed(model: type[Model], fields: Mapping[str, object], place: str) -> Model:
    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise DataError(f"{place}: {name} is {first['input']!r}: {first['msg']}; correct the row") from None

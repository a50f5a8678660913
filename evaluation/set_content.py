"""What a set is, whatever file it came from: canonical order and the hash of its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel

from evaluation.catalog import CatalogImage
from evaluation.evalset import EvalSet, Gallery, Label, Query
from reporting.errors import DataError


def content_hash(
    queries: Iterable[Query], labels: Iterable[Label], catalog: Iterable[CatalogImage], gallery: Gallery
) -> str:
    """Return the sha256 of a set's content.

    Neither the order of rows and tags nor the place of pictures changes it, nor a field that a later version adds:
    a field at its default is not written.
    """
    digest = hashlib.sha256(b"evalset/1\n")
    for name, rows in (("queries", queries), ("labels", labels), ("catalog", catalog), ("gallery", (gallery,))):
        digest.update(f"{name}\n".encode())
        for line in sorted(map(_canonical, rows)):
            digest.update(f"{line}\n".encode())
    return digest.hexdigest()


def _canonical(row: BaseModel) -> str:
    fields = row.model_dump(mode="json", exclude={"path"}, exclude_defaults=True)
    if "tags" in fields:
        fields["tags"] = sorted(fields["tags"])
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def evalset_of(
    name: str,
    queries: Iterable[Query],
    labels: Iterable[Label],
    catalog: Iterable[CatalogImage],
    gallery: Gallery,
    *,
    root: Path | None = None,
) -> EvalSet:
    """Return a set of typed rows, in canonical order and with its hash. Its faults are found by `validate`.

    Raises:
        DataError: The name would be no name of a folder.
    """
    if not name or any(not (one.isalnum() or one in "._-") for one in name) or name.startswith("."):
        raise DataError(
            f"set name {name!r}: expected letters, digits, '.', '_' and '-'; the set's folder is named by it"
        )
    ordered = (
        tuple(sorted(queries, key=lambda one: one.query_id)),
        tuple(sorted(labels, key=lambda one: (one.query_id, one.group_id))),
        tuple(sorted(catalog, key=lambda one: (one.image_id, one.group_id))),
    )
    return EvalSet(name, content_hash(*ordered, gallery), *ordered, gallery=gallery, root=root)

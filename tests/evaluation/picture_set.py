"""A set whose queries have pictures on disk, so that a service can be asked; the bytes are no real pictures."""

from __future__ import annotations

import hashlib
from pathlib import Path

from evaluation.catalog import CatalogImage
from evaluation.evalset import EvalSet, Gallery, Label, Query
from evaluation.set_content import evalset_of

GALLERY = Gallery(query_domain="drawn", gallery_domain="drawn", no_distractors="every picture is a product's")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def picture_of(number: int) -> bytes:
    """Return the bytes of the catalogue's picture of a product."""
    return f"catalogue {number}".encode()


def picture_set(root: Path, count: int, *, again: int = 0) -> EvalSet:
    """Return `count` queries q00, q01, ... of products g0, g1, ...; the first `again` pictures are listed twice."""
    root.mkdir(parents=True, exist_ok=True)
    queries, catalog = [], []
    for number in range(count):
        data = f"query {number}".encode()
        (root / f"q{number:02d}.jpg").write_bytes(data)
        queries.append(
            Query(
                query_id=f"q{number:02d}",
                path=f"q{number:02d}.jpg",
                sha256=sha256(data),
                category="shoes",
                cluster=f"g{number}",
            )
        )
        for name in (f"i{number}", f"j{number}")[: 2 if number < again else 1]:
            digest = sha256(picture_of(number))
            catalog.append(CatalogImage(image_id=name, group_id=f"g{number}", category="shoes", sha256=digest))
    labels = [Label(query_id=query.query_id, group_id=query.cluster) for query in queries]
    return evalset_of("drawn", queries, labels, catalog, GALLERY, root=root)

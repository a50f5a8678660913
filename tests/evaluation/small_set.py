"""A small sound set for tests, and its pieces to spoil."""

from __future__ import annotations

import hashlib
from typing import Any

from evaluation.catalog import CatalogImage
from evaluation.evalset import EvalSet, Gallery, Label, Query
from evaluation.set_content import evalset_of


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def query(name: str, category: str = "shoes", **fields: Any) -> Query:
    return Query(
        **{"query_id": name, "sha256": digest(f"query {name}"), "category": category, "cluster": name} | fields
    )


def image(name: str, group: str, category: str = "shoes", **fields: Any) -> CatalogImage:
    facts = {"image_id": name, "group_id": group, "category": category, "sha256": digest(f"image {name}")}
    return CatalogImage(**facts | fields)


def small_set(**parts: Any) -> EvalSet:
    """Return a set of two queries and two products with distractors, some of its parts replaced."""
    queries = (query("q1", cluster="g1"), query("q2", "hats", cluster="g2"))
    labels = (Label(query_id="q1", group_id="g1"), Label(query_id="q2", group_id="g2"))
    catalog = (
        image("i1", "g1"),
        image("i2", "g2", "hats"),
        image("d1", "x1", role="same_style"),
        image("d2", "x2", "all", role="noise"),
    )
    gallery = Gallery(query_domain="phone photos", gallery_domain="studio pictures")
    defaults: dict[str, Any] = {"queries": queries, "labels": labels, "catalog": catalog, "gallery": gallery}
    given = defaults | parts
    root = given.pop("root", None)
    return evalset_of(given.pop("name", "small"), **given, root=root)

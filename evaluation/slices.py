"""Which queries make up which slice: what a mean over all of them would hide (evaluation-index-eviction.md, 4.1)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import date as Date
from typing import Final

import numpy as np

from evaluation.catalog import CatalogImage, Role
from evaluation.evalset import EvalSet
from evaluation.measured import Bools

HEAD_FROM: Final = 5
"""Live pictures from which a product is of the head."""
TORSO_FROM: Final = 2
"""Live pictures from which a product is of the torso; with a single one it is of the tail."""
_UNKNOWN: Final = "unknown"


def slices_of(evalset: EvalSet, *, left_window: Collection[str] = ()) -> dict[str, Bools]:
    """Return slice -> (n,) bool over the queries; no slice is empty but, of a set without queries, `all`.

    - `all`; `category=` the query's.
    - `freq=head|torso|tail`: by the live pictures of its relevant product, 5 and more, 2 to 4, one; the query's own
      picture is not counted, as it is never found. `freq=none`: no live picture (it can only be missed).
    - `age=in_window|tail_only`: whether the newest live picture of its relevant products is less than
      `gallery.window_days` old on `gallery.as_of`; `age=unknown` where nobody knows when they were last seen. Only
      in a set with both, and for queries with a live picture.
    - `type=`, `source=`: the query's, unless nothing is known of any; `tag=`: each of its tags.
    - `left_window=yes`: pictures of a relevant product left the window this release.

    Of several relevant products the one with most live pictures counts. Live is what is live on `gallery.as_of`.

    Args:
        evalset: The set.
        left_window: Groups whose pictures left the window this release.
    """
    members: dict[str, list[int]] = {"all": list(range(len(evalset.queries)))}
    groups = relevant_groups(evalset)
    for row, query in enumerate(evalset.queries):
        names = [f"category={query.category}", *(f"tag={tag}" for tag in query.tags)]
        if left_window and not groups[query.query_id].isdisjoint(left_window):
            names.append("left_window=yes")
        for name in names:
            members.setdefault(name, []).append(row)
    for name, label in (*_of_the_catalog(evalset, groups), *_of_the_query(evalset)):
        for row, value in enumerate(label):
            if value:
                members.setdefault(f"{name}={value}", []).append(row)
    return {name: _mask(members[name], len(evalset.queries)) for name in ("all", *sorted(members.keys() - {"all"}))}


def relevant_groups(evalset: EvalSet) -> Mapping[str, set[str]]:
    """Return query_id -> the groups it should find (grade 1 or 2), an empty set where there is none."""
    groups: dict[str, set[str]] = {query.query_id: set() for query in evalset.queries}
    for label in evalset.labels:
        if label.grade >= 1 and label.query_id in groups:
            groups[label.query_id].add(label.group_id)
    return groups


def live_images(evalset: EvalSet) -> Mapping[str, list[CatalogImage]]:
    """Return group -> its pictures that are live on `gallery.as_of`, for products."""
    live: dict[str, list[CatalogImage]] = defaultdict(list)
    for image in evalset.catalog:
        if image.role is Role.PRODUCT and image.is_live(evalset.gallery.as_of):
            live[image.group_id].append(image)
    return live


def _of_the_catalog(evalset: EvalSet, groups: Mapping[str, set[str]]) -> list[tuple[str, list[str]]]:
    """Return the slices that depend on what is findable, one value a query ("" none)."""
    live = live_images(evalset)
    frequency: list[str] = []
    age: list[str] = []
    for query in evalset.queries:
        findable = [
            [image for image in live.get(group, ()) if not query.sha256 or image.sha256 != query.sha256]
            for group in groups[query.query_id]
        ]
        count = max((len({image.image_id for image in images}) for images in findable), default=0)
        frequency.append(
            "head" if count >= HEAD_FROM else "torso" if count >= TORSO_FROM else "tail" if count else "none"
        )
        seen = {image.last_day for images in findable for image in images}
        age.append(_age(seen, evalset.gallery.as_of, evalset.gallery.window_days) if count else "")
    return [("freq", frequency), ("age", age)]


def _age(seen: Collection[Date | None], as_of: Date | None, window_days: int | None) -> str:
    if as_of is None or window_days is None:
        return ""
    days = [day for day in seen if day is not None]
    if days and (as_of - max(days)).days < window_days:
        return "in_window"
    return _UNKNOWN if len(days) < len(seen) else "tail_only"


def _of_the_query(evalset: EvalSet) -> Iterable[tuple[str, list[str]]]:
    for name, values in (
        ("type", [query.query_type for query in evalset.queries]),
        ("source", [query.source for query in evalset.queries]),
    ):
        if set(values) != {_UNKNOWN}:
            yield name, values


def _mask(rows: Iterable[int], length: int) -> Bools:
    mask = np.zeros(length, np.bool_)
    mask[list(rows)] = True
    return mask

"""What a set holds and can prove, for `evalset.json` and `evaluate show-set`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from evaluation.catalog import Role
from evaluation.evalset import EvalSet, Gallery
from evaluation.leakage import NEAR_BITS, hashed
from evaluation.set_power import SlicePower, power_rows
from evaluation.slices import live_images, relevant_groups
from evaluation.validators import Fault, validate


class SetReport(BaseModel):
    """A set in numbers.

    Attributes:
        set_id: `NAME@SHA12`.
        gallery: Domains, day, window, self-match, and why there are no distractors, if so.
        counts: queries, clusters, labels, and of the catalogue images, groups, live_groups, product, same_style and
            noise (pictures by role).
        relevant_images: Live pictures of the relevant groups a query, the query's own included -> number of queries:
            the distribution of R, by which recall@k is read.
        slices: Queries, products and power of each slice.
        contamination: What the search for queries in the gallery could see.
        faults: See `validate`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    set_id: str
    gallery: Gallery
    counts: dict[str, int]
    relevant_images: dict[int, int]
    slices: tuple[SlicePower, ...]
    contamination: str
    faults: tuple[Fault, ...]


def report_of(evalset: EvalSet) -> SetReport:
    """Return a set in numbers."""
    live = live_images(evalset)
    sizes = [
        len({image.image_id for group in groups for image in live.get(group, ())})
        for groups in relevant_groups(evalset).values()
    ]
    return SetReport(
        set_id=evalset.set_id,
        gallery=evalset.gallery,
        counts={
            "queries": len(evalset.queries),
            "clusters": len({query.cluster for query in evalset.queries}),
            "labels": len(evalset.labels),
            "images": len({image.image_id for image in evalset.catalog}),
            "groups": len({image.group_id for image in evalset.catalog}),
            "live_groups": len(live),
            **{role.value: len({one.image_id for one in evalset.catalog if one.role is role}) for role in Role},
        },
        relevant_images={size: sizes.count(size) for size in sorted(set(sizes))},
        slices=tuple(power_rows(evalset)),
        contamination=_contamination(evalset),
        faults=tuple(validate(evalset)),
    )


def _contamination(evalset: EvalSet) -> str:
    queries, images = len(evalset.queries), len(evalset.catalog)
    exact = sum(bool(query.sha256) for query in evalset.queries), sum(bool(image.sha256) for image in evalset.catalog)
    near = hashed(evalset)
    told = f"by sha256 of {exact[0]} of {queries} queries and {exact[1]} of {images} rows of the catalogue"
    if not all(near):
        return f"{told}; exact copies only: there are no perceptual hashes (column `near`)"
    return f"{told}; near copies within {NEAR_BITS} bits of {near[0]} queries' and {near[1]} rows' perceptual hashes"

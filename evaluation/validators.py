"""What is wrong with an evaluation set: faults that forbid it (error), and what its reader must know (warning)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from evaluation.catalog import CatalogImage, Role
from evaluation.evalset import EvalSet
from evaluation.leakage import NEAR_BITS, near_copies
from evaluation.set_power import SlicePower, power_rows
from evaluation.slices import relevant_groups, slices_of
from reporting.errors import DataError

_MOST_EXAMPLES: Final = 20


class Severity(StrEnum):
    """What a fault means."""

    ERROR = "error"
    """The set is refused."""
    WARNING = "warning"
    """The set is built; the fault is kept in it and shown."""


class Fault(BaseModel):
    """One kind of fault.

    Attributes:
        code: Names it, e.g. `leakage`.
        severity: Whether it forbids the set.
        message: What was found, what was expected, what to do.
        count: How many rows, queries, groups or slices have it.
        examples: Up to 20 of them, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    severity: Severity
    message: str
    count: int = Field(ge=1)
    examples: tuple[str, ...] = Field(max_length=_MOST_EXAMPLES)


def validate(evalset: EvalSet) -> list[Fault]:
    """Return all faults of a set, errors first, each in the order of the checks below; [] for a sound one."""
    power = power_rows(evalset)
    checks = (
        _rows_once(evalset),
        _labels_point_somewhere(evalset),
        _categories_agree(evalset),
        _images_agree(evalset),
        _distractors(evalset),
        _leakage(evalset),
        _repeated_pictures(evalset),
        _findable(evalset),
        _declared_minima(evalset, power),
        _underpowered(power),
    )
    faults = [fault for check in checks for fault in check]
    return sorted(faults, key=lambda fault: fault.severity is Severity.WARNING)


def require_valid(evalset: EvalSet) -> list[Fault]:
    """Return the warnings of a set.

    Raises:
        DataError: It has a fault that forbids it; all of them are listed.
    """
    faults = validate(evalset)
    errors = [fault for fault in faults if fault.severity is Severity.ERROR]
    if errors:
        lines = [f"{evalset.name}: {fault.code}: {fault.message} ({_some(fault)})" for fault in errors]
        raise DataError("\n".join(lines))
    return faults


def _some(fault: Fault) -> str:
    return ", ".join(fault.examples[:5]) + (", ..." if fault.count > 5 else "")


def _fault(code: str, found: Iterable[str], message: str, severity: Severity = Severity.ERROR) -> Iterator[Fault]:
    """Yield a fault if anything was found; `{n}` in the message becomes the count."""
    names = sorted(found)
    if names:
        yield Fault(
            code=code,
            severity=severity,
            message=message.replace("{n}", str(len(names))),
            count=len(names),
            examples=tuple(names[:_MOST_EXAMPLES]),
        )


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _rows_once(evalset: EvalSet) -> Iterator[Fault]:
    if not evalset.queries:
        yield from _fault("no_queries", [evalset.name], "the set holds no query; an empty set proves nothing")
    names = _repeated(query.query_id for query in evalset.queries)
    yield from _fault("repeated_query", names, "{n} query ids name several queries; give each its own")
    pairs = _repeated(f"{label.query_id} -> {label.group_id}" for label in evalset.labels)
    yield from _fault("repeated_label", pairs, "{n} pairs of query and group are labelled more than once; keep one row")
    rows = _repeated(f"{image.image_id} -> {image.group_id}" for image in evalset.catalog)
    yield from _fault("repeated_image", rows, "{n} pairs of picture and group are in the catalogue twice; keep one row")


def _labels_point_somewhere(evalset: EvalSet) -> Iterator[Fault]:
    queries = {query.query_id for query in evalset.queries}
    strangers = {label.query_id for label in evalset.labels} - queries
    yield from _fault(
        "unknown_query", strangers, "{n} query ids are labelled that the set does not hold; mend the labels"
    )
    without = [query for query, groups in relevant_groups(evalset).items() if not groups]
    yield from _fault("no_positive", without, "{n} queries have no label of grade 1 or 2; label them or leave them out")
    known = {image.group_id for image in evalset.catalog}
    unknown = {f"{label.query_id} -> {label.group_id}" for label in evalset.labels if label.group_id not in known}
    yield from _fault(
        "unknown_group",
        unknown,
        "{n} labels point to groups that the catalogue of record does not have; mend the label or the catalogue",
    )


def _categories_agree(evalset: EvalSet) -> Iterator[Fault]:
    categories: dict[str, set[str]] = defaultdict(set)
    for image in evalset.catalog:
        categories[image.group_id].add(image.category)
    groups = relevant_groups(evalset)
    other = [
        f"{query.query_id} ({query.category}) -> {group} ({', '.join(sorted(categories[group]))})"
        for query in evalset.queries
        for group in groups[query.query_id]
        if group in categories and query.category not in categories[group]
    ]
    yield from _fault(
        "category_mismatch", other, "{n} labels point to a group of another category; mend one of the two"
    )
    mixed = [f"{group} ({', '.join(sorted(names))})" for group, names in categories.items() if len(names) > 1]
    yield from _fault(
        "mixed_category",
        mixed,
        "{n} groups have pictures in several categories; routing is judged by the query's category alone",
        Severity.WARNING,
    )


def _facts_of(image: CatalogImage) -> tuple[object, ...]:
    return image.role, image.sha256, image.path, image.first_day, image.last_day, image.takedown_day


def _images_agree(evalset: EvalSet) -> Iterator[Fault]:
    facts = defaultdict(set)
    for image in evalset.catalog:
        facts[image.image_id].add(_facts_of(image))
    differing = [name for name, found in facts.items() if len(found) > 1]
    yield from _fault(
        "image_disagrees",
        differing,
        "{n} pictures have rows that differ in more than group, category and value; a picture has one role, hash, path"
        " and history",
    )


def _distractors(evalset: EvalSet) -> Iterator[Fault]:
    images = [image for image in evalset.catalog if image.role is not Role.PRODUCT]
    reason = evalset.gallery.no_distractors
    if not images and not reason:
        yield from _fault(
            "no_distractors",
            [evalset.name],
            "the catalogue holds no distractor, so that finding the product is easier than in life; give --distractors"
            " (same_style and noise), or say why not by --no-distractors REASON",
        )
    if images and reason:
        yield from _fault(
            "distractors_denied",
            {image.image_id for image in images},
            "--no-distractors is given, but the catalogue holds {n}; leave the option out",
        )
    roles = {image.role for image in images}
    missing = {Role.SAME_STYLE.value, Role.NOISE.value} - {role.value for role in roles}
    if images:
        yield from _fault(
            "one_kind_of_distractor",
            missing,
            "the catalogue holds no such distractor; a set has merchants' pictures of the same style among noise",
            Severity.WARNING,
        )
    products = {label.group_id for label in evalset.labels if label.grade >= 1}
    products |= {image.group_id for image in evalset.catalog if image.role is Role.PRODUCT}
    yield from _fault(
        "distractor_wanted",
        {f"{image.image_id} -> {image.group_id}" for image in images if image.group_id in products},
        "{n} distractors belong to the group of a product; a distractor is what nobody should find",
    )
    hashes = {image.sha256 for image in evalset.catalog if image.role is Role.PRODUCT and image.sha256}
    yield from _fault(
        "distractor_is_product",
        {image.image_id for image in images if image.sha256 in hashes},
        "{n} distractors are, byte by byte, a product's picture; take them out",
    )


def _leakage(evalset: EvalSet) -> Iterator[Fault]:
    drop = evalset.gallery.self_match == "drop"
    images = {image.sha256: image.image_id for image in evalset.catalog if image.sha256}
    if not drop:
        yield from _fault(
            "leakage",
            (f"{one.query_id} = {images[one.sha256]}" for one in evalset.queries if one.sha256 in images),
            "{n} queries' pictures are in the gallery, which makes finding them trivial; take them out of one side, or"
            " give --self-match drop",
        )
    near = near_copies(evalset)
    yield from _fault(
        "near_leakage",
        (f"{query} ~ {image} ({bits} bits)" for query, image, bits in near),
        f"{{n}} queries' pictures have a near copy in the gallery (perceptual hash within {NEAR_BITS} bits); take them"
        " out of one side",
        Severity.WARNING if drop else Severity.ERROR,
    )
    bare = [query.query_id for query in evalset.queries if not query.sha256]
    bare += [image.image_id for image in evalset.catalog if not image.sha256]
    yield from _fault(
        "leakage_unchecked",
        bare,
        "{n} pictures have no sha256: whether a query is in the gallery cannot be told for them",
        Severity.WARNING,
    )


def _repeated_pictures(evalset: EvalSet) -> Iterator[Fault]:
    shown = defaultdict(list)
    for query in evalset.queries:
        if query.sha256:
            shown[query.sha256].append(query)
    same = [queries for queries in shown.values() if len(queries) > 1]
    names = {True: list[str](), False: list[str]()}
    for queries in same:
        one_product = len({query.cluster for query in queries}) == 1
        names[one_product].append(" = ".join(query.query_id for query in queries))
    yield from _fault("contradicting_queries", names[False], "{n} pictures are queries of several products; keep one")
    yield from _fault(
        "repeated_picture",
        names[True],
        "{n} pictures are several queries of one product, which prove no more than one",
        Severity.WARNING,
    )


def _findable(evalset: EvalSet) -> Iterator[Fault]:
    if evalset.gallery.window_days is not None and evalset.gallery.as_of is None:
        yield from _fault(
            "window_without_day", [evalset.name], "--window-days needs --as-of DAY, from which age counts"
        )
    nothing = slices_of(evalset).get("freq=none")
    rows = [] if nothing is None else nothing.nonzero()[0].tolist()
    lost = [evalset.queries[row].query_id for row in rows]
    yield from _fault(
        "unfindable",
        lost,
        "{n} queries have no live picture to find besides their own; they count as missed and stand on the crawl list",
        Severity.WARNING,
    )


def _declared_minima(evalset: EvalSet, power: Sequence[SlicePower]) -> Iterator[Fault]:
    short = []
    for declared, least in evalset.gallery.min_queries.items():
        dimension = declared.removesuffix("*") if declared.endswith("=*") else None
        meant = [row for row in power if (row.slice.startswith(dimension) if dimension else row.slice == declared)]
        short += [f"{row.slice} ({row.queries} of {least})" for row in meant if row.queries < least]
        if not meant:
            short.append(f"{declared} (0 of {least})")
    yield from _fault("below_minimum", short, "{n} slices have fewer queries than declared; label more of them")


def _underpowered(power: Sequence[SlicePower]) -> Iterator[Fault]:
    weak = [f"{row.slice} ({row.queries})" for row in power if row.underpowered]
    yield from _fault(
        "underpowered",
        weak,
        "{n} slices have too few queries to prove a margin of 2 pp where 2 % of the queries flip; a gate on them says"
        " INCONCLUSIVE, or states a margin that they carry",
        Severity.WARNING,
    )

"""The census: the whole catalogue of record against everything that an index holds, no sample (4.2, "Census")."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date as Date
from typing import Final

from evaluation.catalog import CatalogImage, Role
from evaluation.system import Fact

_MOST_EXAMPLES: Final = 20

Held = tuple[str, str, Date]
"""What an index holds: a row's image_id, the category whose index it is in, and the day of its shard."""


@dataclass(frozen=True, slots=True)
class _Counted:
    """What was found of one metric: names of what is wrong, and of how many it could have been."""

    wrong: Collection[str]
    of: int


def census(
    catalog: Iterable[CatalogImage],
    held: Iterable[Held],
    *,
    day: Date,
    min_copies: int = 1,
    stands_for: Mapping[str, str] | None = None,
) -> tuple[Fact, ...]:
    """Count what an index holds against what it should hold.

    - `live_groups`: products with a live picture; `groups_with_zero_images`: those of them of which no live picture
      is held; `groups_below_m`: those with fewer than `min_copies` or, if they have not as many live ones, fewer than
      all of them. The three also by `category=` (a group of two categories counts in both).
    - `orphan_ids`: distinct ids held that the catalogue does not know. `resurrected_takedowns`: held though taken
      down on or before `day`. `not_yet_live_ids`: held before their first day. `duplicate_ids`: held more than once.
      `miscategorised_ids`: held in the index of a category that is none of theirs.
    - `missing_distractors`: live distractors that are not held: without them the task is easier than declared.
    - `rows`: held, also by `day=` and by `category=`.

    `n` is the number of groups, ids or pictures that could have been wrong; examples are the first 20 by name.

    Args:
        catalog: The catalogue of record, e.g. `evalset.catalog`.
        held: One entry for every row that the index holds; repeated ids are repeated entries.
        day: The day that the index is to serve; live is what is live on it.
        min_copies: m of the eviction policy (G1), >= 1.
        stands_for: image_id -> image_id under which the index holds it (a dropped duplicate's survivor).
    """
    other = stands_for or {}
    images = tuple(catalog)
    rows = tuple(held)
    ids = Counter(image_id for image_id, _, _ in rows)
    facts = [*_of_groups(images, ids.keys(), other, day, min_copies), *_of_ids(images, rows, ids, other, day)]
    distractors = {image.image_id for image in images if image.role is not Role.PRODUCT and image.is_live(day)}
    absent = {name for name in distractors if other.get(name, name) not in ids}
    facts.append(_fact("missing_distractors", "all", _Counted(absent, len(distractors))))
    return (*facts, *_rows_by(rows))


def _fact(metric: str, slice_name: str, found: _Counted) -> Fact:
    examples = tuple(sorted(found.wrong)[:_MOST_EXAMPLES])
    return Fact(metric=metric, slice=slice_name, value=float(len(found.wrong)), n=found.of, examples=examples)


def _of_groups(
    images: Sequence[CatalogImage], ids: Set[str], other: Mapping[str, str], day: Date, least: int
) -> Iterator[Fact]:
    live: dict[str, set[str]] = defaultdict(set)
    categories: dict[str, set[str]] = defaultdict(set)
    for image in images:
        if image.role is Role.PRODUCT and image.is_live(day):
            # Two pictures of one survivor are one row of the index: more could not be held.
            live[image.group_id].add(other.get(image.image_id, image.image_id))
            categories[f"category={image.category}"].add(image.group_id)
    copies = {group: len(wanted & ids) for group, wanted in live.items()}
    for name, groups in (("all", live.keys()), *sorted(categories.items())):
        lost = [group for group in groups if copies[group] == 0]
        thin = [group for group in groups if copies[group] < min(least, len(live[group]))]
        yield Fact(metric="live_groups", slice=name, value=float(len(groups)), n=len(groups))
        yield _fact("groups_with_zero_images", name, _Counted(lost, len(groups)))
        yield _fact("groups_below_m", name, _Counted(thin, len(groups)))


def _of_ids(
    images: Sequence[CatalogImage], rows: Sequence[Held], ids: Counter[str], other: Mapping[str, str], day: Date
) -> Iterator[Fact]:
    known: dict[str, list[CatalogImage]] = defaultdict(list)
    categories: dict[str, set[str]] = defaultdict(set)
    for image in images:
        known[image.image_id].append(image)
        categories[other.get(image.image_id, image.image_id)].add(image.category)
        categories[image.image_id].add(image.category)
    down = {name for name in ids if any(_taken_down(image, day) for image in known.get(name, ()))}
    early = {name for name in ids if any(_too_early(image, day) for image in known.get(name, ()))}
    misplaced = {name for name, category, _ in rows if name in categories and category not in categories[name]}
    found = {
        "orphan_ids": [name for name in ids if name not in categories],
        "resurrected_takedowns": down,
        "not_yet_live_ids": early,
        "duplicate_ids": [name for name, count in ids.items() if count > 1],
        "miscategorised_ids": misplaced,
    }
    for metric, wrong in found.items():
        yield _fact(metric, "all", _Counted(wrong, len(ids)))


def _taken_down(image: CatalogImage, day: Date) -> bool:
    return image.takedown_day is not None and image.takedown_day <= day


def _too_early(image: CatalogImage, day: Date) -> bool:
    return image.first_day is not None and image.first_day > day


def _rows_by(rows: Sequence[Held]) -> Iterator[Fact]:
    yield Fact(metric="rows", value=float(len(rows)), n=len(rows))
    by = Counter(f"category={category}" for _, category, _ in rows)
    by.update(f"day={day.isoformat()}" for _, _, day in rows)
    for name, count in sorted(by.items()):
        yield Fact(metric="rows", slice=name, value=float(count), n=len(rows))

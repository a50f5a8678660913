"""The order of operations of evaluation-index-eviction.md 4.2, step by step in plain Python; small random worlds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from random import Random

import numpy as np
from hypothesis import strategies as st

from evaluation.answers import Answers, Status
from evaluation.catalog import CatalogImage
from evaluation.evalset import EvalSet, Gallery, Label, Query
from evaluation.measured import Ranked

DAY = date(2026, 3, 1)
GALLERY = Gallery(query_domain="phone photos", gallery_domain="studio pictures")


@dataclass
class SlowList:
    """One query's canonical list."""

    images: list[tuple[str, float, int]]
    groups: list[tuple[str, float, int]]
    counts: tuple[int, ...]
    findable: tuple[int, ...]


def id_key(name: str) -> tuple[int, int, bytes]:
    """Order ids: decimal numbers by value before all others, those by their bytes."""
    if name and set(name) <= set("0123456789"):
        return (0, int(name), str(len(name)).zfill(9).encode())
    return (1, 0, name.encode())


def slow_rank(answers: Answers, evalset: EvalSet, row: int, day: date | None) -> SlowList:
    """Rank one query; counts are (padded, self-matches, duplicates, orphans), findable (all, grade 2, groups)."""
    query = evalset.queries[row]
    wanted = {label.group_id: label.grade for label in evalset.labels if label.query_id == query.query_id}
    shown_as = [(answers.stands_for.get(image.image_id, image.image_id), image) for image in evalset.catalog]
    own = {name for name, image in shown_as if query.sha256 and image.sha256 == query.sha256}
    live: dict[str, set[str]] = {}
    for name, image in shown_as:
        if image.is_live(day):
            live.setdefault(name, set()).add(image.group_id)
    known = {name for name, _ in shown_as}

    def best(name: str) -> tuple[int, str]:
        grade, group = min(((-wanted.get(group, 0), group) for group in live.get(name, ())), default=(0, f"={name}"))
        return -grade, group

    hits = []
    if answers.statuses[row] is Status.ANSWERED:
        for at in range(len(answers.row)):
            if answers.row[at] == row:
                group = "" if answers.group_id is None else answers.group_id[at]
                hits.append((answers.distance[at], id_key(answers.image_id[at]), answers.image_id[at], group))
    real = [hit for hit in hits if hit[2] != ""]
    others = sorted(hit for hit in real if hit[2] not in own)
    kept: dict[str, tuple[float, str]] = {}
    for distance, _, name, group in others:
        kept.setdefault(name, (distance, group))
    images = [(name, distance, best(name)[0]) for name, (distance, _) in kept.items()]
    groups: dict[str, tuple[float, int]] = {}
    for name, (distance, shown) in kept.items():
        grade, group = best(name)
        before = groups.get(shown or group)
        if before is None:
            groups[shown or group] = (distance, grade)
        elif before[0] == distance:
            groups[shown or group] = (distance, min(before[1], grade))
    found = [name for name in live if best(name)[0] > 0 and name not in own]
    reachable = {group for name in found for group in live[name] if wanted.get(group, 0) > 0}
    return SlowList(
        images=images,
        groups=[(name.removeprefix("="), distance, grade) for name, (distance, grade) in groups.items()],
        counts=(len(hits) - len(real), len(real) - len(others), len(others) - len(kept), len(set(kept) - known)),
        findable=(len(found), sum(best(name)[0] == 2 for name in found), len(reachable)),
    )


def lists_of(ranked: Ranked, row: int) -> SlowList:
    """Read one query's list out of the padded arrays."""
    length, width = (ranked.image_grades[row] >= 0).sum(), (ranked.group_grades[row] >= 0).sum()
    assert (ranked.image_grades[row, length:] == -1).all()
    assert set(ranked.image_names[row, length:]) <= {""}
    assert np.isnan(ranked.image_distances[row, length:]).all()
    assert (ranked.group_grades[row, width:] == -1).all()
    assert ranked.findable_same is not None
    columns = (ranked.image_names, ranked.image_distances, ranked.image_grades)
    shown = (ranked.group_names, ranked.group_distances, ranked.group_grades)
    return SlowList(
        images=list(zip(*(column[row, :length].tolist() for column in columns), strict=True)),
        groups=list(zip(*(column[row, :width].tolist() for column in shown), strict=True)),
        counts=tuple(
            int(one[row]) for one in (ranked.padded, ranked.self_matches, ranked.duplicates, ranked.orphans)
        ),
        findable=(int(ranked.findable[row]), int(ranked.findable_same[row]), int(ranked.findable_groups[row])),
    )  # fmt: skip


IDS = ("7", "07", "10", "9", "123456789012345678901", "a", "b", "é", "Z", "x-1")
HASHES = ("", "a" * 64, "b" * 64)
GROUPS = ("g0", "g1", "g2", "ü", "7")


def evalset_of(
    images: list[CatalogImage], labels: list[Label], *, queries: list[Query] | None = None, gallery: Gallery = GALLERY
) -> EvalSet:
    """Build a set by hand; a query for each one labelled, unless given."""
    asked = queries or [
        Query(query_id=name, category="c", cluster=name) for name in sorted({label.query_id for label in labels})
    ]
    return EvalSet("hand", "0" * 64, tuple(asked), tuple(labels), tuple(images), gallery)


def world_of(seed: int, *, queries: int = 3) -> tuple[EvalSet, Answers]:
    """Draw a set and answers with every oddity: ties, duplicates, padding, orphans, takedowns, failures."""
    random = Random(seed)
    pairs = sorted({(random.choice(IDS[:8]), random.choice(GROUPS)) for _ in range(random.randrange(13))})
    hashes = {name: random.choice(HASHES) for name, _ in pairs}
    catalog = [
        CatalogImage(
            image_id=name,
            group_id=group,
            category="c",
            sha256=hashes[name],
            takedown_day=random.choice((None, None, DAY)),
        )
        for name, group in pairs
    ]
    names = [f"q{at}" for at in range(queries)]
    asked = [Query(query_id=name, category="c", cluster=name, sha256=random.choice(HASHES)) for name in names]
    labels = [
        Label(query_id=name, group_id=group, grade=random.choice((0, 1, 2, 2)))
        for name in names
        for group in random.sample(GROUPS, random.randrange(4))
    ]
    h = random.randrange(26)
    shown = np.array(random.choices(("", "g0", "g1", "theirs", "7"), k=h), np.object_)
    answers = Answers(
        query_ids=tuple(names),
        statuses=tuple(random.choices((Status.ANSWERED, Status.TIMEOUT), (5, 1), k=queries)),
        row=np.array(random.choices(range(queries), k=h), np.int64),
        image_id=np.array(random.choices((*IDS, ""), k=h), np.object_),
        distance=np.array(random.choices((-0.5, 0.0, 0.25, 0.5, 0.75), k=h), np.float64),
        group_id=random.choice((None, shown)),
        stands_for={} if random.random() < 0.7 else {random.choice(IDS[:4]): random.choice(IDS[4:6])},
    )
    return evalset_of(catalog, labels, queries=asked), answers


WORLDS = st.integers(0, 2**32).map(world_of)

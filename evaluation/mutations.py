"""Faults put into a system on purpose, in memory: a gate that lets one through is no gate.

Each is what really happens to an index (evaluation-index-eviction.md, 0 and 4.3), done to its answers and facts. Pure:
equal seeds give equal faults. evaluation/mutation_suite.py judges them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date as Date
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from evaluation.answers import Answers, Status
from evaluation.catalog import CatalogImage, Role
from evaluation.evalset import EvalSet, Label
from evaluation.system import Fact, System, View

LOST_BY_ONE_PROBE = 0.3
"""Share of neighbours in other cells than the query's: IVF recall at nprobe 1 is 0.3 to 0.9 of the exact one (2.3)."""
FLIPPED_LABELS = 0.02
UNANSWERED = 0.01

Bools: TypeAlias = NDArray[np.bool_]
Mutated: TypeAlias = tuple[System, EvalSet]


@dataclass(frozen=True, slots=True)
class Mutation:
    """A fault.

    Attributes:
        name: For tables and options.
        tells: What happened, in a few words.
        kills: Rules of the default gate that must fail.
        put_in: The system and set with it; None: the set has no place for it (no days, no tail).
    """

    name: str
    tells: str
    kills: tuple[str, ...]
    put_in: Callable[[System, EvalSet, Generator], Mutated | None]


def shuffled_day(system: System, evalset: EvalSet, chance: Generator) -> Mutated | None:
    """Give the rows of one day each other's ids, as a merge with shifted ids does."""
    day = _busiest_day(system, evalset)
    if day is None:
        return None
    ids = np.array(sorted(_pictures_of(evalset, day)), np.object_)
    order = chance.permutation(len(ids))
    moved = dict(zip(ids[order], ids[np.roll(order, 1)], strict=True))  # one cycle: nobody keeps an id
    return _with_views(system, lambda one: _renamed(one, moved), _told_of_day(system, day, 0.0)), evalset


def zeroed_category(system: System, evalset: EvalSet, _chance: Generator) -> Mutated | None:
    """Empty the category with most queries."""
    category = Counter(query.category for query in evalset.queries).most_common(1)[0][0]
    lost = {image.image_id for image in evalset.catalog if image.category == category}
    groups = {image.group_id for image in _products(evalset) if image.category == category}
    facts = _raised(system.facts, "groups_with_zero_images", len(groups), sorted(groups))
    return _lost(system, lost, facts), evalset


def swapped_codebook(system: System, evalset: EvalSet, chance: Generator) -> Mutated | None:
    """Read the codes of one day with another day's codebook: its rows come up anywhere, and not where they belong."""
    day = _busiest_day(system, evalset)
    if day is None:
        return None
    ids = sorted(_pictures_of(evalset, day))
    views = {
        view: one if view in _EXACT else _scrambled(one, ids, chance) for view, one in sorted(system.views.items())
    }
    return replace(system, views=views, facts=_told_of_day(system, day, 0.0)), evalset


def dropped_tail(system: System, evalset: EvalSet, _chance: Generator) -> Mutated | None:
    """Drop the products that have a single picture, as a plain window does."""
    pictures = defaultdict(set)
    for image in _products(evalset):
        pictures[image.group_id].add(image.image_id)
    tail = {group: ids for group, ids in pictures.items() if len(ids) == 1}
    if not tail:
        return None
    lost = set().union(*tail.values())
    facts = _raised(system.facts, "groups_with_zero_images", len(tail), sorted(tail))
    return _lost(system, lost, facts), evalset


def duplicated_day(system: System, evalset: EvalSet, _chance: Generator) -> Mutated | None:
    """Merge one day in twice: each of its rows takes two places of a list."""
    day = _busiest_day(system, evalset)
    if day is None:
        return None
    ids = _pictures_of(evalset, day)
    facts = _raised(system.facts, "duplicate_ids", len(ids), sorted(ids))
    return _with_views(system, lambda one: _doubled(one, ids), facts), evalset


def flipped_labels(system: System, evalset: EvalSet, chance: Generator) -> Mutated | None:
    """Let the labels of 2 % of the queries point to another product, in a set that still goes by its old name."""
    groups = sorted({image.group_id for image in _products(evalset)})
    if len(groups) < 2:
        return None
    count = max(1, round(FLIPPED_LABELS * len(evalset.queries)))
    rows = chance.choice(len(evalset.queries), count, replace=False)
    wrong = {evalset.queries[row].query_id: groups[chance.integers(len(groups))] for row in rows}
    kept = [label for label in evalset.labels if label.query_id not in wrong]
    taken = {(label.query_id, label.group_id) for label in evalset.labels}
    for query, group in wrong.items():
        place = groups.index(group)
        other = next(g for g in (*groups[place:], *groups[:place]) if (query, g) not in taken)
        kept.append(Label(query_id=query, group_id=other))
    kept.sort(key=lambda label: (label.query_id, label.group_id))
    return system, replace(evalset, labels=tuple(kept))


def one_probe(system: System, evalset: EvalSet, chance: Generator) -> Mutated | None:
    """Search one cell only: neighbours in other cells are lost, exact search still finds them."""
    views = {
        view: one if view in _EXACT else _taken(one, chance.random(len(one.row)) >= LOST_BY_ONE_PROBE)
        for view, one in sorted(system.views.items())
    }
    return replace(system, views=views), evalset


def missing_answers(system: System, evalset: EvalSet, chance: Generator) -> Mutated | None:
    """Let the searcher die before 1 % of the queries."""
    served, n = system.views[View.SERVED], len(evalset.queries)
    gone = np.zeros(n, np.bool_)
    gone[chance.choice(n, max(1, round(UNANSWERED * n)), replace=False)] = True
    statuses = tuple(Status.MISSING if gone[row] else status for row, status in enumerate(served.statuses))
    answers = replace(_taken(served, ~gone[served.row]), statuses=statuses)
    return replace(system, views={**system.views, View.SERVED: answers}), evalset


_NI = ("recall10-ni", "hit10-ni")
MUTATIONS: tuple[Mutation, ...] = (
    Mutation("shuffled-day", "a day's ids shuffled", (*_NI, "day-selfprobe", "shard-selfprobe"), shuffled_day),
    Mutation("zeroed-category", "a category emptied", (*_NI, "cat-hit-ni", "no-lost-group"), zeroed_category),
    Mutation(
        "swapped-codebook",
        "a day read by another's codebook",
        (*_NI, "day-selfprobe", "shard-selfprobe"),
        swapped_codebook,
    ),
    Mutation("dropped-tail", "products with one picture gone", ("tail-ni", "no-lost-group"), dropped_tail),
    Mutation("duplicated-day", "a day merged in twice", ("no-duplicates",), duplicated_day),
    Mutation("flipped-labels", "2 % of labels wrong", _NI, flipped_labels),
    Mutation("nprobe-1", "one cell searched", (*_NI, "ann-loss"), one_probe),
    Mutation("missing-answers", "1 % of queries unanswered", ("answered",), missing_answers),
)
"""What the default gate must not let through."""

BY_NAME: Mapping[str, Mutation] = MappingProxyType({one.name: one for one in MUTATIONS})

_EXACT = frozenset({View.EXACT, View.EXACT_ORACLE})


def _products(evalset: EvalSet) -> list[CatalogImage]:
    return [image for image in evalset.catalog if image.role is Role.PRODUCT]


def _day(image: CatalogImage) -> Date | None:
    """Return the day shard in which a picture lies."""
    return image.first_day or image.last_day


def _pictures_of(evalset: EvalSet, day: Date) -> set[str]:
    return {image.image_id for image in evalset.catalog if _day(image) == day}


def _busiest_day(system: System, evalset: EvalSet) -> Date | None:
    """Return the day whose product pictures are found most, the earliest of equals; None: the set has no two of one."""
    days = {image.image_id: day for image in _products(evalset) if (day := _day(image)) is not None}
    sizes = Counter(days.values())
    found = Counter(days[one] for one in system.views[View.SERVED].image_id if one in days)
    known = [day for day in found if sizes[day] > 1]
    return min(known, key=lambda day: (-found[day], day)) if known else None


def _with_views(system: System, change: Callable[[Answers], Answers], facts: tuple[Fact, ...]) -> System:
    return replace(system, views={view: change(one) for view, one in system.views.items()}, facts=facts)


def _lost(system: System, ids: Collection[str], facts: tuple[Fact, ...]) -> System:
    """Return the system without some pictures."""
    absent = None if system.absent is None else system.absent | frozenset(ids)
    return replace(_with_views(system, lambda one: _without(one, ids), facts), absent=absent)


def _taken(answers: Answers, which: NDArray[np.int64] | Bools) -> Answers:
    return replace(
        answers,
        row=answers.row[which],
        image_id=answers.image_id[which],
        distance=answers.distance[which],
        group_id=None if answers.group_id is None else answers.group_id[which],
    )


def _is_one_of(answers: Answers, ids: Collection[str]) -> Bools:
    return np.fromiter((one in ids for one in answers.image_id), np.bool_, len(answers.image_id))


def _without(answers: Answers, ids: Collection[str]) -> Answers:
    return _taken(answers, ~_is_one_of(answers, ids))


def _renamed(answers: Answers, moved: Mapping[str, str]) -> Answers:
    """Return the hits under other ids; the group that the system shows goes with the id."""
    names = np.array([moved.get(one, one) for one in answers.image_id], np.object_)
    if answers.group_id is None:
        return replace(answers, image_id=names)
    shown = dict(zip(answers.image_id, answers.group_id, strict=True))
    groups = [shown.get(name, old) for name, old in zip(names, answers.group_id, strict=True)]
    return replace(answers, image_id=names, group_id=np.array(groups, np.object_))


def _scrambled(answers: Answers, ids: list[str], chance: Generator) -> Answers:
    """Replace each hit on one of the ids by another of them that the list does not hold yet; drop it where none is."""
    names, keep = answers.image_id.copy(), np.ones(len(answers.row), np.bool_)
    held: dict[int, set[str]] = defaultdict(set)
    for row, name in zip(answers.row.tolist(), names, strict=True):
        held[row].add(name)
    for place in np.flatnonzero(_is_one_of(answers, set(ids))).tolist():
        there = held[int(answers.row[place])]
        drawn = next(
            (one for one in (ids[number] for number in chance.integers(len(ids), size=8)) if one not in there), None
        )
        keep[place] = drawn is not None
        if drawn is not None:
            there.add(drawn)
            names[place] = drawn
    renamed = replace(answers, image_id=names)
    if answers.group_id is not None:
        renamed = replace(renamed, group_id=None)  # the groups shown go with the ids
    return _taken(renamed, keep)


def _doubled(answers: Answers, ids: Collection[str]) -> Answers:
    """Return the lists with each hit on the ids twice, each list as long as it was."""
    times = np.where(_is_one_of(answers, ids), 2, 1)
    twice = np.repeat(np.arange(len(answers.row)), times)
    twice = twice[np.lexsort((twice, answers.distance[twice], answers.row[twice]))]
    rows = answers.row[twice]
    start = np.searchsorted(rows, rows)  # of each hit's own list
    lengths = np.bincount(answers.row, minlength=len(answers.query_ids))
    return _taken(answers, twice[np.arange(len(rows)) - start < lengths[rows]])


def _told_of_day(system: System, day: Date, value: float) -> tuple[Fact, ...]:
    """Return the facts with the self-probe of a day at a value."""
    probed = f"day={day.isoformat()}"
    return tuple(
        fact.model_copy(update={"value": value})
        if fact.metric.startswith("self_recall@") and probed in fact.slice.split(",")
        else fact
        for fact in system.facts
    )


def _raised(facts: tuple[Fact, ...], metric: str, by: int, examples: list[str]) -> tuple[Fact, ...]:
    """Return the facts with a count raised, where it was counted at all."""
    return tuple(
        fact.model_copy(update={"value": fact.value + by, "examples": (*examples, *fact.examples)[:20]})
        if (fact.metric, fact.slice) == (metric, "all")
        else fact
        for fact in facts
    )

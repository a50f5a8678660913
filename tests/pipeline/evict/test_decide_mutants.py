"""The rule of eviction with a fault in it: each is found by the guarantee that it breaks, and the rule breaks none."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest

from pipeline.evict.decide import decide
from pipeline.evict.decisions import Decisions, Reason
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import NEVER, Stored
from pipeline.evict.tail import TailFull
from tests.pipeline.evict.guarantees import broken, live
from tests.pipeline.evict.naive import naive
from tests.pipeline.evict.stored_rows import Picture, after, stored_of
from tests.pipeline.evict.three_ways import DAY, said_of

Rule = Callable[[Stored, EvictPolicy, int], Decisions]
PHASES, LOOPS = "two phases", "loops"
"""Beside G1 to G5: what goes for its rank or for the budget was marked before; and the naive loops say the same."""


class Case(NamedTuple):
    """A catalogue on a day, and the policy that applies."""

    rows: list[Picture]
    policy: EvictPolicy


class Mutant(NamedTuple):
    """A rule with one fault, and by what it must be found."""

    fault: str
    rule: Rule
    found_by: str


def of_policy(change: Callable[[EvictPolicy], dict[str, Any]]) -> Rule:
    """Return the rule under another policy; nothing checks it."""
    return lambda stored, policy, day: decide(stored, policy.model_copy(update=change(policy)), day)


def of_stored(change: Callable[[Stored], dict[str, Any]]) -> Rule:
    """Return the rule that sees other columns."""
    return lambda stored, policy, day: decide(replace(stored, **change(stored)), policy, day)


def by_age_alone(stored: Stored, policy: EvictPolicy, day: int) -> Decisions:
    """Return what a plain window decides: first in, first out."""
    decided = decide(stored, policy, day)
    old = (stored.last_seen <= day - policy.window_days) & ~stored.taken_down
    return replace(decided, reason=np.where(old, np.int8(Reason.SUPERSEDED), decided.reason))


def in_one_phase(stored: Stored, policy: EvictPolicy, day: int) -> Decisions:
    decided = decide(stored, policy, day)
    return replace(decided, reason=decided.why)


def never_due(stored: Stored, policy: EvictPolicy, day: int) -> Decisions:
    decided = decide(stored, policy, day)
    due = np.isin(decided.reason, (Reason.SUPERSEDED, Reason.OVER_BUDGET))
    return replace(decided, reason=np.where(due, np.int8(Reason.MARKED), decided.reason))


def budget_takes_the_first(stored: Stored, policy: EvictPolicy, day: int) -> Decisions:
    """Return what is decided where a budget takes one more, and the last of a product as well."""
    decided = decide(stored, policy, day)
    reason = decided.reason.copy()
    for number, name in enumerate(stored.categories):
        tail = np.flatnonzero((stored.category == number) & (reason == Reason.REPRESENTATIVE))
        if policy.budget_of(name) is not None and len(tail):
            reason[tail[np.argmin(stored.value[tail])]] = Reason.OVER_BUDGET
    return replace(decided, reason=reason)


def first_product_only(stored: Stored) -> dict[str, Any]:
    first = np.unique(stored.member_rows, return_index=True)[1]
    return {"member_rows": stored.member_rows[first], "member_groups": stored.member_groups[first]}


MUTANTS = (
    Mutant("plain FIFO: whatever is older than the window goes", by_age_alone, "G1"),
    Mutant("no picture of a product is kept", of_policy(lambda _: {"min_per_group": 0, "max_per_group": 0}), "G1"),
    Mutant(
        "one picture of a product fewer is kept",
        of_policy(lambda p: {"min_per_group": p.min_per_group - 1, "max_per_group": p.min_per_group - 1}),
        "G1",
    ),
    Mutant("a picture in no index represents", of_stored(lambda s: {"indexed": np.ones(len(s), np.bool_)}), "G1"),
    Mutant("what is gone represents", of_stored(lambda s: {"gone_since": np.full(len(s), NEVER)}), "G1"),
    Mutant("a picture is of its first product only", of_stored(first_product_only), "G1"),
    Mutant("the budget takes the last of a product", budget_takes_the_first, "G1"),
    Mutant("the window is a day too short", of_policy(lambda p: {"window_days": p.window_days - 1}), "G2"),
    Mutant(
        "a clock that is ahead makes old",
        of_stored(lambda s: {"last_seen": np.where(s.last_seen > DAY, 0, s.last_seen).astype(np.int32)}),
        "G2",
    ),
    Mutant("the window is a day too long", of_policy(lambda p: {"window_days": p.window_days + 1}), "G3"),
    Mutant("the cap is ignored", of_policy(lambda _: {"max_per_group": 1000}), "G3"),
    Mutant("the budget is ignored", of_policy(lambda _: {"tail_budget": {}}), "G3"),
    Mutant("another category's budget counts", of_stored(lambda s: {"categories": s.categories[::-1]}), "G3"),
    Mutant("what is marked never goes", never_due, "G3"),
    Mutant(
        "a mark falls due on its own day",
        of_stored(lambda s: {"marked_on": np.where(s.marked_on == DAY, DAY - 1, s.marked_on).astype(np.int32)}),
        "G4",
    ),
    Mutant("the place among the rows breaks ties", of_stored(lambda s: {"ids": np.arange(len(s))}), "G4"),
    Mutant("takedowns are ignored", of_stored(lambda s: {"taken_down": np.zeros(len(s), np.bool_)}), "G5"),
    Mutant("a pin is above a takedown", of_stored(lambda s: {"taken_down": s.taken_down & ~s.pinned}), "G5"),
    Mutant("marks are ignored: it goes at once", in_one_phase, PHASES),
    Mutant("every mark is old", of_stored(lambda s: {"marked_on": np.full(len(s), DAY - 1, np.int32)}), PHASES),
    Mutant("the least valuable comes first", of_stored(lambda s: {"value": -s.value}), LOOPS),
    Mutant("the oldest comes first", of_stored(lambda s: {"value": (DAY - s.last_seen).astype(np.float32)}), LOOPS),
    Mutant("pins are ignored", of_stored(lambda s: {"pinned": np.zeros(len(s), np.bool_)}), LOOPS),
    Mutant("it is delisted a day early", of_policy(lambda p: {"delist_days": p.delist_days - 1}), LOOPS),
    Mutant("it is never delisted", of_policy(lambda _: {"delist_days": 1000}), LOOPS),
)


def found_wrong(rule: Rule, case: Case) -> set[str]:
    """Return by what a rule is found out on a catalogue: `G1` to `G5`, `two phases`, `loops`."""
    rows, policy = case
    stored = stored_of(rows)
    decided = rule(stored, policy, DAY)
    kept = after(stored, decided)
    found = {text.split(":")[0] for text in broken(rows, kept, policy, DAY, decided.degraded)}
    stays = {picture.id for picture in kept}
    if _depends_on_order(rule, case, stays) or not rule(stored_of(kept), policy, DAY).keep.all():
        found.add("G4")
    if any(_goes_unmarked(picture, stays, policy) for picture in rows):
        found.add(PHASES)
    if (said_of(stored, decided), decided.degraded) != naive(rows, policy, DAY):
        found.add(LOOPS)
    return found


def _depends_on_order(rule: Rule, case: Case, stays: set[int]) -> bool:
    turned = stored_of(case.rows[::-1])
    return set(turned.ids[rule(turned, case.policy, DAY).keep].tolist()) != stays


def _goes_unmarked(picture: Picture, stays: set[int], policy: EvictPolicy) -> bool:
    """Whether it was let go for others' sake without having been marked on an earlier day."""
    if picture.id in stays or not live(picture, DAY) or DAY - picture.last_seen < policy.window_days:
        return False
    return picture.marked_on is None or picture.marked_on >= DAY


@cache
def cases(many: int = 300) -> tuple[Case, ...]:
    """Draw catalogues around every edge of the rule; those whose tail is full are left out."""
    return tuple(case for seed in range(many) if not _full(case := _drawn(random.Random(seed))))


def _drawn(chance: random.Random) -> Case:
    window, least = chance.randint(2, 10), chance.randint(1, 3)
    policy = EvictPolicy(
        window_days=window,
        min_per_group=least,
        max_per_group=least + chance.randint(0, 1),
        delist_days=chance.randint(1, 4),
        tail_budget={"shoes": chance.randint(2, 6)} if chance.random() < 0.5 else {},
    )
    products = range(chance.choice((2, 7)))
    return Case([_picture(chance, number, window, products) for number in chance.sample(range(100), 20)], policy)


def _picture(chance: random.Random, number: int, window: int, products: range) -> Picture:
    return Picture(
        number,
        last_seen=DAY - chance.choice((-3, 0, window - 1, window, window, window + 20)),
        groups=tuple(chance.sample(products, chance.choice((1, 1, 2)))),
        value=chance.choice((0.0, 0.5, 1.0)),
        pinned=chance.random() < 0.1,
        taken_down=chance.random() < 0.1,
        indexed=chance.random() < 0.85,
        gone_since=None if chance.random() < 0.8 else DAY - chance.randint(-1, 5),
        marked_on=chance.choice((None, DAY - 1, DAY)),
        category=chance.choice(("hats", "shoes")),
    )


def _full(case: Case) -> bool:
    try:
        decide(stored_of(case.rows), case.policy, DAY)
    except TailFull:
        return True
    return False


def tried(mutant: Mutant) -> Iterator[set[str]]:
    """Yield by what a mutant is found out, catalogue by catalogue; one that refuses says so by its exit."""
    for case in cases():
        try:
            yield found_wrong(mutant.rule, case)
        except TailFull:
            yield {LOOPS}


def test_the_rule_is_found_out_by_nothing() -> None:
    assert len(cases()) > 200
    assert [found for case in cases() if (found := found_wrong(decide, case))] == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.fault)
def test_a_rule_with_a_fault_is_found_out_by_what_it_breaks(mutant: Mutant) -> None:
    assert any(mutant.found_by in found for found in tried(mutant))


def test_every_guarantee_finds_a_fault() -> None:
    assert {mutant.found_by for mutant in MUTANTS} == {"G1", "G2", "G3", "G4", "G5", PHASES, LOOPS}


def test_a_case_of_one_rare_product_is_enough_to_find_a_plain_window() -> None:
    rare, usual = Picture(1, DAY - 60, (1,)), Picture(2, DAY, (2,))
    case = Case([rare, usual], EvictPolicy(window_days=60))
    assert found_wrong(decide, case) == set()
    assert found_wrong(by_age_alone, case) == {"G1", PHASES, LOOPS}

"""A simulated year: the guarantees on each of its days, by a replay in dicts, and its searches by brute force."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pipeline.evict.labelled_search import judge, queries_of
from pipeline.evict.looks import Looks, draw_looks
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.simulate import Outcome, simulate
from pipeline.evict.simulate_result import Simulation
from pipeline.evict.stored import Stored
from pipeline.evict.tail import TailFull
from pipeline.evict.world import World, WorldSettings, make_world
from pipeline.evict.world_state import Library, WorldState
from tests.pipeline.evict.world_replay import Replay

POLICY = EvictPolicy(window_days=15, delist_days=5)
SMALL = WorldSettings(days=85, groups=90, sightings=14, takedown=0.03, bundle=0.05, pinned=0.01, no_object=0.03)
BUDGETED = EvictPolicy(window_days=15, delist_days=5, max_per_group=4, tail_budget={"*": 110})


def replayed(
    settings: WorldSettings, policy: EvictPolicy, name: str = "ours", seed: int = 7
) -> tuple[Replay, Simulation]:
    world = make_world(settings.model_copy(update={"seed": seed}))
    replay = Replay(world, policy, degraded=bool(policy.tail_budget))

    def watch(who: str, state: WorldState, stored: Stored, outcome: Outcome) -> None:
        if who == name:
            replay.watch(who, state, stored, outcome)

    return replay, simulate(world, draw_looks(world), policy, sample_every=40, queries_each=5, watch=watch)


@pytest.mark.parametrize(("policy", "seed"), [(POLICY, 1), (POLICY, 2), (BUDGETED, 3)])
def test_every_day_keeps_the_guarantees(policy: EvictPolicy, seed: int):
    replay, found = replayed(SMALL, policy, seed=seed)
    assert replay.wrong == []
    assert tuple(replay.rows) == found.policies["ours"].rows
    assert replay.coverage == pytest.approx(found.policies["ours"].coverage)
    assert {"takedown", "delisted", "superseded", "not_indexed"} <= found.dropped.keys()
    assert ("over_budget" in found.dropped) == bool(policy.tail_budget)


def test_a_plain_window_breaks_g1_and_only_that():
    replay, found = replayed(SMALL, POLICY, "window")
    broken = Counter(line.split(": ")[1] for line in replay.wrong)
    assert broken["G1"] > 100
    assert set(broken) == {"G1"}
    assert replay.coverage == pytest.approx(found.policies["window"].coverage)


def test_a_policy_that_keeps_all_breaks_g3():
    replay, _ = replayed(SMALL, POLICY, "keep_all")
    assert {line.split(": ")[1] for line in replay.wrong} == {"G3"}


@pytest.mark.parametrize(("keeps", "guarantee"), [(True, "G5"), (False, "G2")])
def test_the_replay_sees_a_policy_that_keeps_or_drops_everything(keeps: bool, guarantee: str):
    world = make_world(SMALL.model_copy(update={"days": 40}))
    replay = Replay(world, POLICY)

    def watch(who: str, state: WorldState, stored: Stored, outcome: Outcome) -> None:
        if who == "ours":
            replay.watch(who, state, stored, outcome._replace(keep=np.full(len(stored), keeps)))

    simulate(world, draw_looks(world), POLICY, watch=watch)
    assert guarantee in {line.split(": ")[1] for line in replay.wrong}


def test_where_pictures_live_as_long_as_their_products_ours_loses_none_and_the_window_many():
    settings = SMALL.model_copy(
        update={"offer_ends": 0.0, "notice_days": 0, "takedown": 0.0, "split": 0.0, "no_object": 0.0}
    )
    _, found = replayed(settings, POLICY)
    assert set(found.policies["ours"].coverage) == {1.0}
    assert found.policies["window"].lost > 5
    assert found.policies["window"].rows[-1] < found.policies["ours"].rows[-1] < found.policies["keep_all"].rows[-1]


def test_equal_settings_give_equal_numbers_and_another_seed_others():
    short = SMALL.model_copy(update={"days": 40})
    first, again, other = (replayed(short, POLICY, seed=seed)[1].model_dump_json() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_budget_that_is_too_small_for_what_must_stay_ends_with_the_day():
    with pytest.raises(TailFull, match=r"^day \d+ of the simulation: the tail is full; other: \d+ rows") as refused:
        replayed(SMALL, EvictPolicy(window_days=15, tail_budget={"*": 5}))
    assert refused.value.exit_code == 1


def test_the_last_day_is_always_searched_and_no_other_is_near_it():
    days = {
        length: [
            one.day for one in replayed(SMALL.model_copy(update={"days": length}), POLICY)[1].policies["ours"].samples
        ]
        for length in (1, 41, 59, 60)
    }
    assert days == {1: [1], 41: [41], 59: [59], 60: [40, 60]}


@pytest.fixture(scope="module")
def someday() -> tuple[World, Looks, WorldState, Library]:
    world = make_world(SMALL)
    state, library = WorldState(world), Library(len(world.pictures))
    for number, events in enumerate(world.days):
        state.advance(events)
        library.take(events.booked[::3], number)
    return world, draw_looks(world), state, library


def test_searches_are_judged_as_brute_force_judges_them(someday: tuple[World, Looks, WorldState, Library]):
    world, looks, state, library = someday
    queries = queries_of(state, looks, 20)
    sample = judge(state, library, looks, queries, 4)
    truly = set(state.findable().tolist())
    stored = library.searchable(state).tolist()
    shown = [set(state.members(np.array([picture])).groups.tolist()) for picture in range(len(world.pictures))]
    hits_1, hits_k, recalls = [], [], []
    for vector, group in zip(queries.vectors, queries.groups.tolist(), strict=True):
        order = sorted(stored, key=lambda picture: -float(looks.pictures[picture] @ vector))
        before = next((rank for rank, picture in enumerate(order) if group in shown[picture]), len(order))
        # Another group of the picture that hits ties with it, and a tie counts against the group.
        others = set().union(*(shown[picture] for picture in order[: before + 1])) - {group}
        hits_1.append(before < len(order) and not others)
        hits_k.append(before < len(order) and len(others) < 4)
        live = {picture for picture in truly if group in shown[picture]}
        recalls.append(len(live & set(order[:4])) / min(4, len(live)))
    for name, rows in queries.slices.items():
        assert len(rows) == sample.queries[name] == 20
        assert sample.hit_at_1[name] == pytest.approx(np.mean([hits_1[row] for row in rows]))
        assert sample.hit_at_k[name] == pytest.approx(np.mean([hits_k[row] for row in rows]))
        assert sample.recall[name] == pytest.approx(np.mean([recalls[row] for row in rows]))
    assert 0 < sum(hits_k) < len(hits_k)


def test_slices_are_thirds_of_the_live_groups_by_arrivals(someday: tuple[World, Looks, WorldState, Library]):
    _, looks, state, _ = someday
    queries = queries_of(state, looks, 10_000)
    arrivals = [
        [sum(state.arrivals[state.group == group]) for group in queries.groups[queries.slices[name]]]
        for name in ("head", "torso", "tail")
    ]
    sizes = [len(part) for part in arrivals]
    assert max(sizes) - min(sizes) <= 1
    assert min(arrivals[0]) >= max(arrivals[1])
    assert min(arrivals[1]) >= max(arrivals[2])
    assert sorted(queries.groups.tolist()) == sorted(set(state.members(state.findable()).groups.tolist()))


def test_an_empty_store_finds_nothing_and_loses_no_query(someday: tuple[World, Looks, WorldState, Library]):
    world, looks, state, _ = someday
    sample = judge(state, Library(len(world.pictures)), looks, queries_of(state, looks, 5), 10)
    assert sample.queries == {"head": 5, "torso": 5, "tail": 5}
    for values in (sample.recall, sample.hit_at_1, sample.hit_at_k):
        assert values == {"head": 0, "torso": 0, "tail": 0}


@pytest.mark.slow
def test_a_year_keeps_the_guarantees_on_each_of_its_days():
    replay, found = replayed(WorldSettings(groups=600), EvictPolicy())
    assert replay.wrong == []
    assert len(replay.rows) == found.days == 365
    window, ours, everything = (found.policies[name] for name in ("window", "ours", "keep_all"))
    assert window.coverage[-1] < 0.9 < 0.99 < min(ours.coverage)
    assert ours.rows[-1] < everything.rows[-1] / 2
    assert window.recall["tail"] is not None
    assert ours.recall["tail"] is not None
    assert window.recall["tail"] < ours.recall["tail"]

"""The made-up year: drawn from its seed alone, with everything in it that an eviction has to survive."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from pipeline.evict.stored import NEVER
from pipeline.evict.world import World, WorldDay, WorldSettings, make_world
from pipeline.evict.world_state import Library, WorldState


@pytest.fixture(scope="module")
def year() -> World:
    return make_world(WorldSettings(groups=400, takedown=0.02, bundle=0.05))


def columns(world: World) -> list[np.ndarray]:
    parts: list[object] = [world.products, world.pictures, *world.days]
    return [np.asarray(getattr(part, one.name)) for part in parts for one in fields(part)]  # type: ignore[arg-type]


def test_a_year_is_drawn_from_its_seed_alone():
    settings = WorldSettings(days=50, groups=60)
    first, again = columns(make_world(settings)), columns(make_world(settings))
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    other = columns(make_world(settings.model_copy(update={"seed": 8})))
    assert not all(np.array_equal(one, two) for one, two in zip(first, other, strict=False))


def test_only_offered_products_are_seen_and_late_days_come_later_and_whole(year: World):
    late = set()
    for number, day in enumerate(year.days):
        assert ((day.seen <= number) & (number - day.seen <= 5)).all()
        late |= {seen for seen in day.seen.tolist() if seen < number}
        for seen in set(day.seen.tolist()):
            shown = year.pictures.product[day.booked[day.seen == seen]]
            assert year.products.offered(seen)[shown].all()
    assert late
    for number in late:
        assert not (year.days[number].seen == number).any()


def test_a_product_is_seen_when_it_is_launched_and_when_it_comes_back(year: World):
    products = year.products
    seen_on = {
        (int(product), int(seen))
        for day in year.days
        for product, seen in zip(year.pictures.product[day.booked], day.seen, strict=True)
    }
    booked = {seen for day in year.days for seen in day.seen.tolist()}
    for days in (products.launch, products.away_until):
        due = [(at, int(on)) for at, on in enumerate(days) if on in booked and products.offered(int(on))[at]]
        assert due
        assert set(due) <= seen_on


def test_arrivals_follow_zipfs_law():
    world = make_world(WorldSettings(days=200, groups=50, sightings=100, launched=0, dies=0, absent=0, late=0))
    counts = np.zeros(50)
    for day in world.days[60:]:
        np.add.at(counts, world.pictures.product[day.booked], 1)
    ranks = np.argsort(np.argsort(-world.products.popularity)) + 1
    law = (1 / ranks) / (1 / ranks).sum()
    expected = law * counts.sum()
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_the_year_has_all_that_an_eviction_must_survive(year: World):
    products, pictures = year.products, year.pictures
    delisted_and_back = products.delisted & (products.away_until < 365) & (products.away_until < products.death)
    assert delisted_and_back.any()
    assert (products.death < 365).any()
    assert (pictures.second >= 0).any()
    assert pictures.pinned.any()
    assert not pictures.has_object.all()
    moved = np.concatenate([day.regrouped for day in year.days])
    assert (moved[:, 0] == moved[:, 1]).any(), "no split"
    assert (moved[:, 0] != moved[:, 1]).any(), "no merge"
    taken: set[int] = set()
    again = 0
    for day in year.days:
        again += len(taken & set(day.booked.tolist()))
        taken |= set(day.taken_down.tolist())
    assert again, "nothing is offered again after its takedown"


def test_at_most_so_many_pictures_of_a_product_are_shown():
    world = make_world(WorldSettings(days=80, groups=10, sightings=30, views=3))
    assert np.bincount(world.pictures.product).max() == 3
    assert sorted(set(world.pictures.view.tolist())) == [0, 1, 2]


def day(**events: object) -> WorldDay:
    nothing = np.empty(0, np.int64)
    pairs = np.empty((0, 2), np.int64)
    found = {"taken_down": nothing, "regrouped": pairs, "gone": nothing, "booked": nothing, "seen": nothing}
    return WorldDay(**{**found, "noticed": pairs, **{name: np.array(value) for name, value in events.items()}})


def test_an_offer_that_was_seen_before_the_end_and_is_booked_late_brings_nothing_back(year: World):
    state = WorldState(year)
    state.advance(day(booked=[0, 1], seen=[0, 0]))
    state.advance(day(gone=[0, 1]))
    state.advance(day(noticed=[[0, 1], [1, 1]]))
    state.advance(day(booked=[0, 1], seen=[0, 3]))
    assert state.gone_since[:2].tolist() == [1, NEVER]
    assert state.known_gone[:2].tolist() == [2, NEVER]
    assert state.last_seen[:2].tolist() == [0, 3]


def test_what_was_forgotten_is_new_when_it_comes_again():
    library = Library(3)
    library.take(np.array([0, 1]), 4)
    library.keep(np.array([0, 1]), np.array([True, False]), np.array([4, 4], np.int32))
    assert library.marked_on.tolist() == [4, NEVER, NEVER]
    library.take(np.array([0, 1]), 6)
    assert library.stored.tolist() == [True, True, False]
    assert library.since.tolist() == [4, 6, NEVER]

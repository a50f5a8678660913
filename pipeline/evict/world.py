"""A made-up year of a catalogue, day by day: what arrives, what dies, what is regrouped and what must be taken down.

Everything is drawn before the first day from one seed, so that every policy sees equal arrivals. Products have a Zipf
popularity and an appearance of their own; a product group of the catalogue is one product, until upstream says
otherwise: two that it took for one are split, two that are one to it are merged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipeline.evict.stored import NEVER

Share = Annotated[float, Field(ge=0, le=1)]
Ids = NDArray[np.int64]
Days = NDArray[np.int32]
NO_PRODUCT = np.int64(-1)
_WAY_BACK = (70, 200)
"""Days that a product is away before it comes back; the shortest is longer than a window of two months."""
_OFFER_LASTS = (30, 200)
_LATE_BY = (1, 5)
_TAKEN_DOWN_WITHIN = 120
_FIRST_CRAWL = 60
"""Days within which the products that are there from the start are first found."""
_VIEWS_HALVE = 4.0
"""A product with so many pictures is shown in a new one by every second merchant, with twice as many by every third."""


class WorldSettings(BaseModel):
    """What kind of year it is; shares are of products, unless something else is said.

    Attributes:
        days: Its length, >= 1.
        groups: Products, and product groups, of the whole year, >= 2.
        seed: Of everything that is drawn, >= 0.
        sightings: Offers that arrive on a day, on average, > 0; None: a tenth of `groups`.
        zipf: Exponent of the popularity, > 0: the product of rank r arrives in proportion to r ** -zipf.
        views: Most pictures of a product, >= 1; None: no limit. All later offers show one of them again.
        launched: Come later than at the start.
        dies: End for good on some day.
        absent: Stop arriving for 70 to 200 days and then come back; half of them are delisted in between.
        split: Pairs of products that are one group until upstream splits them, as a share of products.
        merged: Pairs that become one group, likewise.
        bundle: Of pictures: show a second product too.
        offer_ends: Of pictures: their own offers end after 30 to 200 days, though the product goes on.
        late: Of days: their arrivals are booked one to five days later.
        takedown: Of pictures: must go on some day, and may be offered again after it.
        pinned: Of pictures: a person wants them kept.
        no_object: Of pictures: nothing was found in them, no index ever holds them.
        notice_days: A recheck notices that a picture is gone so many days later at most, >= 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: int = Field(default=365, ge=1)
    groups: int = Field(default=3000, ge=2)
    seed: int = Field(default=7, ge=0)
    sightings: float | None = Field(default=None, gt=0)
    zipf: float = Field(default=1.0, gt=0)
    views: int | None = Field(default=None, ge=1)
    launched: Share = 0.3
    dies: Share = 0.15
    absent: Share = 0.1
    split: Annotated[float, Field(ge=0, le=0.25)] = 0.03
    merged: Annotated[float, Field(ge=0, le=0.25)] = 0.03
    bundle: Share = 0.01
    offer_ends: Share = 0.15
    late: Share = 0.04
    takedown: Share = 0.003
    pinned: Share = 0.002
    no_object: Share = 0.005
    notice_days: int = Field(default=7, ge=0)


@dataclass(frozen=True, eq=False)
class Products:
    """The products of a year; n of them, each with its number.

    Attributes:
        popularity: Weight of its arrivals while it is offered, (n,) float64, sum 1.
        launch: First day on which it is offered, (n,) int32; it is seen on that day, if on no other.
        death: First day on which it is offered no more, (n,) int32; NEVER.
        away_from: First day of its absence, (n,) int32; NEVER. Never before `launch`.
        away_until: Day on which it is seen again, (n,) int32; NEVER.
        delisted: Whether its offers are taken off the shelf for its absence, (n,) bool.
        group: Its product group on the first day, (n,) int64; groups are numbered as products are.
        kin: A product that looks alike (they are split or merged), (n,) int64; NO_PRODUCT.
    """

    popularity: NDArray[np.float64]
    launch: Days
    death: Days
    away_from: Days
    away_until: Days
    delisted: NDArray[np.bool_]
    group: Ids
    kin: Ids

    def offered(self, day: int) -> NDArray[np.bool_]:
        """Return which products can arrive on a day, (n,) bool."""
        away = (self.away_from <= day) & (day < self.away_until)
        return (self.launch <= day) & (day < self.death) & ~away


@dataclass(frozen=True, eq=False)
class Pictures:
    """All pictures of a year, numbered in the order in which they are first seen; p of them.

    Attributes:
        product: What it shows, (p,) int64.
        second: A second product that it shows, (p,) int64; NO_PRODUCT.
        view: Which picture of its product it is, from 0, (p,) int32.
        pinned: (p,) bool.
        has_object: Whether an index can hold it, (p,) bool.
        quality: (p,) float32 in [0, 1].
        clicks: (p,) float32, >= 0: a product's popularity, scattered.
    """

    product: Ids
    second: Ids
    view: Days
    pinned: NDArray[np.bool_]
    has_object: NDArray[np.bool_]
    quality: NDArray[np.float32]
    clicks: NDArray[np.float32]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.product)


@dataclass(frozen=True, eq=False)
class WorldDay:
    """What happens on a day, in the order of the attributes.

    Attributes:
        taken_down: Pictures that must not be kept from now on.
        regrouped: (r, 2) int64, product and the group that it is of from now on.
        gone: Pictures of which no offer is alive from now on.
        booked: Pictures that are booked: offers of this day, and of days that were late.
        seen: Day on which each of `booked` was seen, int32.
        noticed: (q, 2) int64, picture and the day since which it is gone: a recheck has found out.
    """

    taken_down: Ids
    regrouped: NDArray[np.int64]
    gone: Ids
    booked: Ids
    seen: Days
    noticed: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class World:
    """A year: its products, pictures and days."""

    settings: WorldSettings
    products: Products
    pictures: Pictures
    days: tuple[WorldDay, ...]

    @property
    def sightings(self) -> int:
        """Offers that are booked within the year."""
        return sum(len(day.booked) for day in self.days)


def make_world(settings: WorldSettings) -> World:
    """Draw a year; equal settings give an equal one."""
    rng = np.random.default_rng(settings.seed)
    products, regrouped = _draw_products(settings, rng)
    shown, product, second, view = _draw_sightings(settings, products, rng)
    pictures = _draw_pictures(settings, products, (product, second, view), rng)
    first_seen = _first_seen(shown, len(pictures))
    gone = _ends(settings, products, pictures, first_seen, rng)
    lags = np.where(rng.random(settings.days) < settings.late, rng.integers(*_LATE_BY, settings.days, endpoint=True), 0)
    taken = rng.random(len(pictures)) < settings.takedown
    taken_on = first_seen + rng.integers(0, _TAKEN_DOWN_WITHIN, len(pictures))
    noticed_on = gone[:, 1] + rng.integers(0, settings.notice_days + 1, len(gone))
    days = []
    for day in range(settings.days):
        sources = [seen for seen in range(day + 1) if seen + lags[seen] == day]
        days.append(
            WorldDay(
                taken_down=np.flatnonzero(taken & (taken_on == day)),
                regrouped=regrouped[regrouped[:, 0] == day, 1:],
                gone=gone[gone[:, 1] == day, 0],
                booked=np.concatenate([shown[seen] for seen in sources] or [np.empty(0, np.int64)]),
                seen=np.repeat(np.array(sources, np.int32), [len(shown[seen]) for seen in sources]),
                noticed=gone[noticed_on == day],
            )
        )
    return World(settings, products, pictures, tuple(days))


def _draw_products(settings: WorldSettings, rng: np.random.Generator) -> tuple[Products, NDArray[np.int64]]:
    """Return the products, and (r, 3) int64: day, product and its group from that day on."""
    count, days = settings.groups, settings.days
    weights = (1.0 + rng.permutation(count)) ** -settings.zipf
    later = rng.random(count) < settings.launched
    launch = rng.integers(0, np.where(later, days, min(days, _FIRST_CRAWL))).astype(np.int32)
    death = np.where(rng.random(count) < settings.dies, launch + rng.integers(1, days + 1, count), NEVER)
    away = rng.random(count) < settings.absent
    away_from = np.where(away, launch + 1 + rng.integers(0, days, count), NEVER)
    away_until = np.where(away, away_from + rng.integers(*_WAY_BACK, count), NEVER)
    order = rng.permutation(count)
    splits = int(settings.split * count)
    pairs = order[: 2 * (splits + int(settings.merged * count))].reshape(-1, 2)
    on = rng.integers(0, days, len(pairs))
    group, kin = np.arange(count, dtype=np.int64), np.full(count, NO_PRODUCT)
    kin[pairs[:, 1]] = pairs[:, 0]
    group[pairs[:splits, 1]] = pairs[:splits, 0]
    becomes = np.where(np.arange(len(pairs)) < splits, pairs[:, 1], pairs[:, 0])
    products = Products(
        popularity=weights / weights.sum(),
        launch=launch,
        death=death.astype(np.int32),
        away_from=away_from.astype(np.int32),
        away_until=away_until.astype(np.int32),
        delisted=away & (rng.random(count) < 0.5),
        group=group,
        kin=kin,
    )
    return products, np.column_stack([on, pairs[:, 1], becomes]).astype(np.int64)


def _draw_sightings(
    settings: WorldSettings, products: Products, rng: np.random.Generator
) -> tuple[list[Ids], list[int], list[int], list[int]]:
    """Return the pictures seen on each day, and product, second product and view of each picture.

    An offer shows a new picture of its product, the rarer the more there are, else one of those, each as likely.
    """
    mean = settings.groups / 10 if settings.sightings is None else settings.sightings
    of_product: list[list[int]] = [[] for _ in range(settings.groups)]
    product: list[int] = []
    second: list[int] = []
    view: list[int] = []
    shown: list[Ids] = []
    for day in range(settings.days):
        drawn = _drawn_products(products, day, int(rng.poisson(mean)), rng)
        chance, place, other = (rng.random(len(drawn)) for _ in range(3))
        seen = np.empty(len(drawn), np.int64)
        for at, one in enumerate(drawn.tolist()):
            known = of_product[one]
            is_full = settings.views is not None and len(known) >= settings.views
            if is_full or chance[at] * (1 + len(known) / _VIEWS_HALVE) >= 1:
                seen[at] = known[int(place[at] * len(known))]
                continue
            seen[at] = len(product)
            known.append(len(product))
            product.append(one)
            second.append(_beside(one, other[at], place[at], settings))
            view.append(len(known) - 1)
        shown.append(seen)
    return shown, product, second, view


def _drawn_products(products: Products, day: int, count: int, rng: np.random.Generator) -> Ids:
    """Return the products that arrive on a day: the launched, the returned, and `count` by popularity."""
    offered = products.offered(day)
    back = offered & ((products.launch == day) | (products.away_until == day))
    weights = np.where(offered, products.popularity, 0.0)
    if not offered.any():
        return np.empty(0, np.int64)
    drawn = rng.choice(len(weights), count, p=weights / weights.sum())
    return np.concatenate([np.flatnonzero(back), drawn]).astype(np.int64)


def _beside(product: int, chance: float, place: float, settings: WorldSettings) -> int:
    """Return the other product of a picture of two, NO_PRODUCT for most."""
    if chance >= settings.bundle:
        return int(NO_PRODUCT)
    return (product + 1 + int(place * (settings.groups - 1))) % settings.groups


def _draw_pictures(
    settings: WorldSettings,
    products: Products,
    shown: tuple[list[int], list[int], list[int]],
    rng: np.random.Generator,
) -> Pictures:
    product, second, view = (np.array(column, np.int64) for column in shown)
    count = len(product)
    popular = products.popularity[product] * settings.groups
    return Pictures(
        product=product,
        second=second,
        view=view.astype(np.int32),
        pinned=rng.random(count) < settings.pinned,
        has_object=rng.random(count) >= settings.no_object,
        quality=rng.random(count, np.float32),
        clicks=rng.poisson(10.0 * popular).astype(np.float32),
    )


def _first_seen(shown: list[Ids], count: int) -> NDArray[np.int64]:
    first = np.zeros(count, np.int64)
    for day in reversed(range(len(shown))):
        first[shown[day]] = day
    return first


def _ends(
    settings: WorldSettings,
    products: Products,
    pictures: Pictures,
    first_seen: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Return (q, 2) int64: picture, and a day of the year on which its last offer goes; a picture may have several.

    What is first seen on such a day or later is not touched by it.
    """
    numbers = np.arange(len(pictures))
    own = np.where(
        rng.random(len(pictures)) < settings.offer_ends, first_seen + rng.integers(*_OFFER_LASTS, len(pictures)), NEVER
    )
    death = products.death[pictures.product].astype(np.int64)
    shelf = np.where(products.delisted, products.away_from, NEVER)[pictures.product].astype(np.int64)
    ends = np.concatenate([np.column_stack([numbers, on]) for on in (own, death, shelf)])
    happens: NDArray[np.int64] = ends[(ends[:, 1] < settings.days) & (ends[:, 1] > first_seen[ends[:, 0]])]
    return happens

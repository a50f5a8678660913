"""The eviction gallery: counts are the audit's, and what goes stands beside what stays instead."""

from __future__ import annotations

from collections import Counter
from datetime import date as Date
from datetime import timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dashboards.page.cards import EvictionCard, EvictionReason, Gallery, Picture, Shown
from pipeline.cards.evictions import PER_REASON, eviction_card
from pipeline.cards.galleries import day_galleries
from tests.dashboards.page.desks import DAY, SCRIPT, hostile, html_of, made_desk, shown
from tests.dashboards.page.seen import pixels
from tests.pipeline.arrivals import DAYS, FUNNEL
from tests.pipeline.project import DAY_3, Project, draw
from tests.pipeline.test_evict_task import DAYS as FIVE
from tests.pipeline.test_evict_task import five_days

__all__ = ["five_days"]


def audited(project: Project, day: Date) -> Counter[str]:
    """Return how many pictures the day's audit has for each reason, read without our own code."""
    (path,) = (project.folder / "lake" / "evict" / str(day)).glob("*/*/*/*/eviction.parquet")
    return Counter(pq.read_table(path, columns=["reason"])["reason"].to_pylist())


def cards_of(project: Project, day: Date) -> EvictionCard:
    with project.place() as place:
        plain = eviction_card(place, day)
    assert plain is not None
    return EvictionCard.model_validate(plain)


@pytest.mark.slow
def test_every_reason_has_the_number_of_the_audit(three_days: Project) -> None:
    for day in DAYS:
        card = cards_of(three_days, day)
        assert {one.reason: one.count for one in card.sections} == audited(three_days, day)
        assert sum(one.count for one in card.sections) == FUNNEL[day]["evict"][0]
        assert all(len(one.shown) == min(one.count, PER_REASON) for one in card.sections)


@pytest.mark.slow
def test_what_stays_is_shown_with_its_picture(three_days: Project) -> None:
    looked = 0
    for one in (item for section in cards_of(three_days, DAY_3).sections for item in section.shown):
        number = one.picture.title.removeprefix("Thing ")[1:]
        if number.isdecimal():
            assert one.picture.image is not None
            put_in = np.asarray(draw(int(number)).resize((8, 8), Image.Resampling.BOX), np.float64)
            assert np.abs(pixels(one.picture.image) - put_in).mean() < 12
            looked += 1
    assert looked >= 8


@pytest.mark.slow
def test_what_goes_stands_beside_what_stays_instead_on_the_page_and_among_the_days_pictures(
    five_days: Project,
) -> None:
    card = cards_of(five_days, FIVE[3])  # a lamp goes: picture 0 or 1, of which the other one stays
    (gone,) = [one for one in card.sections if one.reason == "superseded"]
    assert card.sections[0] == gone, "what goes comes first"
    assert not gone.keeps
    (item,) = gone.shown
    assert item.other is not None
    assert item.other_says == "stays instead"
    for one, number in sorted({item.picture.title: item.picture, item.other.title: item.other}.items()):
        assert number.image is not None
        put_in = np.asarray(draw(int(one[-1])).resize((8, 8), Image.Resampling.BOX), np.float64)
        assert np.abs(pixels(number.image) - put_in).mean() < 12
    assert {item.picture.title, item.other.title} == {"Thing s0", "Thing s1"}
    with five_days.place() as place:
        found = [Gallery.model_validate(one) for one in day_galleries(place, FIVE[3])]
    (same,) = [one for one in found if one.task == "evict"]
    assert (same.reason, same.count, same.shown[0].item) == ("superseded", 1, item.item)


@pytest.mark.slow
def test_a_day_without_evict_has_no_card(three_days: Project) -> None:
    with three_days.place() as place:
        assert eviction_card(place, DAY_3 + timedelta(days=9)) is None


def evicted(**changes: object) -> EvictionCard:
    picture = Picture(image=None, title="a lamp", note="let go")
    item = Shown(item="ab" * 32, category="lamps", detail="goes: superseded", picture=picture, other=picture,
                 other_says="stays instead")  # fmt: skip
    fields = {
        "date": DAY,
        "sections": (
            EvictionReason(reason="superseded", keeps=False, count=31, shown=(item,)),
            EvictionReason(reason="window", keeps=True, count=400, shown=(item, item)),
        ),
        "facts": (("products alive", "85"),),
    }
    return EvictionCard.model_validate(fields | changes)


def test_every_number_of_the_page_is_that_of_the_card() -> None:
    page = shown(made_desk(eviction=evicted()), "eviction.html")
    assert {name: int(value) for name, value in page.facts.items()} == {
        "eviction.going": 31,
        "eviction.staying": 400,
        "eviction.superseded": 31,
        "eviction.window": 400,
    }
    assert page.text.index("goes: superseded") < page.text.index("stays: window")
    assert all(one[1:] in page.ids for one in page.links if one.startswith("#"))


def test_a_days_own_page_is_the_same_as_the_newest_ones() -> None:
    desk = made_desk(eviction=evicted())
    assert shown(desk, f"eviction/{DAY}.html").facts == shown(desk, "eviction.html").facts


def test_where_evict_has_not_run_the_page_says_so() -> None:
    assert "evict has not run" in shown(made_desk(), "eviction.html").text


def test_a_script_in_any_text_of_an_eviction_is_text() -> None:
    card = EvictionCard.model_validate(hostile(evicted().model_dump()))
    assert "<script" not in html_of(made_desk(eviction=card), "eviction.html")
    assert shown(made_desk(eviction=card), "eviction.html").text.count(SCRIPT) > 10

"""Galleries: their counts are those that were injected, their pictures those of the items they name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from datetime import date as Date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dashboards.page.cards import Gallery, Picture, Shown
from dashboards.page.links import anchor
from dashboards.page.render import environment
from pipeline.cards.album import FULL, TAKEN_DOWN, Album, Spot
from pipeline.cards.galleries import PER_REASON, day_galleries
from pipeline.cards.shown import spread
from pipeline.cards.spots import Spots
from pipeline.lake import Lake
from pipeline.models.detections import Box
from pipeline.partitions import Partitions
from pipeline.release.withheld import Kind, Withheld, counted
from reporting.stores.base import RecordQuery
from tests.dashboards.page.desks import SCRIPT, hostile, made_desk
from tests.dashboards.page.seen import pixels, seen
from tests.pipeline.arrivals import DAYS, FUNNEL
from tests.pipeline.project import DAY_1, DAY_2, Project, draw

NEAR = 12.0
"""Mean difference of 8 x 8 colours that JPEG and scaling may make; two drawn pictures differ by more than 60."""


@pytest.fixture(scope="module")
def galleries(three_days: Project) -> Iterator[dict[Date, list[Gallery]]]:
    with three_days.place() as place:
        yield {day: [Gallery.model_validate(one) for one in day_galleries(place, day)] for day in DAYS}


def drawn(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return picture `number` as it was put in, 8 x 8."""
    return np.asarray(draw(number).resize((8, 8), Image.Resampling.BOX), np.float64)


@pytest.mark.slow
def test_every_reason_has_a_gallery_with_the_number_that_was_injected(galleries: dict[Date, list[Gallery]]) -> None:
    for day, found in galleries.items():
        injected = {
            (task, reason): count for task, (_, drops) in FUNNEL[day].items() for reason, count in drops.items()
        }
        assert {(one.task, one.reason): one.count for one in found if one.reason} == injected
        assert all(len(one.shown) == min(one.count, PER_REASON) for one in found)


@pytest.mark.slow
def test_the_number_of_a_gallery_is_what_was_booked(three_days: Project, galleries: dict[Date, list[Gallery]]) -> None:
    with three_days.place() as place:
        for day, found in galleries.items():
            records = place.store.records(RecordQuery(date_from=day, date_to=day))
            for one in found:
                mine = [record for record in records if record.key.task == one.task]
                if one.reason:
                    booked = sum(record.dropped.get(one.reason, 0) for record in mine)
                else:
                    booked = sum(record.output if one.task != "crop" else record.produced for record in mine)
                assert one.count == booked, (day, one.task, one.reason)


def test_galleries_stand_in_the_order_of_the_tasks_what_was_dropped_before_what_was_kept(
    galleries: dict[Date, list[Gallery]],
) -> None:
    order = [(one.task, bool(one.reason)) for one in galleries[DAY_1]]
    tasks = list(FUNNEL[DAY_1])
    assert order == sorted(order, key=lambda one: (tasks.index(one[0]), not one[1]))
    assert {task for task, dropped in order if not dropped} == {"quality", "dedup", "listing", "crop"}


@pytest.mark.slow
def test_what_is_shown_of_the_kept_is_the_picture_that_was_put_in(galleries: dict[Date, list[Gallery]]) -> None:
    looked = 0
    for one in galleries[DAY_1]:
        for item in one.shown:
            number = item.picture.title.removeprefix("Thing s")
            if not one.reason and number.isdecimal():
                assert item.picture.image is not None
                assert np.abs(pixels(item.picture.image) - drawn(int(number))).mean() < NEAR, item
                looked += 1
    assert looked >= 20


@pytest.mark.slow
def test_a_near_duplicate_stands_beside_the_picture_that_survives_it(galleries: dict[Date, list[Gallery]]) -> None:
    (near,) = [one for one in galleries[DAY_1] if one.reason == "near_duplicate"]
    (pair,) = near.shown
    assert pair.other is not None
    assert {pair.picture.title, pair.other.title} == {"Thing s5", "Thing c5"}  # 5.png, and the same as a JPEG
    for one in (pair.picture, pair.other):
        assert one.image is not None
        assert np.abs(pixels(one.image) - drawn(5)).mean() < NEAR
    assert pair.distance is not None
    assert 0 <= pair.distance <= 6
    assert pair.other_says == "survivor, of the same day"


@pytest.mark.slow
def test_a_duplicate_of_an_earlier_day_stands_beside_the_stored_picture(galleries: dict[Date, list[Gallery]]) -> None:
    (exact,) = [one for one in galleries[DAY_2] if one.reason == "exact_duplicate"]
    for pair in exact.shown:
        assert pair.distance == 0
        assert pair.other is not None
        assert pair.other_says == f"survivor, stored since {DAY_1}"
        assert pair.other.image == pair.picture.image != None  # noqa: E711 - both are the same bytes, and there


@pytest.mark.slow
def test_what_has_no_picture_says_why(galleries: dict[Date, list[Gallery]]) -> None:
    by_reason = {one.reason: one for one in galleries[DAY_1] if one.reason}
    (dead,) = by_reason["dead_link"].shown
    assert dead.picture.image is None
    assert dead.picture.note.endswith("gone.png")
    (cut,) = by_reason["truncated"].shown
    assert cut.picture.image is not None, "the part of a cut JPEG that is there is drawn"
    assert cut.picture.note == "cut off: grey is what is missing"


@pytest.mark.slow
def test_of_many_the_number_is_told_and_a_few_evenly_spread_are_shown(
    three_days: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.cards.galleries.PER_REASON", 2)
    with three_days.place() as place:
        found = [Gallery.model_validate(one) for one in day_galleries(place, DAY_1)]
        second = [Gallery.model_validate(one) for one in day_galleries(place, DAY_2)]
    (same,) = [one for one in second if one.reason == "exact_duplicate"]
    assert (same.count, len(same.shown)) == (FUNNEL[DAY_2]["dedup"][1]["exact_duplicate"], 2)
    (kept,) = [one for one in found if (one.task, one.reason) == ("quality", "")]
    lake = three_days.folder / "lake" / "quality" / DAY_1.isoformat()
    items = [
        item
        for path in sorted(lake.glob("*/*/*/*/items.parquet"))
        for item in pq.read_table(path, columns=["item"])["item"].to_pylist()
    ]
    assert kept.count == len(items) == 19
    assert [one.item for one in kept.shown] == [items[0], items[18]]


@pytest.mark.slow
def test_a_picture_that_is_not_in_the_library_is_found_among_the_days_arrivals(three_days: Project) -> None:
    name = hashlib.sha256((three_days.folder / "pictures" / "903.png").read_bytes()).hexdigest()  # never listed
    with three_days.place() as place:
        spots = Spots(place.lake, Partitions(place.store, place.topology, None))
        found = spots.of_pictures(DAY_1, {name, "0" * 64})
        image = Album(place.lake, 10**6).picture(found[name])["image"]
    assert list(found) == [name]
    assert found[name].title == "Thing hidden"
    assert np.abs(pixels(image) - drawn(903)).mean() < NEAR


@pytest.mark.slow
def test_an_object_is_cut_out_by_its_own_box(three_days: Project) -> None:
    path = next((three_days.folder / "lake" / "detect" / DAY_1.isoformat()).glob("*/*/*/*/items.parquet"))
    row = pq.read_table(path).to_pylist()[0]
    with three_days.place() as place:
        spots = Spots(place.lake, Partitions(place.store, place.topology, None))
        found = spots.of_items(DAY_1, {row["object"], row["item"], "unknown#1"})
    assert found.keys() == {row["object"], row["item"]}
    assert found[row["object"]].box == tuple(row[name] for name in ("x0", "y0", "x1", "y1"))
    assert found[row["item"]].box is None


def test_what_is_taken_down_is_not_shown_and_the_page_says_so(tmp_path: Path) -> None:
    draw(1).save(tmp_path / "one.png")
    size = (tmp_path / "one.png").stat().st_size
    at = datetime(2026, 10, 5, tzinfo=UTC)
    names: list[tuple[Kind, str]] = [("picture", "ab" * 32), ("group", "g1"), ("offer", "acme/s1")]
    down = [Withheld(kind=kind, value=value, by="ana", why="asked", at=at) for kind, value in names]
    gone = Withheld(kind="group", value="g2", reason="delisted", by="ana", why="sold out", at=at)
    album = Album(Lake(str(tmp_path)), 10**6, counted([*down, gone]))
    spot = Spot("one.png", 0, size, title="one", offer="acme/s0", group="g0", picture="cd" * 32)
    hidden = (spot._replace(picture="ab" * 32), spot._replace(group="g1"), spot._replace(offer="acme/s1"))
    for one in hidden:
        assert album.picture(one) == {"image": None, "title": "", "note": TAKEN_DOWN}
    for one in (spot, spot._replace(group="g2")):  # what is only delisted may be shown to who looks after it
        assert album.picture(one)["image"] is not None


def test_a_picture_of_a_box_shows_that_part_alone(tmp_path: Path) -> None:
    halves = Image.new("RGB", (200, 100), (250, 0, 0))
    halves.paste((0, 0, 250), (100, 0, 200, 100))
    halves.save(tmp_path / "halves.png")
    spot = Spot("halves.png", 0, (tmp_path / "halves.png").stat().st_size, box=Box(120, 20, 180, 80))
    image = Album(Lake(str(tmp_path)), 10**6).picture(spot)["image"]
    assert pixels(image).mean(axis=(0, 1)) == pytest.approx([0, 0, 250], abs=6)


@pytest.mark.slow
def test_a_day_that_was_never_run_has_no_gallery(three_days: Project) -> None:
    with three_days.place() as place:
        assert day_galleries(place, Date(2020, 1, 1)) == []


@given(st.integers(0, 5000), st.integers(1, 40))
def test_what_is_shown_is_spread_evenly_over_all(count: int, most: int) -> None:
    places = spread(count, most)
    assert len(places) == min(count, most)
    assert places == sorted(set(places))
    if count:
        assert places[0] == 0
    if len(places) > 1:
        assert places[-1] == count - 1
        gaps = [after - before for before, after in pairwise(places)]
        assert max(gaps) - min(gaps) <= 1


def test_an_album_never_holds_more_bytes_than_its_page_can_carry(tmp_path: Path) -> None:
    draw(1).save(tmp_path / "one.png")
    spot = Spot("one.png", 0, (tmp_path / "one.png").stat().st_size, title="one")
    lake = Lake(str(tmp_path))
    whole = Album(lake, 10**6).picture(spot)["image"]
    assert whole is not None
    album = Album(lake, 2 * len(whole) + 10)
    made = [album.picture(spot) for _ in range(4)]
    assert [one["image"] for one in made] == [whole, whole, None, None]
    assert [one["note"] for one in made] == ["", "", FULL, FULL]


def test_a_picture_that_is_gone_or_broken_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "pack.bin").write_bytes(bytes(100) + b"not a picture at all")
    album = Album(Lake(str(tmp_path)), 10**6)
    said = [
        album.picture(spot)["note"]
        for spot in (
            Spot("pack.bin", 0, 50),
            Spot("pack.bin", 100, 20),
            Spot("pack.bin", 90, 500),
            Spot("no.bin", 0, 1),
        )
    ]
    assert said[0].startswith("let go")
    assert said[1].startswith("cannot be drawn, not_an_image")
    assert said[2:] == ["its file is gone or damaged"] * 2


def test_a_script_in_any_text_of_a_gallery_is_text() -> None:
    picture = Picture(image=None, title="a", note="b")
    item = Shown(item="i#2", package="p", category="c", detail="d", offer="o", picture=picture, other=picture,
                 other_says="s", distance=3)  # fmt: skip
    card = Gallery.model_validate(hostile(Gallery(task="t", reason="r", count=9, shown=(item,), note="n").model_dump()))
    module = environment().from_string(
        '{% import "macros.html.j2" as m with context %}{% import "gallery.html.j2" as g with context %}'
        "{{ g.gallery(card) }}"
    )
    page = seen(module.render(card=card, site=made_desk().site(live=True), root=""))
    assert "script" not in page.tags
    assert page.text.count(SCRIPT) >= 10
    assert page.facts == {f"gallery.{card.task}.{card.reason}": "9"}
    assert page.ids == [anchor("gallery", card.task, card.reason)]

"""Holding what detect found against what was drawn: matches, sums, and where both are read from."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import date as Date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.demo.detection import (
    MIN_IOU,
    Drawn,
    FoundObject,
    Judged,
    Report,
    Tally,
    judge_day,
    match,
    read_boxes,
    read_drawn,
    tally,
)
from pipeline.demo.objects_page import write_objects_page
from pipeline.lake import Lake
from pipeline.models.detections import Box
from pipeline.partitions import Partition
from reporting.plans import Leaf
from samples import held_out

DAY = Date(2026, 10, 5)
LEFT, RIGHT = Box(0, 0, 10, 10), Box(20, 0, 30, 10)


def found(box: Box, score: float = 0.9, category: str = "tools", detected: str = "tools") -> FoundObject:
    return FoundObject(7, box, score, detected, category)


def judged(drawn: Sequence[Drawn], objects: Sequence[FoundObject]) -> Judged:
    return Judged(Path("a.jpg"), tuple(drawn), tuple(objects), match(drawn, objects))


boxes = st.builds(
    lambda x, y, w, h: Box(x, y, x + w, y + h),
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(1, 12),
    st.integers(1, 12),
)


@given(
    drawn=st.lists(st.builds(Drawn, st.just("g"), st.just("c"), boxes), max_size=4),
    objects=st.lists(st.builds(found, boxes, st.sampled_from([0.3, 0.5, 0.9])), max_size=4),
)
def test_a_match_is_one_to_one_above_the_threshold_and_leaves_no_pair_that_could_be_one(drawn, objects) -> None:
    matches = match(drawn, objects)
    taken = [place for place in matches if place is not None]
    assert len(matches) == len(objects)
    assert len(set(taken)) == len(taken)
    for one, place in zip(objects, matches, strict=True):
        if place is not None:
            assert one.box.iou(drawn[place].box) >= MIN_IOU
    for (one, place), at in itertools.product(zip(objects, matches, strict=True), range(len(drawn))):
        if place is None and at not in taken:
            assert one.box.iou(drawn[at].box) < MIN_IOU


@given(
    drawn=st.lists(st.builds(Drawn, st.just("g"), st.just("c"), boxes), max_size=3),
    objects=st.lists(st.builds(found, boxes), max_size=3, unique_by=lambda one: one.box),
    data=st.data(),
)
def test_the_order_of_found_objects_decides_nothing(drawn, objects, data) -> None:
    scored = [one._replace(score=0.1 + at / 10) for at, one in enumerate(objects)]
    order = data.draw(st.permutations(range(len(scored))))
    matches = match(drawn, scored)
    assert match(drawn, [scored[at] for at in order]) == tuple(matches[at] for at in order)


def test_the_surer_box_takes_the_item_and_a_second_one_around_it_is_a_stray() -> None:
    drawn = [Drawn("a", "tools", LEFT), Drawn("b", "music", RIGHT)]
    objects = [found(Box(0, 0, 10, 9), 0.5), found(Box(0, 0, 10, 8), 0.8), found(Box(24, 0, 34, 10), 0.7)]
    # IoU of the third: 6 of 14 columns. Of the first .9 and of the second .8, but the second is surer.
    assert match(drawn, objects) == (None, 0, None)


def test_sums_of_two_pictures_are_those_counted_by_hand() -> None:
    drawn = [Drawn("a", "tools", LEFT), Drawn("b", "music", RIGHT)]
    one = judged(drawn, [found(LEFT), found(RIGHT, category="other", detected="music"), found(Box(50, 50, 60, 60))])
    two = judged(drawn[:1], [])
    total = tally([one, two])
    assert total == Tally(pictures=2, drawn=3, hit=2, found=3, placed=1, detected=2)
    assert total.recall == total.precision == pytest.approx(2 / 3)
    assert (total.category_accuracy, total.detector_accuracy) == (0.5, 1.0)
    only_b = tally([one, two], lambda group: group == "b")
    assert only_b == Tally(pictures=2, drawn=1, hit=1, found=0, placed=0, detected=1)
    assert only_b.precision is None
    assert tally([]).document() == dict.fromkeys(("pictures", "drawn", "hit", "found", "placed", "detected"), 0) | (
        dict.fromkeys(("recall", "precision", "category_accuracy", "detector_accuracy"))
    )


def test_a_report_divides_its_items_into_those_of_the_training_and_those_held_out_of_it() -> None:
    assert (held_out("1f355"), held_out("1f40d")) == (False, True)
    drawn = [Drawn("1f355", "food-dish", LEFT), Drawn("1f40d", "animals", RIGHT)]
    report = Report({DAY: (judged(drawn, [found(RIGHT, category="animals")]), judged(drawn, []))})
    trained, kept = report.of_items(held_out=False), report.of_items(held_out=True)
    assert (trained.drawn, trained.hit, kept.drawn, kept.hit, kept.placed) == (2, 0, 2, 1, 1)
    document = report.document()
    assert document["days"]["2026-10-05"] == document["total"]
    assert document["total"]["recall"] == 0.25


class Fixed:
    """Partitions that count, by task."""

    def of_task(self, task: str, day: Date) -> list[Partition]:
        categories = ("music", "tools") if task == "embed" else ("all",)
        return [Partition(Leaf(task, day, name, "0001"), "p", 1, f"{task}/{name}") for name in categories]


def test_a_day_is_judged_by_the_bytes_of_its_pictures_and_dropped_objects_have_no_category(tmp_path: Path) -> None:
    arrivals = tmp_path / "arrivals"
    (arrivals / "pictures").mkdir(parents=True)
    for name, level in (("a", 10), ("b", 200)):
        Image.new("RGB", (40, 20), (level, 0, 0)).save(arrivals / f"pictures/{name}.png")
    lines = [
        "path,group,category,x0,y0,x1,y1",
        "pictures/a.png,ga,tools,0,0,10,10",
        "pictures/a.png,gb,music,20,0,30,10",
    ]
    (arrivals / "objects.csv").write_text("\n".join([*lines, "pictures/b.png,gc,music,0,0,10,10", ""]))
    assert [len(one) for one in read_boxes(arrivals / "objects.csv").values()] == [2, 1]
    drawn = read_drawn(arrivals)
    a, b = sorted(drawn, key=lambda sha: drawn[sha][0].name)
    lake = Lake(str(tmp_path / "lake"))
    lake.write_table("listing/all/items.parquet", pa.table({"picture": [b, a, "unknown"]}))
    rows: list[dict[str, Any]] = [
        {"object": "i#1", "ordinal": 1, "id": 2, "picture": a, "score": 0.6, "detected": "", **RIGHT._asdict()},
        {"object": "i#0", "ordinal": 0, "id": 1, "picture": a, "score": 0.9, "detected": "tools", **LEFT._asdict()},
    ]
    lake.write_table("detect/all/items.parquet", pa.Table.from_pylist(rows))
    lake.write_table("embed/tools/items.parquet", pa.table({"object": ["i#0"]}))
    lake.write_table("embed/music/items.parquet", pa.table({"object": pa.array([], pa.string())}))
    first, second, stranger = judge_day(lake, Fixed(), DAY, drawn)  # type: ignore[arg-type]
    assert (first.path.name, second.path.name, stranger.path.name) == ("a.png", "b.png", "unknown")
    assert [(one.id, one.category) for one in first.found] == [(1, "tools"), (2, "")]
    assert (first.matches, second.found, stranger.drawn) == ((0, 1), (), ())
    page = tmp_path / "objects.html"
    write_objects_page(page, [first, second], {"ga": "<saw>", "gb": "bell", "gc": "drum"})
    text = page.read_text()
    assert "&lt;saw&gt;" in text  # names come from data
    assert text.count('<div class="box right"') == 1
    assert text.count('<div class="box elsewhere"') == 1
    assert text.count('<div class="box missed"') == 1
    assert "left:50.00%;top:0.00%;width:25.00%;height:50.00%" in text

"""Detectors side by side: hits counted on pixels, categories by hand, and files that people collect, read strictly."""

from __future__ import annotations

import gzip
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]

from evaluation.comparing.box_files import Detector, FoundObject, TrueObject, read_detector, read_truth
from evaluation.comparing.boxes import BOTH, CATEGORY, HIT, compare_boxes
from reporting.errors import DataError, UsageError

CUP: dict[str, Any] = {"image_id": "a", "main_box": [0, 0, 10, 10], "category": "cup"}
FOUND: dict[str, Any] = {"image_id": "a", "top1_box": [0, 0, 10, 5], "category": "cup", "score": 0.9}

corner, side = st.integers(0, 6), st.integers(1, 5)
box = st.builds(lambda x, y, width, height: (x, y, x + width, y + height), corner, corner, side, side)
kind = st.sampled_from(["cup", "hat"])
answer = st.none() | st.tuples(st.none() | box, st.none() | kind)
pictures = st.lists(st.tuples(box, kind, answer, answer), min_size=1, max_size=8).filter(
    lambda rows: all(any(row[place] is not None for row in rows) for place in (2, 3))
)


def pixels(corners):
    return {(x, y) for x in range(corners[0], corners[2]) for y in range(corners[1], corners[3])}


def is_hit(true, found):
    if found is None or found[0] is None:
        return False
    first, second = pixels(true), pixels(found[0])
    return 2 * len(first & second) >= len(first | second)


def detector(name, answers):
    rows = {
        f"p{at}": FoundObject(image_id=f"p{at}", top1_box=found[0], category=found[1])
        for at, found in enumerate(answers)
        if found is not None
    }
    return Detector(name, rows, "0" * 64)


@given(pictures)
def test_hits_equal_counted_pixels_and_what_is_missing_is_a_miss(drawn):
    truth = [TrueObject(image_id=f"p{at}", main_box=row[0], category=row[1]) for at, row in enumerate(drawn)]
    found = compare_boxes(
        truth, [detector(name, [row[at] for row in drawn]) for name, at in (("x", 2), ("y", 3))], "xy"
    )
    for place, system in zip((2, 3), found.comparison.systems, strict=True):
        hits = [is_hit(row[0], row[place]) for row in drawn]
        right = [row[place] is not None and row[place][1] == row[1] for row in drawn]
        both = [one and other for one, other in zip(hits, right, strict=True)]
        for metric, values in ((HIT, hits), (CATEGORY, right), (BOTH, both)):
            interval = stats.binomtest(sum(values), len(values)).proportion_ci(0.95, "wilson")
            one = system.metrics[metric]
            assert one.value == pytest.approx(np.mean(values))
            assert one.n == len(drawn)
            assert (one.low, one.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
        assert system.notes.get("missing", 0) == sum(row[place] is None for row in drawn)
        assert system.answered == sum(row[place] is not None for row in drawn)
        voter = found.categories.voter(system.name)
        assert voter is not None
        assert voter.accuracy.value == pytest.approx(np.mean(right))
    pair = found.comparison.pair("x", "y", HIT)
    assert pair is not None
    won = sum(is_hit(row[0], row[2]) and not is_hit(row[0], row[3]) for row in drawn)
    lost = sum(is_hit(row[0], row[3]) and not is_hit(row[0], row[2]) for row in drawn)
    assert (pair.won, pair.lost) == (won, lost)
    expected = stats.binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert pair.p_mcnemar == pytest.approx(expected)


@pytest.mark.data
def test_on_bccd_moving_the_boxes_costs_what_scipy_says(shared_data: Path, tmp_path: Path):
    """The largest cell of each test picture; one detector is 1 pixel off, the other loses every fifth picture."""
    names = (shared_data / "bccd" / "ImageSets" / "Main" / "test.txt").read_text().split()
    truth: list[dict[str, Any]] = []
    near: list[dict[str, Any]] = []
    poor: list[dict[str, Any]] = []
    for number, name in enumerate(names):
        cells = [
            (
                one.findtext("name"),
                [float(one.findtext(f"bndbox/{end}") or 0) for end in ("xmin", "ymin", "xmax", "ymax")],
            )
            for one in ET.parse(shared_data / "bccd" / "Annotations" / f"{name}.xml").iter("object")
        ]
        label, largest = max(cells, key=lambda cell: (cell[1][2] - cell[1][0]) * (cell[1][3] - cell[1][1]))
        truth.append({"image_id": name, "main_box": largest, "category": label})
        shifted = [end + 1 for end in largest]
        near.append({"image_id": name, "top1_box": shifted, "category": label, "score": 0.5, "seconds": 0.01})
        if number % 5:
            poor.append(near[-1] | {"category": "RBC", "seconds": 0.02})
    paths = [tmp_path / f"{name}.jsonl" for name in ("truth", "near", "poor")]
    for path, rows in zip(paths, (truth, near, poor), strict=True):
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    found = compare_boxes(
        read_truth(paths[0]), [read_detector(path) for path in paths[1:]], ["near", "poor"]
    ).comparison
    lost = len(range(0, len(names), 5))
    first, second = found.systems
    assert [one.metrics[HIT].value for one in (first, second)] == [1.0, pytest.approx(1 - lost / len(names))]
    assert second.notes == {"missing": lost}
    assert first.latency is not None
    assert second.latency is not None
    assert (first.latency.p50_seconds, second.latency.p99_seconds, second.latency.n) == (0.01, 0.02, len(poor))
    pair = found.pair("near.jsonl", "poor.jsonl", HIT)
    assert pair is not None
    assert pair.p_mcnemar == pytest.approx(stats.binomtest(0, lost).pvalue)
    red = found.pair("near.jsonl", "poor.jsonl", CATEGORY)
    assert red is not None
    assert red.won == sum(row["category"] != "RBC" for row in truth) + sum(
        row["category"] == "RBC" for row in truth[::5]
    )


def test_pictures_of_one_product_count_together():
    truth = [
        TrueObject(image_id=str(at), main_box=(0, 0, 9, 9), category="cup", cluster=f"g{at // 10}") for at in range(40)
    ]
    good = {str(at): FoundObject(image_id=str(at), top1_box=(0, 0, 9, 9), category="cup") for at in range(40)}
    bad = {name: one.model_copy(update={"top1_box": None}) for name, one in good.items() if int(name) < 10}
    found = compare_boxes(truth, [Detector("a", good, ""), Detector("b", good | bad, "")], ["a", "b"]).comparison
    assert found.clusters == 4
    pair = found.pair("a", "b", HIT)
    assert pair is not None
    assert (pair.won, pair.p_value) == (10, 1.0)  # one product's sign
    assert found.systems[1].notes == {"nothing_found": 10}


def test_pictures_that_the_truth_does_not_know_are_counted_and_only_such_are_refused():
    truth = [TrueObject(image_id="a", main_box=(0, 0, 10, 10), category="cup")]
    one = FoundObject(image_id="a", top1_box=(0, 0, 10, 10), category="")
    stranger = FoundObject(image_id="z", top1_box=None, category=None)
    both = [Detector("x", {"a": one, "z": stranger}, ""), Detector("y", {"a": one}, "")]
    found = compare_boxes(truth, both, ["x", "y"]).comparison
    assert found.systems[0].notes == {"no_category": 1, "unknown_pictures": 1}
    with pytest.raises(DataError, match=r"w: none of its 1 pictures \('z', ...\) is in the truth"):
        compare_boxes(truth, [both[1], Detector("w", {"z": stranger}, "")], ["y", "w"])
    with pytest.raises(UsageError, match="two or more"):
        compare_boxes(truth, both[:1], ["x"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", ":2: Invalid JSON.*expected one JSON object with image_id"),
        ("[1]", ":2: the line: "),
        (json.dumps(FOUND), ":2: picture 'a' again, first in line 1"),
        (json.dumps(FOUND | {"image_id": "b", "top1_box": [0, 0, 5]}), r":2: top1_box: expected \[x0, y0, x1, y1\]"),
        (json.dumps(FOUND | {"image_id": "b", "top1_box": [0, 0, 5, 5, 5]}), r":2: top1_box: expected \[x0"),
        (json.dumps(FOUND | {"image_id": "b", "top1_box": [5, 0, 0, 5]}), ":2: top1_box: box .*ends before it starts"),
        (json.dumps(FOUND | {"image_id": "b", "top1_box": "0 0 5 5"}), ":2: top1_box"),
        (json.dumps(FOUND | {"image_id": "b", "score": float("nan")}), ":2: score"),
        (json.dumps(FOUND | {"image_id": "b", "seconds": -1}), ":2: seconds"),
        (json.dumps(FOUND | {"image_id": "b", "categry": "cup"}), ":2: unknown field 'categry'; did you mean category"),
        (json.dumps({"image_id": "b", "top1_box": None}), ":2: no field 'category'"),
        (json.dumps(FOUND | {"image_id": 7}), ":2: image_id: 7"),
        (json.dumps(FOUND | {"image_id": ""}), ":2: image_id"),
    ],
)
def test_a_bad_line_is_named_by_file_and_line(tmp_path: Path, line: str, message: str):
    path = tmp_path / "theirs.jsonl"
    path.write_text(f"{json.dumps(FOUND)}\n{line}\n")
    with pytest.raises(DataError, match=f"theirs.jsonl{message}"):
        read_detector(path)


def test_a_true_box_needs_an_area_and_a_file_at_least_one_line(tmp_path: Path):
    path = tmp_path / "truth.jsonl"
    path.write_text(f"\n{json.dumps(CUP | {'main_box': [3, 0, 3, 9]})}\n")
    with pytest.raises(DataError, match=r"truth.jsonl:2: main_box: box .*has no area"):
        read_truth(path)
    path.write_text("\n")
    with pytest.raises(DataError, match="holds no line"):
        read_truth(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_truth(tmp_path / "nowhere.jsonl")
    path.write_bytes(b"\n\xff\n")
    with pytest.raises(DataError, match=r"truth.jsonl:2: not UTF-8"):
        read_truth(path)


def test_a_gzipped_file_is_read_and_a_damaged_one_refused(tmp_path: Path):
    path = tmp_path / "truth.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(CUP).encode()))
    assert read_truth(path) == (TrueObject(image_id="a", main_box=(0, 0, 10, 10), category="cup"),)
    path.write_bytes(gzip.compress(json.dumps(CUP).encode())[:-9])
    with pytest.raises(DataError, match="gzip is damaged"):
        read_truth(path)

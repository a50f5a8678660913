"""From heads to objects, against a plain loop over cells; and heads that try to confuse it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.models.boxes import Frame
from pipeline.models.detections import Box, Found
from pipeline.models.heads import Heads, found_in
from pipeline.models.spec import DetectorOutput
from tests.pipeline.models.blobs import CLASSES, detector_spec

AS_IT_IS = Frame(1.0, 1.0, 0.0, 0.0, 100, 80)


def output(**values: Any) -> DetectorOutput:
    found = detector_spec(**values).output
    assert isinstance(found, DetectorOutput)
    return found


def heads(boxes: Any, scores: Any, logits: Any = None) -> Heads:
    rows = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    found = np.asarray(scores, dtype=np.float32).reshape(len(rows), -1) if len(rows) else np.empty((0, 1), np.float32)
    none = np.zeros((len(rows), len(CLASSES))) if logits is None else logits
    return Heads(rows, found, np.asarray(none, dtype=np.float32))


def plain(given_heads: Heads, frame: Frame, spec: DetectorOutput) -> list[tuple[float, Box, str]]:
    """The same by the words of the contract, cell by cell."""
    candidates = []
    for cell, row in enumerate(given_heads.boxes.tolist()):
        for heat_map, score in enumerate(given_heads.scores[cell].tolist()):
            x = [min(max(v * frame.scale_x + frame.shift_x, 0), frame.width) for v in row[0::2]]
            y = [min(max(v * frame.scale_y + frame.shift_y, 0), frame.height) for v in row[1::2]]
            box = Box(round(x[0]), round(y[0]), round(x[1]), round(y[1]))
            if score >= np.float32(spec.floor) and box.width > 0 and box.height > 0:
                candidates.append((-score, box, cell, heat_map))
    kept: list[Any] = []
    for one in sorted(candidates)[: spec.pre_nms]:
        if all(one[3] != other[3] or one[1].iou(other[1]) <= spec.nms_iou for other in kept):
            kept.append(one)
    named = []
    for minus, box, cell, heat_map in kept:
        place = heat_map if spec.heat == "per_class" else int(np.argmax(given_heads.logits[cell]))
        named.append((-minus, box, spec.classes[place]))
    return named


edges = st.integers(-10, 110).map(float)
SCORES = st.sampled_from([0.0, 0.04, 0.05, 0.1, 0.29, 0.3, 0.31, 0.5, 0.9, 1.0])


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.tuples(edges, edges, edges, edges), st.tuples(SCORES, SCORES, SCORES)), max_size=20),
    st.sampled_from(["agnostic", "per_class"]),
    st.integers(1, 6),
    st.integers(1, 12),
    st.sampled_from([(1.0, 1.0, 0.0, 0.0), (0.5, 0.25, 3.0, -2.0), (3.0, 2.0, -20.0, 8.0)]),
)
def test_objects_are_those_of_the_plain_loop(rows, heat, topk, pre_nms, affine):
    spec, frame = (
        output(heat=heat, topk=topk, pre_nms=pre_nms),
        Frame(affine[0], affine[1], affine[2], affine[3], 100, 80),
    )
    maps = 1 if heat == "agnostic" else 3
    logits = [[1.0, 2.0 + place % 2, 2.5] for place in range(len(rows))]
    one = heads([row[0] for row in rows], [row[1][:maps] for row in rows], np.reshape(logits, (-1, 3)))
    found, expected = found_in(one, frame, spec), plain(one, frame, spec)
    above = [kept for kept in expected if kept[0] >= np.float32(spec.score_thr)]
    below = [kept[0] for kept in expected if kept[0] < np.float32(spec.score_thr)]
    assert [(got.score, got.box, got.label) for got in found.objects] == above[:topk]
    assert found.best_rejected == max(below, default=0.0)


def test_probabilities_are_a_softmax_of_the_logits_at_the_specs_temperature():
    one = heads([(0, 0, 10, 10)], [0.8], [[1.0, 3.0, -1.0]])
    for temperature in (1.0, 2.5):
        (got,) = found_in(one, AS_IT_IS, output(temperature=temperature)).objects
        weights = [math.exp(value / temperature) for value in (1.0, 3.0, -1.0)]
        assert got.class_scores == pytest.approx([weight / sum(weights) for weight in weights])
        assert got.label == "green"


def test_enormous_logits_still_give_probabilities():
    one = heads([(0, 0, 10, 10)], [0.8], [[3e38, -3e38, 0.0]])
    (got,) = found_in(one, AS_IT_IS, output(temperature=0.01)).objects
    assert got.class_scores == (1.0, 0.0, 0.0)


def test_heat_maps_of_classes_share_their_sum_and_name_each_candidate_for_itself():
    one = heads([(0, 0, 10, 10)], [[0.6, 0.0, 0.4]])
    found = found_in(one, AS_IT_IS, output(heat="per_class"))
    assert [(got.label, round(got.score, 6)) for got in found.objects] == [("red", 0.6), ("blue", 0.4)]
    assert all(got.class_scores == pytest.approx((0.6, 0.0, 0.4)) for got in found.objects)


def test_a_detector_without_classes_gives_none():
    one = Heads(np.array([[0, 0, 9, 9]], np.float32), np.array([[0.8]], np.float32), np.empty((1, 0), np.float32))
    (got,) = found_in(one, AS_IT_IS, output(classes=())).objects
    assert (got.label, got.class_scores) == ("", ())


def test_what_is_rejected_is_no_repeat_of_what_was_found():
    boxes = [(0, 0, 40, 40), (1, 0, 41, 40), (60, 0, 90, 30)]
    found = found_in(heads(boxes, [0.9, 0.29, 0.2]), AS_IT_IS, output())
    assert [got.box for got in found.objects] == [Box(0, 0, 40, 40)]
    assert found.best_rejected == pytest.approx(0.2)


@pytest.mark.parametrize("box", [(5, 5, 5, 40), (40, 5, 5, 40), (-90, 5, -10, 40), (100, 5, 160, 40), (5, 80, 40, 999)])
def test_a_box_that_holds_no_pixel_is_no_candidate(box):
    assert found_in(heads([box], [0.99]), AS_IT_IS, output()) == Found((), 0.0)
    below = found_in(heads([box, (1, 1, 9, 9)], [0.99, 0.25]), AS_IT_IS, output())
    assert below == Found((), 0.25)


def test_a_box_that_sticks_out_is_cut_at_the_edge():
    found = found_in(heads([(-1e30, -5, 1e30, 3e38)], [0.99]), AS_IT_IS, output())
    assert [got.box for got in found.objects] == [Box(0, 0, 100, 80)]


def grid(count: int) -> list[tuple[int, int, int, int]]:
    """Boxes that do not overlap, four pixels wide."""
    return [(5 * (n % 20), 4 * (n // 20), 5 * (n % 20) + 4, 4 * (n // 20) + 3) for n in range(count)]


def test_of_400_objects_the_best_are_answered_in_an_order_that_the_networks_has_no_part_in():
    boxes, rng = grid(400), np.random.default_rng(3)
    scores = rng.choice([0.4, 0.5, 0.6], 400).astype(np.float32)
    everything = found_in(heads(boxes, scores), AS_IT_IS, output(topk=400, pre_nms=400)).objects
    assert len(everything) == 400
    assert [(-got.score, got.box) for got in everything] == sorted((-got.score, got.box) for got in everything)
    for _ in range(3):
        shuffled = rng.permutation(400)
        again = heads(np.array(boxes)[shuffled], scores[shuffled])
        for topk, pre_nms in ((50, 400), (400, 300), (50, 300)):
            found = found_in(again, AS_IT_IS, output(topk=topk, pre_nms=pre_nms)).objects
            assert found == everything[: min(topk, pre_nms)]


def test_with_a_whole_ratio_the_larger_box_takes_the_first_place_and_its_score():
    part, whole = (10, 10, 20, 20), (10, 10, 40, 40)
    one = heads([part, whole], [0.8, 0.75])
    plainly, turned = (found_in(one, AS_IT_IS, output(whole_ratio=ratio)) for ratio in (None, 0.9))
    assert [tuple(x.box) for x in plainly.objects] == [part, whole]
    assert [tuple(x.box) for x in turned.objects] == [whole, part]
    assert [x.score for x in turned.objects] == [x.score for x in plainly.objects] == pytest.approx([0.8, 0.75])

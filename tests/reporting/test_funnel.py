"""The funnel: sums per task in the graph's order, with nothing divided by zero."""

from __future__ import annotations

import io
import random

import pytest
from rich.console import Console

from reporting.funnel import funnel, funnel_frame
from reporting.render import funnel_table
from reporting.testing import make_record
from reporting.topology import Edge, TaskSpec, Topology

TOPOLOGY = Topology(
    tasks={
        "quality": TaskSpec(
            unit_in="picture", unit_out="picture", grain=("subinstance",), drop_reasons=("too_small", "blurred")
        ),
        "detect": TaskSpec(unit_in="picture", unit_out="crop", grain=("subinstance",)),
        "index": TaskSpec(unit_in="crop", unit_out="crop"),
    },
    edges=(Edge(source="quality", target="detect"), Edge(source="detect", target="index")),
)
RECORDS = [
    make_record("index", input=0),
    make_record("detect", subinstance="0001", input=5, produced=9, failed={"OSError": 2}),
    make_record("quality", subinstance="0001", input=10, dropped={"blurred": 3, "too_small": 2}),
    make_record("quality", subinstance="0002", input=20, dropped={"blurred": 1, "too_small": 0}),
]


def rows():
    return {row.task: row for row in funnel(TOPOLOGY, RECORDS)}


def test_rows_come_in_topology_order_whatever_the_order_of_the_records():
    for seed in range(5):
        shuffled = random.Random(seed).sample(RECORDS, len(RECORDS))
        assert [row.task for row in funnel(TOPOLOGY, shuffled)] == ["quality", "detect", "index"]


def test_leaves_are_summed():
    quality = rows()["quality"]
    assert (quality.input, quality.output, quality.produced, quality.leaves) == (30, 24, 24, 2)
    assert quality.kept_ratio == pytest.approx(24 / 30)


def test_reasons_come_in_declared_order_and_those_that_did_not_occur_are_left_out():
    assert list(rows()["quality"].dropped.items()) == [("too_small", 2), ("blurred", 4)]
    only = funnel(TOPOLOGY, [RECORDS[3]])[0]
    assert only.dropped == {"blurred": 1}


def test_nothing_in_is_no_ratio_rather_than_zero_or_an_error():
    assert rows()["index"].kept_ratio is None


def test_produced_counts_the_output_unit():
    detect = rows()["detect"]
    assert (detect.input, detect.output, detect.produced) == (5, 3, 9)
    assert (detect.unit_in, detect.unit_out) == ("picture", "crop")
    assert detect.failed == {"OSError": 2}


def test_tasks_without_a_record_are_left_out_and_no_records_are_no_rows():
    assert [row.task for row in funnel(TOPOLOGY, RECORDS[:1])] == ["index"]
    assert funnel(TOPOLOGY, []) == []


def test_the_frame_holds_the_same_numbers_with_zero_where_a_reason_did_not_occur():
    frame = funnel_frame(funnel(TOPOLOGY, RECORDS))
    assert list(frame.index) == ["quality", "detect", "index"]
    assert frame["input"].tolist() == [30, 5, 0]
    assert frame["dropped_blurred"].tolist() == [4, 0, 0]
    assert frame["failed_OSError"].tolist() == [0, 2, 0]
    assert all(frame[name].dtype == "int64" for name in frame.columns if name != "kept_ratio")
    assert frame["kept_ratio"].isna().tolist() == [False, False, True]


def test_the_frame_of_no_rows_is_empty_with_its_columns():
    frame = funnel_frame([])
    assert frame.empty
    assert list(frame.columns) == ["input", "output", "produced", "kept_ratio"]
    assert frame.index.name == "task"


def test_the_table_shows_counts_kept_share_and_reasons():
    out = io.StringIO()
    Console(file=out, width=120).print(funnel_table(funnel(TOPOLOGY, RECORDS), "2026-11-01"))
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert "quality 30 24 80.0 % too_small 2, blurred 4" in lines
    assert "detect 5 3 60.0 % OSError 2 -> 9 crops" in lines
    assert "index 0 0 -" in lines


def test_an_error_class_that_looks_like_markup_is_shown_as_it_is():
    """Error classes are unbounded input; rich would swallow or choke on brackets."""
    out = io.StringIO()
    record = make_record("index", input=2, failed={"[/red]odd[bold]": 2})
    Console(file=out, width=120).print(funnel_table(funnel(TOPOLOGY, [record])))
    assert "[/red]odd[bold] 2" in out.getvalue()

"""What is drawn and compared, held against naive sums, geometry and Python's own parsers."""

from __future__ import annotations

import random
import re
from datetime import date as Date
from datetime import timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from dashboards.page import view_leaves
from dashboards.page.compared import compare_days
from dashboards.page.funnels import funnel_streams, streams
from dashboards.page.layered import BOX_HEIGHT, BOX_WIDTH, layout
from dashboards.page.links import Kibana, anchor, kibana_address, kibana_of, slug
from dashboards.page.matrix import MOST_ROWS, matrix
from dashboards.page.pairs import compare_plans
from dashboards.page.relations import edges_of
from dashboards.page.render import duration, in_bytes, number, percent, signed, spark_points
from dashboards.page.sums import TaskSum
from reporting.balance import Residual
from reporting.funnel import funnel
from reporting.testing import make_record
from reporting.topology import Topology
from tests.dashboards.page.world import NEWEST, TOPOLOGY, records


def random_graph(seed: int) -> tuple[list[str], list[tuple[str, str]]]:
    chance = random.Random(seed)
    order = [f"t{number}" for number in range(chance.randrange(2, 26))]
    pairs = [(one, other) for place, one in enumerate(order) for other in order[place + 1 :]]
    return order, chance.sample(pairs, min(len(pairs), 30))


@pytest.mark.parametrize("seed", range(20))
def test_no_box_lies_on_another_and_every_edge_points_down(seed):
    order, edges = random_graph(seed)
    found = layout(order, edges)
    at = {box.task: box for box in found.boxes}
    assert sorted(at) == sorted(order)
    for one in found.boxes:
        assert 0 <= one.x <= found.width - BOX_WIDTH
        assert 0 <= one.y <= found.height - BOX_HEIGHT
        for other in found.boxes:
            assert one is other or abs(one.x - other.x) >= BOX_WIDTH or abs(one.y - other.y) >= BOX_HEIGHT
    for line in found.lines:
        source, target = edges[line.edge]
        numbers = [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?", line.path)]
        assert numbers[:2] == [at[source].x + BOX_WIDTH / 2, at[source].y + BOX_HEIGHT]
        assert numbers[-2:] == [at[target].x + BOX_WIDTH / 2, at[target].y]
        assert numbers[1] < numbers[-1]


def test_a_long_edge_passes_beside_the_boxes_between():
    found = layout(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c")])
    box = next(one for one in found.boxes if one.task == "b")
    assert not box.x <= found.lines[2].x <= box.x + BOX_WIDTH


def test_a_graph_without_tasks_is_empty():
    assert layout([], []).boxes == []


def test_windows_and_mere_order_begin_a_new_stream():
    assert streams(TOPOLOGY) == [("collect", "download", "split", "index"), ("merge",), ("release",)]


def test_the_parts_of_every_bar_make_up_its_input_on_the_scale_of_its_stream():
    rows = funnel(TOPOLOGY, records(NEWEST, "p", seed=5))
    for stream in funnel_streams(TOPOLOGY, rows):
        widest = max(stage.row.input for stage in stream.stages)
        for stage in stream.stages:
            assert sum(share for _, share, _ in stage.bar) == pytest.approx(stage.row.input / widest)


def test_a_day_without_input_has_bars_of_no_width():
    stage = funnel_streams(TOPOLOGY, funnel(TOPOLOGY, [make_record("release", input=0)]))[0].stages[0]
    assert [share for _, share, _ in stage.bar] == [0, 0, 0]


def sums(taken: int, output: int) -> TaskSum:
    return TaskSum(taken, output, output, taken - output, 0, 1.0, 1)


def test_weeks_without_a_record_are_no_zeros():
    day = Date(2026, 11, 2)
    known = {(day, "a"): sums(90, 45), (day - timedelta(weeks=1), "a"): sums(100, 80),
             (day - timedelta(weeks=4), "a"): sums(300, 150), (day - timedelta(days=1), "a"): sums(7, 7)}  # fmt: skip
    one = compare_days(known, ["a", "b"], day)[0]
    assert (one.weeks, one.usual) == (2, 200)
    assert [one.usual_kept, one.change] == pytest.approx([0.65, -0.1])
    assert len(compare_days(known, ["a", "b"], day)) == 1
    assert one.trend[-3:] == (None, 7, 90)
    assert one.trend[0] is not None


def test_a_task_that_ran_a_week_ago_and_not_today_is_listed():
    day = Date(2026, 11, 2)
    one = compare_days({(day - timedelta(weeks=1), "a"): sums(5, 5)}, ["a"], day)[0]
    assert one.today is None
    assert one.change is None


def test_plans_that_share_no_leaf_have_no_figures():
    pair = compare_plans(["quality"], [make_record(subinstance="1")], [make_record(subinstance="2")])
    assert [(task.both, task.only_one, task.only_other) for task in pair.tasks] == [(0, 1, 1)]
    assert pair.leaves == ()


def test_equal_sums_over_unequal_leaves_differ():
    one = [make_record(subinstance="1", input=5), make_record(subinstance="2", input=7)]
    other = [make_record(subinstance="1", input=7, planid="b"), make_record(subinstance="2", input=5, planid="b")]
    pair = compare_plans(["quality"], one, other)
    assert pair.tasks[0].one.input == pair.tasks[0].other.input
    assert len(pair.leaves) == 2


def test_the_worst_rows_of_a_large_day_are_never_left_out(made):
    day = made.desk.day(NEWEST)
    many = [make_record("download", date=NEWEST, subinstance=f"{n:04}", input=10) for n in range(3 * MOST_ROWS)]
    many[100] = make_record("download", date=NEWEST, subinstance="0100", input=10, dropped={"dead_link": 9})
    found = matrix(TOPOLOGY, day._replace(counting=tuple(many), late=()), "subinstance")
    assert len(found.rows) == MOST_ROWS
    assert found.left_out == 2 * MOST_ROWS
    assert "0100" in {row.value for row in found.rows}


def test_of_too_many_records_those_that_need_a_look_and_those_that_count_are_shown(made, monkeypatch):
    monkeypatch.setattr(view_leaves, "MOST_ROWS", 12)
    monkeypatch.setattr(view_leaves, "MOST_DETAILED", 3)
    day = made.desk.day(NEWEST)
    rows, left_out = view_leaves.leaf_rows(day, (), ())
    assert len(rows) == 12
    assert left_out == len(day.records) - 12
    assert [row for row in rows if row.record and row.record.state == "failed"], "the daily plan's leaf that failed"
    assert sum(not row.counts for row in rows) == 1, "that one alone does not count"
    assert sum(row.detail is not None for row in rows) == 3
    assert rows == sorted(rows, key=lambda row: (row.leaf, row.planid))


@pytest.mark.parametrize(("where", "expected"), [
    ("a -> b", ["a b"]), ("a -> b hats/0001", ["a b"]), ("a -> b c x", ["a b c"]), ("a x/all", []),
    ("w + v -> m all/all (sum of the window)", ["w m", "v m"]), ("w -> m all/all (read of 2026-01-01 p)", ["w m"]),
])  # fmt: skip
def test_a_residual_is_laid_on_the_edge_that_it_names(where, expected):
    plain = {"unit_in": "x", "unit_out": "x"}
    edges = [{"from": "a", "to": "b"}, {"from": "a", "to": "b c"}, {"from": "w", "to": "m", "law": "window"},
             {"from": "v", "to": "m", "law": "window"}]  # fmt: skip
    graph = Topology.model_validate({"tasks": dict.fromkeys(("a", "b", "b c", "w", "v", "m"), plain), "edges": edges})
    residual = Residual(date=NEWEST, planid="p", where=where, handed_on=1, taken=0, residual=1)
    assert [f"{edge.source} {edge.target}" for edge in edges_of(graph, residual)] == expected


@pytest.mark.parametrize("name", ["a", "A", "täglich", "..", "a..b", "x" * 128, "日" * 128, "p'&1", "-", "con"])
def test_a_slug_is_a_file_name_anywhere_and_no_two_names_share_one(name):
    assert re.fullmatch(r"[a-z0-9_-][a-z0-9._-]{0,79}", slug(name))
    assert ".." not in slug(name)
    others = ["a", "A", "täglich", "t-glich", "..", "a..b", "a-b", "x" * 128, "x" * 127, "日" * 128, "p'&1", "-", "--"]
    assert [other for other in others if slug(other) == slug(name)] == ([name] if name in others else [])


def test_an_anchor_keeps_the_parts_of_a_key_apart():
    assert anchor("a b", "c#d", "é") == "a%20b/c%23d/%C3%A9"
    assert [unquote(part) for part in anchor("a b", "c%2Fd").split("/")] == ["a b", "c%2Fd"]


def test_kibana_opens_with_time_and_filters_set():
    kibana = kibana_of("https://me:geheim@kibana.example:5601/base/", "search", "shop.test")
    assert kibana == Kibana("https://kibana.example:5601/base/s/search", "shop.test")
    filters = {"task": "it's!", "category": "all"}
    found = kibana_address(kibana, "funnel", Date(2026, 11, 1), Date(2026, 11, 2), filters)
    parts = urlsplit(found)
    state = parse_qs(urlsplit(parts.fragment).query)
    assert parts.fragment.startswith("/view/shop-test-funnel?")
    assert state["_g"] == ["(time:(from:'2026-11-01T00:00:00.000Z',to:'2026-11-02T23:59:59.999Z'))"]
    assert state["_a"] == ["(filters:!((query:(match_phrase:(task:'it!'s!!')))))"]
    assert kibana_of(None, "default", "funnelgate") is None
    assert kibana_of("http://127.0.0.1:5601", "default", "x") == Kibana("http://127.0.0.1:5601", "x")


def test_shares_are_never_rounded_to_all_or_none():
    assert [percent(x) for x in (0.0, 0.00001, 0.99999, 1.0, 1.5)] == ["0 %", "0.1 %", "99.9 %", "100 %", "150.0 %"]


def test_numbers_in_words():
    assert [number(x) for x in (0, 1234567, 0.25, 1234.5)] == ["0", "1,234,567", "0.25", "1,234"]
    assert [signed(x) for x in (3, -1200, 0)] == ["+3", "−1,200", "0"]
    assert [duration(x) for x in (0.5, 61, 90000)] == ["0.5 s", "1.0 min", "1.0 d"]
    assert [in_bytes(x) for x in (0, 999, 1500, 2e13)] == ["0 B", "999 B", "1.5 kB", "20 TB"]


def test_a_gap_in_a_line_has_no_point():
    assert [x for x, _ in spark_points([1, None, 3])] == [3, 97]
    assert spark_points([None]) == []
    assert {y for _, y in spark_points([4, 4])} == {12.0}

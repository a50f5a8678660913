"""The gate's verdicts over time: the rows, the line of blocks, the page and the command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.history import BLOCKS, Judged, brief, known_metrics, sparkline, trend, verdicts_of
from evaluation.history_page import plot_of, write_page
from reporting.errors import StoreError
from reporting.stores import open_store
from reporting.stores.memory import MemoryStore
from reporting.testing import make_plan
from reporting.verdict import Outcome, Verdict

DAY = Date(2026, 11, 1)
NOW = datetime(2026, 11, 23, 7, tzinfo=UTC)


def rule(decision: str, rule_id: str, metric: str = "hit@10", **changes: Any) -> dict[str, Any]:
    usual = {"decision": decision, "id": rule_id, "metric": metric, "slice": "all", "vs": None, "interval": None}
    return {**usual, "reason": f"{rule_id} says so", **changes}


def verdict(number: int, outcome: str, *evidence: dict[str, Any], metrics: dict[str, float] | None = None) -> Verdict:
    return Verdict(
        verdict_id=f"v{number}",
        date=DAY + timedelta(days=number),
        planid=f"daily-{number}",
        outcome=Outcome(outcome),
        inputs={},
        evidence=list(evidence),
        metrics={"hit@10": 0.9} if metrics is None else metrics,
        decided_at=NOW + timedelta(hours=number),
    )


FLOOR = rule("PASS", "floor", interval=[0.88, 0.92])
FEW = [
    verdict(0, "PASS", rule("PASS", "ni", interval=[-0.01, 0.01], vs="release"), FLOOR),
    verdict(
        1,
        "FAIL",
        rule("PASS", "floor", interval=[0.7, 0.9], slice="category=hats"),
        rule("FAIL", "cat", slice="category=hats", vs="champion"),
        rule("INCONCLUSIVE", "no-lost", metric="groups_with_zero_images"),
        metrics={"hit@10": 0.8, "recall@10": 0.7},
    ),
    verdict(
        2, "INCONCLUSIVE", {"decision": "INCONCLUSIVE", "reason": "none has arrived yet"}, metrics={"outside": 3.0}
    ),
]


def test_a_point_has_the_interval_of_the_rule_over_all_queries_and_names_what_does_not_pass() -> None:
    first, second, third = trend(FEW, "hit@10")
    assert (first.value, first.low, first.high, first.failing, first.reason) == (0.9, 0.88, 0.92, (), "")
    assert (second.value, second.low, second.high) == (0.8, None, None)  # that rule was on hats alone
    assert second.failing == ("cat[category=hats] vs champion", "no-lost")
    assert second.reason == "cat says so"
    assert (third.value, third.failing, third.reason) == (None, (), "none has arrived yet")
    assert (brief(second), brief(third)) == ("cat[category=hats] vs champion, no-lost", "none has arrived yet")
    assert known_metrics(FEW) == ["hit@10", "outside", "recall@10"]


def test_a_hundred_rules_that_fail_are_told_in_a_line_and_kept_whole_for_programs() -> None:
    (point,) = trend([verdict(0, "FAIL", *(rule("FAIL", f"r{n}") for n in range(100)))], "hit@10")
    assert len(point.failing) == 100
    assert brief(point) == "r0, r1, r2, r3, r4, r5 and 94 more"


def test_verdicts_of_every_plan_of_the_days_come_once_by_day_and_time() -> None:
    store = MemoryStore()
    again = FEW[0].model_copy(update={"verdict_id": "again", "planid": "rerun", "decided_at": NOW - timedelta(hours=1)})
    with store.begin() as work:
        for one in [*reversed(FEW), again]:
            work.put_plan(make_plan(one.planid, dates=(one.date,)))
            work.put_verdict(one)
        work.put_plan(make_plan("backfill", dates=(DAY, DAY + timedelta(days=1))))
        for one in FEW[:2]:
            work.put_verdict(one.model_copy(update={"verdict_id": f"{one.verdict_id}b", "planid": "backfill"}))
    everything = [one.verdict_id for one in verdicts_of(store, DAY, DAY + timedelta(days=9))]
    assert everything == ["again", "v0", "v0b", "v1", "v1b", "v2"]
    second_day = verdicts_of(store, DAY + timedelta(days=1), DAY + timedelta(days=1))
    assert [one.verdict_id for one in second_day] == ["v1", "v1b"]
    assert verdicts_of(MemoryStore(), DAY, DAY) == []


@given(st.lists(st.none() | st.floats(-1e6, 1e6), max_size=40))
def test_the_line_of_blocks_has_one_sign_for_each_value_and_rises_with_them(values: list[float | None]) -> None:
    line = sparkline(values)
    assert len(line) == len(values)
    pairs = [(value, BLOCKS.index(sign)) for value, sign in zip(values, line, strict=True) if value is not None]
    assert all(sign == " " for value, sign in zip(values, line, strict=True) if value is None)
    heights = [height for _, height in sorted(pairs)]
    assert heights == sorted(heights)
    if len({value for value, _ in pairs}) > 1:
        assert (heights[0], heights[-1]) == (0, 7)


@given(st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=400), st.floats(0, 5000))
def test_every_dot_lies_inside_the_plot_and_higher_values_are_higher(values: list[float | None], scale: float) -> None:
    scaled = [None if value is None else value * scale for value in values]
    usual = Judged(
        date=DAY, planid="p", verdict_id="v", outcome="PASS", value=0, low=None, high=None, failing=(), reason=""
    )
    points = [usual.model_copy(update=dict.fromkeys(("value", "low", "high"), value)) for value in scaled]
    plot = plot_of(points)
    assert len(plot.marks) == sum(value is not None for value in values)
    assert all(0 < mark.x < plot.width and 0 < mark.y < plot.height - 20 for mark in plot.marks)
    assert [mark.x for mark in plot.marks] == sorted(mark.x for mark in plot.marks)
    by_value = [y for _, y in sorted((value, -mark.y) for value, mark in zip(_known(scaled), plot.marks, strict=True))]
    assert by_value == sorted(by_value)
    assert [y for y, _ in plot.ticks] == sorted((y for y, _ in plot.ticks), reverse=True)
    assert len(plot.days) <= 1 + plot.width / 55  # 38 pixels wide each


def _known(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None]


class Page(HTMLParser):
    """Collects tags, attributes and text, and asserts that what opens closes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


EVIL = "<script>alert(\"1\")</script> & 'x' {{ 7 * 7 }}"


def test_the_page_shows_every_verdict_escaped_and_asks_no_network(tmp_path: Path) -> None:
    bad = verdict(3, "FAIL", rule("FAIL", EVIL, slice=f"category={EVIL}", reason=EVIL), metrics={"hit@10": 0.5})
    path = tmp_path / "new" / "trend.html"
    write_page(trend([*FEW, bad.model_copy(update={"planid": EVIL})], "hit@10"), "hit@10", path)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.count("script") == 0
    assert page.count("tr") == 1 + 4
    assert (page.count("circle"), page.count("path")) == (1, 2)  # PASS and two FAIL; the third one measured nothing
    said = "".join(page.words)
    assert said.count(EVIL) >= 4
    assert "not measured" in said
    assert "0.9000 [0.8800, 0.9200]" in said
    links = {value for _, attrs in page.tags for name, value in attrs.items() if name in ("href", "src", "action")}
    assert links == set()
    assert "http" not in text.replace(EVIL, "")
    assert "url(" not in text
    assert "@import" not in text
    assert list(path.parent.iterdir()) == [path]


def test_a_page_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"trend\.html: cannot be written: .*; name another file by --plot"):
        write_page(trend(FEW, "hit@10"), "hit@10", tmp_path / "file" / "trend.html")


@pytest.fixture
def folder(tmp_path: Path, sqlite_template: Path) -> Path:
    """A project whose store has nothing."""
    (tmp_path / "state").mkdir()
    shutil.copy(sqlite_template, tmp_path / "state/funnelgate.db")
    (tmp_path / "funnelgate.yaml").write_text("{}\n")
    return tmp_path


@pytest.fixture
def judged(folder: Path) -> Path:
    """A project with three verdicts."""
    with open_store(f"sqlite:///{folder}/state/funnelgate.db") as store, store.begin() as work:
        for one in FEW:
            work.put_plan(make_plan(one.planid, dates=(one.date,)))
            work.put_verdict(one)
    return folder


Main = Callable[..., Any]


def test_the_command_shows_rows_and_the_line_of_blocks(judged: Path, main_in: Main, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = main_in(judged, "evaluate", "history", "--plot", "trend.html")
    assert shown.code == 0, shown.err
    heading, first, second, third, line, written = shown.out.splitlines()
    assert " ".join(heading.split()) == "day plan verdict hit@10 interval what does not pass"
    assert " ".join(first.split()) == "2026-11-01 daily-0 PASS 0.9000 0.8800 .. 0.9200"
    assert " ".join(second.split()) == "2026-11-02 daily-1 FAIL 0.8000 cat[category=hats] vs champion, no-lost"
    assert " ".join(third.split()) == "2026-11-03 daily-2 INCONCLUSIVE none has arrived yet"
    assert (line, written) == ("hit@10 \u2588\u2581 ", "written: trend.html")
    assert Page((judged / "trend.html").read_text()).count("title") == 1 + 2


def test_json_has_every_field_and_days_can_be_named(judged: Path, main_in: Main) -> None:
    asked = ("evaluate", "history", "--metric", "recall@10", "--from", "2026-11-02", "--to", "2026-11-02", "--json")
    found = json.loads(main_in(judged, *asked).out)
    assert found == {
        "metric": "recall@10",
        "verdicts": [
            {
                "date": "2026-11-02",
                "planid": "daily-1",
                "verdict_id": "v1",
                "outcome": "FAIL",
                "value": 0.7,
                "low": None,
                "high": None,
                "failing": ["cat[category=hats] vs champion", "no-lost"],
                "reason": "cat says so",
            }
        ],
    }


def test_an_unknown_metric_is_refused_with_the_nearest_one(judged: Path, main_in: Main) -> None:
    refused = main_in(judged, "evaluate", "history", "--metric", "hits@10", "--plot", "trend.html")
    assert refused.code == 2
    assert "no verdict from 2026-11-01 to 2026-11-03 holds 'hits@10'; did you mean hit@10?" in refused.err
    assert not (judged / "trend.html").exists()


def test_a_store_without_plans_says_how_to_begin(folder: Path, main_in: Main) -> None:
    refused = main_in(folder, "evaluate", "history")
    assert refused.code == 2
    assert "nothing has been run here yet" in refused.err


def test_days_without_a_verdict_are_no_error(judged: Path, main_in: Main) -> None:
    days = ("--from", "2027-01-01", "--to", "2027-01-02")
    empty = main_in(judged, "evaluate", "history", *days, "--plot", "trend.html")
    assert (empty.code, empty.out) == (0, "no verdict was given in these days\n")
    assert not (judged / "trend.html").exists()
    found = main_in(judged, "evaluate", "history", *days, "--json")
    assert json.loads(found.out) == {"metric": "hit@10", "verdicts": []}

"""The gate's history: every number is the verdict's own, and the plots stand where a ruler would put them."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.page.cards import RuleCard, VerdictCard
from dashboards.page.trend_plot import HEIGHT, LEFT, RIGHT, WIDTH, trends
from evaluation.cards import verdict_cards
from reporting.stores import open_store
from reporting.testing import make_plan
from reporting.verdict import Outcome, Verdict
from tests.dashboards.page.desks import DAY, SCRIPT, hostile, html_of, made_desk, shown
from tests.dashboards.page.seen import seen

DECIDED = datetime(2026, 11, 2, 5, 0, tzinfo=UTC)


def evidence(metric: str, value: float | None, status: str = "pass", **changes: Any) -> dict[str, Any]:
    row = {"decision": "PASS" if status in ("pass", "not_applicable") else status.upper(), "id": f"{metric}-floor",
           "kind": "floor", "metric": metric, "slice": "all", "vs": None, "status": status, "value": value,
           "interval": None if value is None else [value - 0.05, value + 0.04], "limit": 0.5, "n": 252,
           "reason": f"{metric} of all is {value}"}  # fmt: skip
    return row | changes


def card(number: int = 0, outcome: str = "PASS", value: float = 0.75, **changes: Any) -> VerdictCard:
    day = DAY - timedelta(days=10 - number)
    rule = RuleCard(id="floor", metric="hit@10", slice="all", status="pass", value=value, low=value - 0.05,
                    high=value + 0.04, limit=0.5, n=252, reason="because")  # fmt: skip
    fields: dict[str, Any] = {
        "verdict_id": f"v{number}", "date": day, "planid": f"daily-{number}", "outcome": outcome,
        "decided_at": DECIDED, "metrics": {"hit@10": value, "answer_rate": 1.0}, "rules": (rule,),
    }  # fmt: skip
    return VerdictCard(**(fields | changes))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A store with four verdicts, one of them of a day done again."""
    path = tmp_path / "books.db"
    with open_store(f"sqlite:///{path}") as store, store.begin() as work:
        for number, (planid, outcome) in enumerate(
            [("a", "PASS"), ("b", "FAIL"), ("c", "INCONCLUSIVE"), ("d", "PASS")]
        ):
            day = DAY + timedelta(days=min(number, 2))
            work.put_plan(make_plan(planid, dates=(day,)))
            value = 0.6 + number / 17
            rows = [evidence("hit@10", value), evidence("recall@10", None, "not_applicable", vs="champion")]
            rows += [] if outcome == "PASS" else [evidence("recall@10", 0.3, outcome.lower(), slice="category=<b>")]
            work.put_verdict(
                Verdict(verdict_id=f"verdict-{planid}", date=day, planid=planid, outcome=Outcome(outcome), inputs={},
                        evidence=rows, metrics={"hit@10": value, "recall@10": 0.3}, decided_at=DECIDED)
            )  # fmt: skip
    return path


def test_every_number_of_the_page_is_that_of_the_stored_verdict(stored: Path) -> None:
    with open_store(f"sqlite:///{stored}") as store:
        plain = verdict_cards(store, DAY, DAY + timedelta(days=9), {(DAY, "a"): "lake/x y/report.html"})
    cards = [VerdictCard.model_validate(one) for one in plain]
    desk = made_desk(verdicts=[one.model_copy(update={"date": DAY}) for one in cards])
    page = shown(desk, "gate.html", project="../up/")
    with sqlite3.connect(stored) as books:  # read without our own code
        rows = [json.loads(body) for (body,) in books.execute("SELECT body FROM verdict")]
    books.close()
    expected = {f"gate.{row['verdict_id']}.{metric}": value for row in rows for metric, value in row["metrics"].items()}
    found = {name: float(value) for name, value in page.facts.items() if name.startswith("gate.verdict-")}
    assert found == expected
    outcomes = {name: sum(row["outcome"] == name for row in rows) for name in ("PASS", "FAIL", "INCONCLUSIVE")}
    assert {name: int(page.facts[f"gate.outcomes.{name}"]) for name in outcomes} == outcomes
    assert [one for one in page.links if "report" in one] == ["../up/lake/x%20y/report.html"]


def test_a_rule_keeps_what_the_gate_said_of_it(stored: Path) -> None:
    with open_store(f"sqlite:///{stored}") as store:
        (failed,) = verdict_cards(store, DAY + timedelta(days=1), DAY + timedelta(days=1), {})
    rules = VerdictCard.model_validate(failed).rules
    assert [(one.metric, one.slice, one.vs, one.status) for one in rules] == [
        ("hit@10", "all", None, "pass"),
        ("recall@10", "all", "champion", "not_applicable"),
        ("recall@10", "category=<b>", None, "fail"),
    ]
    assert (rules[0].low, rules[0].high) == pytest.approx((0.6 + 1 / 17 - 0.05, 0.6 + 1 / 17 + 0.04))
    assert rules[1].low is None


def test_a_verdict_given_without_rules_is_shown_with_its_reason() -> None:
    plain = {"metric": "self_hit@1", "decision": "INCONCLUSIVE", "value": 0.4, "reason": "no labelled set"}
    found = RuleCard.model_validate(next(iter(_cards_of([plain])[0].rules)).model_dump())
    assert (found.id, found.status, found.reason) == ("", "inconclusive", "no labelled set")


def _cards_of(rows: list[dict[str, Any]]) -> list[VerdictCard]:
    from reporting.stores.memory import MemoryStore

    store = MemoryStore()
    with store.begin() as work:
        work.put_plan(make_plan("a"))
        work.put_verdict(
            Verdict(verdict_id="v", date=DAY, planid="a", outcome=Outcome.INCONCLUSIVE, inputs={}, evidence=rows,
                    metrics={}, decided_at=DECIDED)
        )  # fmt: skip
    return [VerdictCard.model_validate(one) for one in verdict_cards(store, DAY, DAY, {})]


@given(
    st.lists(st.floats(0, 1).map(lambda value: round(value, 6)), min_size=1, max_size=40),
    st.sampled_from([1.0, 250.0, 1e-4]),
)
def test_a_plot_puts_each_value_where_a_ruler_between_its_ticks_does(values: list[float], scale: float) -> None:
    cards = [card(number % 10, value=value * scale) for number, value in enumerate(values)]
    trend = next(one for one in trends(cards) if one.metric == "hit@10")
    (low_y, low_words), (high_y, high_words) = trend.ticks[0], trend.ticks[-1]
    low, high = float(low_words), float(high_words)
    assert 2 <= len(trend.ticks) <= 8
    assert [y for y, _ in trend.ticks] == sorted((y for y, _ in trend.ticks), reverse=True)
    per_unit = (high_y - low_y) / (high - low)

    def ruler(value: float) -> float:
        return low_y + (value - low) * per_unit

    close = pytest.approx
    for one, value in zip(trend.marks, values, strict=True):
        assert one.y == close(ruler(value * scale), abs=0.2)
        assert one.low == close(ruler(value * scale - 0.05), abs=0.2)
        assert one.high == close(ruler(value * scale + 0.04), abs=0.2)
        assert high_y - 0.2 <= one.y <= low_y + 0.2
    assert trend.floor_y == close(ruler(0.5), abs=0.2)
    along = [one.x for one in trend.marks]
    assert along == sorted(along)
    assert LEFT <= along[0] <= along[-1] <= WIDTH - RIGHT
    assert 0 <= high_y < low_y <= HEIGHT


def test_metrics_with_intervals_come_first() -> None:
    assert [one.metric for one in trends([card()])] == ["hit@10", "answer_rate"]


def test_rules_that_do_not_pass_come_first_and_old_passes_are_only_counted() -> None:
    bad = RuleCard(id="z-last", metric="m", slice="s", status="fail", reason="it fails")
    many = [card(number % 10, verdict_id=f"v{number}") for number in range(30)]
    failed = card(9, "FAIL", verdict_id="failed", date=DAY, rules=(*card().rules, bad))
    page = html_of(made_desk(verdicts=[*many, failed]), "gate.html")
    assert page.index("it fails") < page.index("because")
    assert page.count("because") == 20  # of the 20 newest
    assert seen(page).text.count("did not apply: 1; they are in the gate's report.") == 11


def test_the_gate_without_a_verdict_says_so() -> None:
    assert "no verdict" in shown(made_desk(), "gate.html").text


def test_a_script_in_any_text_of_a_verdict_is_text() -> None:
    made = hostile(card(5).model_dump(), but=("outcome", "status"))
    page = shown(made_desk(verdicts=[VerdictCard.model_validate(made)]), "gate.html", project="../")
    assert "script" not in page.tags
    assert page.text.count(SCRIPT) >= 6


def test_days_before_the_history_are_left_out() -> None:
    old = card(0, verdict_id="old", date=Date(2026, 1, 1))
    assert not any("old" in name for name in shown(made_desk(verdicts=[old]), "gate.html").facts)

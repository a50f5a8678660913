"""Every number on a page equals one that SQL of the test's own computes from the store, and none stands unchecked."""

from __future__ import annotations

import re
from datetime import timedelta
from statistics import median
from typing import Any
from urllib.parse import unquote

import pytest

from dashboards.page.links import compare_path, day_path, days_path, leaves_path, plan_path
from dashboards.page.render import number, percent
from tests.dashboards.page.conftest import Made
from tests.dashboards.page.markup import Markup
from tests.dashboards.page.world import BEFORE, DAYS, NEWEST, REPAIR, Oracle

ON_DAY = Oracle.COUNTS + " AND r.date = '{}'"


def facts_of(made: Made, path: str) -> dict[str, tuple[str, str]]:
    return Markup((made.folder / path).read_text(encoding="utf-8")).facts


def assert_shown(found: dict[str, tuple[str, str]], expected: dict[str, Any]) -> None:
    """Hold both the figure in full and the words that people read against what was expected."""
    values = {id_: None if value == "" else float(value) for id_, (value, _) in found.items()}
    assert values == pytest.approx(expected, abs=1e-12)
    for id_, (_, shown) in found.items():
        value = expected[id_]
        if id_.startswith("heat."):
            assert shown == ("·" if value is None else f"{100 * value:.0f}"), id_
        else:
            assert shown == (percent(value) if id_.endswith("kept") else number(value)), id_


def relations(oracle: Oracle, day: Any) -> dict[str, float]:
    """Return the figures of every relation of the world's graph that is counted."""
    by_task = f"{ON_DAY.format(day)} GROUP BY task"
    total = {task: sums for task, *sums in oracle.rows("task, SUM(input), SUM(produced)", "", by_task)}
    read = oracle.rows("SUM(c.value ->> 'count')", ", json_each(r.body, '$.consumed') c", ON_DAY.format(day))[0][0]
    apart = oracle.connection.execute(
        f"SELECT SUM(ABS(s)) FROM (SELECT category, SUM(CASE task WHEN 'split' THEN produced ELSE -input END) s "
        f"FROM record r WHERE {ON_DAY.format(day)} AND task IN ('split', 'index') GROUP BY category)"
    ).fetchone()[0]
    found: dict[str, float] = {}
    for source, target, unexplained in (
        ("collect", "download", 0),
        ("download", "split", 0),
        ("split", "index", apart),
    ):
        found[f"relation.{source}.{target}.handed"] = total[source][1]
        found[f"relation.{source}.{target}.taken"] = total[target][0]
        found[f"relation.{source}.{target}.unexplained"] = unexplained
    return found | {
        "relation.index.merge.handed": read, "relation.index.merge.taken": read, "relation.index.merge.unexplained": 0
    }  # fmt: skip


def weekdays(oracle: Oracle, day: Any) -> dict[str, float]:
    """Return the figures of a day beside the same weekday before."""
    statement = "task, date, SUM(input), 1.0 * SUM(output) / SUM(input)"
    by_day: dict[str, dict[str, tuple[int, float]]] = {}
    for task, date, taken, kept in oracle.rows(statement, "", f"{Oracle.COUNTS} GROUP BY task, date"):
        by_day.setdefault(task, {})[date] = (taken, kept)
    found: dict[str, float] = {}
    for task, of_task in by_day.items():
        before = [
            of_task[str(day - timedelta(weeks=n))] for n in range(1, 5) if str(day - timedelta(weeks=n)) in of_task
        ]
        found[f"compared.{task}.input"] = of_task[str(day)][0]
        if before:
            found[f"compared.{task}.week_ago"] = of_task[str(day - timedelta(weeks=1))][0]
            found[f"compared.{task}.usual"] = median(taken for taken, _ in before)
            found[f"compared.{task}.usual_kept"] = median(kept for _, kept in before)
    return found


def matrices(oracle: Oracle, day: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in ("category", "subinstance"):
        where = f"{ON_DAY.format(day)} AND {part} <> 'all' GROUP BY task, {part}"
        for task, value, taken, output in oracle.rows(f"task, {part}, SUM(input), SUM(output)", "", where):
            found[f"{part}.{value}.{task}.input"] = taken
            found[f"{part}.{value}.{task}.output"] = output
    return found


def books(oracle: Oracle, day: Any, unexplained: dict[str, int]) -> dict[str, float]:
    sums = "planid, SUM(input), SUM(output), SUM(dropped_total), SUM(failed_total)"
    found: dict[str, float] = {}
    for planid, *values in oracle.rows(sums, "", f"{ON_DAY.format(day)} GROUP BY planid"):
        names = ("input", "output", "dropped", "failed", "unexplained", "missing_leaves")
        every = (*values, unexplained.get(planid, 0), 0)
        found |= {f"balance.{planid}.{name}": value for name, value in zip(names, every, strict=True)}
    return found


@pytest.mark.parametrize(("day", "unexplained", "plans"), [(NEWEST, 0, 2), (BEFORE, 2, 2), (DAYS[-3], 0, 3)])
def test_every_number_of_a_day_is_that_of_the_store(made, day, unexplained, plans):
    oracle = Oracle(made.file)
    count = oracle.rows("COUNT(*)", "", ON_DAY.format(day))[0][0]
    expected = {
        "day.unexplained": unexplained, "day.records": count, "day.missing": 0, "day.incidents": 0, "day.pages": 0,
        "day.plans": plans,
        **oracle.funnel(ON_DAY.format(day)),
        **relations(oracle, day), **weekdays(oracle, day), **matrices(oracle, day),
        **books(oracle, day, {f"daily {BEFORE}": 2} if day == BEFORE else {}),
    }  # fmt: skip
    assert_shown(facts_of(made, day_path(day)), expected)


def test_the_page_shows_the_repair_and_not_the_daily_plan(made):
    daily = Oracle(made.file).funnel(f"r.planid = 'daily {NEWEST}'")
    found = facts_of(made, day_path(NEWEST))
    assert float(found["funnel.download.output"][0]) == (daily["funnel.download.output"] or 0) + 3
    assert "funnel.download.failed.Timeout" in daily
    assert "funnel.download.failed.Timeout" not in found


def test_every_number_of_the_overview_is_that_of_the_store(made):
    oracle = Oracle(made.file)
    expected = {
        f"heat.{day}.{task}.kept": output / taken if taken else None
        for day, task, taken, output in oracle.rows(
            "date, task, SUM(input), SUM(output)", "", f"{Oracle.COUNTS} GROUP BY 1, 2"
        )
    }
    count = oracle.rows("COUNT(*)", "", ON_DAY.format(NEWEST))[0][0]
    tiles = {"unexplained": 0, "records": count, "missing": 0, "incidents": 0, "pages": 0, "plans": 2}
    assert_shown(facts_of(made, "index.html"), expected | {f"day.{name}": value for name, value in tiles.items()})


def test_every_number_of_several_days_is_that_of_the_store(made):
    oracle = Oracle(made.file)
    span = f"{Oracle.COUNTS} AND r.date BETWEEN '{DAYS[-3]}' AND '{NEWEST}'"
    expected = oracle.funnel(span)
    for task in {id_.split(".")[1] for id_ in expected}:  # over days the database adds up errors, not their classes
        if any(id_.startswith(f"funnel.{task}.failed.") for id_ in expected):
            expected[f"funnel.{task}.failed.errors"] = expected.pop(f"funnel.{task}.failed.Timeout")
    for day, task, taken, output in oracle.rows("date, task, SUM(input), SUM(output)", "", f"{span} GROUP BY 1, 2"):
        expected[f"heat.{day}.{task}.kept"] = output / taken
    assert_shown(facts_of(made, days_path(DAYS[-3], NEWEST)), expected)


@pytest.mark.parametrize("planid", [REPAIR, f"daily {NEWEST}", "redo"])
def test_every_number_of_a_plan_is_that_of_its_own_records(made, planid):
    oracle = Oracle(made.file)
    mine = f"r.planid = '{planid}'"
    count = oracle.rows("COUNT(*)", "", mine)[0][0]
    found = facts_of(made, plan_path(planid))
    assert_shown(found, {"plan.records": count, "plan.expected": count, **oracle.funnel(mine)})


def test_plan_against_plan_compares_only_the_leaves_that_both_have(made):
    oracle = Oracle(made.file)
    expected: dict[str, float] = {}
    for side, planid, other in (("one", f"daily {NEWEST}", REPAIR), ("other", REPAIR, f"daily {NEWEST}")):
        both = (
            f"r.planid = '{planid}' AND EXISTS (SELECT 1 FROM record o WHERE o.planid = '{other}' AND o.task = r.task "
            "AND o.date = r.date AND o.category = r.category AND o.subinstance = r.subinstance) GROUP BY task"
        )
        for task, taken, output in oracle.rows("task, SUM(input), SUM(output)", "", both):
            expected[f"compare.{task}.input.{side}"] = taken
            expected[f"compare.{task}.output.{side}"] = output
    found = facts_of(made, compare_path(f"daily {NEWEST}", REPAIR))
    assert_shown(found, expected)
    assert expected["compare.download.output.other"] - expected["compare.download.output.one"] == 3, "the lost ones"


def test_the_records_of_a_day_are_all_there_with_their_counts(made):
    oracle = Oracle(made.file)
    what = "task, category, subinstance, planid, input, output, produced"
    text = (made.folder / leaves_path(NEWEST)).read_text(encoding="utf-8")
    page = Markup(text)
    shown = {}
    for id_, counts, cells in re.findall(r'<tr id="([^"]+)" data-counts="([^"]+)"[^>]*>(.*)</tr>', text):
        words = [cell.strip() for cell in cells.split("<td>")]
        assert words[2:5] == [number(int(count)) for count in counts.split()]
        shown[tuple(unquote(part) for part in id_.split("/"))] = [int(count) for count in counts.split()]
    assert shown == {tuple(row[:4]): list(row[4:]) for row in oracle.rows(what, "", f"r.date = '{NEWEST}'")}
    assert page.facts["leaves.count"][0] == str(len(shown))

"""What `balance` and `funnel` print for programs: keys and types are part of the interface."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from reporting.plans import PlanKind
from reporting.testing import MOMENT, make_plan, make_record
from tests.reporting.conftest import DAYS, daily, day_records, fill
from tests.reporting.ledgers import CHAIN, changed

COUNTS = ("input", "output", "dropped", "failed")


def fits(name: str, data: Any) -> None:
    schema = json.loads((Path(__file__).parent / "schemas" / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(data)


@pytest.mark.parametrize("name", ["balance", "funnel"])
@pytest.mark.parametrize("spoil", [{"input": "1"}, {"input": 1.5}, {"input": None}, {"dropped": -1}, {"output": True}])
def test_the_schemas_refuse_what_programs_could_not_read(name, spoil, three_days, run):
    (row, *_) = run(name, "--json").json()
    with pytest.raises(jsonschema.ValidationError):
        fits(name, [{**row, **spoil}])


def test_balance_is_one_row_a_day_and_plan_with_nothing_unexplained(three_days, run):
    ran = run("balance", "--json")
    rows = ran.json()
    fits("balance", rows)
    assert ran.code == 0
    assert [(row["date"], row["planid"]) for row in rows] == [(DAYS[n].isoformat(), f"daily-{n}") for n in range(3)]
    assert [row["unexplained"] for row in rows] == [0, 0, 0]
    for number, row in enumerate(rows):
        records = day_records(number)
        assert {name: row[name] for name in COUNTS} == {
            "input": sum(r.input for r in records),
            "output": sum(r.output for r in records),
            "dropped": sum(r.dropped_total for r in records),
            "failed": 0,
        }


@pytest.mark.parametrize(
    ("options", "days"),
    [
        (("--date", "2026-11-02"), [1]),
        (("--from", "2026-11-02"), [1, 2]),
        (("--to", "2026-11-02"), [0, 1]),
        (("--from", "2026-11-01", "--to", "2026-11-30"), [0, 1, 2]),
        (("--date", "2027-01-01"), []),
    ],
)
def test_balance_of_some_days_is_their_rows(options, days, three_days, run):
    ran = run("balance", *options, "--json")
    fits("balance", ran.json())
    assert (ran.code, [row["planid"] for row in ran.json()]) == (0, [f"daily-{n}" for n in days])


def test_balance_with_something_unexplained_ends_with_1_and_tells_where(project, run):
    records = day_records(0)
    index = next(n for n, r in enumerate(records) if r.key.task == "index")
    records[index] = changed(records[index], 3)
    fill(project, records, [daily(0)])
    ran = run("balance", "--json", "--explain")
    assert ran.code == 1
    fits("balance", ran.json())
    assert [row["unexplained"] for row in ran.json()] == [3]
    assert f"daily-0: embed -> index {records[index].key.category}: handed on" in ran.err
    table = run("balance")
    assert table.code == 1
    assert "3" in table.out.split()


def test_balance_lists_plans_that_do_not_count_only_when_asked(project, run):
    shadow = make_plan("shadow", PlanKind.SHADOW, dates=DAYS[:1], completed_at=MOMENT)
    copies = [r.model_copy(update={"key": r.key.model_copy(update={"planid": "shadow"})}) for r in day_records(0)]
    fill(project, [*day_records(0), *copies], [daily(0), shadow])
    assert [row["planid"] for row in run("balance", "--json").json()] == ["daily-0"]
    everything = run("balance", "--all-plans", "--json").json()
    fits("balance", everything)
    assert [row["planid"] for row in everything] == ["daily-0", "shadow"]


def test_funnel_is_one_row_a_task_in_topology_order(three_days, run):
    ran = run("funnel", "--date", "2026-11-01", "--json")
    rows = ran.json()
    fits("funnel", rows)
    assert ran.code == 0
    assert [row["task"] for row in rows] == list(CHAIN.order)
    records = day_records(0)
    for row in rows:
        mine = [r for r in records if r.key.task == row["task"]]
        assert row["input"] == sum(r.input for r in mine)
        assert row["output"] == row["produced"] == sum(r.output for r in mine)
        assert row["kept_ratio"] == pytest.approx(row["output"] / row["input"])
        assert row["dropped"] == {"blurred": sum(r.dropped_total for r in mine)}
        assert row["failed"] == {}


def test_funnel_without_a_day_is_the_latest_one(three_days, run):
    assert run("funnel", "--json").json() == run("funnel", "--date", "2026-11-03", "--json").json()


def test_funnel_of_a_span_is_the_sum_of_its_days(three_days, run):
    span = run("funnel", "--from", "2026-11-01", "--to", "2026-11-03", "--json").json()
    days = [run("funnel", "--date", day.isoformat(), "--json").json() for day in DAYS]
    fits("funnel", span)
    assert [row["input"] for row in span] == [sum(rows[n]["input"] for rows in days) for n in range(len(span))]


def test_funnel_of_a_plan_is_that_plan_over_all_its_days_even_when_it_does_not_count(project, run):
    plan = make_plan("back", PlanKind.BACKFILL, dates=DAYS[:2], completed_at=MOMENT)
    records = [make_record("collect", date=day, planid="back", input=4) for day in DAYS[:2]]
    fill(project, [*day_records(0), *records], [daily(0), plan])
    (row,) = run("funnel", "--plan", "back", "--json").json()
    assert (row["task"], row["input"]) == ("collect", 8)


def test_funnel_with_nothing_in_has_no_ratio_and_with_failures_their_classes(project, run):
    records = [
        make_record("collect", planid="daily-0", input=5, failed={"OSError": 5}),
        make_record("dedup", planid="daily-0", input=0),
    ]
    fill(project, records, [daily(0)])
    collect, dedup = run("funnel", "--json").json()
    fits("funnel", [collect, dedup])
    assert (collect["failed"], collect["kept_ratio"]) == ({"OSError": 5}, 0)
    assert dedup["kept_ratio"] is None


def test_funnel_as_of_a_moment_shows_what_was_known_then(project, run):
    early = make_record("collect", planid="daily-0", input=5)
    late = make_record("collect", planid="daily-0", input=9, attempt=2, reported_at=MOMENT + timedelta(hours=1))
    fill(project, [early, late], [daily(0)])
    assert [row["input"] for row in run("funnel", "--json").json()] == [9]
    assert [row["input"] for row in run("funnel", "--as-of", "2026-11-01T06:30:00", "--json").json()] == [5]
    assert run("funnel", "--as-of", "2026-11-01T05:00:00", "--json").json() == []


def test_records_are_listed_and_each_ones_history_is_found_by_the_name_it_prints(three_days, run):
    documents = run("records", "list", "--date", "2026-11-01", "--task", "embed", "--json").json()
    assert [(d["task"], d["category"], d["subinstance"]) for d in documents] == [
        ("embed", c, s) for c in ("hats", "shoes") for s in ("0001", "0002")
    ]
    line = run("records", "list", "--date", "2026-11-01", "--task", "embed").out.splitlines()[0]
    history = run("records", "history", line.split()[0], "--json").json()
    assert history == documents[:1]

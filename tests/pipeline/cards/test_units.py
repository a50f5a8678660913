"""Attempts and lines of the log, as the store and the file have them."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from datetime import date as Date
from typing import Any

import pytest
from sqlalchemy import insert

from dashboards.page.cards import LogCard, UnitCard
from pipeline.cards.units import MOST_LINES, log_cards, unit_cards
from reporting import tables as t
from reporting.key import RunKey
from reporting.logs import EcsFormatter, log_to, logger, run_key
from reporting.stores.sql import SqlStore
from tests.pipeline.project import new_project, plan_day, row, work_off

DAY = Date(2026, 11, 1)
KEY = RunKey(task="split", date=DAY, category="all", subinstance="0002", planid="p")


@pytest.fixture
def store(tmp_path):
    with SqlStore.open(f"sqlite:///{tmp_path / 'books.db'}", ships=False) as opened:
        yield opened


def test_a_unit_has_a_card_for_each_attempt_and_one_that_never_began_has_attempt_0(store):
    key: dict[str, Any] = KEY.model_dump()
    unit: dict[str, Any] = {**key, "priority": 0, "waiting_on": 0, "max_attempts": 3, "available_at": 0.0}
    tried = {"worker": "w1", "started_at": "2026-11-02T01:00:00.000000+00:00"}
    changed: list[dict[str, Any]] = [{"state": "done"}, {"state": "waiting", "subinstance": "0003"},
                                     {"state": "done", "date": Date(2026, 11, 2)}]  # fmt: skip
    with store.engine.begin() as connection:
        for number, changes in enumerate(changed, 1):
            connection.execute(insert(t.instance).values(id=number, attempt=0, **{**unit, **changes}))
        lost = {"outcome": "failed", "error": "Timeout: 3 s", "finished_at": "2026-11-02T01:00:05.000000+00:00"}
        connection.execute(insert(t.attempt).values(instance_id=1, attempt=1, **tried, **lost))
        connection.execute(insert(t.attempt).values(instance_id=1, attempt=2, **tried))
    found = [UnitCard.model_validate(one) for one in unit_cards(store, DAY)]
    assert [(one.subinstance, one.state, one.attempt, one.outcome, one.error) for one in found] == [
        ("0002", "done", 1, "failed", "Timeout: 3 s"),
        ("0002", "done", 2, "", ""),
        ("0003", "waiting", 0, "", ""),
    ]
    assert found[0].finished_at == datetime(2026, 11, 2, 1, 0, 5, tzinfo=UTC)
    assert found[1].finished_at is None


def test_the_lines_of_a_day_are_those_that_were_logged_with_its_key(tmp_path):
    path = tmp_path / "log.jsonl"
    try:
        log_to(path)
        log = logger("worker")
        log.info("without a key")
        with run_key(KEY.model_copy(update={"date": Date(2026, 11, 2)})):
            log.info("of another day")
        with run_key(KEY):
            log.info("done: all 3->2")
            try:
                raise ValueError("bad picture")
            except ValueError:
                log.exception("failed")
    finally:
        for handler in list(logging.getLogger("funnelgate").handlers):
            logging.getLogger("funnelgate").removeHandler(handler)
            handler.close()
    with path.open("a", encoding="utf-8") as file:
        file.write('{"funnelgate.date": "2026-11-01", "cut sho')
    found = [LogCard.model_validate(one) for one in log_cards(path, DAY)]
    assert [(one.level, one.text) for one in found] == [("info", "done: all 3->2"), ("error", "failed: bad picture")]
    assert {(one.task, one.category, one.subinstance, one.planid) for one in found} == {("split", "all", "0002", "p")}


def test_what_a_worker_says_of_its_work_is_found_under_the_leaf(tmp_path):
    project = new_project(tmp_path / "project")
    project.manifest(DAY, [row(project.drawn(1), "sku1")])
    formatter = EcsFormatter()
    lines: list[str] = []

    class Written(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(formatter.format(record))

    log, handler = logging.getLogger("funnelgate"), Written()
    log.addHandler(handler)
    log.setLevel("INFO")
    try:
        with project.place() as place:
            plan = plan_day(place, DAY)
            work_off(place, plan, tasks=("collect",))
    finally:
        log.removeHandler(handler)
    (tmp_path / "log.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = [LogCard.model_validate(one) for one in log_cards(tmp_path / "log.jsonl", DAY)]
    assert [(one.task, one.planid, one.text) for one in found] == [("collect", plan.planid, "done: all 1->1")]


def test_of_a_long_log_the_newest_lines_are_kept(tmp_path):
    path = tmp_path / "log.jsonl"
    line = {f"funnelgate.{part}": value for part, value in zip(RunKey.model_fields, KEY.parts(), strict=True)}
    line |= {"@timestamp": "2026-11-01T00:00:00+00:00"}
    path.write_text("".join(json.dumps(line | {"message": n}) + "\n" for n in range(MOST_LINES + 7)), encoding="utf-8")
    found = log_cards(path, DAY)
    assert [len(found), found[0]["text"], found[-1]["text"]] == [MOST_LINES, "7", str(MOST_LINES + 6)]


def test_a_log_that_is_not_there_has_no_lines(tmp_path):
    assert log_cards(None, DAY) == log_cards(tmp_path / "none", DAY) == []

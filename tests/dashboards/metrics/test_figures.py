"""Every figure equals what SQL of the test's own finds in the store's file."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dashboards.metrics.exposition import text_of
from dashboards.metrics.families import FAMILIES, OTHER
from dashboards.metrics.figures import figures
from reporting.errors import StoreError
from reporting.plans import Leaf
from reporting.stores.sql import SqlStore
from reporting.testing import make_record
from reporting.topology import Topology
from tests.dashboards.metrics.told import MADE, Samples, parsed, scraped, sources
from tests.dashboards.page import world
from tests.dashboards.page.desks import Told
from tests.dashboards.page.world import BEFORE, DAYS, NEWEST, Oracle
from tests.dashboards.web.served import shelf_of

NAMES = {
    "input": "SUM(r.input)", "output": "SUM(r.output)", "produced": "SUM(r.produced)", "failed": "SUM(r.failed_total)",
}  # fmt: skip


def of(samples: Samples, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a metric by the values of its labels, in the order of the labels' names."""
    return {tuple(value for _, value in labels): one for (found, labels), one in samples.items()
            if found == f"funnelgate_{name}"}  # fmt: skip


@pytest.fixture(scope="module")
def samples(world_file):
    return scraped(world_file, days=len(DAYS))


def test_the_sums_of_every_day_are_those_of_the_effective_plans(samples, world_file):
    oracle = Oracle(world_file)
    by_day = f"{Oracle.COUNTS} GROUP BY date, task"
    for name, what in NAMES.items():
        expected = {(day, task): value for day, task, value in oracle.rows(f"date, task, {what}", "", by_day)}
        assert len(expected) == len(DAYS) * len(world.TOPOLOGY.tasks)
        assert of(samples, f"day_{name}_items") == expected
        newest = {(task,): value for (day, task), value in expected.items() if day == str(NEWEST)}
        assert of(samples, f"task_{name}_items") == newest
    for name, what in {"leaves": "COUNT(*)", "work_seconds": "SUM(r.seconds)"}.items():
        expected = {(day, task): value for day, task, value in oracle.rows(f"date, task, {what}", "", by_day)}
        assert of(samples, f"day_{name}") == pytest.approx(expected)


def test_ratios_and_rates_are_those_of_the_sums(samples, world_file):
    rows = Oracle(world_file).rows(
        "date, task, 1.0 * SUM(r.output) / SUM(r.input), SUM(r.input) / SUM(r.seconds)", "",
        f"{Oracle.COUNTS} GROUP BY date, task",
    )  # fmt: skip
    assert of(samples, "day_kept_ratio") == pytest.approx({(day, task): kept for day, task, kept, _ in rows})
    assert of(samples, "day_items_per_second") == pytest.approx({(day, task): rate for day, task, _, rate in rows})


def test_drops_are_told_by_every_reason_that_the_graph_knows_also_where_there_were_none(samples, world_file):
    each = ", json_each(r.body, '$.dropped') e"
    rows = Oracle(world_file).rows("date, r.task, e.key, SUM(e.value)", each, f"{Oracle.COUNTS} GROUP BY 1, 2, 3")
    counted = {(day, reason, task): count for day, task, reason, count in rows}
    expected = {
        (str(day), reason, task): counted.get((str(day), reason, task), 0)
        for day in DAYS
        for task, spec in world.TOPOLOGY.tasks.items()
        for reason in spec.drop_reasons
    }
    assert counted.keys() <= expected.keys()
    assert of(samples, "day_dropped_items") == expected
    newest = {(reason, task): count for (day, reason, task), count in expected.items() if day == str(NEWEST)}
    assert of(samples, "task_dropped_items") == newest


def test_a_reason_that_the_graph_no_longer_has_is_told_as_another(world_file):
    text = world.TOPOLOGY.model_dump_json(by_alias=True, exclude_none=True).replace('"dead_link",', "")
    found = scraped(world_file, topology=Topology.model_validate_json(text))
    each = ", json_each(r.body, '$.dropped') e"
    where = f"{Oracle.COUNTS} AND r.task = 'download' AND r.date = '{NEWEST}' AND e.key = 'dead_link'"
    assert (
        of(found, "task_dropped_items")[OTHER, "download"] == Oracle(world_file).rows("SUM(e.value)", each, where)[0][0]
    )


def test_only_as_many_days_as_asked_for_are_told(world_file):
    found = scraped(world_file, days=2)
    assert {day for day, _ in of(found, "day_leaves")} == {str(BEFORE), str(NEWEST)}


def test_what_no_book_explains_is_told_by_day_and_by_the_task_that_does_not_take_it_in(samples, own_file):
    assert of(samples, "day_unexplained_items") == {(str(BEFORE),): 2, (str(NEWEST),): 0}
    assert set(of(samples, "task_unexplained_items").values()) == {0}
    connection = sqlite3.connect(own_file)
    for table in ("record", "event", "expected_leaf", "plan_day"):  # the day before, with its break, is now the newest
        connection.execute(f"DELETE FROM {table} WHERE date = '{NEWEST}'")
    connection.commit()
    connection.close()
    found = of(scraped(own_file), "task_unexplained_items")
    assert {task: count for (task,), count in found.items() if count} == {"index": 2}


def test_leaves_are_expected_done_and_missing(own_file):
    late = Leaf("split", NEWEST, "hats", "0003")
    other = Leaf("split", BEFORE, "hats", "0003")
    with SqlStore.open(f"sqlite:///{own_file}", ships=False) as store, store.begin() as work:
        work.expect(f"daily {NEWEST}", [late, other])
    samples = scraped(own_file)
    oracle = Oracle(own_file)
    done = dict(oracle.rows("task, COUNT(*)", "", f"{Oracle.COUNTS} AND r.date = '{NEWEST}' GROUP BY task"))
    found = of(samples, "task_leaves")
    for task, count in done.items():
        missing = 1 if task == "split" else 0
        states = {state: found[state, task] for state in ("expected", "done", "missing")}
        assert states == {"expected": count + missing, "done": count, "missing": missing}, task
    assert of(samples, "day_missing_leaves") == {(str(BEFORE),): 0, (str(NEWEST),): 1}


def test_a_record_that_no_manifest_expects_is_not_among_the_expected(own_file):
    before = of(scraped(own_file), "task_leaves")
    with SqlStore.open(f"sqlite:///{own_file}", ships=False) as store, store.begin() as work:
        work.put_record(
            make_record("split", date=NEWEST, planid=f"daily {NEWEST}", category="hats", subinstance="0009")
        )
    found = scraped(own_file)
    assert of(found, "task_leaves") == before
    assert of(found, "day_leaves")[str(NEWEST), "split"] == before["done", "split"] + 1


def test_what_is_booked_between_two_scrapes_is_in_the_second(own_file):
    shelf = shelf_of(own_file, sources())
    again = make_record("collect", date=NEWEST, planid=f"daily {NEWEST}", input=9, dropped={"twice": 4}, emit=2)
    found = []
    for _ in range(2):
        found.append(parsed(text_of(figures(shelf.serving(), 7)).decode()))
        with SqlStore.open(f"sqlite:///{own_file}", ships=False) as store, store.begin() as work:
            work.put_record(again)
    first, second = (of(one, "task_dropped_items")["twice", "collect"] for one in found)
    assert (first != second, second) == (True, 4)
    assert of(found[1], "day_dropped_items")[str(NEWEST), "twice", "collect"] == 4
    assert of(found[1], "task_input_items")[("collect",)] == 9


def test_the_last_record_of_each_task_is_told_by_its_time(samples, world_file):
    rows = Oracle(world_file).rows(
        "task, MAX(reported_at)", "", f"{Oracle.COUNTS} AND date >= '{BEFORE}' GROUP BY task"
    )
    expected = {(task,): datetime.fromisoformat(at).timestamp() for task, at in rows}
    assert of(samples, "task_last_record_timestamp_seconds") == expected
    begin = datetime(NEWEST.year, NEWEST.month, NEWEST.day, tzinfo=UTC).timestamp()
    assert of(samples, "day_timestamp_seconds") == {(): begin}


def test_what_the_other_folders_tell_is_told(samples):
    expected = {
        "incidents_open": {("page",): 1, ("warn",): 2},
        "gate_verdict": {("PASS",): 0, ("FAIL",): 1, ("INCONCLUSIVE",): 0},
        "gate_verdict_timestamp_seconds": {(): MADE.timestamp()},
        "gate_hit_at_10_ratio": {(): 0.25},
        "release_number": {(): 8},
        "release_rows": {(): 47},
        "release_timestamp_seconds": {(): MADE.timestamp() - 86_400},
        "window_rows": {("hats", "window"): 42, ("hats", "tail"): 5},
    }
    assert {name: of(samples, name) for name in expected} == expected


def test_what_waits_is_told(own_file):
    connection = sqlite3.connect(own_file)
    oldest = "2026-10-27T00:00:00.000000+00:00"
    for number in range(3):
        connection.execute(
            "INSERT INTO outbox (topic, document_id, version, body, created_at) VALUES ('record', ?, 1, '{}', ?)",
            (str(number), oldest),
        )
    states = {"waiting": 4, "ready": 3, "running": 2, "failed": 1, "done": 9}
    for state, count in states.items():
        for number in range(count):
            lease = world.NOW.timestamp() + (60 if number else -60) if state == "running" else None
            connection.execute(
                "INSERT INTO instance (task, date, category, planid, priority, waiting_on, attempt, max_attempts, "
                "available_at, subinstance, state, lease_until) "
                "VALUES ('split', '2026-10-26', 'all', 'p', 0, 0, 0, 3, 0, ?, ?, ?)",
                (f"{state}{number}", state, lease),
            )
    connection.commit()
    connection.close()
    before = datetime.now(UTC)
    found = scraped(own_file)
    del states["done"]
    assert of(found, "queue_units") == {(state,): count for state, count in states.items()}
    assert of(found, "queue_expired_leases") == {(): 1}
    assert of(found, "outbox_waiting_entries") == {(): 3}
    since = datetime.fromisoformat(oldest)
    age = of(found, "outbox_oldest_age_seconds")[()]
    assert (before - since).total_seconds() <= age <= (datetime.now(UTC) - since).total_seconds()


def test_every_family_has_a_sample_where_everything_has_happened(samples):
    assert {name for name, _ in samples} == {family.name for family in FAMILIES}
    for name, labels in samples:
        (family,) = [one for one in FAMILIES if one.name == name]
        assert {label for label, _ in labels} == set(family.labels), name


def test_a_project_without_any_day_has_metrics_too(tmp_path):
    SqlStore.open(f"sqlite:///{tmp_path / 'empty.db'}", ships=False).close()
    found = scraped(tmp_path / "empty.db")
    assert of(found, "day_timestamp_seconds") == {}
    assert set(of(found, "part_readable").values()) == {1}


def test_a_part_that_cannot_be_read_takes_nothing_from_the_others(world_file):
    class Damaged(Told):
        def releases(self):
            raise StoreError("release 9: its manifest is damaged")

    found = scraped(world_file, Damaged(window=sources().window()))
    assert {part for (part,), value in of(found, "part_readable").items() if not value} == {"release"}
    assert of(found, "release_number") == {}
    assert of(found, "window_rows") != {}
    assert of(found, "task_input_items") != {}


HOSTILE = 'a"} 9\nfunnelgate_faked 1 # \\ é \ud800'


def test_names_full_of_marks_neither_break_the_text_nor_add_a_metric(world_file):
    found = scraped(world_file, sources(category=HOSTILE))
    assert {name for name, _ in found} == {family.name for family in FAMILIES}
    told = {category for category, _ in of(found, "window_rows")}
    assert told == {HOSTILE.replace("\ud800", "\\ud800")}


def test_help_and_type_stand_before_each_family_in_the_text(world_file):
    lines = text_of([]).decode().splitlines()
    for family in FAMILIES:
        assert f"# HELP {family.name} {family.help}" in lines
        assert f"# TYPE {family.name} gauge" in lines
    assert parsed("\n".join(lines)) == {}


def test_the_documentation_names_each_metric_with_its_labels():
    text = (Path(__file__).resolve().parents[3] / "docs" / "dashboards.md").read_text(encoding="utf-8")
    rows = [f"| `{family.name}` | {', '.join(f'`{label}`' for label in family.labels)} | {family.help} |"
            for family in FAMILIES]  # fmt: skip
    section = text.split("## Prometheus and Grafana")[1].split("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("| `")] == rows

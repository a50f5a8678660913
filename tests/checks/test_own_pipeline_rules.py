"""The example of a pipeline of one's own: its checks fit its task graph, and what its jobs really book."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from checks.result import Status
from checks.run import judge_day
from checks.spec import load_checks
from reporting.record import TaskRecord
from reporting.spool import Spool
from reporting.stores.memory import MemoryStore
from reporting.testing import DAY, MOMENT, make_plan, make_record
from reporting.topology import Topology

WORDS = ("hat", "shoe", "", "of", "hat", "bag", "scarf")


@pytest.fixture
def example(repository: Path) -> Path:
    return repository / "examples" / "own_pipeline"


def booked(script: Path, folder: Path) -> TaskRecord:
    """Run the example on some words, and return what it booked."""
    (folder / "words.txt").write_text("\n".join(WORDS), encoding="utf-8")
    command = [sys.executable, str(script), str(folder / "words.txt"), DAY.isoformat(), str(folder / "spool")]
    subprocess.run(command, cwd=script.parents[2], check=True, capture_output=True)
    with Spool(folder / "spool") as spool:
        (entry,) = [entry for entry in spool.peek(10, 10**6) if entry.topic == "record"]
    return TaskRecord.model_validate_json(entry.body)


def test_the_example_s_checks_judge_what_its_jobs_book(example, tmp_path):
    topology = Topology.load(example / "pipeline.yaml")
    loaded = load_checks(example / "checks.yaml", topology)
    record = booked(example / "filter_day.py", tmp_path)
    assert set(record.dropped) <= set(topology.task("filter").drop_reasons)
    times = {"started_at": MOMENT, "finished_at": MOMENT, "reported_at": MOMENT}
    record = record.model_copy(update=times)
    plan = make_plan(record.key.planid, created_at=MOMENT, completed_at=MOMENT)
    counted = make_record("count", planid=plan.planid, input=len(WORDS), dropped={"empty": 1, "duplicate": 1})
    found = {}
    for name, count in (("all", counted), ("one line less", counted.model_copy(update={"input": 6, "output": 4}))):
        store = MemoryStore()
        with store.begin() as work:
            work.put_plan(plan)
            work.put_record(record)
            work.put_record(count)
        run = judge_day(store, topology, loaded, DAY, None, MOMENT)
        found[name] = {(one.id, one.status) for one in run.results if one.counts}
    assert {status for _, status in found["all"]} == {Status.PASS}
    assert [check for check, status in found["one line less"] if status is Status.FAIL] == ["same-file"]

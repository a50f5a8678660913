"""A project with made records, and the command line run over it in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from funnelgate import main
from reporting.plans import Plan
from reporting.record import TaskRecord
from reporting.stores import open_store
from reporting.testing import DAY, MOMENT, make_plan
from tests.reporting.ledgers import CHAIN, ITEMS, closed_records

DAYS = tuple(DAY + timedelta(days=n) for n in range(3))


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return what it printed for programs."""
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `funnelgate ARGUMENTS` in this process."""

    def invoke(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["funnelgate", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        code = stopped.value.code
        assert isinstance(code, int)
        return Ran(code, captured.out, captured.err)

    return invoke


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a settings file and a task graph, as the present folder."""
    (tmp_path / "funnelgate.yaml").write_text("store:\n  url: sqlite:///state/store.db\npipeline: pipeline.yaml\n")
    graph = CHAIN.model_dump(mode="json", by_alias=True, exclude_none=True)
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(graph, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def daily(number: int) -> Plan:
    """Return the complete daily plan of a day."""
    return make_plan(f"daily-{number}", dates=(DAYS[number],), completed_at=MOMENT)


def day_records(number: int) -> list[TaskRecord]:
    """Return the closed books of a day: fewer items each day."""
    items = ITEMS[: 40 - 10 * number]
    return closed_records(CHAIN, items, seed=number, day=DAYS[number], planid=f"daily-{number}")


def fill(project: Path, records: Sequence[TaskRecord], plans: Sequence[Plan]) -> None:
    """Put records and plans into the project's store."""
    with open_store(f"sqlite:///{project / 'state' / 'store.db'}") as store, store.begin() as work:
        for plan in plans:
            work.put_plan(plan)
        for record in records:
            work.put_record(record)


@pytest.fixture
def three_days(project: Path) -> Path:
    """The project after three closed days."""
    fill(project, [r for n in range(3) for r in day_records(n)], [daily(n) for n in range(3)])
    return project

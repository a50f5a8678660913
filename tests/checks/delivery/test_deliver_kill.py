"""Kill -9 at every moment between judging and noting that it was sent: nothing is lost, and nothing is doubled.

What is repeated is the very notice that was on its way, with the id it had: the other side knows it again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Table, select

from reporting.stores import open_store
from reporting.tables import incident, incident_action, notice
from tests.checks.delivery.killed_deliverer import MOMENTS
from tests.checks.sinks.receiver import Receiver, Reply, Request
from tests.checks.sinks.services import PagerDuty
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow
KEY = "0123456789abcdef0123456789abcdef"
_LONGEST_SECONDS = 120.0


@dataclass
class Town:
    """All who are told: a pager, and a web page that knows a notice by its id."""

    pager: PagerDuty = field(default_factory=lambda: PagerDuty(KEY))
    hooks: list[str] = field(default_factory=list)
    pages: list[tuple[str, str]] = field(default_factory=list)
    on_request: Callable[[int], None] = lambda _: None
    _count: int = 0
    _one: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: Request) -> Reply:
        with self._one:
            reply = Reply()
            if request.path == "/hook":
                self.hooks.append(request.headers["idempotency-key"])
            else:
                event = request.json()
                self.pages.append((event["dedup_key"], event["event_action"]))
                reply = self.pager(request)
            self._count += 1
            self.on_request(self._count)  # it may kill the sender: taken here, and never acknowledged
            return reply


@dataclass
class Project:
    folder: Path
    town: Town
    url: str

    def __post_init__(self) -> None:
        sinks = [
            {"kind": "pagerduty", "name": "pager", "key_env": "KEY", "url": f"{self.url}/v2/enqueue"},
            {"kind": "webhook", "name": "page", "url_env": "HOOK", "severities": ["page"]},
        ]
        (self.folder / "sinks.json").write_text(json.dumps(sinks))

    def start(self, moment: str, number: int) -> subprocess.Popen[bytes]:
        arguments = ["-m", "tests.checks.delivery.killed_deliverer", str(self.folder), moment, str(number)]
        with (self.folder / "output.txt").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=REPOSITORY,
                env={**os.environ, "KEY": KEY, "HOOK": f"{self.url}/hook"},
                stdout=output,
                stderr=output,
            )

    def output(self) -> str:
        return (self.folder / "output.txt").read_text()

    def ends(self, moment: str, number: int = 1) -> int:
        return self.start(moment, number).wait(_LONGEST_SECONDS)

    def killed_by_the_server(self, number: int) -> int:
        """Run it, and kill it when its Nth request from now on has been taken and not been answered."""
        process = self.start("never", 0)
        last = self.town.__dict__["_count"] + number

        def strike(count: int) -> None:
            if count == last:
                process.kill()
                process.wait(_LONGEST_SECONDS)

        self.town.on_request = strike
        code = process.wait(_LONGEST_SECONDS)
        self.town.on_request = lambda _: None
        return code

    def table(self, table: Table, *columns: str) -> list[tuple[str, ...]]:
        with open_store(f"sqlite:///{self.folder / 'store.db'}") as store, store.read() as connection:
            chosen = [table.c[name] for name in columns]
            return sorted(tuple(row) for row in connection.execute(select(*chosen)))


def once(ids: list[str]) -> list[str]:
    """Return the ids in the order of their first arrival: what a receiver that knows them does."""
    return list(dict.fromkeys(ids))


def by_episode(ids: list[str]) -> dict[str, list[str]]:
    found = defaultdict(list)
    for one in ids:
        found[one.split("|")[0]].append(one)
    return dict(found)


@pytest.fixture
def project(tmp_path):
    town = Town()
    (tmp_path / "disturbed").mkdir()
    with Receiver(town) as receiver:
        yield Project(tmp_path / "disturbed", town, receiver.url)


@pytest.fixture
def undisturbed(tmp_path):
    town = Town()
    (tmp_path / "undisturbed").mkdir()
    with Receiver(town) as receiver:
        project = Project(tmp_path / "undisturbed", town, receiver.url)
        assert project.ends("never", 0) == 0, project.output()
        yield project
    assert len(town.hooks) == len(set(town.hooks))


def test_kills_between_judging_and_sending_lose_and_double_nothing(project, undisturbed):
    strikes = [*((moment, 1) for moment in MOMENTS), ("sent", 3)]
    codes = [project.ends(moment, number) for moment, number in strikes]
    codes.append(project.killed_by_the_server(2))
    assert codes == [-signal.SIGKILL] * (len(strikes) + 1), project.output()
    assert project.ends("never", 0) == 0, project.output()

    calm, town = undisturbed.town, project.town
    assert by_episode(once(town.hooks)) == by_episode(calm.hooks)
    assert sorted(town.pager.opened) == sorted(calm.pager.opened)
    assert town.pager.state == calm.pager.state
    assert set(town.pager.state.values()) == {"resolved"}
    assert town.pager.complaints == []
    repeats = len(town.hooks) - len(calm.hooks) + len(town.pages) - len(calm.pages)
    # Two sinks send at once, so that a kill may catch one notice of each.
    assert 1 <= repeats <= 2 * len(codes)

    for table, columns in (
        (notice, ("notice_id", "state", "body")),
        (incident, ("episode", "state", "revision", "body")),
        (incident_action, ("episode", "at", "kind", "who", "why", "body")),
    ):
        assert project.table(table, *columns) == undisturbed.table(table, *columns)
    assert {state for _, state in project.table(notice, "notice_id", "state")} == {"sent"}
    assert {event for (event,) in project.table(notice, "event")} > {"trigger", "remind", "resolve"}

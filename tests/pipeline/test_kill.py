"""Kill -9 at random moments: after resuming, the books, items and vectors are those of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from pipeline.instance_states import DONE
from reporting import tables as t
from tests.pipeline.arrivals import DAYS, arrive
from tests.pipeline.comparison import books, faults, merged_rows, released_date
from tests.pipeline.project import DAY_3, Project, new_project, run_here, store_of

pytestmark = pytest.mark.slow
STRIKES = 29
"""Aimed at in each of the two scenarios: a few may find the work already done. 50 kills are asked for in all."""
_TICK_SECONDS = 0.01
_LONGEST_WAIT_SECONDS = 90.0


def arrivals(folder: Path) -> Project:
    # A lease of two seconds: what a killed main leaves running must not hold the test up for a minute.
    project = new_project(folder, package_items=8, workers=2, lease_seconds=2.0)
    project.configure(tail={"window_days": 1, "compact_days": 1})  # every day but the own one is in the tail
    arrive(project)
    return project


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = arrivals(tmp_path_factory.mktemp("undisturbed") / "days")
    run_here(project, *DAYS)
    assert faults(project) == []
    return project


def children(pid: int) -> list[int]:
    """Return the process's living children (Linux)."""
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    latest = time.monotonic() + _LONGEST_WAIT_SECONDS
    while not holds():
        assert time.monotonic() < latest, "waited too long"
        time.sleep(_TICK_SECONDS)


@dataclass
class Reaper:
    """Runs a command over and over, and kills its processes at chosen amounts of work done."""

    project: Project
    dice: random.Random
    kills: list[str] = field(default_factory=list)
    orphans: set[int] = field(default_factory=set)
    attempts_seen: int = -1

    def work(self) -> tuple[int, int]:
        """Return how many instances are done, and how many attempts were begun, as the store says."""
        with store_of(self.project) as store, store.read() as connection:
            done = connection.execute(select(func.count()).where(t.instance.c.state == DONE)).scalar_one()
            return int(done), int(connection.execute(select(func.count()).select_from(t.attempt)).scalar_one())

    def lost_attempts(self) -> int:
        """Return how many attempts ended with their worker."""
        with store_of(self.project) as store, store.read() as connection:
            lost = select(func.count()).where(t.attempt.c.outcome == "lost")
            return int(connection.execute(lost).scalar_one())

    def is_time(self, moment: int) -> bool:
        """Tell whether so much is done, and somebody has begun something since the last kill."""
        done, attempts = self.work()
        return done >= moment and attempts > self.attempts_seen

    def disturb(self, arguments: Sequence[str], moments: Sequence[int]) -> None:
        """Run the command; kill whenever so many instances are done, restart what was killed, and let it finish."""
        process = self._start(arguments)
        for moment in moments:
            self._wait(process, moment)
            time.sleep(self.dice.uniform(0, 0.2))  # bounded: anywhere inside an instance, a commit or a start
            self._strike(process)
            self.attempts_seen = self.work()[1]
            if process.poll() is not None:
                process = self._start(arguments)
        if process.wait(_LONGEST_WAIT_SECONDS) != 0:
            # Killed too often, an instance is quarantined: calling again gives it fresh attempts.
            assert self._start(arguments).wait(_LONGEST_WAIT_SECONDS) == 0
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in self.orphans))

    def _wait(self, process: subprocess.Popen[bytes], moment: int) -> None:
        until(lambda: process.poll() is not None or self.is_time(moment))

    def _start(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.project.folder / "output.txt").open("ab") as output:
            return subprocess.Popen(
                self.project.command(*arguments),
                cwd=self.project.folder,
                env=self.project.env(),
                stdout=output,
                stderr=output,
            )

    def _strike(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a worker, the main process, or all of them at once (as a power cut does)."""
        workers = children(process.pid)
        aim = self.dice.choices(["worker", "main", "all"], [6, 3, 1])[0]
        victims = {"worker": self.dice.sample(workers, min(1, len(workers))), "main": [], "all": workers}[aim]
        if aim != "worker" and process.poll() is None:
            process.kill()
            process.wait()
            self.orphans.update(workers)
            self.kills.append("main")
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.kills.append("worker")


def moments(dice: random.Random, count: int, first: int, last: int) -> list[int]:
    """Return amounts of done work, rising, at which to strike."""
    return sorted(dice.randint(first, last) for _ in range(count))


def comparable(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Leave out the size of indexes: which day trains a quantizer depends on which day comes first to it."""
    trained = {"train": ("metrics", "versions"), "index": ("metrics",), "tail": ("metrics",), "merge": ("metrics",)}
    return {
        key: {name: value for name, value in document.items() if name not in trained.get(document["task"], ())}
        for key, document in found.items()
    }


def instances_by_day(project: Project) -> list[int]:
    c = t.instance.c
    with store_of(project) as store, store.read() as connection:
        rows = connection.execute(select(c.date, func.count()).group_by(c.date).order_by(c.date)).all()
    return [row[1] for row in rows]


def test_days_killed_one_after_another_end_as_if_nothing_had_happened(undisturbed: Project, tmp_path: Path) -> None:
    project = arrivals(tmp_path / "killed")
    reaper = Reaper(project, random.Random(20261101))
    before = 0
    for day, size, count in zip(DAYS, instances_by_day(undisturbed), (6, 4, 4), strict=True):
        reaper.disturb(
            ("run", "--source", f"{day}.csv", "--date", str(day)),
            moments(reaper.dice, count, before, before + size - 2),
        )
        before += size
    assert before == reaper.work()[0]
    assert len(reaper.kills) >= 12  # 25 and more where days run side by side, below
    assert {"main", "worker"} == set(reaper.kills)
    assert reaper.lost_attempts() >= 4  # the kills did hit work, not only waiting
    assert faults(project) == []
    assert books(project) == books(undisturbed)
    assert merged_rows(project) == merged_rows(undisturbed)
    assert released_date(project) == str(DAY_3)


def test_days_killed_while_they_run_side_by_side_lose_and_double_nothing(undisturbed: Project, tmp_path: Path) -> None:
    project = arrivals(tmp_path / "killed")
    reaper = Reaper(project, random.Random(20261102))
    span = ("run", "--source", "{date}.csv", "--from", str(DAYS[0]), "--to", str(DAYS[-1]))
    reaper.disturb(span, moments(reaper.dice, STRIKES, 0, sum(instances_by_day(undisturbed)) - 3))
    assert len(reaper.kills) >= 25
    assert faults(project) == []
    # An earlier day may come to its release after a later one: then it is superseded, in either run.
    without = ("release",)
    assert comparable(books(project, without=without)) == comparable(books(undisturbed, without=without))
    assert merged_rows(project) == merged_rows(undisturbed)
    assert released_date(project) == str(DAY_3)

"""A run of checks killed by -9 at any moment between judging and sending loses no notice and doubles none."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter

import pytest

from checks.incident_store import list_incidents
from checks.incidents import IncidentState
from reporting.stores import open_store
from tests.checks.killed_run import MOMENTS, main
from tests.checks.sinks.receiver import Receiver
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow


def killed(folder, what, moment):
    """Run the checks in a process of its own, which dies."""
    arguments = [str(folder / "store.db"), str(folder / "url"), what, moment]
    done = subprocess.run(
        [sys.executable, "-m", "tests.checks.killed_run", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_loses_and_doubles_no_notice_and_the_next_run_goes_on(tmp_path, moment):
    with Receiver() as receiver:
        (tmp_path / "url").write_text(f"{receiver.url}/hook")
        for what in ("broken", "mended"):
            killed(tmp_path, what, moment)
            for _ in range(2):
                main(tmp_path / "store.db", tmp_path / "url", what, "never")
        told = [(one.headers["idempotency-key"], one.json()["event"]) for one in receiver.requests]
    with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store, store.read() as connection:
        (found,) = list_incidents(connection, states=None)
    assert found.state is IncidentState.RESOLVED
    wanted = [(f"{found.episode}|{event}|1|hook", event) for event in ("trigger", "resolve")]
    assert list(dict.fromkeys(told)) == wanted
    # What was sent and not noted is sent again with the same id, by which the other side knows it.
    assert set(Counter(told).values()) == {2 if moment == "sent" else 1}

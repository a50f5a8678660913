"""A run of checks that dies: `python -m tests.checks.killed_run STORE URL_FILE RUN MOMENT`.

RUN is `broken` or `mended`, what the run finds. Moments, in order: `judged` (incidents written, not committed),
`committed` (notices wait, nothing sent), `sent` (the other side has it, nothing noted); `never`: it lives.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from checks import acting, notices
from checks.deliver import deliver
from checks.result import Status
from checks.sinks.opening import open_sinks
from checks.sinks.settings import WebhookSink
from reporting.stores import open_store
from tests.checks.broken import GRAPH, result

MOMENTS = ("judged", "committed", "sent")
_AN_HOUR = 3600.0
"""The lease of a deliverer that died is over by then."""


def die(*_: Any, **__: Any) -> None:
    """Leave no time for any clean-up."""
    os.kill(os.getpid(), signal.SIGKILL)


def then_die(real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> None:
        real(*args, **options)
        die()

    return call


def main(path: Path, url_file: Path, run: str, moment: str) -> None:
    """Judge, act and send, but for the kill."""
    if moment == "judged":
        of_acting = vars(acting)
        of_acting["queue_notices"] = then_die(of_acting["queue_notices"])
    elif moment == "sent":
        vars(notices)["settle"] = die
    settings = [WebhookSink(kind="webhook", name="hook", url_file=url_file)]
    tasks = ("detect", "crop")
    status, data = (Status.FAIL, "data-1") if run == "broken" else (Status.PASS, "data-2")
    with open_store(f"sqlite:///{path}") as store:
        now = datetime.now(UTC)
        results = [result(task, status, data=data, as_of=now) for task in tasks]
        with store.begin() as work:
            acting.act(work, results, topology=GRAPH, now=now, rules={}, sinks=settings)
        if moment == "committed":
            die()
        clock = partial(lambda start: time.time() + start, 0.0 if moment != "never" else _AN_HOUR)
        deliver(store, open_sinks(settings, path.parent, os.environ), now, clock=clock)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4])

"""The clock of `checks watch`: APScheduler calls, SIGTERM and SIGINT end it between two ticks."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from datetime import UTC, timedelta
from types import FrameType


def tick_until_told(tick: Callable[[], None], every: timedelta) -> None:
    """Call a function at once and then every so often, until SIGTERM or SIGINT; the call at work is let finish.

    Calls that were missed (a tick that took too long, a machine that slept) are made up for by one, never by many,
    and no two run at once. What the function raises ends the clock and is raised.

    Args:
        tick: What is called, in a thread of the scheduler.
        every: Between two calls.
    """
    from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
    from apscheduler.schedulers.background import BackgroundScheduler
    from apscheduler.triggers.interval import IntervalTrigger

    told = threading.Event()
    raised: list[BaseException] = []

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        told.set()

    def on_error(event: JobExecutionEvent) -> None:
        raised.append(event.exception)
        told.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    clock = BackgroundScheduler(
        timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    )
    clock.add_listener(on_error, EVENT_JOB_ERROR)
    clock.add_job(tick, IntervalTrigger(seconds=every.total_seconds(), timezone=UTC))
    try:
        tick()
        clock.start()
        told.wait()
    finally:
        if clock.running:
            clock.shutdown(wait=True)
        for number, handler in before.items():
            signal.signal(number, handler)
    if raised:
        raise raised[0]

"""One worker process: signals, the parent's death, and the loop between them."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from pipeline import instances
from pipeline.place import Place
from pipeline.worker import Scope, work_loop, worker_name


def serve(
    place: Place, *, planids: tuple[str, ...], tasks: tuple[str, ...], name: str | None, parent: int | None, drain: bool
) -> None:
    """Work until SIGTERM or SIGINT, until the parent is gone, or (drain) until nothing is left to claim."""
    told = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        told.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    scope = Scope(planids or None, tasks or None)

    def stop() -> bool:
        orphaned = parent is not None and os.getppid() != parent
        return told.is_set() or orphaned or (drain and not _anything_left(place, scope))

    work_loop(place, name or worker_name(), scope, stop)


def _anything_left(place: Place, scope: Scope) -> bool:
    with place.store.read() as connection:
        return instances.claimable(connection, scope.planids, scope.tasks)

"""Keep worker processes alive: spawn, watch, respawn with back-off, take back what a dead one held."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType

from pipeline.instances import release_worker
from pipeline.worker import worker_name
from reporting.logs import logger
from reporting.stores.sql import SqlStore

_log = logger("supervisor")
_GRACE_SECONDS = 20.0
_BACKOFF_CAP_SECONDS = 30.0
_LIVED_LONG_SECONDS = 60.0


@dataclass
class _Slot:
    """One place for a worker process."""

    name: str = ""
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    """In a row: a worker that lived long enough before it died begins anew."""
    start_at: float = field(default_factory=time.monotonic)


class Supervisor:
    """Runs `count` processes of one command; use it in a `with` block and call `poll` often.

    Args:
        store: to take back the instances of a dead worker at once, instead of when its lease ends.
        command: arguments of `python -m funnelgate`; `--name` and `--parent` are added.
        count: processes.
    """

    def __init__(self, store: SqlStore, command: Sequence[str], count: int):
        self._store = store
        self._command = list(command)
        self._slots = [_Slot() for _ in range(count)]

    def __enter__(self) -> Supervisor:
        self.poll()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def poll(self) -> None:
        """Start what should run and bury what has died."""
        for slot in self._slots:
            if slot.process is not None and slot.process.poll() is not None:
                self._bury(slot)
            if slot.process is None and time.monotonic() >= slot.start_at:
                self._start(slot)

    def processes(self) -> list[int]:
        """Return the process ids of the living workers."""
        return [slot.process.pid for slot in self._slots if slot.process is not None]

    def stop(self) -> None:
        """Ask every worker to finish its instance and go; kill those that do not within the grace time."""
        living = [slot for slot in self._slots if slot.process is not None]
        for slot in living:
            assert slot.process is not None
            slot.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        for slot in living:
            assert slot.process is not None
            try:
                slot.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                slot.process.kill()
                slot.process.wait()
            self._take_back(slot)
            slot.process = None

    def _start(self, slot: _Slot) -> None:
        slot.name = worker_name()
        command = [
            sys.executable,
            "-m",
            "funnelgate",
            *self._command,
            "--name",
            slot.name,
            "--parent",
            str(os.getpid()),
        ]
        slot.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def _bury(self, slot: _Slot) -> None:
        assert slot.process is not None
        code = slot.process.returncode
        slot.process = None
        slot.deaths = 1 if time.monotonic() - slot.start_at > _LIVED_LONG_SECONDS else slot.deaths + 1
        wait = min(_BACKOFF_CAP_SECONDS, 0.1 * 2 ** min(slot.deaths, 10))
        slot.start_at = time.monotonic() + wait
        held = self._take_back(slot)
        _log.warning(
            "worker %s ended with %s; %d instance(s) taken back; next one in %.1f s", slot.name, code, held, wait
        )

    def _take_back(self, slot: _Slot) -> int:
        with self._store.begin() as work:
            return release_worker(work, slot.name, time.time())

"""One run a plan: a lease row says which process works it off."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import delete, select

from reporting import tables as t
from reporting.errors import UsageError
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import upsert

LOCK_SECONDS = 15.0


def _owner() -> str:
    """Return host, process id and its start time: a reused process id is another owner."""
    return f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}"


def _started(pid: int) -> str:
    """Return a process's start time in clock ticks since boot, "" when it is gone (Linux) or unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return ""


def _is_dead(owner: str) -> bool:
    """Tell whether an owner was a process of this machine that no longer runs."""
    host, pid, started = owner.split("/")
    return host == socket.gethostname() and started != "" and _started(int(pid)) != started


class RunLock:
    """Holds `run:<planid>` for some plans; `renew` often, `release` at the end.

    Raises:
        UsageError: another living run works on one of the plans.
    """

    def __init__(self, store: SqlStore, planids: Sequence[str]):
        self._store = store
        self._names = [f"run:{planid}" for planid in planids]
        self._owner = _owner()
        self._renewed_at = 0.0
        self.renew()

    def renew(self) -> None:
        """Take or extend the lock, at most every third of its length."""
        now = time.time()
        if now - self._renewed_at < LOCK_SECONDS / 3:
            return
        with self._store.begin() as work:
            for name in self._names:
                held = work.connection.execute(select(t.lease).where(t.lease.c.name == name).with_for_update()).first()
                if held is not None and held.owner != self._owner and held.until > now and not _is_dead(held.owner):
                    host, pid, _ = held.owner.split("/")
                    raise UsageError(
                        f"plan {name.removeprefix('run:')} is being run by process {pid} on {host}; "
                        "wait for it, or stop it and run again"
                    )
                work.connection.execute(
                    upsert(self._store.dialect, t.lease, ["name"]),
                    {"name": name, "owner": self._owner, "until": now + LOCK_SECONDS},
                )
        self._renewed_at = now

    def release(self) -> None:
        """Give the lock back."""
        with self._store.begin() as work:
            work.connection.execute(
                delete(t.lease).where(t.lease.c.name.in_(self._names), t.lease.c.owner == self._owner)
            )

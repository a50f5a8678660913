"""Spools for tests, and other processes that use them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from reporting.outbox import Fate, Outcome
from reporting.segments import Fact
from reporting.spool import Spool

EVERYTHING = (10**6, 10**9)
"""Limits of a peek that sees all that waits."""


def fact(body: str, number: int = 1) -> Fact:
    return Fact("record", f"id-{number}", number, body)


def opened(folder: Path, **options: Any) -> Spool:
    return Spool(folder, **{"fsync": False, **options})


def bodies(spool: Spool) -> list[str]:
    return [entry.body for entry in spool.peek(*EVERYTHING)]


def deliver(spool: Spool, *, limit: int = 10**6, fate: Fate = Fate.DELIVERED, error: str = "") -> list[str]:
    entries = spool.peek(limit, 10**9)
    spool.settle([Outcome(entry, fate, error) for entry in entries])
    return [entry.body for entry in entries]


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "segments").iterdir())


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def said(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def kill(child: subprocess.Popen[str]) -> str:
    child.send_signal(signal.SIGKILL)
    assert child.stdout is not None
    with child.stdout:  # not `communicate`: it reads past what `readline` has already taken out of the pipe
        out = child.stdout.read()
    child.wait(30)
    return out

"""Kills a real process before each of its durable steps, one after another: `python dying.py MODULE CASE FOLDER`.

A case is a class with `set_up(root)`, `act(root)`, `look(root) -> str` (what a reader finds after the death) and
`again(root) -> str` (what it finds when the act was repeated). Deaths come before every fsync, link, rename, unlink,
mkdir and chmod of the act; the last line is the run that nobody killed.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

STEPS = ("fsync", "link", "replace", "rename", "unlink", "rmdir", "mkdir", "fchmod", "utime")
ROOT = Path(__file__).parents[2]


class Death(NamedTuple):
    """One run: the step it died before ("" for none), what was found then, and what after a repeat."""

    step: str
    found: str
    again: str


def deaths(case: type, folder: Path) -> list[Death]:
    """Run a case in a process of its own until it is killed no more; return each run."""
    done = subprocess.run(
        [sys.executable, __file__, case.__module__, case.__qualname__, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return [Death(*json.loads(line)) for line in done.stdout.splitlines()]


def _die_at(number: int, told: int) -> None:
    left = number
    for name in STEPS:
        real = getattr(os, name)

        def step(*args: Any, real: Any = real, name: str = name, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.write(told, name.encode())
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        setattr(os, name, step)


def _run(case: Any, folder: Path) -> None:
    number, killed = 0, True
    while killed:
        number += 1
        root = folder / str(number)
        root.mkdir(parents=True)
        case.set_up(root)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                _die_at(number, write)
                case.act(root)
            except BaseException as error:  # noqa: BLE001 - a child that must not go on as its parent
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
                os._exit(9)
            os._exit(0)
        os.close(write)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL), f"step {number}: exit status {status}"
        killed = status != 0
        step = os.read(read, 100).decode()
        os.close(read)
        found = case.look(root)
        if killed:
            case.act(root)
        print(json.dumps([step, found, case.look(root)]), flush=True)


if __name__ == "__main__":
    os.fsync = lambda fd: None  # a killed process loses nothing that the kernel has; a step to die at it remains
    _run(getattr(importlib.import_module(sys.argv[1]), sys.argv[2])(), Path(sys.argv[3]))

"""A worker that dies: `python -m tests.pipeline.killed_worker FOLDER MOMENT` works until a moment of detect.

Moments, in order: `looked` (objects found, nothing registered), `registered` (ids made, not committed), `committed`
(ids committed, no row written), `written` (all files written, the attempt not committed); `never`: it lives.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.tasks import detect
from tests.pipeline.project import Project, work_off

MOMENTS = ("looked", "registered", "committed", "written")


def die(*_: Any, **__: Any) -> None:
    """Leave no time for any clean-up."""
    os.kill(os.getpid(), signal.SIGKILL)


def then_die(real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> None:
        real(*args, **options)
        die()

    return call


def main(folder: Path, moment: str) -> None:
    """Work off all plans of a project, but for the kill."""
    of_detect = vars(detect)
    if moment == "looked":
        of_detect["register_objects"] = die
    elif moment == "registered":
        of_detect["register_objects"] = then_die(of_detect["register_objects"])
    elif moment == "committed":
        of_detect["_object_rows"] = die
    elif moment == "written":
        of_detect["_measure"] = then_die(of_detect["_measure"])  # the last thing the task does
    with Project(folder).place() as place:
        work_off(place, *place.store.plans())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

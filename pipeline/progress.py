"""The live table of a run, on standard error; plain lines where there is no terminal."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.instance_states import DONE, FAILED, RUNNING
from pipeline.instances import Progress
from pipeline.place import Place
from pipeline.run import RunOutcome, run_plans
from reporting.plans import Plan

if TYPE_CHECKING:
    from rich.table import Table

_BAR = 24


def run_with_progress(
    place: Place, plans: Sequence[Plan], *, tasks: Sequence[str] | None = None, workers: int | None = None
) -> RunOutcome:
    """Run plans as `run_plans` does, showing how far each task is."""
    options = ["--planids", ",".join(plan.planid for plan in plans)]
    options += ["--tasks", ",".join(tasks)] if tasks else []
    count = workers if workers is not None else place.settings.workers
    run = functools.partial(
        run_plans, place.store, plans, worker_command=place.worker_command(*options), workers=count, tasks=tasks
    )
    if not sys.stderr.isatty():
        return run(on_progress=_Lines())
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), transient=True, refresh_per_second=4) as live:
        return run(on_progress=lambda progress: live.update(_table(place.topology.order, progress)))


def _table(order: Sequence[str], progress: list[Progress]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("plan", "task", "", "done", "running", "failed"):
        table.add_column(heading, justify="right" if heading in ("done", "running", "failed") else "left")
    for one in sorted(progress, key=lambda one: (one.planid, order.index(one.task))):
        total, done = sum(one.states.values()), one.states.get(DONE, 0)
        filled = _BAR * done // total
        bar = "█" * filled + "░" * (_BAR - filled)
        running, failed = one.states.get(RUNNING, 0), one.states.get(FAILED, 0)
        table.add_row(
            one.planid, one.task, bar, f"{done}/{total}", str(running or ""), f"[red]{failed}" if failed else ""
        )
    return table


class _Lines:
    """One line on standard error whenever another tenth of the instances is done."""

    def __init__(self) -> None:
        self._last = -1

    def __call__(self, progress: list[Progress]) -> None:
        total = sum(sum(one.states.values()) for one in progress)
        done = sum(one.states.get(DONE, 0) for one in progress)
        tenth = 10 * done // total if total else 0
        if tenth != self._last:
            self._last = tenth
            planids = sorted({one.planid for one in progress})
            names = planids[0] if len(planids) == 1 else f"{len(planids)} plans"
            sys.stderr.write(f"{names}: {done} of {total} instances done\n")

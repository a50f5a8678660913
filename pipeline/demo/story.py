"""The demo's second act: two faults are put into the books of the week, and the checks find them.

On its fifth day a package is lost: quality has read nothing of it, and all that comes after has less. On its sixth
embed takes in too few objects of one category and says nothing. Both are written through the store, as records of a
greater version; no file is touched, so that a re-run finds everything still there. The re-run that the first alert
names is then done, by the very command that it prints.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import date as Date
from types import SimpleNamespace
from typing import Any, Protocol

import typer
from rich.console import Console
from rich.markup import escape

from pipeline.cli_run import run
from pipeline.place import Place
from pipeline.progress import run_with_progress
from reporting.effective import effective_records
from reporting.errors import EXIT_FAILED, EXIT_OK
from reporting.plans import PlanKind, PlanState
from reporting.record import EMITS_PER_ATTEMPT, TaskRecord
from reporting.stores.base import RecordQuery
from reporting.stores.sql import SqlStore
from reporting.topology import Dimension, Law

LOST_ON, SHRUNK_ON = 4, 5
"""Days of the week, counted from 0: the fifth and the sixth."""
LEAST_DAYS = SHRUNK_ON + 1
LOST_TASK, LOST_PACKAGE = "quality", "0002"
SHRUNK_TASK, SHRUNK_BY = "embed", 0.03


class Answer(Protocol):
    """What a check has said."""

    @property
    def reason(self) -> str:
        """What was found, and what was expected."""

    @property
    def sentence(self) -> str:
        """Where it sits."""

    @property
    def repair(self) -> str:
        """The command that mends it."""


class Case(Protocol):
    """An incident."""

    @property
    def episode(self) -> str:
        """Its id."""

    @property
    def check(self) -> str:
        """The id of the check that broke."""

    @property
    def state(self) -> str:
        """Where it stands."""

    @property
    def is_open(self) -> bool:
        """Whether it still wants something of somebody."""

    @property
    def note(self) -> str:
        """Why it ended."""

    @property
    def result(self) -> Answer:
        """What broke."""

    @property
    def impact(self) -> Sequence[Any]:
        """What else is broken for it."""


class Checks(Protocol):
    """What the story needs of the checks; handed in by the composition root."""

    def lose(
        self, records: Iterable[TaskRecord], task: str, where: Mapping[Dimension, str], share: float
    ) -> list[TaskRecord]:
        """Return the records that would be otherwise if a task had silently lost a share of some leaves."""

    def check_day(self, day: Date) -> Sequence[Case]:
        """Judge a day, act on it, and return all incidents of the day, the first opened first."""


@dataclass(frozen=True)
class Story:
    """What the second act came to.

    Attributes:
        lost: The incidents of the fifth day, after the re-run.
        shrunk: The incidents of the sixth day.
        category: Of which too little was taken in.
        seconds: It took.
    """

    lost: tuple[Case, ...]
    shrunk: tuple[Case, ...]
    category: str
    seconds: float

    @property
    def as_told(self) -> bool:
        """Whether each day has the one incident it should, in the right place, and the first is mended."""
        return (
            len(self.lost) == len(self.shrunk) == 1
            and f"subinstance={LOST_PACKAGE}" in self.lost[0].result.sentence
            and f"--tasks {LOST_TASK} --subinstances {LOST_PACKAGE}" in self.lost[0].result.repair
            and f"category={self.category}" in self.shrunk[0].result.sentence
            and f"--tasks {SHRUNK_TASK} --categories {self.category}" in self.shrunk[0].result.repair
            and not self.lost[0].is_open
        )

    @property
    def exit_code(self) -> int:
        """1 when the checks found something else than was put in."""
        return EXIT_OK if self.as_told else EXIT_FAILED

    def document(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "as_told": self.as_told,
            "incidents": [
                {
                    "episode": case.episode,
                    "check": case.check,
                    "state": str(case.state),
                    "reason": case.result.reason,
                    "sentence": case.result.sentence,
                    "repair": case.result.repair,
                    "impact": len(case.impact),
                    "note": case.note,
                }
                for case in (*self.lost, *self.shrunk)
            ],
            "seconds": round(self.seconds, 1),
        }


def spoilt_days(store: SqlStore, days: Sequence[Date]) -> frozenset[Date]:
    """Return the days whose books the story has changed: the pipeline itself emits each record once."""
    records = store.records(RecordQuery(tasks=(LOST_TASK, SHRUNK_TASK), date_from=days[0], date_to=days[-1]))
    return frozenset(record.key.date for record in records if record.version % EMITS_PER_ATTEMPT)


def play(
    place: Place, checks: Checks, days: Sequence[Date], console: Console, *, workers: int | None, quiet: bool
) -> Story:
    """Play the second act after the balanced week; a second call tells the same without doing it again.

    Args:
        place: Of the demo.
        checks: Of the demo.
        days: Of the week, at least `LEAST_DAYS`.
        console: Where it is told.
        workers: Processes of the re-run; None: as the settings say.
        quiet: Keep what the re-run prints off standard output.
    """
    started = time.monotonic()
    lost_on, shrunk_on = days[LOST_ON], days[SHRUNK_ON]
    with place.shipping():
        category = _put_in(place, checks, days)
        console.print("\n[bold]Second act[/]: two faults are put into the books")
        console.print(f"  {lost_on}: {LOST_TASK} has read nothing of package {LOST_PACKAGE}", highlight=False)
        console.print(f"  {shrunk_on}: {SHRUNK_TASK} drops 3 % of {escape(category)} in silence", highlight=False)
        lost, shrunk = checks.check_day(lost_on), checks.check_day(shrunk_on)
    for day, cases in ((lost_on, lost), (shrunk_on, shrunk)):
        for case in cases:
            _tell(console, day, case)
    for case in lost:
        if case.is_open and case.result.repair:
            console.print("\n[bold]The repair that the first one names[/]")
            console.print(f"$ {escape(case.result.repair)}", highlight=False, soft_wrap=True)
            _repair(place, lost_on, case.result.repair, workers, quiet=quiet)
    with place.shipping():
        lost = checks.check_day(lost_on)
    for case in lost:
        if not case.is_open:
            told = f"incident {case.episode}: {escape(case.note)}"
            console.print(f"[green]{case.state}[/]  {told}", highlight=False, soft_wrap=True)
    story = Story(tuple(lost), tuple(shrunk), category, time.monotonic() - started)
    if not story.as_told:
        console.print("[red]the checks found something else than was put in[/]")
    return story


def _put_in(place: Place, checks: Checks, days: Sequence[Date]) -> str:
    """Change the books, unless that was done before; return the category of the second fault."""
    lost_on, shrunk_on = days[LOST_ON], days[SHRUNK_ON]
    done = spoilt_days(place.store, days)
    category = _largest(place.store, shrunk_on, spoilt=shrunk_on in done)
    if lost_on not in done:
        _spoil(place, checks, days, lost_on, LOST_TASK, {"subinstance": LOST_PACKAGE}, 1.0)
    if shrunk_on not in done:
        _spoil(place, checks, days, shrunk_on, SHRUNK_TASK, {"category": category}, SHRUNK_BY)
    return category


def _largest(store: SqlStore, day: Date, *, spoilt: bool) -> str:
    """Return the category of which the second fault's task took in most; afterwards that in which it was put."""
    records = store.records(RecordQuery(tasks=(SHRUNK_TASK,), date_from=day, date_to=day))
    taken: Counter[str] = Counter()
    for record in records:
        if not spoilt or record.version % EMITS_PER_ATTEMPT:
            taken[record.key.category] += record.input
    return min(taken, key=lambda name: (-taken[name], name))


def _spoil(
    place: Place,
    checks: Checks,
    days: Sequence[Date],
    day: Date,
    task: str,
    where: Mapping[Dimension, str],
    share: float,
) -> None:
    """Write the records that a loss changes, those too of later days whose windows have read the day."""
    windows = tuple(edge.target for edge in place.topology.edges if edge.law is Law.WINDOW)
    later = place.store.records(RecordQuery(tasks=windows, date_from=day, date_to=days[-1]))
    records = [
        *effective_records(place.store, day, day),
        *(record for record in later if record.key.date > day),
    ]
    now = datetime.now(UTC)
    with place.store.begin() as work:
        for record in checks.lose(records, task, where, share):
            work.put_record(record.model_copy(update={"version": record.version + 1, "reported_at": now}))


def _tell(console: Console, day: Date, case: Case) -> None:
    style = "red bold" if case.is_open else "green"
    console.print(f"\n[{style}]incident {case.episode}[/] of {day}, found by {escape(case.check)}", highlight=False)
    lines = [case.result.reason, case.result.sentence]
    if case.impact:
        lines.append(f"further checks that fail for the same cause, and alert nobody: {len(case.impact)}")
    if case.is_open and case.result.repair:
        lines.append(f"to mend it: {case.result.repair}")
    for line in filter(None, lines):
        console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)


def _repair(place: Place, day: Date, command: str, workers: int | None, *, quiet: bool) -> None:
    """Do what the alert says, in this process; a re-run that was killed is gone on with instead."""
    begun = [p for p in place.store.plans(day, day) if p.kind is PlanKind.RERUN and p.state is PlanState.OPEN]
    with contextlib.redirect_stdout(sys.stderr) if quiet else contextlib.nullcontext():
        if begun:
            with place.shipping():
                run_with_progress(place, begun, workers=workers)
            return
        app = typer.Typer()
        app.callback()(lambda: None)  # with a single command Typer would leave out its name
        app.command("run")(run)
        words = [*shlex.split(command)[1:], *([] if workers is None else ["--workers", str(workers)])]
        typer.main.get_command(app).main(words, standalone_mode=False, obj=SimpleNamespace(place=place))

"""The demo: seven days of arrivals and one re-run through the whole pipeline, then the books, the gate and a search.

With a second act, in a copy of the folder: faults in the books, and what the checks make of them (`story`).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date as Date
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from pipeline.demo import cluster, story
from pipeline.demo.arrivals import write_arrivals
from pipeline.demo.detection import Report, judge_day, read_drawn
from pipeline.demo.found import Searched, search_photos, tell_detection, tell_search
from pipeline.demo.rows import read_items
from pipeline.demo.stage import open_stage, stage_of
from pipeline.partitions import Partitions
from pipeline.place import Place
from pipeline.plans import PlanRequest, find_or_make_plans
from pipeline.progress import run_with_progress
from pipeline.project import default_topology
from pipeline.run import RunOutcome
from reporting.balance import Balance, balance
from reporting.effective import effective_records
from reporting.errors import EXIT_FAILED, EXIT_OK, UsageError
from reporting.funnel import funnel
from reporting.ledger import gather_books
from reporting.plans import PlanKind, PlanState
from reporting.render import balance_table, funnel_table
from reporting.stores.base import RecordQuery
from samples import samples_dir

FIRST_DAY = Date(2026, 10, 5)
"""A Monday in the past, and always the same one: the demo's numbers are equal wherever it runs."""
WINDOW_DAYS = 5
PACKAGE_ITEMS = 88
REPAIRED_PACKAGE = "0002"
EVERY_PHOTO = 4
"""Of the users' photos every fourth is searched once more at the end, for its box and category."""
SHEET_QUERIES = 12
PAGE_SETS = 12
MIN_RECALL = 0.8
"""Share of the drawn items that detect must have found; what falls below is no demo of a working pipeline."""

_SETTINGS = """\
# The demo's settings; run any funnelgate command in this folder.
pipeline: pipeline.yaml
run:
  source: arrivals/source/{date}.csv
checks:
  rules: checks.yaml
web:
  address: page
"""


@dataclass(frozen=True)
class Shown:
    """What the demo found out."""

    days: tuple[Date, ...]
    balance: Balance
    wrong: list[str]
    metrics: list[dict[str, Any]]
    detection: Report
    read_back: cluster.ReadBack | None

    @property
    def exit_code(self) -> int:
        """1 when a count is not what was injected, an item is not booked, or the cluster answers otherwise than SQL.

        And when detect found too few of the items that were drawn.
        """
        unexplained = any(row.unexplained for row in self.balance.rows)
        differs = self.read_back is not None and not self.read_back.equal
        recall = self.detection.total.recall
        misses = recall is None or recall < MIN_RECALL
        return EXIT_FAILED if self.wrong or unexplained or differs or misses else EXIT_OK


def run_demo(
    folder: Path,
    place_at: Callable[[Path], Place],
    *,
    days: int,
    workers: int | None,
    elastic: cluster.Elastic | None,
    as_json: bool,
    checks_at: Callable[[Path], story.Checks] | None = None,
    write_page: Callable[[Path], Path] | None = None,
) -> int:
    """Run the demo in a folder and show it; a second call shows the same without doing the work again.

    Args:
        folder: where.
        place_at: opens the project of a settings file.
        days: of the week.
        workers: processes; None: as the settings say.
        elastic: the cluster to ship to, and to read back from.
        as_json: print for programs.
        checks_at: opens the checks of a settings file, for the second act; None: there is none.
        write_page: writes the page of a settings file's project, and returns what to open; None: none is written.

    Raises:
        UsageError: the folder holds something else, the cluster another demo, or a second act needs more days.
        ConfigError, StoreError: the cluster cannot be used, or did not take everything.
    """
    started = time.monotonic()
    if checks_at is not None and days < story.LEAST_DAYS:
        raise UsageError(f"--days {days}: the second act needs {story.LEAST_DAYS} days; leave --days out")
    console = Console(stderr=as_json)
    _prepare(folder, _SETTINGS if elastic is None else _SETTINGS + cluster.settings_text(elastic))
    span = tuple(FIRST_DAY + timedelta(days=number) for number in range(days))
    place = place_at(folder / "funnelgate.yaml")
    _run_week(place, console, span, workers, elastic)
    shown = _examine(place, folder, span)
    searched = search_photos(place.lake, folder, EVERY_PHOTO)
    pages = _write_pages(place, folder, shown, searched, write_page)
    if not as_json:
        _tell(console, shown)
        tell_detection(console, shown.detection, MIN_RECALL)
        tell_search(console, searched)
    told = None
    if checks_at is not None:
        stage = stage_of(place, _SETTINGS) / "funnelgate.yaml"
        acted = open_stage(place_at, stage)
        told = story.play(acted, checks_at(stage), span, console, workers=workers, quiet=as_json)
        pages += () if write_page is None else (write_page(stage),)
    seconds = time.monotonic() - started
    if as_json:
        print(json.dumps(_document(shown, searched, told, seconds), indent=1))  # noqa: T201 - the command's output
    else:
        _tell_next(console, folder, shown.days, pages, seconds, told)
    return max(shown.exit_code, EXIT_OK if told is None else told.exit_code)


def _run_week(
    place: Place, console: Console, span: tuple[Date, ...], workers: int | None, elastic: cluster.Elastic | None
) -> None:
    cluster.set_up(place, span, elastic)
    console.print(
        f"[bold]Arrivals[/]: {len(span)} days of two merchants' pictures with real-life faults, "
        f"into {place.folder}/arrivals"
    )
    # All seven days are always written: a shorter demo is the beginning of the same week.
    write_arrivals(samples_dir(), place.folder / "arrivals", first_day=FIRST_DAY)
    with place.shipping():
        for day in span:
            _run_day(place, console, day, workers)
        _repair(place, console, span[-1], workers)


def _prepare(folder: Path, settings_text: str) -> None:
    settings = folder / "funnelgate.yaml"
    found = settings.read_text(encoding="utf-8") if settings.is_file() else ""
    if folder.exists() and any(folder.iterdir()) and not found.startswith(_SETTINGS):
        raise UsageError(f"{folder} holds something else than a demo; name a new or empty folder")
    if found and found != settings_text:
        raise UsageError(
            f"{settings} is of a demo with another --elasticsearch or --prefix, or none; "
            "call it as then, or name a new folder"
        )
    graph = yaml.safe_load(default_topology())
    tasks = graph["tasks"]
    tasks["collect"]["settings"] = {"package_items": PACKAGE_ITEMS}
    for task in ("train", "evict", "tail", "merge"):
        tasks[task]["settings"] = {"window_days": WINDOW_DAYS}
    tasks["tail"]["settings"] |= {"compact_days": 1}
    tasks["evict"]["settings"] |= {"min_per_group": 1}
    # Short, so that the last days of the week show that old bytes go.
    tasks["reclaim"]["settings"] = {"keep_days": WINDOW_DAYS + 1, "grace_days": 1}
    tasks["evaluate"]["settings"] = {"queries": "arrivals/queries.csv", "gate": "gate.yaml"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(graph, sort_keys=False), encoding="utf-8")
    for name in ("checks.yaml", "gate.yaml"):
        (folder / name).write_bytes((Path(__file__).parent / name).read_bytes())
    settings.write_text(settings_text, encoding="utf-8")


def _run_day(place: Place, console: Console, day: Date, workers: int | None) -> None:
    source = str(place.folder / str(place.settings.source))
    plans = find_or_make_plans(
        place.store, place.topology, PlanRequest(kind=PlanKind.DAILY, dates=(day,), source=source)
    )
    outcome = run_with_progress(place, plans, workers=workers)
    _show(place, console, outcome)


def _repair(place: Place, console: Console, day: Date, workers: int | None) -> None:
    """Do one package of the last day again, from its download on, and let the repair count."""
    reruns = [plan for plan in place.store.plans(day, day) if plan.kind is PlanKind.RERUN]
    plans = reruns or find_or_make_plans(
        place.store,
        place.topology,
        PlanRequest(
            kind=PlanKind.RERUN,
            dates=(day,),
            tasks=("download",),
            subinstances=(REPAIRED_PACKAGE,),
            promote=True,
            reason="the demo's repair of one package",
        ),
    )
    console.print(
        f"\n[bold]Re-run[/] of package {REPAIRED_PACKAGE} of {day}, from download on; it counts when complete"
    )
    outcome = run_with_progress(place, plans, workers=workers)
    _show(place, console, outcome)


def _show(place: Place, console: Console, outcome: RunOutcome) -> None:
    for plan in outcome.plans:
        rows = funnel(place.topology, place.store.records(RecordQuery(planids=(plan.planid,))))
        title = f"[bold]{plan.planid}[/] {plan.state.value}, {outcome.seconds:.1f} s"
        console.print()
        console.print(funnel_table(rows, title))
        if plan.state is PlanState.OPEN:
            faults = "; ".join(f"{key}: {error}" for key, error in outcome.failures)
            raise UsageError(f"the demo's plan {plan.planid} did not complete: {faults or outcome.blocked_by}")


def _examine(place: Place, folder: Path, days: tuple[Date, ...]) -> Shown:
    books = gather_books(place.store, place.topology, days[0], days[-1])
    truth = json.loads((folder / "arrivals" / "truth.json").read_text(encoding="utf-8"))
    wrong: list[str] = []
    metrics: list[dict[str, Any]] = []
    for day in days:
        records = effective_records(place.store, day, day)
        rows = {row.task: row for row in funnel(place.topology, records)}
        for task, expected in truth["days"][day.isoformat()]["tasks"].items():
            found = {name: getattr(rows[task], name) for name in expected}
            if found != expected:
                wrong.append(f"{day} {task}: booked {found}, injected {expected}")
        evaluated = next(record for record in records if record.key.task == "evaluate")
        released = next(record for record in records if record.key.task == "release")
        metrics.append({"date": day, "queries": evaluated.input, **evaluated.metrics, **released.metrics})
    read_back = None if place.elastic.url is None else cluster.read_back(place, days)
    drawn, partitions = read_drawn(folder / "arrivals"), Partitions(place.store, place.topology, None)
    detection = Report({day: judge_day(place.lake, partitions, day, drawn) for day in days})
    return Shown(days, balance(place.topology, books), wrong, metrics, detection, read_back)


def _write_pages(
    place: Place, folder: Path, shown: Shown, searched: Searched, write_page: Callable[[Path], Path] | None
) -> tuple[Path, ...]:
    """Write the project's page, the contact sheet of the search, and the composed pictures, the latest first."""
    from pipeline.demo.objects_page import write_objects_page
    from pipeline.serve.contact_sheet import write_contact_sheet

    chosen = searched.answers[:: max(1, len(searched.answers) // SHEET_QUERIES)][:SHEET_QUERIES]
    sheet, page = folder / "search.html", folder / "objects.html"
    write_contact_sheet(sheet, place.lake, chosen, f"{len(chosen)} users' photos and what the demo's release finds")
    sets = [picture for picture in reversed(shown.detection.pictures) if len(picture.drawn) > 1]
    names = {item.group: item.name.replace("-", " ") for item in read_items(samples_dir())}
    write_objects_page(page, sets[:PAGE_SETS], names)
    whole = () if write_page is None else (write_page(folder / "funnelgate.yaml"),)
    return (*whole, sheet, page)


def _tell(console: Console, shown: Shown) -> None:
    table = Table(title="[bold]Evaluation[/] of each day's release", box=None, pad_edge=False, title_justify="left")
    names = ("hit_at_1", "hit_at_10", "recall_at_10", "answer_rate")
    for heading in ("date", "release", "queries", *(name.replace("_at_", "@") for name in names)):
        table.add_column(heading, justify="left" if heading == "date" else "right")
    for row in shown.metrics:
        values = [f"{row[name]:.3f}" for name in names]
        table.add_row(str(row["date"]), f"{row.get('generation', 0):.0f}", str(row["queries"]), *values)
    console.print()
    console.print(table)
    console.print("\n[bold]Balance[/]")
    console.print(balance_table(shown.balance))
    checked = len(shown.days)
    if shown.wrong:
        console.print(f"[red]{len(shown.wrong)} counts differ from the injected truth[/]")
        for line in shown.wrong:
            console.print(line, highlight=False)
    else:
        days = f"{checked} day" if checked == 1 else f"{checked} days"
        console.print(f"every count of {days} equals the injected truth (arrivals/truth.json)")
    if shown.read_back is not None:
        cluster.tell(console, shown.read_back)


def _tell_next(
    console: Console,
    folder: Path,
    days: tuple[Date, ...],
    pages: Sequence[Path],
    seconds: float,
    told: story.Story | None,
) -> None:
    console.print(f"\n{seconds:.0f} s. Where to look next:")
    for command in (
        f"cd {folder}",
        f"funnelgate funnel --from {days[0]} --to {days[-1]}",
        "funnelgate items --task quality --reason blurred",
        "funnelgate plan list && funnelgate plan stale",
        "funnelgate search arrivals/queries/1f355.jpg --sheet pizza.html",
        "funnelgate dashboards page --out page",
    ):
        console.print(f"  {command}", highlight=False, soft_wrap=True)  # one that is broken cannot be copied
    console.print("  and open in a browser:", highlight=False)
    for page in pages:
        console.print(f"  {os.path.relpath(page)}", highlight=False, soft_wrap=True)
    if told is not None:
        console.print(f"and of the second act, which left {folder} as it was:")
        for command in (
            f"cd {folder}-story",
            "funnelgate incidents list",
            *(case.result.repair for case in told.shrunk),
        ):
            console.print(f"  {command}", highlight=False, soft_wrap=True)


def _document(shown: Shown, searched: Searched, told: story.Story | None, seconds: float) -> dict[str, Any]:
    return {
        "days": [day.isoformat() for day in shown.days],
        "balance": [row.model_dump(mode="json") for row in shown.balance.rows],
        "truth_differs": shown.wrong,
        "evaluation": [{**row, "date": row["date"].isoformat()} for row in shown.metrics],
        "detection": {**shown.detection.document(), "photos": searched.document()},
        "elasticsearch": None if shown.read_back is None else shown.read_back.model_dump(mode="json"),
        "second_act": None if told is None else told.document(),
        "seconds": round(seconds, 1),
    }

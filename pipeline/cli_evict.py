"""`evict plan|apply|verify|explain|simulate|storage`: what leaves the library and why, beforehand and afterwards."""

from __future__ import annotations

import json
from datetime import date as Date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli_evict_simulate import simulate
from pipeline.cli_evict_storage import storage
from pipeline.cli_options import JsonOption
from reporting.errors import EXIT_FAILED

if TYPE_CHECKING:
    from pipeline.evict.signals import SignalsUsed
    from pipeline.evict.summary import PlanSummary
    from pipeline.evict_day import Decided
    from pipeline.place import Place

app = typer.Typer(
    help="Forget the old, keep the rare: what leaves the library when the window moves on.", no_args_is_help=True
)
app.command("simulate")(simulate)
app.command("storage")(storage)

DateOption = Annotated[str | None, typer.Option(help="Day, YYYY-MM-DD; default the newest that dedup has done.")]
PolicyOption = Annotated[
    Path | None, typer.Option(help="Policy file (YAML); default the settings of the task evict in pipeline.yaml.")
]


@app.command("plan")
def plan(
    context: typer.Context,
    date: DateOption = None,
    policy: PolicyOption = None,
    page: Annotated[Path | None, typer.Option(help="Write a page with pictures of what goes and stays.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what would stay and go, by reason, and how the library grows; nothing is written but the page.

    Ends with 1 where a tail budget cannot hold even one picture of each product: nothing would be evicted then.

    Example: `funnelgate evict plan --policy evict.yaml --page evict.html`
    """
    from pipeline.evict_look import summary_of

    found, summary = summary_of(context.obj.place, _day(date), policy)
    if page is not None:
        _write_page(context.obj.place, found, page)
    if as_json:
        typer.echo(summary.model_dump_json(indent=1))
        return
    _tell_plan(summary)
    if page is not None:
        typer.echo(f"pictures: {page}")


@app.command("apply")
def apply(
    context: typer.Context,
    date: DateOption = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes.")] = None,
    reason: Annotated[str, typer.Option(help="Why; kept with the plan.")] = "evict apply",
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it only the plan is shown.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Decide about a day again, by the settings of pipeline.yaml and today's takedowns, and release what is left.

    The daily plans do this by themselves; it is for a policy, pin or takedown that cannot wait for tomorrow. Two
    phases hold: what goes for its rank or a budget is marked on one day and goes on a later one.

    Example: `funnelgate evict apply --reason "takedown of brand x" --yes`
    """
    from pipeline.evict_look import apply_day, summary_of
    from pipeline.report import print_run

    place = context.obj.place
    found, summary = summary_of(place, _day(date), None)
    if not yes:
        if as_json:
            typer.echo(summary.model_dump_json(indent=1))
            return
        _tell_plan(summary)
        typer.echo("nothing was done; say --yes to evict, judge and release it")
        return
    outcome = apply_day(place, found.day, workers=workers, reason=reason)
    print_run(place, outcome, as_json=as_json)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


@app.command("verify")
def verify(
    context: typer.Context,
    release: Annotated[int | None, typer.Option(help="Number of the release; default the current one.")] = None,
    policy: PolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute the guarantees G1 to G6 again, from a release's item tables and the library of its day.

    Not from what evict says it did: only G6, that every decision has its row, reads that. Ends with 1 if one is broken.

    Example: `funnelgate evict verify --release 7 --json`
    """
    from pipeline.evict_look import policy_of
    from pipeline.evict_proof import verify_release

    place = context.obj.place
    found = verify_release(place, release, policy_of(place, policy))
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    else:
        for name, says in _GUARANTEES.items():
            typer.echo(f"{name} {'holds ' if getattr(found, name) else 'BROKEN'}  {says}")
        for one in found.violations:
            typer.secho(f"{one.guarantee}: {one.what} {one.where}: {one.message}", fg=typer.colors.RED)
    if not found.holds:
        raise typer.Exit(EXIT_FAILED)


_GUARANTEES = {
    "G1": "every live product keeps its representatives",
    "G2": "nothing alive goes while it is in the window",
    "G3": "the tail grows with the catalogue and its budgets only",
    "G4": "a second pass lets nothing more go",
    "G5": "nothing that was taken down stays",
    "G6": "every decision has one row with its reason",
}


@app.command("explain")
def explain(
    context: typer.Context,
    item: Annotated[str, typer.Argument(help="Id of an object, or sha256 of a picture (6 digits or more).")],
    as_json: JsonOption = False,
) -> None:
    """Say why a picture stays or went, day by day.

    Example: `funnelgate evict explain 4711`
    """
    from pipeline.evict_look import explain as explained

    found = explained(context.obj.place, item)
    if as_json:
        typer.echo(json.dumps([one.model_dump(mode="json") for one in found], indent=1))
        return
    typer.echo(f"picture {found[0].picture}")
    for one in found:
        typer.echo(f"{one.date}  {one.text}")


def _day(text: str | None) -> Date | None:
    from reporting.days import parse_day

    return None if text is None else parse_day(text)


def _tell_plan(summary: PlanSummary) -> None:
    typer.echo(f"{summary.date}: {summary.rows} pictures, {summary.keep} stay, {summary.groups} products")
    for word, counts in (("stay", summary.keep_by), ("go", summary.drop)):
        for reason, count in counts.items():
            if count:
                typer.echo(f"  {word:4} {count:9}  {reason}")
    for category, tail in summary.tail.items():
        if tail.budget is not None:
            less = "" if tail.degraded_to is None else f", some products keep only {tail.degraded_to}"
            typer.echo(f"  tail of {category}: {tail.rows} of {tail.budget}{less}")
    typer.echo(f"  {summary.groups_at_risk} products have one picture left, or fewer than the policy wants")
    if summary.bytes_now:
        typer.echo(f"  pictures take {summary.bytes_now:,} bytes, {summary.bytes_freed:,} of them go")
    _tell_signals(summary.signals)
    if summary.forecast_rows:
        last = summary.forecast_rows[-1]
        size = "" if last.bytes is None else f", {last.bytes:,} bytes"
        typer.echo(f"  without new pictures {last.rows} on {last.date}{size}")


def _tell_signals(used: SignalsUsed | None) -> None:
    if used is None:
        typer.echo("  no clicks: no file of `signals` is new enough, or the policy names none; they have no weight")
    else:
        typer.echo(
            f"  {used.path} (sha256 {used.sha256[:12]}): clicks of {used.with_clicks} pictures, quality of"
            f" {used.with_quality}"
        )


def _write_page(place: Place, found: Decided, page: Path) -> None:
    from pipeline.evict_page import write_page

    write_page(place, found, page)

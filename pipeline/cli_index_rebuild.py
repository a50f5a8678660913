"""`index rebuild-day`: one bad day built again, and the proof that nothing else changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli_options import CategoriesOption, JsonOption, names

if TYPE_CHECKING:
    from pipeline.rebuild_day import RebuildPlan, RebuildReport


def rebuild_day(
    context: typer.Context,
    day: Annotated[str, typer.Argument(help="Day whose shards are built again, YYYY-MM-DD.")],
    categories: CategoriesOption = None,
    task: Annotated[str, typer.Option(help="First task that is done again on that day.")] = "index",
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes.")] = None,
    reason: Annotated[str, typer.Option(help="Why; kept with the plans.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build one day's shards again, release the newest day with them, and prove that only that day's rows changed.

    Ends with 1 if rows of another day differ or the gate refuses; what was released before is served on then.

    Example: `funnelgate index rebuild-day 2026-11-01 --task embed`
    """
    from pipeline.rebuild_day import rebuild_day, rebuild_plan
    from reporting.days import parse_day

    place, chosen, date = context.obj.place, names(categories), parse_day(day)
    if dry_run:
        planned = rebuild_plan(place, date, categories=chosen, task=task)
        typer.echo(planned.model_dump_json(indent=1) if as_json else _plan(planned))
        return
    report = rebuild_day(place, date, categories=chosen, task=task, reason=reason, workers=workers)
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
    else:
        _tell(report)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _plan(planned: RebuildPlan) -> str:
    of = ", ".join(planned.categories) or "all categories"
    return f"{planned.day}: {', '.join(planned.tasks)} of {of}; then {planned.newest} is merged, judged and released"


def _tell(report: RebuildReport) -> None:
    typer.echo(_plan(report.planned))
    for failure in report.failures:
        typer.secho(f"failed: {failure}", fg=typer.colors.RED)
    if report.failures:
        typer.echo(f"release {report.before} is served on" if report.before else "nothing is released")
        return
    typer.echo(f"release {report.before} -> {report.after}")
    if report.diff is not None:
        days = ", ".join(map(str, report.diff.days_changed)) or "none"
        typer.echo(f"days changed: {days}; rows +{report.diff.rows_added:,} -{report.diff.rows_removed:,}")
        typer.echo("rows of no other day changed" if report.only_that_day else "rows of another day changed too")

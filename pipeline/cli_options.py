"""Options that several commands share, and what they mean."""

from __future__ import annotations

from datetime import date as Date
from typing import TYPE_CHECKING, Annotated

import typer

from reporting.errors import UsageError

if TYPE_CHECKING:
    from pipeline.place import Place


def days_of(date: str | None, first: str | None, last: str | None) -> tuple[Date, ...]:
    """Return the days of --date, or of --from and --to.

    Raises:
        UsageError: none, or both forms were given.
    """
    from pipeline.run import days_between
    from reporting.days import parse_day

    if date is not None and first is None and last is None:
        return (parse_day(date),)
    if date is None and first is not None and last is not None:
        return days_between(parse_day(first), parse_day(last))
    raise UsageError("give either --date DAY, or both --from DAY and --to DAY")


def names(text: str | None) -> tuple[str, ...]:
    """Return the names of a comma-separated option, () for None."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


def source_of(place: Place, source: str | None) -> str | None:
    """Return the manifest's path: the option (from here), else run.source (from the settings file's folder)."""
    if source is not None:
        return source
    configured = place.settings.source
    return None if configured is None else str(place.folder / configured)


DateOption = Annotated[str | None, typer.Option("--date", help="One day, YYYY-MM-DD.")]
FromOption = Annotated[str | None, typer.Option("--from", help="First day.")]
ToOption = Annotated[str | None, typer.Option("--to", help="Last day, included.")]
TasksOption = Annotated[str | None, typer.Option(help="Only these tasks, comma-separated.")]
CategoriesOption = Annotated[str | None, typer.Option(help="Only these categories, comma-separated.")]
SubinstancesOption = Annotated[str | None, typer.Option(help="Only these packages, comma-separated.")]
SourceOption = Annotated[
    str | None, typer.Option(help="Source manifest (CSV, JSONL or Parquet); {date} stands for the day.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

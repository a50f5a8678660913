"""`evict storage`: what the lake's bytes are needed for, and what the task reclaim would let go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli_options import JsonOption

if TYPE_CHECKING:
    from pipeline.storage.survey import Storage


def storage(
    context: typer.Context,
    date: Annotated[str | None, typer.Option(help="Day, YYYY-MM-DD; default the newest that has a library.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say how many bytes of pictures, crops and vectors are there, are needed and would go; nothing is written.

    It is a dry run of the task reclaim. The daily run does it, after the release; there is nothing to be said yes to.

    Example: `funnelgate evict storage`
    """
    from pipeline.storage_look import storage_of
    from reporting.days import parse_day

    found = storage_of(context.obj.place, None if date is None else parse_day(date))
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    _tell(found)


def _tell(found: Storage) -> None:
    typer.echo(
        f"{found.date}: days younger than {found.keep_days} days keep all of their bytes; older ones what is stored, "
        f"was stored {found.grace_days} days ago, or is in a kept release"
    )
    for kind in found.kinds:
        typer.echo(
            f"  {kind.kind:9}{kind.bytes_now:16,} bytes, {kind.bytes_needed:,} needed, {kind.bytes_that_would_go:,} "
            f"would go, of {kind.days} days"
        )
    for day in found.days:
        if day.is_old:
            note = ", is being done again" if day.is_at_work else ""
            typer.echo(f"  {day.date}{day.bytes_now:15,} bytes, {day.bytes_that_would_go:,} would go{note}")
    for file in found.largest:
        typer.echo(f"  {file.bytes_that_would_go:,} of {file.file}")
    typer.echo("nothing was written; the task reclaim does it in the daily run, after the release")

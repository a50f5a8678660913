"""`search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli_options import JsonOption


def search(
    context: typer.Context,
    picture: Annotated[Path, typer.Argument(help="Picture file.")],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Results wanted.")] = 5,
    category: Annotated[str | None, typer.Option(help="Search only this category.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also write a page with the pictures to this HTML file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Search the released index by a picture; every hit with all its skus and merchants.

    Example: `funnelgate search shoe.jpg -k 5 --sheet result.html`
    """
    from pipeline.serve.answer import answer

    lake = context.obj.place.lake
    found = answer(lake, picture, k, category)
    if sheet is not None:
        from pipeline.serve.contact_sheet import write_contact_sheet

        write_contact_sheet(sheet, lake, [(picture, found)], f"Search: {picture.name}")
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    typer.echo(f"release {found.generation}, {len(found.results)} results for {picture}")
    for result in found.results:
        offers = ", ".join(f"{offer.merchant}/{offer.sku}" for offer in result.offers)
        typer.echo(f"{result.rank:3}  {result.distance:.4f}  {result.category:16} {result.title:28} {offers}")
    if sheet is not None:
        typer.echo(f"pictures: {sheet}")

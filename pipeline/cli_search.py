"""`search`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli_options import JsonOption
from reporting.errors import UsageError

if TYPE_CHECKING:
    from pipeline.models.detections import Box
    from pipeline.serve.answer import Answer

_SHOWN_SHARE = 0.01
_BOX = re.compile(r"\s*-?\d{1,9}\s*(,\s*-?\d{1,9}\s*){3}", re.ASCII)


def search(
    context: typer.Context,
    picture: Annotated[Path, typer.Argument(help="Picture file.")],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Results wanted.")] = 5,
    category: Annotated[str | None, typer.Option(help="Search this category instead of the predicted one.")] = None,
    box: Annotated[
        str | None,
        typer.Option(metavar="X0,Y0,X1,Y1", help="Search this part (pixels) instead of the most confident object."),
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also write a page with the pictures to this HTML file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Search the released index by a picture: its main object, in the category it is predicted to be of.

    Every hit comes with all its skus and merchants. Other objects of the picture are listed with their boxes.

    Example: `funnelgate search shoe.jpg -k 5 --sheet result.html`
    """
    from pipeline.serve.answer import answer

    part = None if box is None else parse_box(box)
    lake = context.obj.place.lake
    found = answer(lake, picture, k, category, part)
    if sheet is not None:
        from pipeline.serve.contact_sheet import write_contact_sheet

        write_contact_sheet(sheet, lake, [(picture, found)], f"Search: {picture.name}")
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    _tell(picture, found)
    if sheet is not None:
        typer.echo(f"pictures: {sheet}")


def parse_box(text: str) -> Box:
    """Return the box of `x0,y0,x1,y1`; whether it lies in the picture is for the search to say.

    Raises:
        UsageError: it is not four whole numbers.

    Example:
        >>> parse_box("0, 10,200,90")
        Box(x0=0, y0=10, x1=200, y1=90)
    """
    from pipeline.models.detections import Box

    if not _BOX.fullmatch(text):
        raise UsageError(f"--box {text!r} is no box; expected four whole numbers x0,y0,x1,y1 in pixels")
    return Box(*map(int, text.split(",")))


def _tell(picture: Path, found: Answer) -> None:
    seen = found.object
    named = "" if seen.category is None else f": {seen.category}"
    votes = ", ".join(f"{name} {share:.0%}" for name, share in seen.votes.items() if share >= _SHOWN_SHARE)
    typer.echo(
        f"object {','.join(map(str, seen.box))}, score {seen.score:.2f}{named}{f' (votes: {votes})' if votes else ''}"
    )
    typer.echo(f"why: {found.reason}")
    if seen.note:
        typer.echo(f"note: {seen.note}")
    for other in found.others:
        typer.echo(f"another: --box {','.join(map(str, other.box))}, score {other.score:.2f} {other.category}".rstrip())
    typer.echo(f"release {found.generation}, {len(found.results)} results for {picture}")
    for result in found.results:
        offers = ", ".join(f"{offer.merchant}/{offer.sku}" for offer in result.offers)
        typer.echo(f"{result.rank:3}  {result.distance:.4f}  {result.category:16} {result.title:28} {offers}")

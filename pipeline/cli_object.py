"""`object`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli_options import JsonOption

if TYPE_CHECKING:
    from pipeline.serve.objects import ObjectFacts


def object_command(
    context: typer.Context,
    ids: Annotated[
        list[int],
        typer.Argument(metavar="ID...", min=1, max=2**63 - 1, help="As `search --json` prints them as `item`."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Say what ids stand for: picture, box, detector, day, category and why, offers, and whether it can be found.

    An id resolves for ever, also one that an earlier detector gave.

    Example: `funnelgate object 4711 4712 --json`
    """
    from pipeline.serve.objects import describe_objects

    found = describe_objects(context.obj.place, ids)
    if as_json:
        typer.echo(json.dumps([one.model_dump(mode="json") for one in found], indent=1))
        return
    for one in found:
        _tell(one)


def _tell(one: ObjectFacts) -> None:
    box = "the whole picture" if one.box is None else f"box {','.join(map(str, one.box))}"
    score = "" if one.score is None else f", score {one.score:.2f}"
    released = "nothing has been released yet"
    if one.release is not None:
        released = f"{'in' if one.in_release else 'not in'} release {one.release}"
    typer.echo(f"object {one.id}: {box} of picture {one.picture}")
    typer.echo(
        f"  found by {one.detector} as its no. {one.ordinal}{score}{f', {one.detected}' if one.detected else ''}"
    )
    if one.day is None:
        typer.echo("  no day's output holds it any more")
    else:
        where = "dropped before it had a category" if one.category is None else f"category {one.category}"
        typer.echo(f"  of {one.day}, {where}; {released}")
    if one.why is not None:
        typer.echo(f"  why: {one.why.get('reason', '')}")
    for offer in one.offers:
        typer.echo(f"  {offer.merchant}/{offer.sku}  {offer.title}")
